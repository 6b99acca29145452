//! Access tokens. A verified token says who asks and in which session; whether the session still
//! lives and the permission is still held, the database says with the first statement.

use crate::routes::{Access, Endpoint};
use crate::serve::Web;
use crate::{Problem, Result};
use aide::OperationInput;
use axum::extract::{FromRef, FromRequestParts};
use http::{HeaderMap, header, request::Parts};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use kernel::{ApiKeyToken, Caller, Clock, Code, Error, Idempotency, TenantId};
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
    let access = match parts.extensions.get::<&'static Endpoint>() {
        Some(endpoint) if !matches!(endpoint.access, Access::Public | Access::Operator) => endpoint.access,
        _ => {
            return Err(Error::internal(
                "a handler asks for a caller, and its route declares nobody",
            ));
        }
    };
    let token = bearer(&parts.headers).ok_or_else(Error::unauthenticated)?;
    let origin = parts
        .extensions
        .get::<kernel::Origin>()
        .cloned()
        .unwrap_or_default();
    let caller = if token.starts_with(kernel::api_key::PREFIX) {
        program(token, access, origin)?
    } else {
        person(token, access, origin, web)?
    };
    let tenant = caller.tenant();
    check_named_tenant(&parts.headers, tenant)?;
    tracing::Span::current().record("tenant_id", tracing::field::display(tenant));
    let idempotency = parts.extensions.get::<Idempotency>().cloned();
    Ok(caller.requiring(access.feature()).with_idempotency(idempotency))
}

/// Checks that `X-Tenant-Id`, where it is sent, names the company of the access token.
///
/// # Errors
/// 401 `TENANT_MISMATCH`.
pub fn check_named_tenant(headers: &HeaderMap, tenant: TenantId) -> kernel::Result<()> {
    let Some(named) = headers.get("x-tenant-id") else {
        return Ok(());
    };
    if named.to_str().ok().and_then(|named| named.parse().ok()) == Some(tenant.0) {
        return Ok(());
    }
    Err(Error::new(
        Code::TenantMismatch,
        "X-Tenant-Id names another company than the access token.",
    ))
}

fn person(token: &str, access: Access, origin: kernel::Origin, web: &Web) -> kernel::Result<Caller> {
    let verifier = web
        .verifier()
        .ok_or_else(|| Error::internal("this function verifies no tokens"))?;
    let claims = verifier.verify(token, web.clock())?;
    #[expect(clippy::disallowed_methods, reason = "the token was verified above")]
    let caller = Caller::verified_user(
        TenantId(claims.tid),
        claims.sub,
        claims.sid,
        access.permission(),
        origin,
    );
    Ok(caller)
}

fn program(token: &str, access: Access, origin: kernel::Origin) -> kernel::Result<Caller> {
    let token = ApiKeyToken::parse(token).ok_or_else(Error::unauthenticated)?;
    let Some(permission) = access.permission() else {
        return Err(Error::new(
            Code::Forbidden,
            "An API key stands for no person; this needs a person's access token.",
        ));
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "the database compares the secret with the first statement"
    )]
    let caller = Caller::presented_api_key(token.tenant, token.key_id, token.hash(), permission, origin);
    Ok(caller)
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
