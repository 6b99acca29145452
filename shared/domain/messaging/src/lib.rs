//! Conversations with people over provider accounts: what comes in, what goes out, how it fares.

pub mod account;
pub mod conversation;
pub mod delivery;
pub mod gdpr;
pub mod inbound;
pub mod message;
pub mod reply;
pub mod retention;

use kernel::{Error, Result};
use schemars::JsonSchema;
use serde::de::{DeserializeOwned, value};
use serde::{Deserialize, Serialize};

/// Where a conversation takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    Whatsapp,
    Sms,
}

impl Channel {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Whatsapp => "whatsapp",
            Self::Sms => "sms",
        }
    }
}

/// Reads a code that the schema checks.
fn coded<T: DeserializeOwned>(code: &str) -> Result<T> {
    let deserializer = value::StrDeserializer::<value::Error>::new(code);
    T::deserialize(deserializer).map_err(|_| Error::internal("the database holds a code that is not known"))
}

/// The context that a field of this tenant is sealed in.
fn context(tx: &db::Tx, field: &str) -> String {
    format!("{}/{field}", tx.tenant())
}
