//! Statuses posted back, signed, as the provider writes them.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use kernel::Secret;
use providers::signature::{sign_meta, sign_twilio_form};
use serde_json::{Value, json};

use super::behaviour::StatusWebhooks;
use super::call::{Call, Provider, Sent};
use super::state::Shared;

const DELAY_MS: u64 = 50;
/// Providers retry for days; a few times in quick succession does for a stack that starts.
const ATTEMPTS: u32 = 5;

/// One webhook, ready to be posted.
struct Post {
    url: String,
    content_type: &'static str,
    signature: (&'static str, String),
    body: String,
}

/// Posts the statuses of an accepted message, if any were asked for, in the background.
pub(super) fn start(state: &Arc<Shared>, provider: Provider, call: &Call, sent: &Sent) {
    let Some(webhooks) = state.status_webhooks(provider) else {
        return;
    };
    let secret = Secret::new(webhooks.app_secret.clone());
    let now = state.clock.now().as_second();
    let posts: Vec<Post> = webhooks
        .sequence
        .iter()
        .filter_map(|status| match provider {
            Provider::Meta => meta(&webhooks, &secret, call, sent, status, now),
            Provider::Twilio => twilio(&webhooks, &secret, call, sent, status),
            Provider::Infobip | Provider::Brevo => None,
        })
        .collect();
    let state = Arc::clone(state);
    tokio::spawn(async move {
        for post in posts {
            tokio::time::sleep(Duration::from_millis(webhooks.delay_ms.unwrap_or(DELAY_MS))).await;
            deliver(&state, &webhooks, &post).await;
        }
    });
}

async fn deliver(state: &Shared, webhooks: &StatusWebhooks, post: &Post) {
    for attempt in 1..=ATTEMPTS {
        let mut request = state
            .client
            .post(&post.url)
            .header("content-type", post.content_type)
            .header(post.signature.0, &post.signature.1)
            .body(post.body.clone());
        for (name, value) in &webhooks.headers {
            request = request.header(name, value);
        }
        match request.send().await {
            Ok(response) if response.status().is_success() => return,
            Ok(response) => {
                tracing::warn!(
                    attempt,
                    status = response.status().as_u16(),
                    "a status webhook was refused"
                );
            }
            Err(error) => {
                tracing::warn!(attempt, error = %error.without_url(), "a status webhook did not arrive");
            }
        }
        tokio::time::sleep(Duration::from_millis(200) * attempt).await;
    }
}

fn meta(
    webhooks: &StatusWebhooks,
    secret: &Secret,
    call: &Call,
    sent: &Sent,
    status: &str,
    now_s: i64,
) -> Option<Post> {
    let number = webhooks
        .phone_number_id
        .as_deref()
        .or_else(|| call.segments().get(1).copied())?;
    let recipient: String = call.text("/to")?.chars().filter(char::is_ascii_digit).collect();
    let mut item = json!({
        "id": sent.provider_message_id,
        "status": status,
        "timestamp": now_s.to_string(),
        "recipient_id": recipient,
    });
    if let Some(ours) = call.text("/biz_opaque_callback_data") {
        item["biz_opaque_callback_data"] = ours.into();
    }
    if status == "failed" {
        item["errors"] = json!([{ "code": 131_026, "title": "Message undeliverable" }]);
    } else {
        item["pricing"] = json!({ "billable": true, "pricing_model": "PMP", "category": "service" });
    }
    let value = json!({
        "messaging_product": "whatsapp",
        "metadata": { "display_phone_number": number, "phone_number_id": number },
        "statuses": [item],
    });
    let body = escaped(&json!({
        "object": "whatsapp_business_account",
        "entry": [{ "id": "0", "changes": [{ "field": "messages", "value": value }] }],
    }));
    let signature = ("x-hub-signature-256", sign_meta(secret, body.as_bytes()));
    Some(Post {
        url: webhooks.url.clone()?,
        content_type: "application/json",
        signature,
        body,
    })
}

fn twilio(
    webhooks: &StatusWebhooks,
    secret: &Secret,
    call: &Call,
    sent: &Sent,
    status: &str,
) -> Option<Post> {
    let signed_url = call.text("/StatusCallback")?;
    let query = signed_url.split_once('?').map_or("", |(_, query)| query);
    let url = match &webhooks.url {
        Some(url) if query.is_empty() => url.clone(),
        Some(url) => format!("{url}?{query}"),
        None => signed_url.to_owned(),
    };
    let id = sent.provider_message_id.as_str();
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("MessageSid", id)
        .append_pair("SmsSid", id)
        .append_pair("AccountSid", call.segments().get(2)?)
        .append_pair("From", call.text("/From").unwrap_or_default())
        .append_pair("To", call.text("/To")?)
        .append_pair("MessageStatus", status)
        .append_pair("SmsStatus", status)
        .append_pair("ApiVersion", "2010-04-01");
    if matches!(status, "failed" | "undelivered") {
        form.append_pair("ErrorCode", "30003");
    }
    let body = form.finish();
    let signature = (
        "x-twilio-signature",
        sign_twilio_form(secret, signed_url, body.as_bytes()),
    );
    Some(Post {
        url,
        content_type: "application/x-www-form-urlencoded; charset=UTF-8",
        signature,
        body,
    })
}

/// JSON as Meta writes it: pure ASCII, slashes escaped.
fn escaped(value: &Value) -> String {
    let mut ascii = String::new();
    for character in value.to_string().chars() {
        match character {
            '/' => ascii.push_str("\\/"),
            character if character.is_ascii() => ascii.push(character),
            character => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(ascii, "\\u{unit:04x}");
                }
            }
        }
    }
    ascii
}
