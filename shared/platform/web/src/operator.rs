//! Who runs the system: not a user of any company, but the holder of the provisioning key.

use crate::routes::{Access, Endpoint};
use crate::serve::Web;
use crate::{Problem, Result};
use aide::OperationInput;
use aws_lc_rs::{constant_time, digest};
use axum::extract::{FromRef, FromRequestParts};
use http::{HeaderName, request::Parts};
use kernel::{Error, Idempotency, Origin};
use telemetry::Metrics;

const KEY: HeaderName = HeaderName::from_static("x-provisioning-key");

/// A request that carries the provisioning key, on a route that declares [`Access::Operator`].
pub struct Operator {
    pub origin: Origin,
    pub idempotency: Option<Idempotency>,
}

impl<S: Send + Sync> FromRequestParts<S> for Operator
where
    Web: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Some(endpoint) = parts.extensions.get::<&'static Endpoint>() else {
            return Err(Error::internal("a handler without a route").into());
        };
        if endpoint.access != Access::Operator {
            return Err(Error::internal("a handler asks for the operator, and its route does not").into());
        }
        let web = Web::from_ref(state);
        let key = parts.headers.get(KEY).map(http::HeaderValue::as_bytes);
        if !key.is_some_and(|key| is_one_of(key, web.operator_keys())) {
            tracing::warn!(
                presented = key.is_some(),
                "a request without the provisioning key"
            );
            Metrics::of(endpoint.function)
                .count("ProvisioningRefused")
                .emit(web.clock());
            let message =
                "Send the provisioning key as X-Provisioning-Key; a user's token does not open this.";
            return Err(Error::new(kernel::Code::Unauthenticated, message).into());
        }
        Ok(Self {
            origin: parts.extensions.get::<Origin>().cloned().unwrap_or_default(),
            idempotency: parts.extensions.get::<Idempotency>().cloned(),
        })
    }
}

/// Compares with every hash, and each in the same time, so that time tells nothing of any.
fn is_one_of(key: &[u8], hashes: &[Vec<u8>]) -> bool {
    let presented = digest::digest(&digest::SHA256, key);
    let same = |hash: &Vec<u8>| constant_time::verify_slices_are_equal(presented.as_ref(), hash).is_ok();
    hashes.iter().filter(|hash| same(hash)).count() > 0
}

impl OperationInput for Operator {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_itself_opens_and_no_key_is_configured_opens_nothing() {
        let hash = |key: &[u8]| digest::digest(&digest::SHA256, key).as_ref().to_vec();
        let keys = [hash(b"old"), hash(b"new")];
        assert!(is_one_of(b"old", &keys) && is_one_of(b"new", &keys));
        for wrong in [b"".as_slice(), b"ne", b"new ", &keys[0]] {
            assert!(!is_one_of(wrong, &keys));
        }
        assert!(!is_one_of(b"", &[]) && !is_one_of(b"new", &[]));
    }
}
