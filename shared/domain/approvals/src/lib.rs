//! Sensitive actions that somebody else has to approve first (S3A).
//!
//! ```text
//! gate ─ no policy asks for it ─► Gate::Open      the handler goes on
//!   └─── a policy does ─────────► Gate::Waiting   the handler answers 202 with the request
//!
//! pending ─ every stage approves ─► approved   the command was carried out, in the same transaction
//!    │            └ it can't be done any more ─► failed
//!    ├─ anybody rejects ─► rejected
//!    └─ taken back ─────► cancelled
//! ```
//!
//! Where several policies match, all of them must approve: their steps follow each other, the older
//! policy's first. A request keeps the steps that it began with; who may decide them goes by today's
//! memberships.
//!
//! A module joins in with a variant of [`Command`], which declares its facts, a line in
//! `functions/approvals/src/carry_out.rs`, and a call of [`gate()`] before the action.

pub mod cancel;
pub mod command;
pub mod condition;
pub mod decision;
mod facts;
mod gate;
pub mod gdpr;
pub mod policy;
mod progress;
pub mod request;
pub mod sla;
pub mod step;

pub use command::{CarryOut, Command};
pub use facts::{Fact, FactType, Facts};
pub use gate::{Gate, gate};
pub use request::ApprovalRequest;
pub use rust_decimal::Decimal;
