//! What handlers take in. Each says precisely what is wrong with what it was given.

use crate::{Problem, Result};
use aide::{OperationInput, generate::GenContext, openapi::Operation};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header, request::Parts};
use kernel::{Code, Error};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::convert::Infallible;
use uuid::Uuid;

/// A JSON body, in or out.
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        let content_type = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("");
        let media_type = content_type.split(';').next().unwrap_or("").trim();
        if !media_type.eq_ignore_ascii_case("application/json")
            && !media_type.to_ascii_lowercase().ends_with("+json")
        {
            return Err(Error::invalid_request(
                "Send the body as JSON with `Content-Type: application/json`.",
            )
            .into());
        }
        let body = Bytes::from_request(request, state).await.map_err(|rejection| {
            match rejection.into_response().status() {
                StatusCode::PAYLOAD_TOO_LARGE => Error::new(Code::TooLarge, "The body is larger than 1 MiB."),
                _ => Error::invalid_request("The body could not be read."),
            }
        })?;
        Ok(Self(parse(&body)?))
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> kernel::Result<T> {
    // serde would take an array as the fields in order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Error::invalid_request("The body must be a JSON object."));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        if inner.is_data() {
            // serde's sentence ends with the place in the text, which the path says better.
            let sentence = inner.to_string();
            let sentence = sentence.split(" at line ").next().unwrap_or_default();
            Error::field(if path == "." { "" } else { &path }, "invalid", sentence)
        } else {
            Error::invalid_request(format!(
                "The body is not JSON: line {}, column {}.",
                inner.line(),
                inner.column()
            ))
        }
    })?;
    deserializer
        .end()
        .map_err(|_| Error::invalid_request("The body holds more than one JSON value."))?;
    Ok(value)
}

impl<T: JsonSchema> OperationInput for Json<T> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        axum::Json::<T>::operation_input(ctx, operation);
    }
}

/// Query parameters.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => {
                let text = rejection.body_text();
                let sentence = text
                    .rsplit_once("query string: ")
                    .map_or(text.as_str(), |(_, sentence)| sentence);
                let (path, message) = sentence.split_once(": ").unwrap_or(("", sentence));
                Err(Error::field(path, "invalid", message).into())
            }
        }
    }
}

impl<T: JsonSchema> OperationInput for Query<T> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        axum::extract::Query::<T>::operation_input(ctx, operation);
    }
}

/// Path parameters. An id that is not one names no record: 404.
pub struct Path<T>(pub T);

/// The path of one record.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct IdPath {
    pub id: Uuid,
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(path)| Self(path))
            .map_err(|_| Error::not_found().into())
    }
}

impl<T: JsonSchema> OperationInput for Path<T> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        axum::extract::Path::<T>::operation_input(ctx, operation);
    }
}

/// The largest body of a [`Raw`] request: Meta's webhooks hold up to 3 MB.
const MAX_RAW_BODY: usize = 4 * 1024 * 1024;

/// A request as it came, for routes that verify the bytes: webhooks.
pub struct Raw {
    pub headers: HeaderMap,
    pub path: String,
    /// Without the question mark; empty when there is none.
    pub query: String,
    pub body: Bytes,
}

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, MAX_RAW_BODY)
            .await
            .map_err(|_| Error::new(Code::TooLarge, "The body is larger than 4 MiB."))?;
        let query = parts.uri.query().unwrap_or_default().to_owned();
        Ok(Self {
            headers: parts.headers,
            path: parts.uri.path().to_owned(),
            query,
            body,
        })
    }
}

impl OperationInput for Raw {}

/// Where the request came from, for handlers that work before anybody is known.
pub struct Origin(pub kernel::Origin);

impl<S: Sync> FromRequestParts<S> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(
            parts
                .extensions
                .get::<kernel::Origin>()
                .cloned()
                .unwrap_or_default(),
        ))
    }
}

impl OperationInput for Origin {}
