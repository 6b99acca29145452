//! Twilio: messages, sent and looked up.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::call::{Answer, Call};
use super::state::Shared;

pub(super) fn answer(call: &Call, state: &Shared) -> Answer {
    let segments = call.segments();
    let Some((user, password)) = call.basic() else {
        return error(StatusCode::UNAUTHORIZED, 20_003, "Authenticate");
    };
    let sid = segments.get(2).copied().unwrap_or_default();
    if password.is_empty() || user != sid {
        return error(StatusCode::UNAUTHORIZED, 20_003, "Authenticate");
    }
    match (&call.method, &segments[3..]) {
        (&Method::POST, ["Messages.json"]) => message(call, sid, state),
        (&Method::GET, ["Messages.json"]) => list(call, sid, state),
        (&Method::GET, ["Messages", file]) => {
            let wanted = file.trim_end_matches(".json");
            let found = state
                .messages()
                .into_iter()
                .find(|message| message["sid"] == wanted && message["account_sid"] == sid);
            found.map_or_else(not_found, |message| Answer::json(StatusCode::OK, message))
        }
        _ => not_found(),
    }
}

fn message(call: &Call, account_sid: &str, state: &Shared) -> Answer {
    let refuse = |code, what| error(StatusCode::BAD_REQUEST, code, what);
    let field = |name: &str| {
        call.body
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let Some(to) = field("To") else {
        return refuse(21_604, "A 'To' phone number is required.");
    };
    if !is_address(to) {
        return refuse(21_211, "Invalid 'To' Phone Number");
    }
    let Some(from) = field("From").or_else(|| field("MessagingServiceSid")) else {
        return refuse(21_603, "A 'From' phone number is required.");
    };
    if to.starts_with("whatsapp:") != from.starts_with("whatsapp:") && !from.starts_with("MG") {
        return refuse(
            21_910,
            "Invalid From and To pair. From and To should be of the same channel",
        );
    }
    let body = field("Body");
    if body.is_none() && field("ContentSid").is_none() && field("MediaUrl").is_none() {
        return refuse(21_602, "Message body is required.");
    }
    if body.is_some_and(|body| body.chars().count() > 1600) {
        return refuse(
            21_617,
            "The concatenated message body exceeds the 1600 character limit",
        );
    }
    let sid = format!("SM{}", state.clock.id().simple());
    let message = json!({
        "sid": sid, "account_sid": account_sid, "api_version": "2010-04-01",
        "to": to, "from": from, "body": body.unwrap_or_default(),
        "status": "queued", "direction": "outbound-api", "num_segments": "1", "num_media": "0",
        "error_code": null, "error_message": null, "price": null, "price_unit": "USD",
        "messaging_service_sid": null,
        "date_created": state.clock.now().to_string(), "date_updated": null, "date_sent": null,
        "uri": format!("/2010-04-01/Accounts/{account_sid}/Messages/{sid}.json"),
    });
    state.keep_message(message.clone());
    Answer::accepted(StatusCode::CREATED, message, sid)
}

fn is_address(address: &str) -> bool {
    let number = address.strip_prefix("whatsapp:").unwrap_or(address);
    let digits = number.strip_prefix('+').unwrap_or_default();
    (7..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
}

/// Newest first, filtered by `To` and `From`.
fn list(call: &Call, account_sid: &str, state: &Shared) -> Answer {
    let wanted = [
        ("account_sid", Some(account_sid.to_owned())),
        ("to", call.parameter("To")),
        ("from", call.parameter("From")),
    ];
    let mut messages = state.messages();
    messages.retain(|message| {
        wanted
            .iter()
            .all(|(field, value)| value.as_ref().is_none_or(|value| message[field] == **value))
    });
    messages.truncate(
        call.parameter("PageSize")
            .and_then(|size| size.parse().ok())
            .unwrap_or(50),
    );
    let body = json!({ "messages": messages, "page": 0, "page_size": 50, "next_page_uri": null, "previous_page_uri": null });
    Answer::json(StatusCode::OK, body)
}

fn not_found() -> Answer {
    error(
        StatusCode::NOT_FOUND,
        20_404,
        "The requested resource was not found",
    )
}

/// Twilio's error shape.
pub(super) fn error(status: StatusCode, code: i64, message: &str) -> Answer {
    let more_info = format!("https://www.twilio.com/docs/errors/{code}");
    Answer::json(
        status,
        json!({ "code": code, "message": message, "more_info": more_info, "status": status.as_u16() }),
    )
}

/// The code that goes with a status, where none was asked for.
pub(super) fn code(status: StatusCode) -> i64 {
    match status {
        StatusCode::TOO_MANY_REQUESTS => 20_429,
        StatusCode::BAD_REQUEST => 21_211,
        _ => 20_500,
    }
}
