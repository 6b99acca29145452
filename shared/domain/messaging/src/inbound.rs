//! What providers post: messages and delivery reports of a tenant's accounts (S6).
//!
//! A batch is stored in one transaction: all of it or none. Each event has a key that is claimed
//! first, so a repeated batch changes nothing, and batches may come in any order. Whoever waits for
//! another waits in one order (event keys, senders, deliveries), so batches never deadlock.

mod sender;

use crate::account::Provider;
use crate::message::Media;
use crate::{Channel, context, delivery};
use audit::event;
use db::{Db, Tx};
use futures::future::try_join_all;
use jiff::Timestamp;
use kernel::text::without_nul;
use kernel::{Error, Phone, Result};
use notifications::report::Report;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashSet};
use uuid::Uuid;

const CLAIM_KEYS: &str =
    "INSERT INTO webhook_event_keys (tenant_id, provider, account_key, external_event_id, created_at)
    SELECT $1, $2, told.*, $5 FROM unnest($3::text[], $4::text[]) AS told
    ON CONFLICT DO NOTHING RETURNING account_key, external_event_id";

/// What is kept of a status, by the names that Meta and Twilio have for it. Nothing reads the rest, and
/// whom a message went to would be there again after their erasure.
const STATUS_FIELDS: [&str; 21] = [
    "id",
    "status",
    "timestamp",
    "type",
    "errors",
    "pricing",
    "conversation",
    "biz_opaque_callback_data",
    "MessageSid",
    "SmsSid",
    "MessageStatus",
    "SmsStatus",
    "AccountSid",
    "MessagingServiceSid",
    "ErrorCode",
    "ErrorMessage",
    "ApiVersion",
    "ChannelPrefix",
    "ChannelStatusCode",
    "ChannelStatusMessage",
    "EventType",
];

const KEEP: &str = "INSERT INTO webhook_events
    (tenant_id, provider, request_id, received_at, processed_at,
     id, account_key, external_event_id, kind, status, payload_sealed)
    SELECT $1, $2, $3, $4, $5, told.*
    FROM unnest($6::uuid[], $7::text[], $8::text[], $9::text[], $10::text[], $11::bytea[]) AS told
    ON CONFLICT DO NOTHING";

const INSERT_MESSAGES: &str = "WITH fresh AS (
        INSERT INTO messages (tenant_id, direction, status, provider, received_at, created_at,
                              id, conversation_id, provider_message_id, type, body, media,
                              reply_to_provider_message_id, raw_sealed, sent_at, occurred_at)
        SELECT $1, 'inbound', 'received', $2, $3, $4, told.*, told.sent_at
        FROM unnest($5::uuid[], $6::uuid[], $7::text[], $8::text[], $9::text[], $10::jsonb[], $11::text[],
                    $12::bytea[], $13::timestamptz[])
             AS told (id, conversation_id, provider_message_id, type, body, media, reply_to, raw, sent_at)
        ON CONFLICT (tenant_id, provider, provider_message_id) DO NOTHING
        RETURNING id, conversation_id, occurred_at
    ), newest AS (
        SELECT DISTINCT ON (conversation_id) *, count(*) OVER (PARTITION BY conversation_id) AS messages
        FROM fresh ORDER BY conversation_id, occurred_at DESC, id DESC
    ), touched AS (
        UPDATE conversations c SET
            unread_count = c.unread_count + n.messages::integer,
            last_message_id = CASE WHEN c.last_message_id IS NULL OR n.occurred_at >= c.last_message_at
                                   THEN n.id ELSE c.last_message_id END,
            last_message_at = greatest(c.last_message_at, n.occurred_at),
            window_expires_at = CASE WHEN c.channel = 'whatsapp'
                                     THEN greatest(c.window_expires_at, n.occurred_at + interval '24 hours') END,
            state = CASE WHEN c.state = 'closed' THEN 'open' ELSE c.state END,
            updated_at = $4
        FROM newest n WHERE c.tenant_id = $1 AND c.id = n.conversation_id
    )
    SELECT id, conversation_id FROM fresh";

/// One thing that a provider told of one account.
pub struct Event {
    /// The tenant's account that it is about.
    pub account_id: Uuid,
    /// The account as the provider names it.
    pub account_key: String,
    /// Equal for every delivery of the same event, and for no other of the account.
    pub external_event_id: String,
    pub kind: Kind,
    /// What was posted; kept, sealed. Of a status, without whom it is about.
    pub raw: Value,
}

/// What happened.
pub enum Kind {
    Message(InboundMessage),
    Status(Report),
    /// Kept to be looked at, not acted upon.
    Unreadable,
}

impl Kind {
    /// As stored: what it is, and what was made of it.
    fn stored(&self) -> (&'static str, &'static str) {
        match self {
            Self::Message(_) => ("message", "processed"),
            Self::Status(_) => ("status", "processed"),
            Self::Unreadable => ("other", "failed"),
        }
    }
}

