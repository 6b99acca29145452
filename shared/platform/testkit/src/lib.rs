#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test that can't be set up panics"
)]
//! What tests stand on: a real Postgres used as the application uses it, tenants, keys, clocks and
//! fake providers. A dev-dependency only.

pub mod database;
pub mod fake_providers;
pub mod keys;

pub use database::{TestDb, admin_client, database, database_with, fresh_database, unique};
