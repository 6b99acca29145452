//! Domain events, written in the transaction of the change they tell of and published afterwards
//! by outbox-relay.

use db::Tx;
use kernel::{Nudge, Result};
use serde_json::Value;
use uuid::Uuid;

const INSERT: &str =
    "INSERT INTO event_outbox (tenant_id, id, type, entity_id, payload, request_id, created_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7)";

/// Writes an event; outbox-relay is woken once it is committed. The payload holds ids and codes, never personal data.
///
/// # Errors
/// As the database fails.
pub async fn publish(tx: &Tx, event_type: &str, entity_id: Uuid, payload: &Value) -> Result<()> {
    let (id, now) = (tx.clock().id(), tx.clock().now());
    let request_id = &tx.caller().origin().request_id;
    tx.execute(
        INSERT,
        &[
            &tx.tenant().0,
            &id,
            &event_type,
            &entity_id,
            payload,
            request_id,
            &now,
        ],
    )
    .await?;
    tx.nudge(Nudge::Event(id));
    Ok(())
}
