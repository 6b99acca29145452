//! Messaging providers as this system sees them: webhook signatures, webhooks normalised to one
//! set of types, and senders whose failures say whether a retry is safe (S2, S6).
//!
//! Knows no tenant, no database and no cloud. What a provider sends is untrusted even when its
//! signature is right: a tenant holds its own app secret and can sign anything with it. So ids
//! are bounded, parsing is tolerant of each item by itself, and nothing recurses.

pub mod brevo;
pub mod devstub;
pub mod escape;
pub mod http;
pub mod inbound;
pub mod intake;
pub mod meta;
pub mod oidc;
pub mod send;
pub mod signature;
pub mod twilio;

pub use http::{Endpoints, Http, Timeouts};
pub use inbound::{
    Channel, DeliveryError, DeliveryStatus, EventKind, InboundEvent, InboundMessage, Media, MessageType,
    StatusUpdate,
};
pub use send::{Accepted, Account, Content, OutboundMessage, SendError, SendErrorKind};

/// Why a webhook body or a client could not be used. Carries no part of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderError {
    /// The body is not JSON, or not a JSON object.
    NotJson,
    /// The body is not a form, or has too many parameters.
    NotForm,
    /// The body names more accounts or holds more items than any real one.
    TooMany,
    /// The HTTP client could not be built.
    Client,
}

impl std::fmt::Display for ProviderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotJson => "the body is not a JSON object",
            Self::NotForm => "the body is not a readable form",
            Self::TooMany => "the body holds too many accounts or items",
            Self::Client => "the HTTP client could not be built",
        })
    }
}

impl std::error::Error for ProviderError {}
