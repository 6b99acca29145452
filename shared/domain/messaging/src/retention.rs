//! What providers posted, as it came, is forgotten after 30 days, or as long as the company says (S14.8).
//! What was made of it, the messages and their states, stays.

use db::Tx;
use jiff::SignedDuration;
use kernel::Result;

/// How long it is kept of an account that no company has.
pub const UNRESOLVED_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

// The time is in the id.
const FORGET_WEBHOOKS: &str = "DELETE FROM webhook_events WHERE tenant_id = $1 AND id IN (
        SELECT e.id FROM webhook_events e
        WHERE e.tenant_id = $1
          AND e.id < (SELECT app.first_id_of($2::timestamptz - make_interval(days => t.webhook_keep_days)) FROM tenants t WHERE t.id = $1)
        ORDER BY e.id LIMIT $3)";

const FORGET_RAW: &str = "UPDATE messages SET raw_sealed = NULL WHERE tenant_id = $1 AND id IN (
        SELECT m.id FROM messages m
        WHERE m.tenant_id = $1
          AND m.id < (SELECT app.first_id_of($2::timestamptz - make_interval(days => t.webhook_keep_days)) FROM tenants t WHERE t.id = $1)
          AND m.raw_sealed IS NOT NULL
        ORDER BY m.id LIMIT $3)";

/// Forgets what was posted for the company longer ago than it is kept, at most so many of each kind;
/// returns how many of the kind that had more.
///
/// # Errors
/// As the database fails.
pub async fn forget(tx: &Tx, at_most: i64) -> Result<u64> {
    let params: db::Params<'_> = &[&tx.tenant().0, &tx.clock().now(), &at_most];
    let (webhooks, raw) = futures::try_join!(
        tx.execute(FORGET_WEBHOOKS, params),
        tx.execute(FORGET_RAW, params)
    )?;
    Ok(webhooks.max(raw))
}
