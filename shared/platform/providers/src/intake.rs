//! A webhook on its way from the edge to the processor: verified, not yet read.

use jiff::Timestamp;
use kernel::SingleKey;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What the edge puts into the queue for one post of a provider.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Webhook {
    pub source: Source,
    pub received_at: Timestamp,
    pub body: WebhookBody,
    /// The query string; Twilio's status callbacks carry our reference there.
    pub query: String,
    /// The accounts whose secret signed it. None, when it was the global account's and no company
    /// has the account that the body names.
    pub accounts: Vec<VerifiedAccount>,
}

/// Who posted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    Meta,
    Twilio,
}

impl Source {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Twilio => "twilio",
        }
    }
}

/// The bytes as they came, or where they are: a queue message holds less than a webhook may.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookBody {
    Base64(String),
    /// An object of the bucket, and the key that opens it.
    Stored {
        object: String,
        key: SingleKey,
    },
}

/// An account of a company that a signature proved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedAccount {
    /// As webhooks name it. Meta: the `phone_number_id`; Twilio: the `AccountSid`, `/`, the number.
    pub provider_key: String,
    pub tenant_id: Uuid,
    pub account_id: Uuid,
}
