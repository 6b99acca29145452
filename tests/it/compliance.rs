//! The audit log, and a person's data exported and erased.

mod audit_log;
mod chain;
mod erasure;
mod export;
mod person;
pub mod setup;
