//! How much of a rate limit is left, on its way from a handler to the `RateLimit-*` headers.

use aide::OperationInput;
use axum::extract::FromRequestParts;
use http::{HeaderMap, HeaderName, HeaderValue, request::Parts};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Taken by a handler that counts requests; what it notes is told to the client, whatever the answer.
#[derive(Clone, Default)]
pub struct Quota(Arc<Mutex<Option<(u32, u32, Duration)>>>);

impl Quota {
    /// `remaining` of `limit` requests are left until the window ends.
    pub fn note(&self, limit: u32, remaining: u32, reset_after: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((limit, remaining, reset_after));
    }

    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        if let Some((limit, remaining, reset_after)) = *self.0.lock().unwrap_or_else(PoisonError::into_inner)
        {
            headers.insert(LIMIT, HeaderValue::from(limit));
            headers.insert(REMAINING, HeaderValue::from(remaining));
            headers.insert(RESET, HeaderValue::from(reset_after.as_secs() + 1));
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Quota {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

impl OperationInput for Quota {}
