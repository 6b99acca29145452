//! Logging in.

use crate::App;
use crate::answer::{Delivered, Delivery, SignedInAnswer};
use crate::sign_in::{audit_failures, sign_in};
use axum::extract::State;
use identity::login::{self, Credentials};
use identity::sign_in::FirstFactor;
use kernel::{Code, Error};
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;
use tokio::time::Instant;
use web::{Json, Origin, Quota, Result};

/// A login that fails or opens an account that anybody may have made, and whatever is asked for an address
/// that somebody names, is answered this long after it began: longer than a few hashes, look-ups, audit
/// lines and messages take, so that the time says nothing of what was found.
pub(crate) const FAILURE_TIME: Duration = Duration::from_millis(750);

/// Who logs in.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginBody {
    pub email: String,
    pub password: String,
    /// The slug or id of the company; needed when the credentials are right in several.
    pub tenant: Option<String>,
    #[serde(default)]
    pub delivery: Delivery,
}

/// Logs in.
///
/// After 5 wrong passwords for an address within 10 minutes every further attempt is refused with
/// 429 for 10 minutes. Those that name a company are counted for it alone, and those that name none for all:
/// an account bears five in all. Whether an account exists is never told, so one that had its five by name
/// is not opened without the name either, as if the password were wrong. Without `tenant` four accounts of the
/// address are tried at most, those with a verified address first. Where a second factor is on, the right
/// password is answered with 401 `AUTH_2FA_REQUIRED`; its details hold the `challenge_token` (good for
/// 5 minutes) and the `methods` to go on with at `/v1/auth/login/2fa`.
pub async fn create(
    State(app): State<App>,
    Origin(origin): Origin,
    quota: Quota,
    Json(body): Json<LoginBody>,
) -> Result<Delivered<200, SignedInAnswer>> {
    let began = Instant::now();
    let credentials = Credentials::parse(&body.email, &body.password, body.tenant.as_deref())?;
    app.guard.login_from(&origin, &quota).await?;
    let login = credentials.find(&app.db).await?;
    let guess = app.guard.guess(&login).await?;
    let opened = login.check(|account| guess.may_open(account))?;
    let outcome = match opened.account() {
        Ok(Some(verified)) => {
            let proved = FirstFactor::Password(verified.password_hash);
            sign_in(&app, &origin, verified.account, proved, body.delivery).await
        }
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    let answer = match outcome {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => {
            app.guard.login_failed();
            audit_failures(&app, &origin, guess.accounts()).await?;
            Err(login::refused())
        }
        Err(error) => Err(error),
    };
    let was_right = answer.as_ref().map_or_else(right_so_far, |_| true);
    if was_right {
        match opened.forgiven().as_slice() {
            [] => app.guard.not_a_guess(&login).await,
            forgiven => app.guard.guessed_right(forgiven).await,
        }
    }
    if !(was_right && opened.is_the_owners()) {
        tokio::time::sleep_until(began + FAILURE_TIME).await;
    }
    Ok(answer?)
}

/// The password was right, and more is needed.
fn right_so_far(error: &Error) -> bool {
    matches!(
        error.code(),
        Code::AuthTenantRequired | Code::AuthTwoFactorRequired
    )
}
