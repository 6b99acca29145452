//! Logging out.

use crate::answer::LoggedOut;
use crate::presented::{OptionalJson, Presented};
use crate::{App, token_refused};
use axum::extract::State;
use http::HeaderMap;
use identity::RefreshToken;
use identity::refresh_token::{self, Owner};
use identity::session::{self, End};
use schemars::JsonSchema;
use serde::Deserialize;
use web::{Origin, Quota, Result, check_named_tenant};

/// Which session ends.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogoutBody {
    /// Instead of the cookie or the access token.
    pub refresh_token: Option<String>,
}

/// Ends the session of the refresh token (body or cookie), or else of the access token.
///
/// Its access tokens are refused from the next request on. A session that is over is no error.
pub async fn create(
    State(app): State<App>,
    Origin(origin): Origin,
    quota: Quota,
    headers: HeaderMap,
    presented: Presented,
    OptionalJson(body): OptionalJson<LogoutBody>,
) -> Result<LoggedOut> {
    app.guard.refresh_from(&origin, &quota).await?;
    if let Some(owner) = owner(&app, &headers, &presented, &body).await? {
        let caller = App::act_for(owner.tenant, &origin);
        let ended = app.db.write(&caller, async |tx| {
            session::end(&tx, owner.user_id, owner.session_id, End::Logout).await
        });
        ended.await?;
    }
    Ok(LoggedOut)
}

/// Whose session ends; `None` for a well-formed refresh token that is not known (any more).
async fn owner(
    app: &App,
    headers: &HeaderMap,
    presented: &Presented,
    body: &LogoutBody,
) -> Result<Option<Owner>> {
    let token = match &body.refresh_token {
        Some(text) => Some(RefreshToken::parse(text).ok_or_else(token_refused)?),
        None => presented.refresh_token(app)?,
    };
    match (token, presented.access_token()) {
        (Some(token), _) => Ok(refresh_token::owner(&app.db, &token).await?),
        (None, Some(token)) => {
            let owner = app.tokens.owner(token, app.db.clock())?;
            check_named_tenant(headers, owner.tenant)?;
            Ok(Some(owner))
        }
        (None, None) => Err(token_refused().into()),
    }
}
