//! Brevo: transactional e-mail.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::call::{Answer, Call};
use super::state::Shared;

pub(super) fn answer(call: &Call, state: &Shared) -> Answer {
    if call.header("api-key").is_none() {
        return error(StatusCode::UNAUTHORIZED, "Key not found");
    }
    if call.method != Method::POST || call.segments() != ["v3", "smtp", "email"] {
        return error(StatusCode::NOT_FOUND, "Not found");
    }
    let recipients = call
        .body
        .get("to")
        .and_then(Value::as_array)
        .filter(|to| !to.is_empty());
    let addressed = recipients.is_some_and(|to| {
        to.iter().all(|to| {
            to.get("email")
                .and_then(Value::as_str)
                .is_some_and(|email| email.contains('@'))
        })
    });
    let by_template = call.body.get("templateId").is_some_and(Value::is_number);
    let has_content = call.text("/htmlContent").is_some() || call.text("/textContent").is_some();
    if !by_template && call.text("/sender/email").is_none() {
        return error(StatusCode::BAD_REQUEST, "sender is missing");
    }
    if !addressed {
        return error(StatusCode::BAD_REQUEST, "to is missing or not valid");
    }
    if !by_template && call.text("/subject").is_none() {
        return error(StatusCode::BAD_REQUEST, "subject is missing");
    }
    if !by_template && !has_content {
        return error(StatusCode::BAD_REQUEST, "htmlContent or textContent is required");
    }
    if let Some(key) = call.text("/headers/idempotencyKey")
        && !state.is_new_key(key)
    {
        return Answer::json(
            StatusCode::BAD_REQUEST,
            json!({ "code": "duplicate_parameter", "message": "idempotencyKey was used already" }),
        );
    }
    let id = format!("<{}@smtp-relay.mailin.fr>", state.clock.id().simple());
    Answer::accepted(StatusCode::CREATED, json!({ "messageId": id }), id)
}

/// Brevo's error shape; the code follows from the status.
pub(super) fn error(status: StatusCode, message: &str) -> Answer {
    let code = match status {
        StatusCode::BAD_REQUEST => "missing_parameter",
        StatusCode::UNAUTHORIZED => "unauthorized",
        StatusCode::NOT_FOUND => "document_not_found",
        StatusCode::TOO_MANY_REQUESTS => "too_many_requests",
        _ => "internal_server_error",
    };
    Answer::json(status, json!({ "code": code, "message": message }))
}
