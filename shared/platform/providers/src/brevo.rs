//! Brevo: transactional e-mail, `POST /v3/smtp/email`.

use serde_json::{Value, json};

use crate::http::{Http, exchange};
use crate::send::SendErrorKind::{self, Permanent, Transient};
use crate::send::{Accepted, Content, OutboundMessage, SendError};
use kernel::Secret;

/// Sends one e-mail. Our id is its idempotency key, which Brevo remembers for 30 minutes: within
/// that time a repeated send mails nothing, so an answer that never came is asked for again. The
/// schedule of attempts ends before; a queue that was stuck for longer mails twice rather than never.
///
/// # Errors
/// As [`crate::Account::send`]; never [`SendErrorKind::Unknown`].
pub async fn send(
    http: &Http,
    api_key: &Secret,
    sender_name: &str,
    message: &OutboundMessage,
) -> Result<Accepted, SendError> {
    let Content::Email { subject, text, html } = &message.content else {
        return Err(SendError::new(Permanent, "REJECTED"));
    };
    let request = http
        .post(format!("{}/v3/smtp/email", http.endpoints.brevo_api_url), message)
        .header("api-key", api_key.expose())
        .json(&json!({
            "sender": { "email": message.from, "name": sender_name },
            "to": [{ "email": message.to }],
            "subject": subject,
            "textContent": text,
            "htmlContent": html,
            "headers": { "idempotencyKey": message.id },
        }));
    let answer = exchange(request).await.map_err(again)?;
    let body = answer.body.as_ref();
    let text = |name: &str| body.and_then(|body| body.get(name)).and_then(Value::as_str);
    match (text("messageId").and_then(crate::inbound::id), text("code")) {
        (Some(provider_message_id), _) if answer.status.is_success() => Ok(Accepted { provider_message_id }),
        // It has the e-mail since an earlier attempt, whose answer was lost and the id with it.
        (_, Some("duplicate_parameter")) => Ok(Accepted {
            provider_message_id: message.id.clone(),
        }),
        (_, code) => Err(again(SendError::answered(&answer, None, code.and_then(meaning)))),
    }
}

/// Asking again is safe.
fn again(error: SendError) -> SendError {
    match error.kind {
        SendErrorKind::Unknown => SendError {
            kind: Transient,
            ..error
        },
        Permanent | Transient => error,
    }
}

/// What Brevo's error code means, `None` where the HTTP status says enough.
fn meaning(code: &str) -> Option<(SendErrorKind, &'static str)> {
    Some(match code {
        "unauthorized" => (Permanent, "AUTH"),
        "not_enough_credits"
        | "account_under_validation"
        | "permission_denied"
        | "reseller_permission_denied" => (Permanent, "ACCOUNT"),
        "too_many_requests" => (Transient, "RATE_LIMITED"),
        _ => return None,
    })
}
