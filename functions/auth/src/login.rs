//! Logging in.

use crate::App;
use crate::answer::{Delivered, Delivery, SignedInAnswer};
use crate::sign_in::sign_in;
use axum::extract::State;
use identity::login::{self, Credentials, Login};
use kernel::Code;
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;
use tokio::time::Instant;
use web::{Json, Origin, Quota, Result};

/// A login that fails, and whatever is asked for an address that somebody names, is answered this long
/// after it began: longer than hashing, look-ups, audit lines and messages take, so that the time says
/// nothing of what was found.
pub(crate) const FAILURE_TIME: Duration = Duration::from_millis(500);

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
/// 429 for 10 minutes. Whether an account exists is never told. Where a second factor is on, the right
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
    let lock_key = login.lock_key();
    let tries_left = app.guard.guess(&lock_key).await?;
    let outcome = match login.check() {
        Ok(Some(verified)) => {
            sign_in(
                &app,
                &origin,
                verified.account,
                verified.password_hash,
                body.delivery,
            )
            .await
        }
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(Some(answer)) => {
            app.guard.guessed_right(&lock_key).await;
            Ok(answer)
        }
        Ok(None) => {
            audit_failure(&app, &origin, &login, tries_left == 0).await?;
            tokio::time::sleep_until(began + FAILURE_TIME).await;
            Err(login::refused().into())
        }
        Err(error) => {
            if matches!(
                error.code(),
                Code::AuthTenantRequired | Code::AuthTwoFactorRequired
            ) {
                app.guard.guessed_right(&lock_key).await;
            }
            Err(error.into())
        }
    }
}

/// A line in the audit log of each account that it could have been; at the last try its owner is told.
async fn audit_failure(
    app: &App,
    origin: &kernel::Origin,
    login: &Login<'_>,
    locked_out: bool,
) -> Result<()> {
    for account in login.accounts() {
        let caller = App::act_for(account.tenant, origin);
        app.db
            .write(&caller, async |tx| {
                login::audit_failure(&tx, account.user_id, locked_out).await
            })
            .await?;
    }
    Ok(())
}
