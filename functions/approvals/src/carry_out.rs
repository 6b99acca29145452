//! What approved commands do: one line for each.

use approvals::Command;
use contacts::contact;
use db::Tx;
use entitlements::override_;
use futures::future::BoxFuture;
use kernel::Result;

/// Does what the requester asked for, with the call that the gated handler would have made.
pub fn carry_out<'a>(tx: &'a Tx, command: &'a Command) -> BoxFuture<'a, Result<()>> {
    Box::pin(async move {
        match command {
            Command::ContactDelete { contact_id } => contact::archive(tx, *contact_id).await,
            Command::EntitlementOverride {
                scope,
                before: Some(before),
                overrides,
            } => override_::set_over(tx, *scope, before, overrides).await.map(drop),
            Command::EntitlementOverride {
                scope,
                before: None,
                overrides,
            } => override_::set(tx, *scope, overrides).await.map(drop),
        }
    })
}
