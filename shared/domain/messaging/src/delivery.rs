//! What becomes of a message on its way out. The delivery (`messages_outbox`) is where it is
//! decided; the message in its conversation shows it. Every step here changes both in one
//! transaction, the delivery first.

use crate::account::{self, FullAccount};
use crate::gdpr;
use audit::event;
use db::Tx;
use futures::future::try_join_all;
use kernel::Result;
use notifications::delivery::{self, Claimed, Retry};
use notifications::report::{self, Report};
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

const SHOW: &str = "WITH was AS (
        SELECT m.id, m.status FROM messages m WHERE m.tenant_id = $1 AND m.id = ANY($2)
    ), outbox AS (
        SELECT o.*, r.occurred_at AS read_at
        FROM messages_outbox o
        LEFT JOIN delivery_reports r ON r.tenant_id = o.tenant_id AND r.provider = o.provider
             AND r.provider_message_id = o.provider_message_id AND r.status = 'read'
        WHERE o.tenant_id = $1 AND o.id = ANY($2)
    )
    UPDATE messages m SET
        status = CASE WHEN coalesce(m.read_at, o.read_at) IS NOT NULL THEN 'read'
                      WHEN o.status IN ('bounced', 'expired') THEN 'failed' ELSE o.status END,
        provider_message_id = o.provider_message_id, error_code = o.error_code, error_title = o.error_title,
        sent_at = o.sent_at, delivered_at = o.delivered_at, read_at = coalesce(m.read_at, o.read_at)
    FROM was JOIN outbox o USING (id) WHERE m.tenant_id = $1 AND m.id = was.id
    RETURNING m.id, m.conversation_id, m.status, m.status <> was.status AS moved";

/// A delivery to be sent now, with the account to send it with: `None` for the provider's global one.
pub struct Sending {
    pub claimed: Claimed,
    pub account: Option<FullAccount>,
}

/// Takes a due delivery for sending: of all workers with the same id, one gets it.
pub async fn claim(tx: &Tx, id: Uuid) -> Result<Option<Sending>> {
    let Some(claimed) = delivery::claim(tx, id).await? else {
        return Ok(None);
    };
    show(tx, &[id]).await?;
    let account = match claimed.channel_account_id {
        Some(account_id) => Some(account::find_with_credentials(tx, account_id).await?),
        None => None,
    };
    Ok(Some(Sending { claimed, account }))
}

/// The provider took it under this id. Reports that came before are applied now; they are forgotten
/// when the person was erased meanwhile.
pub async fn sent(tx: &Tx, id: Uuid, provider: &str, provider_message_id: &str) -> Result<()> {
    report::lock(tx, provider, &[provider_message_id]).await?;
    if !delivery::record_sent(tx, id, provider, provider_message_id).await? {
        return gdpr::forget_messages(tx, vec![provider_message_id.to_owned()]).await;
    }
    report::settle(tx, provider, &[provider_message_id]).await?;
    show(tx, &[id]).await
}

/// The provider did not take it this time; see [`delivery::record_retry`].
pub async fn retry(tx: &Tx, claimed: &Claimed, code: &str, wait: Option<Duration>) -> Result<Retry> {
    let outcome = delivery::record_retry(tx, claimed, code, wait).await?;
    show(tx, &[claimed.id]).await?;
    Ok(outcome)
}

/// The provider refused it for good.
pub async fn failed(tx: &Tx, id: Uuid, code: &str) -> Result<()> {
    delivery::record_failed(tx, id, code).await?;
    show(tx, &[id]).await
}

/// Perhaps sent, perhaps not; see [`delivery::record_unknown`].
pub async fn unknown(tx: &Tx, id: Uuid, code: &str) -> Result<()> {
    delivery::record_unknown(tx, id, code).await?;
    show(tx, &[id]).await
}

/// Fails what has been sending for too long; see [`delivery::give_up`]. False when it has not.
pub async fn give_up(tx: &Tx, id: Uuid) -> Result<bool> {
    let given_up = delivery::give_up(tx, id).await?;
    if given_up {
        show(tx, &[id]).await?;
    }
    Ok(given_up)
}

/// Applies what the provider reports, in any order. Of messages whose person was erased, what was kept
/// of this webhook is forgotten again.
pub async fn report(tx: &Tx, provider: &str, reports: &[Report]) -> Result<()> {
    if reports.is_empty() {
        return Ok(());
    }
    let received = report::receive(tx, provider, reports).await?;
    if !received.erased.is_empty() {
        gdpr::forget_messages(tx, received.erased).await?;
    }
    show(tx, &received.settled).await
}

/// Shows deliveries in their conversations. The deliveries' rows are held by this transaction, so
/// nobody shows an older state afterwards.
async fn show(tx: &Tx, ids: &[Uuid]) -> Result<()> {
    let rows = tx.query(SHOW, &[&tx.tenant().0, &ids]).await?;
    let mut events = Vec::new();
    for row in &rows {
        let (id, conversation_id, status): (Uuid, Uuid, &str) = (row.get(0), row.get(1), row.get(2));
        let name = match status {
            "sent" => "message.sent",
            "delivered" => "message.delivered",
            "read" => "message.read",
            "failed" | "dead" => "message.failed",
            _ => continue,
        };
        if row.get(3) {
            events.push((
                name,
                id,
                json!({ "conversation_id": conversation_id, "status": status }),
            ));
        }
    }
    try_join_all(
        events
            .iter()
            .map(|(name, id, payload)| event::publish(tx, name, *id, payload)),
    )
    .await
    .map(drop)
}
