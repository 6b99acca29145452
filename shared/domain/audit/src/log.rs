//! Audit lines that are not a change of a row; those the database writes by itself.

use db::Tx;
use kernel::Result;
use serde_json::Value;
use uuid::Uuid;

const RECORD: &str = "SELECT app.audit($1, $2, $3, NULL, $4)";

/// Adds a line to the tenant's audit log, with the caller as actor.
///
/// # Errors
/// As the database fails.
pub async fn record(
    tx: &Tx,
    action: &str,
    entity_type: &str,
    entity_id: Option<Uuid>,
    data: &Value,
) -> Result<()> {
    tx.execute(RECORD, &[&action, &entity_type, &entity_id, data])
        .await
        .map(drop)
}

const RECORD_EACH: &str =
    "SELECT app.audit($1, $2, entity_id, NULL, $4) FROM unnest($3::uuid[]) AS entity_id";

/// As [`record`], a line for each of several entities, in one statement.
///
/// # Errors
/// As the database fails.
pub async fn record_each(
    tx: &Tx,
    action: &str,
    entity_type: &str,
    entity_ids: &[Uuid],
    data: &Value,
) -> Result<()> {
    tx.execute(RECORD_EACH, &[&action, &entity_type, &entity_ids, data])
        .await
        .map(drop)
}