impl Event {
    /// What is kept of what was posted.
    fn kept(&self) -> Vec<u8> {
        match (&self.kind, &self.raw) {
            (Kind::Status(_), Value::Object(fields)) => {
                let kept = STATUS_FIELDS
                    .iter()
                    .filter_map(|name| Some(((*name).to_owned(), fields.get(*name)?.clone())));
                Value::Object(kept.collect()).to_string().into_bytes()
            }
            (_, raw) => raw.to_string().into_bytes(),
        }
    }
}

/// A message of a person to an account.
pub struct InboundMessage {
    pub provider_message_id: String,
    pub channel: Channel,
    pub from: Phone,
    /// The name that the sender chose at the provider.
    pub profile_name: Option<String>,
    /// By the provider's clock; never later than the receipt.
    pub sent_at: Timestamp,
    /// As in [`crate::message::Message::kind`].
    pub kind: &'static str,
    pub body: String,
    pub media: Vec<Media>,
    pub reply_to_provider_message_id: Option<String>,
}

/// What a batch came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// Messages stored now.
    pub messages: usize,
    /// Events that were known before.
    pub repeated: usize,
}

/// Stores what a provider told of this tenant's accounts.
///
/// # Errors
/// 404 when an account is not the tenant's; 503 when it may succeed later.
pub async fn receive(
    tx: &Tx,
    provider: Provider,
    received_at: Timestamp,
    events: &[Event],
) -> Result<Received> {
    let fresh = claim_keys(tx, provider, events).await?;
    keep(tx, provider, received_at, &fresh).await?;
    let mut messages = Vec::new();
    let mut reports = Vec::new();
    for event in &fresh {
        match &event.kind {
            Kind::Message(message) => messages.push((*event, message)),
            Kind::Status(report) => reports.push(report.clone()),
            Kind::Unreadable => {}
        }
    }
    let mut received = Received {
        repeated: events.len() - fresh.len(),
        ..Received::default()
    };
    if !messages.is_empty() {
        // On the heap, for the futures of both parts are large.
        received.messages = Box::pin(insert_messages(tx, provider, received_at, &messages)).await?;
    }
    Box::pin(delivery::report(tx, provider.as_str(), &reports)).await?;
    Ok(received)
}

/// Claims the events' keys, in one order so that two batches never wait for each other, and
/// returns the events that nobody claimed before, in the order they came in.
async fn claim_keys<'a>(tx: &Tx, provider: Provider, events: &'a [Event]) -> Result<Vec<&'a Event>> {
    let keys: BTreeSet<_> = events.iter().map(key).collect();
    let (accounts, ids): (Vec<&str>, Vec<&str>) = keys.into_iter().unzip();
    let params: db::Params<'_> = &[
        &tx.tenant().0,
        &provider.as_str(),
        &accounts,
        &ids,
        &tx.clock().now(),
    ];
    let rows = tx.query(CLAIM_KEYS, params).await?;
    let mut claimed: HashSet<(&str, &str)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    Ok(events
        .iter()
        .filter(|event| claimed.remove(&key(event)))
        .collect())
}

fn key(event: &Event) -> (&str, &str) {
    (&event.account_key, &event.external_event_id)
}

async fn keep(tx: &Tx, provider: Provider, received_at: Timestamp, events: &[&Event]) -> Result<()> {
    let context = context(tx, "webhook_events.payload");
    let columns = Columns::of(events.iter().copied(), |event| {
        let sealed = tx.sealer().seal(&context, &event.kept())?;
        Ok((tx.clock().id(), event.kind.stored().1, sealed.0))
    })?;
    let request_id = &tx.caller().origin().request_id;
    let (tenant, now, provider) = (Some(tx.tenant().0), tx.clock().now(), provider.as_str());
    tx.execute(
        KEEP,
        &columns.params(&[&tenant, &provider, request_id, &received_at, &now]),
    )
    .await
    .map(drop)
}

/// Keeps events of an account that nobody has, without a tenant. Harmless to repeat.
///
/// # Errors
/// 503 when the database is away.
pub async fn keep_unresolved<'a>(
    db: &Db,
    provider: Provider,
    received_at: Timestamp,
    request_id: &str,
    events: impl Iterator<Item = &'a Event>,
) -> Result<()> {
    let columns = Columns::of(events, |event| {
        let (account, id) = key(event);
        let sealed = db
            .sealer()
            .seal("unresolved/webhook_events.payload", &event.kept())?;
        let hash = db.sealer().lookup_hash(
            "unresolved/webhook_events",
            &format!("{}/{account}/{id}", provider.as_str()),
        );
        Ok((repeatable_id(received_at, &hash), "unresolved", sealed.0))
    })?;
    let (tenant, now, provider) = (None::<Uuid>, db.clock().now(), provider.as_str());
    db.lookup(
        KEEP,
        &columns.params(&[&tenant, &provider, &request_id, &received_at, &now]),
    )
    .await
    .map(drop)
}

