//! One WhatsApp message, of any type, as an [`InboundMessage`].

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::inbound::{Channel, InboundMessage, Media, MessageType, e164, id, instant, place};

/// Reads a message. What it is may be unknown, and then it is [`MessageType::Unsupported`]; who
/// sent it and its id may not.
pub(super) fn read(
    message: &Value,
    profile_names: &HashMap<String, String>,
    our_number: &str,
    received_at: Timestamp,
) -> Result<InboundMessage, &'static str> {
    let wa_id = text(message, "from").unwrap_or_default();
    let (kind, body, media) = content(message).unwrap_or_else(|| {
        (
            MessageType::Unsupported,
            "[unsupported message]".into(),
            Vec::new(),
        )
    });
    let answered = match kind {
        MessageType::Reaction => message.pointer("/reaction/message_id"),
        _ => message.pointer("/context/id"),
    };
    Ok(InboundMessage {
        provider_message_id: text(message, "id").and_then(id).ok_or("no message id")?,
        channel: Channel::Whatsapp,
        from_e164: e164(wa_id).ok_or("no sender")?,
        to: e164(our_number).unwrap_or_else(|| id(our_number).unwrap_or_default()),
        profile_name: profile_names.get(wa_id).cloned(),
        sent_at: instant(unix_seconds(message), received_at),
        kind,
        body,
        media,
        reply_to: answered.and_then(Value::as_str).and_then(id),
    })
}

/// `timestamp`, which Meta sends as a string of seconds.
pub(super) fn unix_seconds(item: &Value) -> Option<i64> {
    let timestamp = item.get("timestamp")?;
    timestamp.as_i64().or_else(|| timestamp.as_str()?.parse().ok())
}

/// Type, readable body and attachments; `None` when the type is unknown or lacks its part.
fn content(message: &Value) -> Option<(MessageType, String, Vec<Media>)> {
    let name = text(message, "type")?;
    let part = message.get(name);
    let plain = |kind, body| Some((kind, body, Vec::new()));
    match name {
        "text" => plain(MessageType::Text, text(part?, "body")?.into()),
        "image" => media(MessageType::Image, part?),
        "audio" => media(MessageType::Audio, part?),
        "video" => media(MessageType::Video, part?),
        "document" => media(MessageType::Document, part?),
        "sticker" => media(MessageType::Sticker, part?),
        "location" => plain(MessageType::Location, location(part?)?),
        "contacts" => plain(MessageType::Contacts, names(part?)?),
        "button" => plain(
            MessageType::Button,
            text(part?, "text").or_else(|| text(part?, "payload"))?.into(),
        ),
        "interactive" => plain(MessageType::Interactive, interactive(part?)),
        "reaction" => plain(MessageType::Reaction, reaction(part?)),
        "order" => plain(MessageType::Order, order(part?)?),
        "system" => plain(
            MessageType::System,
            text(part?, "body").unwrap_or("[system message]").into(),
        ),
        _ => None,
    }
}

fn media(kind: MessageType, part: &Value) -> Option<(MessageType, String, Vec<Media>)> {
    let field = |name| text(part, name).map(str::to_owned);
    let media = Media {
        provider_media_id: text(part, "id").and_then(id),
        url: field("url"),
        mime_type: field("mime_type"),
        sha256: field("sha256"),
        filename: field("filename"),
    };
    if media.provider_media_id.is_none() && media.url.is_none() {
        return None;
    }
    let caption = field("caption").filter(|caption| !caption.is_empty());
    let body = caption.unwrap_or_else(|| format!("[{}]", kind.as_str()));
    Some((kind, body, vec![media]))
}

fn location(part: &Value) -> Option<String> {
    let (latitude, longitude) = (part.get("latitude")?.as_f64()?, part.get("longitude")?.as_f64()?);
    let name = text(part, "name")
        .or_else(|| text(part, "address"))
        .filter(|name| !name.is_empty());
    Some(place(name, latitude, longitude))
}

fn names(part: &Value) -> Option<String> {
    let names: Vec<_> = part
        .as_array()?
        .iter()
        .filter_map(|card| {
            let name = card.get("name")?;
            text(name, "formatted_name").or_else(|| text(name, "first_name"))
        })
        .collect();
    Some(if names.is_empty() {
        "[contacts]".into()
    } else {
        names.join(", ")
    })
}

fn interactive(part: &Value) -> String {
    let title = ["button_reply", "list_reply"]
        .iter()
        .find_map(|kind| text(part.get(kind)?, "title"));
    let form = || text(part.get("nfm_reply")?, "body");
    title.or_else(form).unwrap_or("[interactive]").into()
}

fn reaction(part: &Value) -> String {
    let emoji = text(part, "emoji").filter(|emoji| !emoji.is_empty());
    emoji.unwrap_or("[reaction removed]").into()
}

fn order(part: &Value) -> Option<String> {
    Some(match part.get("product_items")?.as_array()?.len() {
        1 => "[order: 1 item]".into(),
        count => format!("[order: {count} items]"),
    })
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}
