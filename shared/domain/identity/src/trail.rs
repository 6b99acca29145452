//! What users do to their own access, for the audit log and for consumers of events (S1.9).

use audit::event;
use db::Tx;
use kernel::Result;
use serde_json::{Value, json};
use uuid::Uuid;

const AUDIT_AS: &str = "SELECT app.audit_as($1, $2, 'user', $1, $3)";

/// A line in the audit log, as the user's doing.
pub(crate) async fn note(tx: &Tx, user_id: Uuid, action: &str, data: &Value) -> Result<()> {
    tx.execute(AUDIT_AS, &[&user_id, &action, data]).await.map(drop)
}

/// As [`note`], and a domain event of the same name. `data` holds codes, never personal data.
pub(crate) async fn tell(tx: &Tx, user_id: Uuid, action: &str, data: &Value) -> Result<()> {
    note(tx, user_id, action, data).await?;
    event::publish(tx, action, user_id, data).await
}

/// Nothing more to say than that it happened.
pub(crate) fn nothing() -> Value {
    json!({})
}
