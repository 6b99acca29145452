//! Tokens on their way to a client: in the body, or the refresh token in a cookie.

use crate::App;
use aide::openapi::{Operation, Response as ApiResponse};
use aide::{OperationOutput, generate::GenContext};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use identity::user::Account;
use identity::{RefreshToken, Session};
use kernel::{Result, TenantId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use web::Json;

/// The name of the cookie that carries the refresh token.
pub(crate) const COOKIE: &str = "m3_refresh";

/// How the refresh token reaches the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// In a cookie that scripts can't read, for browsers.
    #[default]
    Cookie,
    /// In the body, for native clients.
    Body,
}

/// An access token, and the refresh token when it is delivered in the body.
#[derive(Serialize, JsonSchema)]
pub struct TokenAnswer {
    /// Send it as `Authorization: Bearer <token>`.
    pub access_token: String,
    /// Always `Bearer`.
    pub token_type: &'static str,
    /// Seconds.
    pub expires_in: i64,
    /// With `"delivery": "body"`: good for one refresh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
}

/// Who signed in, and the tokens of the session.
#[derive(Serialize, JsonSchema)]
pub struct SignedInAnswer {
    #[serde(flatten)]
    pub account: Account,
    #[serde(flatten)]
    pub tokens: TokenAnswer,
}

/// An answer that may set or clear the cookie, and that no cache keeps.
pub struct Delivered<const STATUS: u16, T> {
    body: T,
    cookie: Option<String>,
}

impl App {
    /// The tokens of a session, and the cookie to set.
    pub(crate) fn tokens_of(
        &self,
        tenant: TenantId,
        session: Session,
        refresh_token: &RefreshToken,
        delivery: Delivery,
    ) -> Result<(TokenAnswer, Option<String>)> {
        let access_token = self.tokens.access_token(tenant, session, self.db.clock())?;
        let (in_body, cookie) = match delivery {
            Delivery::Body => (Some(refresh_token.expose().to_owned()), None),
            Delivery::Cookie => (
                None,
                Some(cookie(refresh_token.expose(), refresh_token.lasts().as_secs())),
            ),
        };
        let tokens = TokenAnswer {
            access_token,
            token_type: "Bearer",
            expires_in: self.tokens.access_seconds(),
            refresh_token: in_body,
        };
        Ok((tokens, cookie))
    }

    /// The answer to a signup and a login.
    pub(crate) fn signed_in<const STATUS: u16>(
        &self,
        account: Account,
        session: Session,
        refresh_token: &RefreshToken,
        delivery: Delivery,
    ) -> Result<Delivered<STATUS, SignedInAnswer>> {
        let (tokens, cookie) =
            self.tokens_of(TenantId(account.tenant.id), session, refresh_token, delivery)?;
        Ok(Delivered::new(SignedInAnswer { account, tokens }, cookie))
    }
}

/// A cookie that only this API's `/v1/auth` gets back, and not with a form posted by another site.
fn cookie(value: &str, max_age_seconds: i64) -> String {
    format!("{COOKIE}={value}; HttpOnly; Secure; SameSite=Lax; Path=/v1/auth; Max-Age={max_age_seconds}")
}

impl<const STATUS: u16, T> Delivered<STATUS, T> {
    pub(crate) fn new(body: T, cookie: Option<String>) -> Self {
        Self { body, cookie }
    }

    /// The same with another body.
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Delivered<STATUS, U> {
        Delivered {
            body: change(self.body),
            cookie: self.cookie,
        }
    }
}

impl<const STATUS: u16, T: Serialize> IntoResponse for Delivered<STATUS, T> {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(STATUS).unwrap_or_default();
        let mut response = (status, Json(self.body)).into_response();
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        set_cookie(&mut response, self.cookie);
        response
    }
}

/// 204, and the cookie is gone.
pub struct LoggedOut;

impl IntoResponse for LoggedOut {
    fn into_response(self) -> Response {
        let mut response = StatusCode::NO_CONTENT.into_response();
        set_cookie(&mut response, Some(cookie("", 0)));
        response
    }
}

fn set_cookie(response: &mut Response, cookie: Option<String>) {
    // A token is base64url, so it always is a header value.
    if let Some(Ok(cookie)) = cookie.map(HeaderValue::try_from) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
}

impl<const STATUS: u16, T: JsonSchema> OperationOutput for Delivered<STATUS, T> {
    type Inner = T;

    fn operation_response(ctx: &mut GenContext, operation: &mut Operation) -> Option<ApiResponse> {
        Json::<T>::operation_response(ctx, operation)
    }

    fn inferred_responses(
        ctx: &mut GenContext,
        operation: &mut Operation,
    ) -> Vec<(Option<u16>, ApiResponse)> {
        let response = Self::operation_response(ctx, operation);
        response
            .map(|response| (Some(STATUS), response))
            .into_iter()
            .collect()
    }
}

impl OperationOutput for LoggedOut {
    type Inner = ();

    fn operation_response(ctx: &mut GenContext, operation: &mut Operation) -> Option<ApiResponse> {
        web::NoContent::operation_response(ctx, operation)
    }

    fn inferred_responses(
        ctx: &mut GenContext,
        operation: &mut Operation,
    ) -> Vec<(Option<u16>, ApiResponse)> {
        web::NoContent::inferred_responses(ctx, operation)
    }
}
