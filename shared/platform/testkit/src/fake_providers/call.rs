//! A request to a provider and the answer to it.

use std::collections::BTreeMap;

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{Method, Response, StatusCode, header};
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Whom a request was meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Provider {
    Meta,
    Twilio,
    Infobip,
    Brevo,
}

/// A request as `GET /requests` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Recorded {
    /// Whom it was meant for.
    pub provider: Provider,
    /// When it came, RFC 3339.
    pub at: String,
    /// `POST`
    pub method: String,
    /// Without the query.
    pub path: String,
    /// After the `?`.
    pub query: String,
    /// All of them, names in lower case, credentials included.
    pub headers: BTreeMap<String, String>,
    /// JSON as it is, a form as an object, anything else as text.
    pub body: Value,
    /// How it was told to behave.
    pub mode: super::Mode,
    /// What was answered; `null` while nothing was.
    pub status: Option<u16>,
    /// The id that the message was given.
    pub provider_message_id: Option<String>,
}

/// A request, read.
pub(super) struct Call {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub headers: BTreeMap<String, String>,
    pub body: Value,
}

impl Call {
    pub fn new(head: &Parts, body: Bytes) -> Self {
        let headers: BTreeMap<_, _> = head
            .headers
            .iter()
            .map(|(name, value)| {
                (
                    name.to_string(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect();
        let kind = headers.get("content-type").map_or("", String::as_str);
        Self {
            method: head.method.clone(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            body: read(kind, &body),
            headers,
        }
    }

    pub fn segments(&self) -> Vec<&str> {
        self.path.trim_matches('/').split('/').collect()
    }

    pub fn provider(&self) -> Option<Provider> {
        match self.segments()[..] {
            ["2010-04-01", "Accounts", ..] => Some(Provider::Twilio),
            ["sms" | "whatsapp", ..] => Some(Provider::Infobip),
            ["v3", "smtp", ..] => Some(Provider::Brevo),
            [version, _] | [version, _, "messages"] if is_graph_version(version) => Some(Provider::Meta),
            ["media", _] => Some(Provider::Meta),
            _ => None,
        }
    }

    /// Every POST of these APIs sends something.
    pub fn is_send(&self) -> bool {
        self.method == Method::POST
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// A non-empty string of the body, by JSON pointer.
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.body
            .pointer(pointer)?
            .as_str()
            .filter(|text| !text.is_empty())
    }

    pub fn bearer(&self) -> Option<&str> {
        self.header("authorization")?
            .strip_prefix("Bearer ")
            .filter(|token| !token.is_empty())
    }

    /// User and password of basic authentication.
    pub fn basic(&self) -> Option<(String, String)> {
        let encoded = self.header("authorization")?.strip_prefix("Basic ")?;
        let pair = String::from_utf8(BASE64.decode(encoded).ok()?).ok()?;
        let (user, password) = pair.split_once(':')?;
        Some((user.to_owned(), password.to_owned()))
    }

    /// A parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = form_urlencoded::parse(self.query.as_bytes());
        pairs
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.into_owned())
    }
}

/// `v23.0`
fn is_graph_version(segment: &str) -> bool {
    let numbers = segment
        .strip_prefix('v')
        .and_then(|version| version.split_once('.'));
    numbers.is_some_and(|(major, minor)| major.parse::<u16>().is_ok() && minor.parse::<u16>().is_ok())
}

fn read(kind: &str, body: &[u8]) -> Value {
    if body.is_empty() {
        return Value::Null;
    }
    if kind.starts_with("application/x-www-form-urlencoded") {
        let mut form = Map::new();
        for (name, value) in form_urlencoded::parse(body) {
            form.insert(name.into_owned(), value.into_owned().into());
        }
        return Value::Object(form);
    }
    serde_json::from_slice(body).unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned().into())
}

/// What to answer.
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// A JSON body.
    pub body: Value,
    /// In place of the JSON body: bytes and their type.
    pub(super) bytes: Option<(&'static str, &'static [u8])>,
    pub(super) retry_after_s: Option<u64>,
    /// The message that was accepted.
    pub(super) sent: Option<Sent>,
}

/// A message that was accepted.
#[derive(Clone)]
pub(super) struct Sent {
    pub provider_message_id: String,
}

impl Answer {
    pub(super) fn json(status: StatusCode, body: Value) -> Self {
        Self {
            status,
            body,
            bytes: None,
            retry_after_s: None,
            sent: None,
        }
    }

    pub(super) fn accepted(status: StatusCode, body: Value, provider_message_id: String) -> Self {
        Self {
            sent: Some(Sent { provider_message_id }),
            ..Self::json(status, body)
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response<Body> {
        let (kind, body) = match self.bytes {
            Some((kind, bytes)) => (kind, Body::from(bytes)),
            None => ("application/json", Body::from(self.body.to_string())),
        };
        let mut response = (self.status, [(header::CONTENT_TYPE, kind)], body).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
