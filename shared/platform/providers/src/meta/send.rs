//! `POST /{version}/{phone_number_id}/messages`.

use serde_json::{Value, json};

use super::error::meaning;
use crate::http::{Http, exchange};
use crate::send::{Accepted, Content, OutboundMessage, SendError, SendErrorKind};
use kernel::Secret;

/// Sends one WhatsApp message. Our id goes along as `biz_opaque_callback_data`, which Meta
/// repeats in every status of it.
///
/// # Errors
/// As [`crate::Account::send`].
pub async fn send(
    http: &Http,
    access_token: &Secret,
    message: &OutboundMessage,
) -> Result<Accepted, SendError> {
    let number = &message.from;
    // It becomes part of the path.
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(SendError::new(SendErrorKind::Permanent, "ACCOUNT"));
    }
    let url = format!("{}/{number}/messages", http.endpoints.meta_api_url);
    let payload = payload(message).ok_or_else(|| SendError::new(SendErrorKind::Permanent, "REJECTED"))?;
    let request = http
        .post(url, message)
        .bearer_auth(access_token.expose())
        .json(&payload);
    let answer = exchange(request).await?;
    let body = answer.body.as_ref();
    let sent = body
        .and_then(|body| body.pointer("/messages/0/id"))
        .and_then(Value::as_str);
    match sent.and_then(crate::inbound::id) {
        Some(provider_message_id) if answer.status.is_success() => Ok(Accepted { provider_message_id }),
        _ => {
            let code = body
                .and_then(|body| body.pointer("/error/code"))
                .and_then(Value::as_i64);
            Err(SendError::answered(&answer, code, code.and_then(meaning)))
        }
    }
}

/// `None` for an e-mail.
fn payload(message: &OutboundMessage) -> Option<Value> {
    let mut payload = json!({
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": message.to,
        "biz_opaque_callback_data": message.id,
    });
    match &message.content {
        Content::Text(text) => {
            payload["type"] = "text".into();
            payload["text"] = json!({ "body": text, "preview_url": false });
        }
        Content::Template {
            name,
            language,
            params,
        } => {
            payload["type"] = "template".into();
            // A name of Meta's has no dots; ours, which other providers know too, do.
            let ours = name.contains('.');
            payload["template"] = json!({ "name": name.replace('.', "_"), "language": { "code": language } });
            if !params.is_empty() {
                let parameters: Vec<_> = params
                    .iter()
                    .map(|text| json!({ "type": "text", "text": text }))
                    .collect();
                let mut components = vec![json!({ "type": "body", "parameters": parameters })];
                if ours && name.starts_with("otp.") {
                    // Templates of the category Authentication all have a button that copies the code.
                    components.push(
                        json!({ "type": "button", "sub_type": "url", "index": "0", "parameters": parameters }),
                    );
                }
                payload["template"]["components"] = components.into();
            }
        }
        Content::Email { .. } => return None,
    }
    Some(payload)
}
