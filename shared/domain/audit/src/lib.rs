//! What happened, for two readers: the audit log for people (S1.9, S18.4), domain events for the
//! rest of the system.

pub mod chain;
pub mod event;
pub mod gdpr;
pub mod line;
pub mod log;
pub mod outbox;
pub mod retention;
