//! The audit log, and a person's data exported and erased.

mod approval_lines;
mod audit_log;
mod chain;
mod closing;
mod erasing;
mod erasure;
mod events;
mod expiring;
mod export;
pub mod furnish;
mod keeping;
mod late;
mod person;
mod records;
pub mod setup;
