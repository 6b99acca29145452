//! Deliveries to a person: to hand out, or to empty (S18.5). The rows stay, for what was sent is
//! counted and paid for; whom it went to and what it said goes.

use crate::delivery::context;
use audit::gdpr::{PAGE, Record, Traces};
use db::{Row, Tx};
use kernel::Result;
use serde_json::Value;
use uuid::Uuid;

const DELIVERIES: &str =
    "SELECT o.id, to_jsonb(o) - '{tenant_id,recipient_sealed,content_sealed}'::text[] AS data,
        o.recipient_sealed, o.content_sealed
    FROM messages_outbox o
    WHERE o.tenant_id = $1 AND (o.contact_id = ANY ($2) OR o.user_id = $3) AND o.id > $4 ORDER BY o.id LIMIT $5";

// What waits is not sent any more; what is being sent ends as failed, whatever becomes of it.
const EMPTY: &str = "WITH found AS (
        SELECT o.id, o.provider_message_id FROM messages_outbox o
        WHERE o.tenant_id = $1
          AND (o.contact_id = ANY ($2) OR o.user_id = $3 OR o.about_user_id = $3 OR o.id = ANY ($4)) FOR UPDATE
    ), emptied AS (
        UPDATE messages_outbox o SET recipient_sealed = '', content_sealed = '', contact_id = NULL, user_id = NULL,
            about_user_id = NULL,
            provider_message_id = NULL, error_title = NULL, request_id = NULL,
            status = CASE WHEN o.status IN ('queued', 'sending') THEN 'failed' ELSE o.status END,
            error_code = CASE WHEN o.status IN ('queued', 'sending') THEN 'ERASED' ELSE o.error_code END
        FROM found WHERE o.tenant_id = $1 AND o.id = found.id
    )
    SELECT provider_message_id FROM found WHERE provider_message_id IS NOT NULL";

const FORGET_REPORTS: &str = "DELETE FROM delivery_reports WHERE tenant_id = $1 AND provider = ANY ($3) AND provider_message_id = ANY ($2)";

const INBOX: &str = "SELECT m.id, to_jsonb(m) - '{tenant_id,title_sealed,body_sealed}'::text[] AS data, m.title_sealed, m.body_sealed
    FROM inbox_messages m WHERE m.tenant_id = $1 AND m.user_id = $2 AND m.id > $3 ORDER BY m.id LIMIT $4";
const EMPTY_INBOX: &str =
    "DELETE FROM inbox_messages WHERE tenant_id = $1 AND (user_id = $2 OR about_user_id = $2)";

const PROVIDERS: [&str; 5] = ["meta", "twilio", "infobip", "brevo", "devstub"];

/// Whose deliveries, and which besides.
#[derive(Clone, Copy, Debug, Default)]
pub struct Of<'a> {
    pub contacts: &'a [Uuid],
    pub user: Option<Uuid>,
    /// Deliveries that are the person's though they name another: their conversation changed hands.
    pub deliveries: &'a [Uuid],
}

/// Deliveries to the person, with what they said where that is still kept.
pub async fn deliveries(tx: &Tx, of: &Of<'_>, after: Uuid) -> Result<Vec<Record>> {
    let params: db::Params<'_> = &[&tx.tenant().0, &of.contacts, &of.user, &after, &PAGE];
    let rows = tx.query(DELIVERIES, params).await?;
    rows.iter()
        .map(|row| {
            let mut data: Value = row.get("data");
            data["recipient"] = opened(tx, row, "recipient")?;
            data["content"] = opened(tx, row, "content")?;
            Ok(Record {
                id: row.get("id"),
                data,
            })
        })
        .collect()
}

/// Empties the person's deliveries, and notes what the providers call them.
pub async fn empty(tx: &Tx, of: &Of<'_>, traces: &mut Traces) -> Result<()> {
    let params: db::Params<'_> = &[&tx.tenant().0, &of.contacts, &of.user, &of.deliveries];
    let rows = tx.query(EMPTY, params).await?;
    traces
        .provider_messages
        .extend(rows.iter().map(|row| row.get::<_, String>(0)));
    Ok(())
}

/// What lies in a user's inbox.
pub async fn inbox(tx: &Tx, user_id: Uuid, after: Uuid) -> Result<Vec<Record>> {
    let rows = tx
        .query(INBOX, &[&tx.tenant().0, &user_id, &after, &PAGE])
        .await?;
    rows.iter()
        .map(|row| {
            let mut data: Value = row.get("data");
            for field in ["title", "body"] {
                let column = format!("{field}_sealed");
                let context = crate::inbox::context(tx, field);
                data[field] = tx.sealer().open_text(&context, row.get(column.as_str()))?.into();
            }
            Ok(Record {
                id: row.get("id"),
                data,
            })
        })
        .collect()
}

/// Empties a user's inbox, and takes what others were told of the user out of theirs.
pub async fn empty_inbox(tx: &Tx, user_id: Uuid) -> Result<()> {
    tx.execute(EMPTY_INBOX, &[&tx.tenant().0, &user_id])
        .await
        .map(drop)
}

/// Forgets what providers reported of the person's messages.
pub async fn forget_reports(tx: &Tx, traces: &Traces) -> Result<()> {
    let params: db::Params<'_> = &[&tx.tenant().0, &traces.provider_messages, &PROVIDERS.as_slice()];
    tx.execute(FORGET_REPORTS, params).await.map(drop)
}

/// A sealed column in the clear; null where it was emptied.
fn opened(tx: &Tx, row: &Row, field: &str) -> Result<Value> {
    let column = format!("{field}_sealed");
    match row.get::<_, Option<&[u8]>>(column.as_str()) {
        None | Some([]) => Ok(Value::Null),
        Some(sealed) => {
            let text = tx.sealer().open_text(&context(tx, field), sealed)?;
            Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)))
        }
    }
}
