//! Who wrote: the conversations, and behind them the contacts, of a batch of messages.

use super::{Event, InboundMessage};
use crate::context;
use contacts::contact;
use db::Tx;
use kernel::{Code, Error, Result};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

const LOCK_SENDERS: &str = "SELECT pg_advisory_xact_lock(key) FROM (
        SELECT DISTINCT hashtextextended(encode(hash, 'hex'), 1) AS key FROM unnest($1::bytea[]) AS hash ORDER BY key
    ) ordered";

const KNOWN: &str = "SELECT c.id, c.channel_account_id, c.peer_hash
    FROM unnest($2::uuid[], $3::bytea[]) AS told (account_id, hash)
    JOIN conversations c ON c.tenant_id = $1 AND c.channel_account_id = told.account_id AND c.peer_hash = told.hash
    JOIN contacts p ON p.tenant_id = $1 AND p.id = c.contact_id
    WHERE p.archived_at IS NULL";

const UPSERT: &str = "INSERT INTO conversations
    (tenant_id, id, channel, channel_account_id, contact_id, peer_sealed, peer_hash, peer_masked, last_message_at,
     created_at, updated_at)
    SELECT $1, told.*, $10, $10
    FROM unnest($2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::bytea[], $7::bytea[], $8::text[], $9::timestamptz[])
         AS told
    ON CONFLICT (tenant_id, channel_account_id, peer_hash) DO UPDATE SET contact_id = excluded.contact_id
    RETURNING id, channel_account_id, peer_hash";

/// A conversation, as its account and the hash of the other side.
type Place = (Uuid, Vec<u8>);

/// The conversation of each message, in their order. Where there is none it is begun, with a
/// contact when the sender was nobody's; where its contact was deleted, it gets a new one.
///
/// Whoever stores messages of the same sender waits here, so each sender becomes one contact.
pub(super) async fn conversations(tx: &Tx, messages: &[(&Event, &InboundMessage)]) -> Result<Vec<Uuid>> {
    let hash_context = context(tx, "conversations.peer");
    let place = |event: &Event, message: &InboundMessage| -> Place {
        let address = format!("{}:{}", message.channel.as_str(), message.from.as_str());
        (event.account_id, tx.sealer().lookup_hash(&hash_context, &address))
    };
    let places: Vec<Place> = messages
        .iter()
        .map(|(event, message)| place(event, message))
        .collect();
    // By number, so that contacts are made in one order; the latest message names its sender.
    let mut first: BTreeMap<(&str, &Place), &InboundMessage> = BTreeMap::new();
    for (place, (_, message)) in places.iter().zip(messages) {
        let known = first.entry((message.from.as_str(), place)).or_insert(message);
        if message.profile_name.is_some() {
            *known = message;
        }
    }
    let (accounts, hashes): (Vec<Uuid>, Vec<&[u8]>) =
        places.iter().map(|(id, hash)| (*id, hash.as_slice())).unzip();
    tx.query(LOCK_SENDERS, &[&hashes]).await?;
    let rows = tx.query(KNOWN, &[&tx.tenant().0, &accounts, &hashes]).await?;
    let mut ids: HashMap<Place, Uuid> = rows
        .iter()
        .map(|row| ((row.get(1), row.get(2)), row.get(0)))
        .collect();
    first.retain(|(_, place), _| !ids.contains_key(*place));
    if !first.is_empty() {
        ids.extend(begin(tx, &first).await?);
    }
    let found = places.iter().map(|place| ids.get(place).copied());
    found
        .collect::<Option<_>>()
        .ok_or_else(|| Error::internal("a message is left without a conversation"))
}

async fn begin(tx: &Tx, first: &BTreeMap<(&str, &Place), &InboundMessage>) -> Result<Vec<(Place, Uuid)>> {
    let now = tx.clock().now();
    let context = context(tx, "conversations.peer");
    let (mut ids, mut channels, mut accounts, mut people) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut sealed, mut hashes, mut masked, mut times) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut contacts: HashMap<&str, Uuid> = HashMap::new();
    for ((number, (account_id, hash)), message) in first {
        let contact_id = match contacts.get(number) {
            Some(known) => *known,
            None => contact_of(tx, message).await?,
        };
        contacts.insert(number, contact_id);
        ids.push(tx.clock().id());
        channels.push(message.channel.as_str());
        accounts.push(*account_id);
        people.push(contact_id);
        sealed.push(tx.sealer().seal(&context, number.as_bytes())?.0);
        hashes.push(hash.as_slice());
        masked.push(message.from.masked());
        times.push(message.sent_at);
    }
    let params: db::Params<'_> = &[
        &tx.tenant().0,
        &ids,
        &channels,
        &accounts,
        &people,
        &sealed,
        &hashes,
        &masked,
        &times,
        &now,
    ];
    let rows = tx.query(UPSERT, params).await?;
    Ok(rows
        .iter()
        .map(|row| ((row.get(1), row.get(2)), row.get(0)))
        .collect())
}

async fn contact_of(tx: &Tx, message: &InboundMessage) -> Result<Uuid> {
    let name = message.profile_name.as_deref();
    let found = contact::find_or_create_by_phone(tx, &message.from, name, tx.clock().now()).await;
    found.map_err(|error| match error.code() {
        // A person made the same contact at this moment: found when this is tried again.
        Code::Duplicate => Error::unavailable(error),
        _ => error,
    })
}
