//! The error envelope.

use aide::OperationOutput;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use kernel::{Code, Error};
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub type Result<T, E = Problem> = std::result::Result<T, E>;

/// An error on its way to the client. The middleware adds the request id and logs the cause.
#[derive(Debug)]
pub struct Problem(Error);

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

/// Left in the response for the middleware.
#[derive(Clone)]
pub(crate) struct Raised(pub(crate) Arc<Error>);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.code().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        if let Some(retry_after) = self.0.retry_after() {
            let seconds = retry_after.as_secs().max(1);
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(Raised(Arc::new(self.0)));
        response
    }
}

/// The body of an error.
pub(crate) fn envelope(error: &Error, request_id: &str) -> Value {
    let mut inner = Map::new();
    inner.insert("code".to_owned(), error.code().as_str().into());
    inner.insert("message".to_owned(), error.message().into());
    inner.insert("request_id".to_owned(), request_id.into());
    if let Some(details) = error.details() {
        inner.insert("details".to_owned(), details.clone());
    }
    json!({ "error": inner })
}

/// For answers that axum gives by itself.
pub(crate) fn of_status(status: StatusCode) -> Option<Error> {
    match status {
        StatusCode::NOT_FOUND => Some(Error::new(
            Code::NotFound,
            "There is no such path; see /v1/openapi.json.",
        )),
        StatusCode::METHOD_NOT_ALLOWED => Some(Error::new(
            Code::MethodNotAllowed,
            "This path has no such method; see /v1/openapi.json.",
        )),
        StatusCode::PAYLOAD_TOO_LARGE => Some(Error::new(Code::TooLarge, "The body is larger than 1 MiB.")),
        _ => None,
    }
}

impl OperationOutput for Problem {
    type Inner = Self;
}
