//! Real SDK calls against the AWS at `M3_TEST_AWS_ENDPOINT`. Every test makes what it needs under a name of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod accounts;
mod bucket;
mod faults;
mod lock_outs;
mod queue;
mod rates;
mod secrets;
mod setup;
mod tickets;
