//! Domain events on their way out: what outbox-relay reads, sends and ticks off.

use db::{Row, Tx};
use jiff::Timestamp;
use kernel::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

const UNPUBLISHED: &str =
    "SELECT id, type, entity_id, payload, depth, request_id, created_at FROM event_outbox
     WHERE tenant_id = $1 AND id = ANY ($2) AND published_at IS NULL ORDER BY id";

const MARK_PUBLISHED: &str = "UPDATE event_outbox SET published_at = $3
     WHERE tenant_id = $1 AND id = ANY ($2) AND published_at IS NULL";

pub use kernel::nudge::EventsWake as Wake;

/// An event as consumers get it. It may come twice: they go by its id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub id: Uuid,
    /// `message.received`, `contact.created`, …
    #[serde(rename = "type")]
    pub event_type: String,
    pub entity_id: Uuid,
    pub data: Value,
    /// How many events led to this one.
    pub depth: i16,
    pub request_id: String,
    pub occurred_at: Timestamp,
}

/// Those of these events that were not published yet, oldest first.
///
/// # Errors
/// As the database fails.
pub async fn unpublished(tx: &Tx, ids: &[Uuid]) -> Result<Vec<Event>> {
    let rows = tx.query(UNPUBLISHED, &[&tx.tenant().0, &ids]).await?;
    Ok(rows.iter().map(record).collect())
}

/// Ticks off events that are in the queue.
///
/// # Errors
/// As the database fails.
pub async fn mark_published(tx: &Tx, ids: &[Uuid]) -> Result<()> {
    tx.execute(MARK_PUBLISHED, &[&tx.tenant().0, &ids, &tx.clock().now()])
        .await
        .map(drop)
}

fn record(row: &Row) -> Event {
    Event {
        id: row.get("id"),
        event_type: row.get("type"),
        entity_id: row.get("entity_id"),
        data: row.get("payload"),
        depth: row.get("depth"),
        request_id: row.get::<_, Option<String>>("request_id").unwrap_or_default(),
        occurred_at: row.get("created_at"),
    }
}
