//! What a client shows to prove who it is, apart from a password.

use crate::answer::COOKIE;
use crate::{App, token_refused};
use aide::{OperationInput, generate::GenContext, openapi::Operation};
use axum::extract::{FromRequest, FromRequestParts, Request};
use http::{HeaderMap, HeaderName, header, request::Parts};
use identity::RefreshToken;
use kernel::{Code, Error, Idempotency, Result};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use web::{Json, Problem};

/// The headers that may carry a token.
pub struct Presented {
    cookie: Option<String>,
    access_token: Option<String>,
    origin: Option<String>,
    host: Option<String>,
}

impl Presented {
    /// The access token of the `Authorization` header.
    pub(crate) fn access_token(&self) -> Option<&str> {
        self.access_token.as_deref()
    }

    /// Whether the cookie is there, whatever it holds.
    pub(crate) fn has_cookie(&self) -> bool {
        self.cookie.is_some()
    }

    /// The refresh token of the cookie. `None` without a cookie.
    ///
    /// The browser sends the cookie by itself, so the request may be another site's idea: `SameSite`
    /// stops most of those, and a page of an origin that is neither ours nor configured is refused.
    ///
    /// # Errors
    /// 403 for such a page, 401 when the cookie holds no refresh token.
    pub(crate) fn refresh_token(&self, app: &App) -> Result<Option<RefreshToken>> {
        let Some(cookie) = &self.cookie else {
            return Ok(None);
        };
        if let Some(origin) = &self.origin {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            let own = authority.is_some() && authority == self.host.as_deref();
            if !own && !app.cors_origins.contains(origin) {
                return Err(Error::new(
                    Code::Forbidden,
                    "Pages of this origin may not use the refresh cookie.",
                ));
            }
        }
        RefreshToken::parse(cookie).map(Some).ok_or_else(token_refused)
    }
}

impl<S: Sync> FromRequestParts<S> for Presented {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let headers = &parts.headers;
        let bearer = text(headers, &header::AUTHORIZATION).and_then(|value| value.split_once(' '));
        let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        Ok(Self {
            cookie: cookie(headers).map(str::to_owned),
            access_token: bearer.map(|(_, token)| token.trim().to_owned()),
            origin: text(headers, &header::ORIGIN).map(str::to_owned),
            host: text(headers, &header::HOST).map(str::to_owned),
        })
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let pairs = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'));
    let mut named = pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE);
    named
        .next()
        .map(|(_, value)| value)
        .filter(|value| !value.is_empty())
}

/// A JSON body that may be left out: a browser with a cookie has nothing to say.
pub struct OptionalJson<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for OptionalJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if axum::body::HttpBody::is_end_stream(request.body()) {
            return Ok(Self(T::default()));
        }
        Json::from_request(request, state)
            .await
            .map(|Json(body)| Self(body))
    }
}

/// The `Idempotency-Key` of the request.
pub struct Key(pub Option<Idempotency>);

impl<S: Sync> FromRequestParts<S> for Key {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get().cloned()))
    }
}

impl OperationInput for Presented {}
impl OperationInput for Key {}
impl<T: JsonSchema> OperationInput for OptionalJson<T> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        Json::<T>::operation_input(ctx, operation);
    }
}
