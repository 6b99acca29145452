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

const INSERT_EACH: &str =
    "INSERT INTO event_outbox (tenant_id, id, type, entity_id, payload, request_id, created_at)
     SELECT $1, e.id, $4, e.entity_id, $5, $6, $7 FROM unnest($2::uuid[], $3::uuid[]) AS e (id, entity_id)";

/// As [`publish`], the same event of several entities, in one statement.
///
/// # Errors
/// As the database fails.
pub async fn publish_each(tx: &Tx, event_type: &str, entity_ids: &[Uuid], payload: &Value) -> Result<()> {
    let ids: Vec<Uuid> = entity_ids.iter().map(|_| tx.clock().id()).collect();
    let (now, request_id) = (tx.clock().now(), &tx.caller().origin().request_id);
    tx.execute(
        INSERT_EACH,
        &[
            &tx.tenant().0,
            &ids,
            &entity_ids,
            &event_type,
            payload,
            request_id,
            &now,
        ],
    )
    .await?;
    for id in ids {
        tx.nudge(Nudge::Event(id));
    }
    Ok(())
}
