//! What providers tell us, in one form for all of them (S6).
//!
//! These types hold phone numbers, names and message texts, so their `Debug` shows ids and kinds
//! only.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use kernel::phone::Phone;
use serde_json::Value;

use crate::signature::hex;

/// Ids longer than this are no provider's; a unique index could not hold them.
pub const MAX_ID_BYTES: usize = 256;
const MAX_NAME_BYTES: usize = 512;
const MAX_BODY_BYTES: usize = 64 * 1024;

/// One thing that happened, of one account.
#[derive(Clone, PartialEq)]
pub struct InboundEvent {
    /// Meta: the `phone_number_id`. Twilio: the `AccountSid`. Empty when the body named none.
    pub account_key: String,
    /// Equal for every delivery of the same event and for no other event of the account: the
    /// message's id, or the message's id and the status.
    pub external_event_id: String,
    /// What happened.
    pub kind: EventKind,
    /// What the provider sent for it. A string when it is no JSON that can be built.
    pub raw: Value,
}

/// The kinds of event.
#[derive(Debug, Clone, PartialEq)]
pub enum EventKind {
    /// A person wrote to us.
    Message(InboundMessage),
    /// News of a message of ours.
    Status(StatusUpdate),
    /// Neither: no id, no sender, an unknown status. To be kept and looked at, not acted upon.
    Unreadable {
        /// What was missing, in our words.
        reason: &'static str,
    },
}

/// Where a conversation takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// WhatsApp, through Meta or Twilio.
    Whatsapp,
    /// SMS.
    Sms,
    /// E-mail, through Brevo; nobody answers it here yet.
    Email,
}

impl Channel {
    /// As stored: `whatsapp`, `sms` or `email`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Whatsapp => "whatsapp",
            Self::Sms => "sms",
            Self::Email => "email",
        }
    }
}

/// A message from a person.
#[derive(Clone, PartialEq)]
pub struct InboundMessage {
    /// `wamid.…` or a Twilio `MessageSid`.
    pub provider_message_id: String,
    /// The channel it came through.
    pub channel: Channel,
    /// The sender, E.164 with `+`.
    pub from_e164: String,
    /// Our number, E.164 with `+` where the provider gave one, else as given.
    pub to: String,
    /// The name that the sender chose.
    pub profile_name: Option<String>,
    /// When it was sent, by the provider's clock; the time of receipt where the provider names
    /// none, and never later than that.
    pub sent_at: Timestamp,
    /// The type.
    pub kind: MessageType,
    /// Something to read for every type: the text, a caption, `[image]`, `📍 name (lat, lng)`, a
    /// button's title, an emoji or `[reaction removed]`, contacts' names, `[order: 3 items]`,
    /// `[unsupported message]`.
    pub body: String,
    /// Attachments, at the provider still.
    pub media: Vec<Media>,
    /// Provider's id of the message that this one answers or reacts to.
    pub reply_to: Option<String>,
}

/// An attachment that the provider holds.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Media {
    /// Meta: the id to ask for a URL with.
    pub provider_media_id: Option<String>,
    /// Where it can be fetched, with the account's credentials. Meta's expires within minutes.
    pub url: Option<String>,
    /// As the provider says, `audio/ogg; codecs=opus`.
    pub mime_type: Option<String>,
    /// Base64, as the provider says.
    pub sha256: Option<String>,
    /// A document's name.
    pub filename: Option<String>,
}

/// Types of message, of all providers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum MessageType {
    Text,
    Image,
    Audio,
    Video,
    Document,
    Sticker,
    Location,
    Contacts,
    Button,
    Interactive,
    Reaction,
    Order,
    System,
    Unsupported,
}

impl MessageType {
    /// As stored and as answered, `text` to `unsupported`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Image => "image",
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Document => "document",
            Self::Sticker => "sticker",
            Self::Location => "location",
            Self::Contacts => "contacts",
            Self::Button => "button",
            Self::Interactive => "interactive",
            Self::Reaction => "reaction",
            Self::Order => "order",
            Self::System => "system",
            Self::Unsupported => "unsupported",
        }
    }
}

/// News of a message of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusUpdate {
    /// The id that the provider gave the message.
    pub provider_message_id: String,
    /// The new status.
    pub status: DeliveryStatus,
    /// When it was reached, as [`InboundMessage::sent_at`].
    pub at: Timestamp,
    /// Why it failed.
    pub error: Option<DeliveryError>,
    /// Our own id of the message, where the provider carried it: it identifies the row even
    /// before the provider's id has been written to it.
    pub client_ref: Option<String>,
}

/// Why a message failed after it was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryError {
    /// The provider's code.
    pub code: String,
    /// The provider's short text; empty where there is none.
    pub title: String,
}

