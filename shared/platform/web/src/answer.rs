//! What handlers answer with, apart from [`crate::Json`].

use crate::{Json, Result};
use aide::openapi::{Operation, ReferenceOr, Response as ApiResponse};
use aide::{OperationInput, OperationOutput, generate::GenContext};
use aws_lc_rs::digest;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, StatusCode, header, request::Parts};
use kernel::{Code, Error};
use schemars::JsonSchema;
use serde::Serialize;
use std::convert::Infallible;

/// 201 with the record that was made.
pub struct Created<T>(pub T);
/// 202: the work is queued; the body says what to poll.
pub struct Accepted<T>(pub T);
/// 204.
pub struct NoContent;
/// One answer or another: what was asked for is done, or waits.
pub enum Either<A, B> {
    Done(A),
    Waits(B),
}
/// 200 with one record and its `ETag`, which covers all of it.
pub struct Record<T>(pub T);
/// 200 with one record whose `ETag` says apart what a change replaces, and the rest, as counters and
/// times that move by themselves: `If-Match` asks for the first only, so that who saves a form meets no
/// 412 because of the rest; `If-None-Match` asks for both.
pub struct Tagged<T> {
    record: T,
    tag: String,
}

impl<T: Serialize> Tagged<T> {
    /// `part` of the record is what [`IfMatch::check`] is given when it is changed.
    pub fn new<P: Serialize>(record: T, part: impl FnOnce(&T) -> P) -> Self {
        let tag = format!("\"{}.{}\"", hash(&part(&record)), hash(&record));
        Self { record, tag }
    }
}

/// 200 with text that is not JSON: its media type, the text.
pub struct Text(pub &'static str, pub String);

/// The entity tag of a record: a hash of what the client sees of it.
#[must_use]
pub fn etag<T: Serialize>(record: &T) -> String {
    format!("\"{}\"", hash(record))
}

fn hash<T: Serialize>(record: &T) -> String {
    let json = serde_json::to_vec(record).unwrap_or_default();
    let hash = digest::digest(&digest::SHA256, &json);
    URL_SAFE_NO_PAD.encode(&hash.as_ref()[..15])
}

/// Of a tag what `If-Match` asks for: all of it, or of a [`Tagged`] one what a change replaces.
fn replaced(tag: &str) -> Option<&str> {
    tag.strip_prefix('"')?.strip_suffix('"')?.split('.').next()
}

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, Json(self.0)).into_response()
    }
}

impl<T: Serialize> IntoResponse for Accepted<T> {
    fn into_response(self) -> Response {
        (StatusCode::ACCEPTED, Json(self.0)).into_response()
    }
}

impl IntoResponse for NoContent {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

impl IntoResponse for Text {
    fn into_response(self) -> Response {
        let headers = [
            (header::CONTENT_TYPE, self.0),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        (headers, self.1).into_response()
    }
}

impl OperationOutput for Text {
    type Inner = String;

    fn operation_response(_: &mut GenContext, _: &mut Operation) -> Option<ApiResponse> {
        Some(ApiResponse {
            description: "Text.".to_owned(),
            ..ApiResponse::default()
        })
    }

    fn inferred_responses(
        ctx: &mut GenContext,
        operation: &mut Operation,
    ) -> Vec<(Option<u16>, ApiResponse)> {
        with_status(200, Self::operation_response(ctx, operation))
    }
}

impl<T: Serialize> IntoResponse for Record<T> {
    fn into_response(self) -> Response {
        Tagged {
            tag: etag(&self.0),
            record: self.0,
        }
        .into_response()
    }
}

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.record).into_response();
        if let Ok(tag) = HeaderValue::from_str(&self.tag) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}

/// `If-Match`, where a PATCH carries it.
pub struct IfMatch(Option<String>);

impl IfMatch {
    /// `current` is the record, or of a [`Tagged`] one the part that a change replaces.
    ///
    /// # Errors
    /// 412 `STALE` when it is no longer what the client saw.
    pub fn check<T: Serialize>(&self, current: &T) -> kernel::Result<()> {
        let Some(tags) = self.0.as_deref().filter(|tags| *tags != "*") else {
            return Ok(());
        };
        let current = hash(current);
        if tags.split(',').any(|tag| replaced(tag.trim()) == Some(&current)) {
            return Ok(());
        }
        Err(Error::new(
            Code::Stale,
            "The record was changed by someone else; read it again and repeat.",
        ))
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let header = parts
            .headers
            .get(header::IF_MATCH)
            .and_then(|value| value.to_str().ok());
        Ok(Self(header.map(str::to_owned)))
    }
}

impl OperationInput for IfMatch {
    fn operation_input(_: &mut GenContext, operation: &mut Operation) {
        operation.parameters.push(ReferenceOr::Reference {
            reference: "#/components/parameters/IfMatch".to_owned(),
            summary: None,
            description: None,
        });
    }
}

fn with_status(status: u16, response: Option<ApiResponse>) -> Vec<(Option<u16>, ApiResponse)> {
    response
        .map(|response| (Some(status), response))
        .into_iter()
        .collect()
}

macro_rules! documented_as_json {
    ($type:ident, $status:literal) => {
        impl<T: JsonSchema> OperationOutput for $type<T> {
            type Inner = T;

            fn operation_response(ctx: &mut GenContext, operation: &mut Operation) -> Option<ApiResponse> {
                axum::Json::<T>::operation_response(ctx, operation)
            }

            fn inferred_responses(
                ctx: &mut GenContext,
                operation: &mut Operation,
            ) -> Vec<(Option<u16>, ApiResponse)> {
                with_status($status, Self::operation_response(ctx, operation))
            }
        }
    };
}

documented_as_json!(Created, 201);
documented_as_json!(Accepted, 202);
documented_as_json!(Record, 200);
documented_as_json!(Tagged, 200);
documented_as_json!(Json, 200);

impl<A: IntoResponse, B: IntoResponse> IntoResponse for Either<A, B> {
    fn into_response(self) -> Response {
        match self {
            Self::Done(answer) => answer.into_response(),
            Self::Waits(answer) => answer.into_response(),
        }
    }
}

impl<A: OperationOutput, B: OperationOutput> OperationOutput for Either<A, B> {
    type Inner = A::Inner;

    fn operation_response(ctx: &mut GenContext, operation: &mut Operation) -> Option<ApiResponse> {
        A::operation_response(ctx, operation)
    }

    fn inferred_responses(
        ctx: &mut GenContext,
        operation: &mut Operation,
    ) -> Vec<(Option<u16>, ApiResponse)> {
        let mut responses = A::inferred_responses(ctx, operation);
        responses.extend(B::inferred_responses(ctx, operation));
        responses
    }
}

impl OperationOutput for NoContent {
    type Inner = ();

    fn operation_response(_: &mut GenContext, _: &mut Operation) -> Option<ApiResponse> {
        Some(ApiResponse {
            description: "Done.".to_owned(),
            ..ApiResponse::default()
        })
    }

    fn inferred_responses(
        ctx: &mut GenContext,
        operation: &mut Operation,
    ) -> Vec<(Option<u16>, ApiResponse)> {
        with_status(204, Self::operation_response(ctx, operation))
    }
}
