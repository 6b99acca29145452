//! Messaging against a real Postgres, as the application role.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::large_futures,
    reason = "tests fail by panicking, and have stack to spare"
)]

mod accounts;
mod deliveries;
mod inbound;
mod replies;
mod support;
