//! What a contact wrote and was written: to hand out, or to erase (S18.5).

use crate::context;
use audit::gdpr::{PAGE, Record, Traces};
use db::Tx;
use kernel::Result;
use serde_json::Value;
use uuid::Uuid;

const CONVERSATIONS: &str =
    "SELECT c.id, to_jsonb(c) - '{tenant_id,peer_sealed,peer_hash}'::text[] AS data, c.peer_sealed
    FROM conversations c WHERE c.tenant_id = $1 AND c.contact_id = ANY ($2) AND c.id > $3 ORDER BY c.id LIMIT $4";

const MESSAGES: &str = "SELECT m.id, to_jsonb(m) - '{tenant_id,raw_sealed}'::text[] AS data, m.raw_sealed
    FROM conversations c JOIN messages m ON m.tenant_id = c.tenant_id AND m.conversation_id = c.id
    WHERE c.tenant_id = $1 AND c.contact_id = ANY ($2) AND m.id > $3 ORDER BY m.id LIMIT $4";

const HOLD: &str =
    "SELECT id FROM conversations WHERE tenant_id = $1 AND contact_id = ANY ($2) ORDER BY id FOR UPDATE";

const WRITTEN: &str =
    "SELECT id FROM messages WHERE tenant_id = $1 AND conversation_id = ANY ($2) AND direction = 'outbound'";

const ERASE_MESSAGES: &str = "DELETE FROM messages WHERE tenant_id = $1 AND conversation_id = ANY ($2)
    RETURNING id, provider_message_id";

const ERASE_CONVERSATIONS: &str =
    "DELETE FROM conversations WHERE tenant_id = $1 AND id = ANY ($2) RETURNING id, peer_sealed";

// An event is named by its message, and of a status by message and status.
const FORGET_EVENTS: &str = "WITH named AS (
        SELECT id || suffix AS name FROM unnest($2::text[]) AS id,
            unnest('{\"\",:sent,:delivered,:read,:failed}'::text[]) AS suffix
    ), keys AS (
        DELETE FROM webhook_event_keys k USING named WHERE k.tenant_id = $1 AND k.external_event_id = named.name
    )
    DELETE FROM webhook_events e USING named WHERE e.tenant_id = $1 AND e.external_event_id = named.name";

const UNREAD_EVENTS: &str = "SELECT id, payload_sealed FROM webhook_events
    WHERE tenant_id = $1 AND kind = 'other' AND id > $2 ORDER BY id LIMIT $3";

const FORGET_UNREAD: &str = "DELETE FROM webhook_events WHERE tenant_id = $1 AND id = ANY ($2)";

/// The conversations of these contacts.
pub async fn conversations(tx: &Tx, contacts: &[Uuid], after: Uuid) -> Result<Vec<Record>> {
    let context = context(tx, "conversations.peer");
    let rows = tx
        .query(CONVERSATIONS, &[&tx.tenant().0, &contacts, &after, &PAGE])
        .await?;
    rows.iter()
        .map(|row| {
            let mut data: Value = row.get("data");
            data["peer"] = tx.sealer().open_text(&context, row.get("peer_sealed"))?.into();
            Ok(Record {
                id: row.get("id"),
                data,
            })
        })
        .collect()
}

/// The messages of these contacts' conversations, with what the provider sent.
pub async fn messages(tx: &Tx, contacts: &[Uuid], after: Uuid) -> Result<Vec<Record>> {
    let context = context(tx, "messages.raw");
    let rows = tx
        .query(MESSAGES, &[&tx.tenant().0, &contacts, &after, &PAGE])
        .await?;
    rows.iter()
        .map(|row| {
            let mut data: Value = row.get("data");
            if let Some(sealed) = row.get::<_, Option<&[u8]>>("raw_sealed") {
                let raw = tx.sealer().open_text(&context, sealed)?;
                data["raw"] = serde_json::from_str(&raw).unwrap_or(Value::String(raw));
            }
            Ok(Record {
                id: row.get("id"),
                data,
            })
        })
        .collect()
}

/// Conversations that are held until the transaction ends: nobody adds a message meanwhile.
pub struct Held {
    conversations: Vec<Uuid>,
    /// What was written in them, which is also what the deliveries are called.
    pub written: Vec<Uuid>,
}

/// Holds the conversations of these contacts.
pub async fn hold(tx: &Tx, contacts: &[Uuid]) -> Result<Held> {
    let rows = tx.query(HOLD, &[&tx.tenant().0, &contacts]).await?;
    let conversations: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
    let rows = tx.query(WRITTEN, &[&tx.tenant().0, &conversations]).await?;
    Ok(Held {
        written: rows.iter().map(|row| row.get(0)).collect(),
        conversations,
    })
}

/// Removes conversations with their messages, and notes their ids.
pub async fn erase(tx: &Tx, held: &Held, traces: &mut Traces) -> Result<()> {
    let params: db::Params<'_> = &[&tx.tenant().0, &held.conversations];
    let context = context(tx, "conversations.peer");
    let messages = tx.query(ERASE_MESSAGES, params).await?;
    let conversations = tx.query(ERASE_CONVERSATIONS, params).await?;
    for row in &messages {
        traces.entities.push(row.get(0));
        traces.provider_messages.extend(row.get::<_, Option<String>>(1));
    }
    for row in &conversations {
        let id: Uuid = row.get(0);
        traces.entities.push(id);
        traces.recognise(id.to_string());
        // Somebody may write from a number that is no channel of theirs any more.
        traces.recognise(tx.sealer().open_text(&context, row.get(1))?);
    }
    Ok(())
}

/// Forgets what providers posted and reported of messages whose person was erased before.
pub(crate) async fn forget_messages(tx: &Tx, provider_messages: Vec<String>) -> Result<()> {
    let traces = Traces {
        provider_messages,
        ..Traces::default()
    };
    notifications::gdpr::forget_reports(tx, &traces).await?;
    forget_events(tx, &traces).await
}

async fn forget_events(tx: &Tx, traces: &Traces) -> Result<()> {
    let params: db::Params<'_> = &[&tx.tenant().0, &traces.provider_messages];
    tx.execute(FORGET_EVENTS, params).await.map(drop)
}

/// Forgets what providers posted of these messages, and what nobody could read that names the person.
/// The events' keys go too, for providers make them of numbers.
pub async fn forget_webhooks(tx: &Tx, traces: &Traces) -> Result<()> {
    let (tenant, context) = (tx.tenant().0, context(tx, "webhook_events.payload"));
    forget_events(tx, traces).await?;
    // Providers write numbers without the plus.
    let names: Vec<&str> = traces
        .texts
        .iter()
        .map(|text| text.trim_start_matches('+'))
        .collect();
    let mut after = Uuid::nil();
    loop {
        let rows = tx.query(UNREAD_EVENTS, &[&tenant, &after, &PAGE]).await?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        after = last.get(0);
        let mut found: Vec<Uuid> = Vec::new();
        for row in &rows {
            let payload = tx.sealer().open(&context, row.get(1))?;
            let payload = String::from_utf8_lossy(&payload);
            if names.iter().any(|name| payload.contains(name)) {
                found.push(row.get(0));
            }
        }
        tx.execute(FORGET_UNREAD, &[&tenant, &found]).await?;
    }
}
