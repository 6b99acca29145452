//! HTTP: axum on `lambda_http`, with the conventions of the API. A function declares its endpoints
//! in a [`Routes`] table; everything that every request needs happens here once: request ids,
//! tokens, idempotency keys, error envelopes, logs and metrics.

mod answer;
mod auth;
mod extract;
#[cfg(feature = "describe")]
mod openapi;
mod operator;
mod problem;
mod quota;
mod routes;
mod serve;

pub use answer::{Accepted, Created, Either, IfMatch, NoContent, Record, Tagged, Text, etag};
pub use auth::{Auth, Claims, TokenVerifier, check_named_tenant};
pub use extract::{IdPath, Json, Origin, Path, Query, Raw};
#[cfg(feature = "describe")]
pub use openapi::{Document, document};
pub use operator::Operator;
pub use problem::{Problem, Result};
pub use quota::Quota;
pub use routes::{Access, Endpoint, Routes};
pub use serve::{Web, run};
