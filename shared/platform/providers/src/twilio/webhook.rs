//! Twilio's webhooks: one form, one event. The same fields may come as a JSON object.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::ProviderError;
use crate::inbound::{
    Channel, DeliveryError, DeliveryStatus, InboundEvent, InboundMessage, Media, MessageType, StatusUpdate,
    e164, id, place,
};

/// More parameters than any webhook of Twilio's has.
const MAX_PARAMETERS: usize = 256;
/// A message has at most ten attachments.
const MAX_MEDIA: usize = 10;

/// The `AccountSid` of a body: whose token signed it. `None` when it names none.
///
/// # Errors
/// [`ProviderError::NotForm`].
pub fn account_sid(body: &[u8]) -> Result<Option<String>, ProviderError> {
    Ok(Form::parse(body)?.get("AccountSid").and_then(id))
}

/// Our id of a message, from the query of the status callback's URL.
pub fn client_ref(query: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs
        .find(|(name, _)| name == "ref")
        .and_then(|(_, value)| id(&value))
}

/// The event of a body; `None` for statuses that say nothing new (`queued`, `sending`, …).
/// Twilio sends no time, so `received_at` is the time. `client_ref` is what [`client_ref`] found.
///
/// # Errors
/// [`ProviderError::NotForm`].
pub fn event(
    body: &[u8],
    client_ref: Option<&str>,
    received_at: Timestamp,
) -> Result<Option<InboundEvent>, ProviderError> {
    let form = Form::parse(body)?;
    let account_key = form.get("AccountSid").and_then(id).unwrap_or_default();
    let read = read(&form, &account_key, client_ref, received_at);
    let raw = form.into_json();
    Ok(match read {
        Ok(event) => event.map(|event| InboundEvent { raw, ..event }),
        Err(reason) => Some(InboundEvent::unreadable(&account_key, raw, reason)),
    })
}

fn read(
    form: &Form,
    account_key: &str,
    client_ref: Option<&str>,
    received_at: Timestamp,
) -> Result<Option<InboundEvent>, &'static str> {
    if account_key.is_empty() {
        return Err("no account");
    }
    let Some(status) = form.get("MessageStatus") else {
        let message = message(form, received_at)?;
        return Ok(Some(InboundEvent::message(account_key, Value::Null, message)));
    };
    let status = match status {
        "accepted" | "scheduled" | "queued" | "sending" => return Ok(None),
        "sent" => DeliveryStatus::Sent,
        "delivered" => DeliveryStatus::Delivered,
        "read" => DeliveryStatus::Read,
        "failed" | "undelivered" | "canceled" => DeliveryStatus::Failed,
        _ => return Err("unknown status"),
    };
    let update = status_update(form, status, client_ref, received_at)?;
    Ok(Some(InboundEvent::status(account_key, Value::Null, update)))
}

fn status_update(
    form: &Form,
    status: DeliveryStatus,
    client_ref: Option<&str>,
    received_at: Timestamp,
) -> Result<StatusUpdate, &'static str> {
    let code = form.get("ErrorCode").filter(|_| status == DeliveryStatus::Failed);
    Ok(StatusUpdate {
        provider_message_id: form.message_sid()?,
        status,
        at: received_at,
        error: code.map(|code| DeliveryError {
            code: id(code).unwrap_or_default(),
            title: form.get("ErrorMessage").and_then(id).unwrap_or_default(),
        }),
        client_ref: client_ref.and_then(id),
    })
}

fn message(form: &Form, received_at: Timestamp) -> Result<InboundMessage, &'static str> {
    let (channel, from) = address(form.get("From").unwrap_or_default());
    let (_, to) = address(form.get("To").unwrap_or_default());
    let media = media(form);
    let (kind, body) = content(form, &media);
    Ok(InboundMessage {
        provider_message_id: form.message_sid()?,
        channel,
        from_e164: e164(from).ok_or("no sender")?,
        to: e164(to).unwrap_or_else(|| id(to).unwrap_or_default()),
        profile_name: form.get("ProfileName").map(str::to_owned),
        sent_at: received_at,
        kind,
        body,
        media,
        reply_to: form.get("OriginalRepliedMessageSid").and_then(id),
    })
}

