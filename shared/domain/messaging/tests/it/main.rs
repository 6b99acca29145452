//! Messaging against a real Postgres, as the application role.

mod accounts;
mod deliveries;
mod inbound;
mod replies;
mod support;
