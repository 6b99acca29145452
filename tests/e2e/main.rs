#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
//! Tests through the deployed local stack: plain HTTP to its doors, as a client, a provider and an
//! operator see it. `cargo xtask test` starts the stack before them.

mod duplicates;
mod events;
mod flood;
mod logs;
mod main_job;
mod new_user;
mod poison;
mod stack;
mod tenant;
mod wrong_input;
