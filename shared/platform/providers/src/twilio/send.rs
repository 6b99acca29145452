//! `POST /2010-04-01/Accounts/{sid}/Messages.json`.

use serde_json::{Map, Value};

use super::error::meaning;
use crate::http::{Http, exchange};
use crate::inbound::Channel;
use crate::send::{Accepted, Content, OutboundMessage, SendError, SendErrorKind};
use kernel::Secret;

/// Sends one SMS or WhatsApp message. Our id is the `ref` of the status callback's URL, which
/// Twilio signs together with the rest.
///
/// # Errors
/// As [`crate::Account::send`].
pub async fn send(
    http: &Http,
    account_sid: &str,
    auth_token: &Secret,
    message: &OutboundMessage,
) -> Result<Accepted, SendError> {
    // It becomes part of the path.
    if account_sid.is_empty() || !account_sid.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(SendError::new(SendErrorKind::Permanent, "ACCOUNT"));
    }
    let url = format!(
        "{}/2010-04-01/Accounts/{account_sid}/Messages.json",
        http.endpoints.twilio_api_url
    );
    let form = form(&http.endpoints.webhooks_url, message)
        .ok_or_else(|| SendError::new(SendErrorKind::Permanent, "REJECTED"))?;
    let request = http
        .post(url, message)
        .basic_auth(account_sid, Some(auth_token.expose()))
        .form(&form);
    let answer = exchange(request).await?;
    let body = answer.body.as_ref();
    let sid = body.and_then(|body| body.get("sid")).and_then(Value::as_str);
    match sid.and_then(crate::inbound::id) {
        Some(provider_message_id) if answer.status.is_success() => Ok(Accepted { provider_message_id }),
        _ => {
            let code = body.and_then(|body| body.get("code")).and_then(Value::as_i64);
            Err(SendError::answered(&answer, code, code.and_then(meaning)))
        }
    }
}

/// `None` for an e-mail.
fn form(webhooks_url: &str, message: &OutboundMessage) -> Option<Vec<(&'static str, String)>> {
    let address = |number: &str| match message.channel {
        Channel::Whatsapp => format!("whatsapp:{number}"),
        Channel::Sms | Channel::Email => number.to_owned(),
    };
    let reference: String = form_urlencoded::byte_serialize(message.id.as_bytes()).collect();
    let mut form = vec![
        ("From", address(&message.from)),
        ("To", address(&message.to)),
        (
            "StatusCallback",
            format!("{webhooks_url}/v1/webhooks/twilio?ref={reference}"),
        ),
    ];
    match &message.content {
        Content::Text(text) => form.push(("Body", text.clone())),
        Content::Template { name, params, .. } => {
            form.push(("ContentSid", name.clone()));
            if !params.is_empty() {
                let numbered: Map<String, Value> = params
                    .iter()
                    .enumerate()
                    .map(|(at, text)| ((at + 1).to_string(), text.as_str().into()))
                    .collect();
                form.push(("ContentVariables", Value::Object(numbered).to_string()));
            }
        }
        Content::Email { .. } => return None,
    }
    Some(form)
}
