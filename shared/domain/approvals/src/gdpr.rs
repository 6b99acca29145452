//! What a person said of requests, and what was said of those that are about them: to hand out, or to erase
//! (S18.5). The decisions themselves stay.

use audit::gdpr::{PAGE, Record, Traces};
use db::Tx;
use kernel::Result;
use uuid::Uuid;

const DECISIONS: &str = "SELECT a.id, to_jsonb(a) - 'tenant_id' AS data FROM approval_actions a
    WHERE a.tenant_id = $1 AND a.id > $3
      AND (a.approver_user_id = $2
           OR a.request_id IN (SELECT r.id FROM approval_requests r WHERE r.tenant_id = $1 AND r.object_id = $2))
    ORDER BY a.id LIMIT $4";
const REQUESTS: &str = "SELECT r.id, to_jsonb(r) - 'tenant_id' AS data FROM approval_requests r
    WHERE r.tenant_id = $1 AND (r.requester_user_id = $2 OR r.object_id = $2) AND r.id > $3 ORDER BY r.id LIMIT $4";
const FORGET_COMMENTS: &str = "UPDATE approval_actions a SET comment = NULL
    WHERE a.tenant_id = $1 AND a.comment IS NOT NULL
      AND (a.approver_user_id = ANY ($2)
           OR a.request_id IN (SELECT r.id FROM approval_requests r WHERE r.tenant_id = $1 AND r.object_id = ANY ($2)))
    RETURNING a.id";

/// What the user decided, and what was decided about them.
///
/// # Errors
/// As the database fails.
pub async fn decisions(tx: &Tx, user_id: Uuid, after: Uuid) -> Result<Vec<Record>> {
    page(tx, DECISIONS, user_id, after).await
}

/// What the user asked for, and what was asked about them.
///
/// # Errors
/// As the database fails.
pub async fn requests(tx: &Tx, user_id: Uuid, after: Uuid) -> Result<Vec<Record>> {
    page(tx, REQUESTS, user_id, after).await
}

async fn page(tx: &Tx, sql: &str, user_id: Uuid, after: Uuid) -> Result<Vec<Record>> {
    let rows = tx.query(sql, &[&tx.tenant().0, &user_id, &after, &PAGE]).await?;
    Ok(rows
        .iter()
        .map(|row| Record {
            id: row.get("id"),
            data: row.get("data"),
        })
        .collect())
}

/// Takes the words from what these users decided, and from what was decided about these records; notes whose
/// audit lines repeat them.
///
/// # Errors
/// As the database fails.
pub async fn erase(tx: &Tx, records: &[Uuid], traces: &mut Traces) -> Result<()> {
    let rows = tx.query(FORGET_COMMENTS, &[&tx.tenant().0, &records]).await?;
    traces
        .entities
        .extend(rows.iter().map(|row| row.get::<_, Uuid>(0)));
    Ok(())
}
