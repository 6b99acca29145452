//! WhatsApp Cloud API: messages, and media by id.

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::{Method, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use providers::signature::hex;
use serde_json::json;

use super::call::{Answer, Call};
use super::state::Shared;

/// Every media id has this picture: one transparent pixel.
const PIXEL: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\rIDATx\x9cc\xf8\xff\xff?\0\x05\xfe\x02\xfe\xa75\x81\x84\0\0\0\0IEND\xaeB`\x82";

pub(super) fn answer(call: &Call, state: &Shared) -> Answer {
    if call.bearer().is_none() {
        return error(
            StatusCode::UNAUTHORIZED,
            190,
            "An access token is required to request this resource.",
        );
    }
    match (&call.method, &call.segments()[..]) {
        (&Method::POST, [_, number, "messages"]) => message(call, number, state),
        (&Method::GET, ["media", _]) => Answer {
            bytes: Some(("image/png", PIXEL)),
            ..Answer::json(StatusCode::OK, json!(null))
        },
        (&Method::GET, [_, id]) => Answer::json(
            StatusCode::OK,
            json!({
                "messaging_product": "whatsapp",
                "url": format!("{}/media/{id}", state.url),
                "mime_type": "image/png",
                "sha256": hex(digest(&SHA256, PIXEL).as_ref()),
                "file_size": PIXEL.len(),
                "id": id,
            }),
        ),
        _ => error(StatusCode::BAD_REQUEST, 100, "Unsupported request"),
    }
}

fn message(call: &Call, number: &str, state: &Shared) -> Answer {
    let refuse = |what: &str| error(StatusCode::BAD_REQUEST, 100, &format!("(#100) {what}"));
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return refuse("Unsupported post request. Object does not exist.");
    }
    if call.text("/messaging_product") != Some("whatsapp") {
        return refuse("The parameter messaging_product is required.");
    }
    let Some(to) = call.text("/to") else {
        return refuse("The parameter to is required.");
    };
    let complete = match call.text("/type").unwrap_or("text") {
        "text" => call
            .text("/text/body")
            .is_some_and(|body| body.chars().count() <= 4096),
        "template" => call.text("/template/name").is_some() && call.text("/template/language/code").is_some(),
        "reaction" => call.text("/reaction/message_id").is_some(),
        kind @ ("image" | "audio" | "video" | "document" | "sticker") => ["id", "link"]
            .iter()
            .any(|field| call.text(&format!("/{kind}/{field}")).is_some()),
        kind @ ("location" | "contacts" | "interactive") => call.body.get(kind).is_some(),
        _ => return refuse("Param type must be one of {TEXT, TEMPLATE, IMAGE, …}"),
    };
    if !complete {
        return refuse("Invalid parameter");
    }
    let digits: String = to.chars().filter(char::is_ascii_digit).collect();
    let id = format!(
        "wamid.{}",
        BASE64.encode(format!("{digits}{}", state.clock.id().simple()))
    );
    let body = json!({
        "messaging_product": "whatsapp",
        "contacts": [{ "input": to, "wa_id": digits }],
        "messages": [{ "id": id }],
    });
    Answer::accepted(StatusCode::OK, body, id)
}

/// Graph API's error shape.
pub(super) fn error(status: StatusCode, code: i64, message: &str) -> Answer {
    let body = json!({ "error": {
        "message": message,
        "type": "OAuthException",
        "code": code,
        "error_data": { "messaging_product": "whatsapp", "details": message },
        "fbtrace_id": "AFakeProviderTrace00000",
    } });
    Answer::json(status, body)
}

/// The code that goes with a status, where none was asked for.
pub(super) fn code(status: StatusCode) -> i64 {
    match status {
        StatusCode::TOO_MANY_REQUESTS => 130_429,
        StatusCode::BAD_REQUEST => 131_026,
        _ => 131_000,
    }
}
