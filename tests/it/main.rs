#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that can't go on panics"
)]
#![allow(clippy::too_many_lines, reason = "a scenario reads best in one piece")]
//! Integration tests: handlers in process, a real Postgres as `m3_app`, a real local AWS.

mod admin_access;
mod admin_plan;
mod approvals;
mod auth;
mod compliance;
mod contacts;
mod coverage;
mod faults;
mod messaging;
mod migrations;
mod notices;
mod oauth;
mod people;
mod requests;
mod security;
mod statements;
mod support;
mod tenancy;
mod webhooks;
