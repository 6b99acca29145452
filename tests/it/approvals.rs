//! `/v1/approvals`, and what it gates.

mod approvers;
mod asking;
mod deciding;
mod executing;
mod foreign;
mod gating;
mod overrides;
mod policies;
mod queue;
pub mod setup;
mod sla;
