//! What a company may use and how much of it: plans, overrides, counters, seats (S1.7, S3A.6, S12.9,
//! S13).
//!
//! Two ways to ask, both without a round trip of their own:
//!
//! - a route names its feature in the table, and the statement that opens the transaction refuses it;
//! - a write counts with [`consume`], sent together with the insert that it guards.
//!
//! Seats, groups and roles count themselves: triggers do it when the transaction commits.

pub mod effective;
pub mod override_;
pub mod plan;
pub mod seat;
pub mod subscription;
mod usage;

pub use usage::{consume, count, limit, release, require_feature, within};
