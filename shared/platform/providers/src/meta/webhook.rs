//! Meta's webhook bodies: `entry[].changes[].value`, with `metadata.phone_number_id` naming the
//! account and any number of `messages` and `statuses` beside it.
//!
//! One walk serves both readers: the edge, which must know every account that a body touches in
//! order to check the signature, and the processor, which acts for those accounts. Were there two
//! walks, a body could show one account to the first and another to the second.

use std::borrow::Cow;
use std::collections::HashMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::message;
use crate::ProviderError;
use crate::escape::safe;
use crate::inbound::{DeliveryError, DeliveryStatus, InboundEvent, StatusUpdate, id, instant};

/// More accounts than Meta puts into one body.
pub const MAX_ACCOUNTS: usize = 100;
/// More messages and statuses than Meta puts into one body, which is 3 MB at most.
pub const MAX_ITEMS: usize = 10_000;

/// The query of Meta's GET handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// To be checked with [`crate::signature::meta_verify_token`].
    pub verify_token: String,
    /// To be answered, as plain text.
    pub challenge: String,
}

impl Challenge {
    /// Reads `hub.mode=subscribe&hub.verify_token=…&hub.challenge=…`; `None` for anything else.
    pub fn from_query(query: &str) -> Option<Self> {
        let find = |wanted: &str| {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            pairs
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value.into_owned())
        };
        (find("hub.mode")? == "subscribe").then_some(())?;
        Some(Self {
            verify_token: find("hub.verify_token")?,
            challenge: find("hub.challenge")?,
        })
    }
}

/// The accounts of a body: each `phone_number_id` once, in order. Messages are skipped over, not
/// built. Shapes that are not known are passed over, so the list may be empty.
///
/// # Errors
/// [`ProviderError::NotJson`], [`ProviderError::TooMany`] past [`MAX_ACCOUNTS`] or [`MAX_ITEMS`].
pub fn phone_number_ids(body: &[u8]) -> Result<Vec<String>, ProviderError> {
    let mut ids: Vec<String> = Vec::new();
    for change in walk(&safe(body))? {
        if !change.account_key.is_empty() && !ids.contains(&change.account_key) {
            ids.push(change.account_key);
        }
        if ids.len() > MAX_ACCOUNTS {
            return Err(ProviderError::TooMany);
        }
    }
    Ok(ids)
}

/// The events of a body, in order. A message or status that cannot be read costs only itself.
/// `received_at` stands in for times that are missing or wrong.
///
/// # Errors
/// As [`phone_number_ids`].
pub fn events(body: &[u8], received_at: Timestamp) -> Result<Vec<InboundEvent>, ProviderError> {
    let mut events = Vec::new();
    for change in walk(&safe(body))? {
        let key = change.account_key.as_str();
        let names = profile_names(change.contacts);
        for raw in &change.messages {
            events.push(event(key, raw, |value| {
                let message = message::read(value, &names, &change.our_number, received_at)?;
                Ok(InboundEvent::message(key, Value::Null, message))
            }));
        }
        for raw in &change.statuses {
            events.push(event(key, raw, |value| {
                Ok(InboundEvent::status(
                    key,
                    Value::Null,
                    status(value, received_at)?,
                ))
            }));
        }
    }
    Ok(events)
}

/// Builds one item and what it means; whatever goes wrong, something of it remains.
fn event(
    account_key: &str,
    raw: &RawValue,
    read: impl FnOnce(&Value) -> Result<InboundEvent, &'static str>,
) -> InboundEvent {
    // Too deep, or a number out of range: kept as text.
    let Ok(value) = serde_json::from_str::<Value>(raw.get()) else {
        return InboundEvent::unreadable(account_key, Value::String(raw.get().into()), "not buildable");
    };
    if account_key.is_empty() {
        return InboundEvent::unreadable(account_key, value, "no account");
    }
    match read(&value) {
        Ok(event) => InboundEvent { raw: value, ..event },
        Err(reason) => InboundEvent::unreadable(account_key, value, reason),
    }
}

fn status(value: &Value, received_at: Timestamp) -> Result<StatusUpdate, &'static str> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let status = match text("status") {
        Some("sent") => DeliveryStatus::Sent,
        Some("delivered") => DeliveryStatus::Delivered,
        // A voice message that was played was read.
        Some("read" | "played") => DeliveryStatus::Read,
        Some("failed") => DeliveryStatus::Failed,
        _ => return Err("unknown status"),
    };
    let error = value.get("errors").and_then(|errors| errors.get(0));
    Ok(StatusUpdate {
        provider_message_id: text("id").and_then(id).ok_or("no message id")?,
        status,
        at: instant(message::unix_seconds(value), received_at),
        error: error
            .filter(|_| status == DeliveryStatus::Failed)
            .map(|error| DeliveryError {
                code: error.get("code").map(scalar).unwrap_or_default(),
                title: error.get("title").map(scalar).unwrap_or_default(),
            }),
        client_ref: text("biz_opaque_callback_data").and_then(id),
    })
}

/// A string or number as text.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => id(text).unwrap_or_default(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

/// One change of a body, its items not built yet.
struct Change<'a> {
    account_key: String,
    our_number: String,
    contacts: Option<&'a RawValue>,
    messages: Vec<&'a RawValue>,
    statuses: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    entry: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    changes: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ChangeItem<'a> {
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ChangeValue<'a> {
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    contacts: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    #[serde(borrow)]
    statuses: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct Metadata<'a> {
    #[serde(borrow, default)]
    phone_number_id: Cow<'a, str>,
    #[serde(borrow, default)]
    display_phone_number: Cow<'a, str>,
}

fn walk(body: &str) -> Result<Vec<Change<'_>>, ProviderError> {
    let body: Body = serde_json::from_str(body).map_err(|_| ProviderError::NotJson)?;
    let entries = array(body.entry).into_iter().filter_map(shape::<Entry>);
    let changes = entries
        .flat_map(|entry| array(entry.changes))
        .filter_map(shape::<ChangeItem>);
    let mut found = Vec::new();
    let mut items = 0;
    for value in changes.filter_map(|change| shape::<ChangeValue>(change.value?)) {
        let metadata = value.metadata.and_then(shape::<Metadata>).unwrap_or_default();
        let (messages, statuses) = (array(value.messages), array(value.statuses));
        items += messages.len() + statuses.len();
        if items > MAX_ITEMS {
            return Err(ProviderError::TooMany);
        }
        found.push(Change {
            account_key: id(&metadata.phone_number_id).unwrap_or_default(),
            our_number: metadata.display_phone_number.into_owned(),
            contacts: value.contacts,
            messages,
            statuses,
        });
    }
    Ok(found)
}

/// The items of an array; none of anything else.
fn array(raw: Option<&RawValue>) -> Vec<&RawValue> {
    raw.and_then(shape).unwrap_or_default()
}

fn shape<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

/// The names that senders chose, by `wa_id`.
fn profile_names(contacts: Option<&RawValue>) -> HashMap<String, String> {
    let contacts = array(contacts).into_iter().filter_map(shape::<Value>);
    contacts
        .filter_map(|contact| {
            let wa_id = contact.get("wa_id")?.as_str()?.to_owned();
            Some((wa_id, contact.pointer("/profile/name")?.as_str()?.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests;
