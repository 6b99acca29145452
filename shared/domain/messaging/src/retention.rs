//! How long it is kept what providers posted, as it came: 30 days. What was made of it, the messages and
//! their states, stays.

use db::Tx;
use jiff::{SignedDuration, Timestamp};
use kernel::Result;

/// How long it is kept.
pub const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

// The time is in the id.
const FORGET_WEBHOOKS: &str = "DELETE FROM webhook_events WHERE tenant_id = $1 AND id IN (
        SELECT e.id FROM webhook_events e WHERE e.tenant_id = $1 AND e.id < app.first_id_of($2) ORDER BY e.id LIMIT $3)";

const FORGET_RAW: &str = "UPDATE messages SET raw_sealed = NULL WHERE tenant_id = $1 AND id IN (
        SELECT m.id FROM messages m
        WHERE m.tenant_id = $1 AND m.id < app.first_id_of($2) AND m.raw_sealed IS NOT NULL ORDER BY m.id LIMIT $3)";

/// Forgets what was posted for the company before this moment, at most so many of each kind; returns
/// how many of the kind that had more.
///
/// # Errors
/// As the database fails.
pub async fn forget(tx: &Tx, posted_before: Timestamp, at_most: i64) -> Result<u64> {
    let params: db::Params<'_> = &[&tx.tenant().0, &posted_before, &at_most];
    let (webhooks, raw) = futures::try_join!(
        tx.execute(FORGET_WEBHOOKS, params),
        tx.execute(FORGET_RAW, params)
    )?;
    Ok(webhooks.max(raw))
}
