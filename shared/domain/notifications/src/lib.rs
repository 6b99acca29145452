//! Deliveries to people: one outbox for every channel, and what providers report of it (S2).

pub mod delivery;
pub mod gdpr;
pub mod inbox;
pub mod notice;
pub mod people;
pub mod report;
pub mod retention;
