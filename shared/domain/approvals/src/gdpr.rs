//! What a user said of requests: to hand out, or to erase (S18.5). The decisions themselves stay.

use audit::gdpr::{PAGE, Record, Traces};
use db::Tx;
use kernel::Result;
use uuid::Uuid;

const DECISIONS: &str = "SELECT a.id, to_jsonb(a) - 'tenant_id' AS data FROM approval_actions a
    WHERE a.tenant_id = $1 AND a.approver_user_id = $2 AND a.id > $3 ORDER BY a.id LIMIT $4";
const REQUESTS: &str = "SELECT r.id, to_jsonb(r) - 'tenant_id' AS data FROM approval_requests r
    WHERE r.tenant_id = $1 AND r.requester_user_id = $2 AND r.id > $3 ORDER BY r.id LIMIT $4";
const FORGET_COMMENTS: &str = "UPDATE approval_actions SET comment = NULL WHERE tenant_id = $1 AND approver_user_id = $2 AND comment IS NOT NULL RETURNING id";

/// What the user decided.
///
/// # Errors
/// As the database fails.
pub async fn decisions(tx: &Tx, user_id: Uuid, after: Uuid) -> Result<Vec<Record>> {
    page(tx, DECISIONS, user_id, after).await
}

/// What the user asked for.
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

/// Takes the user's words from what they decided, and notes whose audit lines repeat them.
///
/// # Errors
/// As the database fails.
pub async fn erase(tx: &Tx, user_id: Uuid, traces: &mut Traces) -> Result<()> {
    let rows = tx.query(FORGET_COMMENTS, &[&tx.tenant().0, &user_id]).await?;
    traces
        .entities
        .extend(rows.iter().map(|row| row.get::<_, Uuid>(0)));
    Ok(())
}