/// How far a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryStatus {
    /// Left the provider.
    Sent,
    /// Reached the device.
    Delivered,
    /// Was opened.
    Read,
    /// Will not arrive.
    Failed,
}

impl DeliveryStatus {
    /// As stored: `sent`, `delivered`, `read`, `failed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Failed => "failed",
        }
    }
}

impl InboundEvent {
    /// An event that could not be read. Its id is a hash of what was sent, so that a redelivery
    /// is recognised.
    pub(crate) fn unreadable(account_key: &str, raw: Value, reason: &'static str) -> Self {
        let external_event_id = hex(digest(&SHA256, raw.to_string().as_bytes()).as_ref());
        Self {
            account_key: account_key.into(),
            external_event_id,
            kind: EventKind::Unreadable { reason },
            raw,
        }
    }

    pub(crate) fn message(account_key: &str, raw: Value, mut message: InboundMessage) -> Self {
        message.profile_name = message
            .profile_name
            .filter(|name| !name.is_empty())
            .map(|name| cut(name, MAX_NAME_BYTES));
        message.body = cut(message.body, MAX_BODY_BYTES);
        let external_event_id = message.provider_message_id.clone();
        Self {
            account_key: account_key.into(),
            external_event_id,
            kind: EventKind::Message(message),
            raw,
        }
    }

    pub(crate) fn status(account_key: &str, raw: Value, status: StatusUpdate) -> Self {
        let external_event_id = format!("{}:{}", status.provider_message_id, status.status.as_str());
        Self {
            account_key: account_key.into(),
            external_event_id,
            kind: EventKind::Status(status),
            raw,
        }
    }
}

/// An id that a unique index can hold.
pub(crate) fn id(text: &str) -> Option<String> {
    (!text.is_empty() && text.len() <= MAX_ID_BYTES).then(|| text.to_owned())
}

/// `+` and digits, from a number in international form with or without the `+`.
pub(crate) fn e164(number: &str) -> Option<String> {
    Phone::from_provider(number).map(|phone| phone.as_str().to_owned())
}

/// The instant of a Unix time in seconds, or `received_at` where it is missing, unreadable,
/// before 1970 or still to come.
pub(crate) fn instant(unix_s: Option<i64>, received_at: Timestamp) -> Timestamp {
    unix_s
        .filter(|seconds| *seconds >= 0)
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .map_or(received_at, |at| at.min(received_at))
}

/// `📍 name (lat, lng)`, or `📍 (lat, lng)`.
pub(crate) fn place(name: Option<&str>, latitude: f64, longitude: f64) -> String {
    let name = name.map(|name| format!("{name} ")).unwrap_or_default();
    format!("📍 {name}({latitude}, {longitude})")
}

/// At most `max` bytes, cut between characters.
fn cut(mut text: String, max: usize) -> String {
    text.truncate(text.floor_char_boundary(max));
    text
}

impl fmt::Debug for InboundEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboundEvent")
            .field("account_key", &self.account_key)
            .field("external_event_id", &self.external_event_id)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for InboundMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboundMessage")
            .field("provider_message_id", &self.provider_message_id)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Media")
            .field("mime_type", &self.mime_type)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_out_of_reason_fall_back_to_the_receipt() {
        let received: Timestamp = "2026-05-01T10:00:00Z".parse().unwrap();
        let sent: Timestamp = "2026-05-01T09:59:58Z".parse().unwrap();
        assert_eq!(instant(Some(sent.as_second()), received), sent);
        for odd in [None, Some(-1), Some(i64::MAX), Some(received.as_second() + 60)] {
            assert_eq!(instant(odd, received), received);
        }
    }

    #[test]
    fn debug_shows_no_person() {
        let event = InboundEvent::message(
            "1",
            Value::Null,
            InboundMessage {
                provider_message_id: "wamid.1".into(),
                channel: Channel::Whatsapp,
                from_e164: "+201001234567".into(),
                to: "+20233334444".into(),
                profile_name: Some("Salma".into()),
                sent_at: Timestamp::UNIX_EPOCH,
                kind: MessageType::Text,
                body: "é".repeat(MAX_BODY_BYTES),
                media: vec![Media {
                    url: Some("https://example.com/x".into()),
                    ..Media::default()
                }],
                reply_to: None,
            },
        );
        let EventKind::Message(message) = &event.kind else {
            panic!("a message")
        };
        assert_eq!(message.body.len(), MAX_BODY_BYTES);
        let printed = format!("{event:?}{:?}", message.media);
        for secret in ["2010", "2023", "Salma", "é", "example.com"] {
            assert!(!printed.contains(secret));
        }
    }
}
