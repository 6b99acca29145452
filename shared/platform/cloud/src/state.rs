//! The `DynamoDB` table of what must be fast, shared and forgotten: `pk`, `sk`, and `expires_at` (TTL,
//! seconds). Nothing in it is the only copy of a business fact.

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_dynamodb::{Client, primitives::Blob};
use kernel::Sealer;
use std::collections::HashMap;
use std::fmt::{Display, Write as _};

pub type Item = HashMap<String, AttributeValue>;

#[derive(Clone, Debug)]
pub struct Table {
    pub client: Client,
    pub name: String,
}

/// What is counted: an id as it is, or something personal as its keyed hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// A key that tells nothing of a person: an id of ours.
    #[must_use]
    pub fn id(id: impl Display) -> Self {
        Self(id.to_string())
    }

    /// An e-mail, a phone number, an IP address, or any mix of them with ids, already normalised.
    #[must_use]
    pub fn personal(sealer: &Sealer, text: &str) -> Self {
        Self(hex(&sealer.lookup_hash("state-key", text)))
    }
}

impl Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

pub fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub fn number(value: impl Display) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub fn binary(value: Vec<u8>) -> AttributeValue {
    AttributeValue::B(Blob::new(value))
}

pub fn text_of<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

pub fn number_of(item: &Item, name: &str) -> Option<i64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}
