//! What people were told is forgotten after 90 days, or as long as the company says (S14.8). Then inboxes
//! are emptied of it, and of settled deliveries it is forgotten to whom they went and what they said;
//! their rows stay, for what was sent is counted.

use db::Tx;
use kernel::Result;

// The time is in the id.
const FORGET_INBOX: &str = "DELETE FROM inbox_messages WHERE tenant_id = $1 AND id IN (
        SELECT m.id FROM inbox_messages m
        WHERE m.tenant_id = $1
          AND m.id < (SELECT app.first_id_of($2::timestamptz - make_interval(days => t.inbox_keep_days)) FROM tenants t WHERE t.id = $1)
        ORDER BY m.id LIMIT $3)";

const FORGET_DELIVERIES: &str =
    "UPDATE messages_outbox SET recipient_sealed = '', content_sealed = NULL, provider_message_id = NULL,
        contact_id = NULL, user_id = NULL, about_user_id = NULL
    WHERE tenant_id = $1 AND id IN (
        SELECT o.id FROM messages_outbox o
        WHERE o.tenant_id = $1
          AND o.id < (SELECT app.first_id_of($2::timestamptz - make_interval(days => t.payload_keep_days)) FROM tenants t WHERE t.id = $1)
          AND o.recipient_sealed <> '' AND o.status NOT IN ('queued', 'sending')
        ORDER BY o.id LIMIT $3)";

/// Forgets what the company's people were told longer ago than it is kept, at most so many of each kind;
/// returns how many of the kind that had more.
///
/// # Errors
/// As the database fails.
pub async fn forget(tx: &Tx, at_most: i64) -> Result<u64> {
    let params: db::Params<'_> = &[&tx.tenant().0, &tx.clock().now(), &at_most];
    let (inbox, deliveries) = futures::try_join!(
        tx.execute(FORGET_INBOX, params),
        tx.execute(FORGET_DELIVERIES, params)
    )?;
    Ok(inbox.max(deliveries))
}
