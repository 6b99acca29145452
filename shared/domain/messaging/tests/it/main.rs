//! Messaging against a real Postgres, as the application role.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod accounts;
mod deliveries;
mod inbound;
mod replies;
mod support;
