//! Infobip: SMS and WhatsApp.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::call::{Answer, Call};
use super::state::Shared;

pub(super) fn answer(call: &Call, state: &Shared) -> Answer {
    let key = call
        .header("authorization")
        .and_then(|header| header.strip_prefix("App "));
    if key.is_none_or(str::is_empty) {
        return error(StatusCode::UNAUTHORIZED, "Invalid login details");
    }
    match (&call.method, &call.segments()[..]) {
        (&Method::POST, ["sms", "2", "text", "advanced"]) => sms(call, state),
        (&Method::POST, ["whatsapp", "1", "message", "text"]) => {
            let complete = ["/from", "/to", "/content/text"]
                .iter()
                .all(|field| call.text(field).is_some());
            if complete {
                whatsapp_text(call, state)
            } else {
                bad("from, to and content.text must not be blank")
            }
        }
        (&Method::POST, ["whatsapp", "1", "message", "template"]) => whatsapp_template(call, state),
        _ => error(StatusCode::NOT_FOUND, "Requested URL not found"),
    }
}

fn sms(call: &Call, state: &Shared) -> Answer {
    let messages = call
        .body
        .get("messages")
        .and_then(Value::as_array)
        .filter(|messages| !messages.is_empty());
    let Some(messages) = messages else {
        return bad("messages must not be empty");
    };
    let mut accepted = Vec::new();
    for message in messages {
        let destinations = message
            .get("destinations")
            .and_then(Value::as_array)
            .filter(|list| !list.is_empty());
        let Some(destinations) = destinations else {
            return bad("destinations must not be empty");
        };
        for destination in destinations {
            let Some(to) = destination.get("to").and_then(Value::as_str) else {
                return bad("to must not be blank");
            };
            accepted.push(taken(to, destination.get("messageId"), state));
        }
    }
    several(&accepted, state)
}

fn whatsapp_text(call: &Call, state: &Shared) -> Answer {
    let mut taken = taken(
        call.text("/to").unwrap_or_default(),
        call.body.get("messageId"),
        state,
    );
    taken["messageCount"] = 1.into();
    let id = message_id(&taken);
    Answer::accepted(StatusCode::OK, taken, id)
}

fn whatsapp_template(call: &Call, state: &Shared) -> Answer {
    let messages = call
        .body
        .get("messages")
        .and_then(Value::as_array)
        .filter(|messages| !messages.is_empty());
    let Some(messages) = messages else {
        return bad("messages must not be empty");
    };
    let mut accepted = Vec::new();
    for message in messages {
        let text = |pointer: &str| message.pointer(pointer).and_then(Value::as_str);
        let named = text("/content/templateName").is_some() && text("/content/language").is_some();
        match (text("/from"), text("/to")) {
            (Some(_), Some(to)) if named => accepted.push(taken(to, message.get("messageId"), state)),
            _ => return bad("from, to, content.templateName and content.language must not be blank"),
        }
    }
    several(&accepted, state)
}

/// One accepted message; an id that the client chose is kept.
fn taken(to: &str, chosen: Option<&Value>, state: &Shared) -> Value {
    let id = chosen
        .and_then(Value::as_str)
        .map_or_else(|| state.clock.id().to_string(), str::to_owned);
    json!({
        "to": to,
        "messageId": id,
        "status": {
            "groupId": 1, "groupName": "PENDING", "id": 26, "name": "PENDING_ACCEPTED",
            "description": "Message sent to next instance",
        },
    })
}

fn several(accepted: &[Value], state: &Shared) -> Answer {
    let id = accepted.first().map(message_id).unwrap_or_default();
    let body = json!({ "bulkId": state.clock.id().to_string(), "messages": accepted });
    Answer::accepted(StatusCode::OK, body, id)
}

fn message_id(taken: &Value) -> String {
    taken["messageId"].as_str().unwrap_or_default().to_owned()
}

fn bad(what: &str) -> Answer {
    error(StatusCode::BAD_REQUEST, what)
}

/// Infobip's error shape; the id follows from the status.
pub(super) fn error(status: StatusCode, text: &str) -> Answer {
    let id = match status {
        StatusCode::BAD_REQUEST => "BAD_REQUEST",
        StatusCode::UNAUTHORIZED => "UNAUTHORIZED",
        StatusCode::NOT_FOUND => "NOT_FOUND",
        StatusCode::TOO_MANY_REQUESTS => "TOO_MANY_REQUESTS",
        _ => "GENERAL_ERROR",
    };
    Answer::json(
        status,
        json!({ "requestError": { "serviceException": { "messageId": id, "text": text } } }),
    )
}
