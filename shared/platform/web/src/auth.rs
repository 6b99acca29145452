//! Access tokens. A verified token says who asks and in which session; whether the session still
//! lives and the permission is still held, the database says with the first statement.

use crate::routes::{Access, Endpoint};
use crate::serve::Web;
use crate::{Problem, Result};
use aide::OperationInput;
use axum::extract::{FromRef, FromRequestParts};
use http::{HeaderMap, header, request::Parts};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use kernel::{Caller, Clock, Code, Error, Idempotency, TenantId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// How far a signer's clock may be ahead of ours.
const LEEWAY_SECONDS: i64 = 30;

/// What an access token says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    pub aud: String,
    /// The user.
    pub sub: Uuid,
    /// The tenant.
    pub tid: Uuid,
    /// The session.
    pub sid: Uuid,
    /// Seconds since 1970.
    pub iat: i64,
    pub exp: i64,
}

/// Verifies access tokens with the published keys.
#[derive(Clone)]
pub struct TokenVerifier(Arc<Inner>);

struct Inner {
    keys: BTreeMap<String, DecodingKey>,
    validation: Validation,
}

impl TokenVerifier {
    /// # Errors
    /// Internal, when a key is malformed.
    pub fn new(keys: &config::TokenKeys, issuer: &str, audience: &str) -> kernel::Result<Self> {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Times are checked below, against our own clock.
        validation.validate_exp = false;
        let keys = keys
            .keys
            .iter()
            .map(|key| Ok((key.kid.clone(), DecodingKey::from_ed_der(&key.raw()?))));
        Ok(Self(Arc::new(Inner {
            keys: keys.collect::<kernel::Result<_>>()?,
            validation,
        })))
    }

    /// # Errors
    /// 401 `UNAUTHENTICATED` or `TOKEN_EXPIRED`.
    pub fn verify(&self, token: &str, clock: &Clock) -> kernel::Result<Claims> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| Error::unauthenticated())?;
        let key = header
            .kid
            .as_deref()
            .and_then(|kid| self.0.keys.get(kid))
            .ok_or_else(Error::unauthenticated)?;
        let decoded = jsonwebtoken::decode::<Claims>(token, key, &self.0.validation);
        let claims = decoded.map_err(|_| Error::unauthenticated())?.claims;
        let now = clock.now().as_second();
        if claims.iat > now + LEEWAY_SECONDS {
            return Err(Error::unauthenticated());
        }
        if claims.exp <= now {
            return Err(Error::new(
                Code::TokenExpired,
                "The access token has expired; refresh it at /v1/auth/refresh.",
            ));
        }
        Ok(claims)
    }
}

/// The caller of a route, as the route's declaration allows.
pub struct Auth(pub Caller);

impl<S: Send + Sync> FromRequestParts<S> for Auth
where
    Web: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        Ok(Self(caller(parts, &Web::from_ref(state))?))
    }
}

fn caller(parts: &Parts, web: &Web) -> kernel::Result<Caller> {
    let endpoint = parts.extensions.get::<&'static Endpoint>();
    let permission = match endpoint.map(|endpoint| endpoint.access) {
        Some(Access::Permission(permission)) => Some(permission),
        Some(Access::SignedIn) => None,
        Some(Access::Public) | None => {
            return Err(Error::internal(
                "a handler asks for a caller, and its route declares nobody",
            ));
        }
    };
    let token = bearer(&parts.headers).ok_or_else(Error::unauthenticated)?;
    let verifier = web
        .verifier()
        .ok_or_else(|| Error::internal("this function verifies no tokens"))?;
    let claims = verifier.verify(token, web.clock())?;
    let tenant = TenantId(claims.tid);
    if let Some(named) = parts.headers.get("x-tenant-id")
        && named.to_str().ok().and_then(|named| named.parse().ok()) != Some(claims.tid)
    {
        return Err(Error::new(
            Code::TenantMismatch,
            "X-Tenant-Id names another company than the access token.",
        ));
    }
    tracing::Span::current().record("tenant_id", tracing::field::display(tenant));
    let origin = parts
        .extensions
        .get::<kernel::Origin>()
        .cloned()
        .unwrap_or_default();
    let idempotency = parts.extensions.get::<Idempotency>().cloned();
    #[expect(clippy::disallowed_methods, reason = "the token was verified above")]
    let caller = Caller::verified_user(tenant, claims.sub, claims.sid, permission, origin);
    Ok(caller.with_idempotency(idempotency))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl OperationInput for Auth {}