/// The channel and number of `whatsapp:+2010…` or `+2010…`.
fn address(address: &str) -> (Channel, &str) {
    match address.strip_prefix("whatsapp:") {
        Some(number) => (Channel::Whatsapp, number),
        None => (Channel::Sms, address),
    }
}

fn content(form: &Form, media: &[Media]) -> (MessageType, String) {
    let body = form.get("Body").unwrap_or_default();
    let title = |name: &str| form.get(name).filter(|title| !title.is_empty());
    if let Some(text) = title("ButtonText") {
        let kind = match form.get("MessageType") {
            Some("interactive") => MessageType::Interactive,
            _ => MessageType::Button,
        };
        return (kind, text.into());
    }
    if let Some(text) = title("ListTitle") {
        return (MessageType::Interactive, text.into());
    }
    if let (Some(latitude), Some(longitude)) = (form.number("Latitude"), form.number("Longitude")) {
        let name = title("Label").or_else(|| title("Address"));
        return (MessageType::Location, place(name, latitude, longitude));
    }
    if let Some(first) = media.first() {
        let kind = media_type(
            form.get("MessageType"),
            first.mime_type.as_deref().unwrap_or_default(),
        );
        let readable = if body.is_empty() {
            format!("[{}]", kind.as_str())
        } else {
            body.into()
        };
        return (kind, readable);
    }
    match form.get("Body") {
        Some(body) => (MessageType::Text, body.into()),
        None => (MessageType::Unsupported, "[unsupported message]".into()),
    }
}

fn media_type(declared: Option<&str>, mime_type: &str) -> MessageType {
    match mime_type.split('/').next() {
        _ if declared == Some("sticker") => MessageType::Sticker,
        Some("image") => MessageType::Image,
        Some("audio") => MessageType::Audio,
        Some("video") => MessageType::Video,
        _ if matches!(mime_type, "text/vcard" | "text/x-vcard") => MessageType::Contacts,
        _ => MessageType::Document,
    }
}

fn media(form: &Form) -> Vec<Media> {
    let count = form
        .get("NumMedia")
        .and_then(|count| count.parse().ok())
        .unwrap_or(0usize);
    (0..count.min(MAX_MEDIA))
        .filter_map(|at| {
            let url = form.get(&format!("MediaUrl{at}"))?;
            Some(Media {
                url: Some(url.into()),
                mime_type: form.get(&format!("MediaContentType{at}")).map(str::to_owned),
                ..Media::default()
            })
        })
        .collect()
}

/// The parameters by name. Of a repeated one the first counts; all are kept in the raw form.
struct Form(BTreeMap<String, Vec<String>>);

impl Form {
    fn parse(body: &[u8]) -> Result<Self, ProviderError> {
        // No field name begins with a brace.
        if body.first() == Some(&b'{') {
            return Self::from_json(body);
        }
        let mut form = BTreeMap::<String, Vec<String>>::new();
        for (at, (name, value)) in form_urlencoded::parse(body).enumerate() {
            if at == MAX_PARAMETERS {
                return Err(ProviderError::NotForm);
            }
            form.entry(without_nul(&name))
                .or_default()
                .push(without_nul(&value));
        }
        Ok(Self(form))
    }

    fn from_json(body: &[u8]) -> Result<Self, ProviderError> {
        let fields: Map<String, Value> = serde_json::from_slice(body).map_err(|_| ProviderError::NotForm)?;
        if fields.len() > MAX_PARAMETERS {
            return Err(ProviderError::NotForm);
        }
        let text = |value| match value {
            Value::String(text) => without_nul(&text),
            other => other.to_string(),
        };
        let fields = fields
            .into_iter()
            .map(|(name, value)| (without_nul(&name), vec![text(value)]));
        Ok(Self(fields.collect()))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.first().map(String::as_str)
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.get(name)?
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
    }

    fn message_sid(&self) -> Result<String, &'static str> {
        self.get("MessageSid")
            .or_else(|| self.get("SmsSid"))
            .and_then(id)
            .ok_or("no message id")
    }

    fn into_json(self) -> Value {
        let fields = self.0.into_iter().map(|(name, mut values)| {
            let value = if values.len() == 1 {
                Value::from(values.remove(0))
            } else {
                Value::from(values)
            };
            (name, value)
        });
        Value::Object(fields.collect())
    }
}

/// Postgres stores no NUL.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests;