/// A `UUIDv7` of the time of receipt whose random part is a hash of the event: no tenant, no keys,
/// so the id itself has to recognise a repetition.
fn repeatable_id(received_at: Timestamp, hash: &[u8]) -> Uuid {
    let mut random = [0; 10];
    random.copy_from_slice(&hash[..10]);
    let millis = u64::try_from(received_at.as_millisecond()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

/// Events, a column each, as `unnest` takes them.
#[derive(Default)]
struct Columns<'a> {
    ids: Vec<Uuid>,
    accounts: Vec<&'a str>,
    external_ids: Vec<&'a str>,
    kinds: Vec<&'static str>,
    statuses: Vec<&'static str>,
    sealed: Vec<Vec<u8>>,
}

impl<'a> Columns<'a> {
    fn of(
        events: impl Iterator<Item = &'a Event>,
        stored: impl Fn(&Event) -> Result<(Uuid, &'static str, Vec<u8>)>,
    ) -> Result<Self> {
        let mut columns = Self::default();
        for event in events {
            let (id, status, sealed) = stored(event)?;
            columns.ids.push(id);
            columns.accounts.push(&event.account_key);
            columns.external_ids.push(&event.external_event_id);
            columns.kinds.push(event.kind.stored().0);
            columns.statuses.push(status);
            columns.sealed.push(sealed);
        }
        Ok(columns)
    }

    fn params<'b>(&'b self, first: &[&'b (dyn db::ToSql + Sync)]) -> Vec<&'b (dyn db::ToSql + Sync)> {
        let mut params = first.to_vec();
        params.extend_from_slice(&[
            &self.ids,
            &self.accounts,
            &self.external_ids,
            &self.kinds,
            &self.statuses,
            &self.sealed,
        ]);
        params
    }
}

/// Stores new messages with their conversations, and an event for each; returns how many.
async fn insert_messages(
    tx: &Tx,
    provider: Provider,
    received_at: Timestamp,
    messages: &[(&Event, &InboundMessage)],
) -> Result<usize> {
    let conversations = sender::conversations(tx, messages).await?;
    let context = context(tx, "messages.raw");
    let (mut ids, mut names, mut kinds, mut bodies) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut media, mut answered, mut raw, mut sent_at) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (event, message) in messages {
        ids.push(tx.clock().id());
        names.push(message.provider_message_id.as_str());
        kinds.push(message.kind);
        bodies.push(without_nul(message.body.clone()));
        media.push(storable(
            serde_json::to_value(&message.media).map_err(Error::internal)?,
        ));
        answered.push(message.reply_to_provider_message_id.as_deref());
        raw.push(tx.sealer().seal(&context, event.raw.to_string().as_bytes())?.0);
        sent_at.push(message.sent_at);
    }
    let (tenant, now, provider) = (tx.tenant().0, tx.clock().now(), provider.as_str());
    let params: db::Params<'_> = &[
        &tenant,
        &provider,
        &received_at,
        &now,
        &ids,
        &conversations,
        &names,
        &kinds,
        &bodies,
        &media,
        &answered,
        &raw,
        &sent_at,
    ];
    let stored = tx.query(INSERT_MESSAGES, params).await?;
    let told: Vec<(Uuid, Value)> = stored
        .iter()
        .map(|row| {
            (
                row.get(0),
                json!({ "conversation_id": row.get::<_, Uuid>(1), "provider": provider }),
            )
        })
        .collect();
    try_join_all(
        told.iter()
            .map(|(id, payload)| event::publish(tx, "message.received", *id, payload)),
    )
    .await?;
    Ok(told.len())
}

/// jsonb holds no NUL either.
fn storable(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(without_nul(text)),
        Value::Array(items) => items.into_iter().map(storable).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (name, storable(value)))
            .collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notifications::report::Status;

    #[test]
    fn whom_a_status_is_about_is_not_kept() {
        let event = |raw: Value| Event {
            account_id: Uuid::nil(),
            account_key: "AC1".to_owned(),
            external_event_id: "SM1:delivered".to_owned(),
            kind: Kind::Status(Report {
                provider_message_id: "SM1".to_owned(),
                status: Status::Delivered,
                occurred_at: Timestamp::UNIX_EPOCH,
                error: None,
                delivery_id: None,
            }),
            raw,
        };
        let kept = |raw| serde_json::from_slice::<Value>(&event(raw).kept()).unwrap();
        let twilio = json!({ "MessageSid": "SM1", "MessageStatus": "delivered", "AccountSid": "AC1", "ErrorCode": "30003",
                             "To": "whatsapp:+201001234567", "From": "whatsapp:+14155238886", "ChannelToAddress": "+2010****" });
        assert_eq!(
            kept(twilio),
            json!({ "MessageSid": "SM1", "MessageStatus": "delivered", "AccountSid": "AC1", "ErrorCode": "30003" })
        );
        let meta = json!({ "id": "wamid.1", "status": "read", "timestamp": "1", "recipient_id": "201001234567",
                           "recipient_identity_key_hash": "x" });
        assert_eq!(
            kept(meta),
            json!({ "id": "wamid.1", "status": "read", "timestamp": "1" })
        );
        let unreadable = Event {
            kind: Kind::Unreadable,
            ..event(json!({ "To": "x" }))
        };
        assert_eq!(unreadable.kept(), br#"{"To":"x"}"#);
    }
}
