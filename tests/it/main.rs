//! Integration tests: handlers in process, a real Postgres as `m3_app`, a real local AWS.

mod contacts;
mod requests;
mod support;
mod tenancy;
