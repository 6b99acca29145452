//! `/v1/approvals`, and what it gates.

mod deciding;
mod executing;
mod foreign;
mod gating;
mod policies;
mod setup;
mod sla;
