//! Contacts: the people that a company sells to (S3).

pub mod channel;
pub mod contact;
pub mod gdpr;
pub mod lifecycle;
pub mod owner;
