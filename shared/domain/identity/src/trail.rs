//! What users do to their own access, for the audit log and for consumers of events (S1.9); and what
//! they are told of it, should it not have been them.

use audit::event;
use db::Tx;
use kernel::Result;
use notifications::notice::{self, Channel, Notice, To};
use serde_json::{Value, json};
use uuid::Uuid;

const USER: &str = "SELECT u.email, u.email_verified_at IS NOT NULL, app.language_of(u.tenant_id, u.id)
    FROM users u
    WHERE u.tenant_id = $1 AND u.id = $2 AND u.erased_at IS NULL FOR KEY SHARE OF u";
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

/// Tells the user what became of their access: in the inbox, and by e-mail. An address that was never
/// verified gets none: who signed up with somebody else's could have us write there without end.
pub(crate) async fn warn(tx: &Tx, user_id: Uuid, notice: &Notice) -> Result<()> {
    let Some(user) = tx.query_opt(USER, &[&tx.tenant().0, &user_id]).await? else {
        return Ok(());
    };
    let to = |channel, address| To {
        user_id: Some(user_id),
        channel,
        address,
        locale: user.get(2),
    };
    notice::send(tx, &to(Channel::Inbox, ""), notice).await?;
    if user.get(1) {
        notice::send(tx, &to(Channel::Email, user.get(0)), notice).await?;
    }
    Ok(())
}

/// Nothing more to say than that it happened.
pub(crate) fn nothing() -> Value {
    json!({})
}
