#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
//! Integration tests: handlers in process, a real Postgres as `m3_app`, a real local AWS.

mod auth;
mod contacts;
mod coverage;
mod faults;
mod messaging;
mod migrations;
mod requests;
mod statements;
mod support;
mod tenancy;
mod webhooks;
