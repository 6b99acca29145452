//! Refreshing.

use crate::answer::{Delivered, Delivery, TokenAnswer};
use crate::presented::{OptionalJson, Presented};
use crate::{App, token_refused};
use axum::extract::State;
use identity::refresh_token::{self, Rotation};
use identity::{RefreshToken, Session};
use kernel::{Code, Error};
use schemars::JsonSchema;
use serde::Deserialize;
use web::{Origin, Quota, Result};

/// What to spend. A browser sends its cookie and no body.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshBody {
    /// Instead of the cookie.
    pub refresh_token: Option<String>,
    /// As the spent token was sent, unless said otherwise. A token that came in the cookie is answered in the
    /// cookie, where no script reads it.
    pub delivery: Option<Delivery>,
}

/// Spends a refresh token for a new one and a new access token.
///
/// A token is good once. Spent again it ends its session (401 `AUTH_TOKEN_REUSED`), except by the
/// same client within 10 seconds while the new one is unused: an answer that was lost may be asked
/// for again, and the newest answer counts.
pub async fn create(
    State(app): State<App>,
    Origin(origin): Origin,
    quota: Quota,
    presented: Presented,
    OptionalJson(body): OptionalJson<RefreshBody>,
) -> Result<Delivered<200, TokenAnswer>> {
    let (token, delivery) = match &body.refresh_token {
        Some(text) => (RefreshToken::parse(text), Delivery::Body),
        None if body.delivery == Some(Delivery::Body) && presented.has_cookie() => {
            let message = "A token that comes in the cookie is answered in the cookie.";
            return Err(Error::field("delivery", "not_allowed", message).into());
        }
        None => (presented.refresh_token(&app)?, Delivery::Cookie),
    };
    let token = token.ok_or_else(token_refused)?;
    app.guard.refresh_from(&origin, &quota).await?;
    let owner = refresh_token::owner(&app.db, &token)
        .await?
        .ok_or_else(token_refused)?;
    let successor = app.tokens.refresh_token()?;
    let caller = App::act_for(owner.tenant, &origin);
    match app
        .db
        .write(&caller, async |tx| {
            refresh_token::rotate(&tx, &token, &successor).await
        })
        .await?
    {
        Rotation::Rotated { user_id, session_id } => {
            let session = Session {
                id: session_id,
                user_id,
            };
            let (tokens, cookie) = app.tokens_of(
                owner.tenant,
                session,
                &successor,
                body.delivery.unwrap_or(delivery),
            )?;
            Ok(Delivered::new(tokens, cookie))
        }
        Rotation::Over => Err(token_refused().into()),
        Rotation::Reused => {
            let message = "The refresh token was used before, so somebody has a copy: the session was ended. Log in again.";
            Err(Error::new(Code::AuthTokenReused, message).into())
        }
    }
}
