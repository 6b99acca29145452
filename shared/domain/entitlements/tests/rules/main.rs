#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that can't go on panics"
)]
#![allow(clippy::too_many_lines, reason = "a scenario reads best in one piece")]
//! Plans, overrides, limits and seats against a real Postgres, under the races that they must survive.

mod limits;
mod plans;
mod seats;
mod support;
