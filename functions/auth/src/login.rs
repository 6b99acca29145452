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

/// A login that fails is answered this long after it began: longer than hashing, look-ups and the
/// audit lines take, so that the time says nothing of what it failed for.
const FAILURE_TIME: Duration = Duration::from_millis(500);

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
/// 429 for 10 minutes. Whether an account exists is never told.
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
    app.guard.guess(&lock_key).await?;
    let answer = match login.check() {
        Ok(Some(account)) => sign_in(&app, &origin, account, body.delivery).await?,
        Ok(None) => None,
        Err(error) => {
            if error.code() == Code::AuthTenantRequired {
                app.guard.guessed_right(&lock_key).await;
            }
            return Err(error.into());
        }
    };
    let Some(answer) = answer else {
        audit_failure(&app, &origin, &login).await?;
        tokio::time::sleep_until(began + FAILURE_TIME).await;
        return Err(login::refused().into());
    };
    app.guard.guessed_right(&lock_key).await;
    Ok(answer)
}

/// A line in the audit log of each account that it could have been.
async fn audit_failure(app: &App, origin: &kernel::Origin, login: &Login<'_>) -> Result<()> {
    for account in login.accounts() {
        let caller = App::act_for(account.tenant, origin);
        app.db
            .write(&caller, async |tx| {
                login::audit_failure(&tx, account.user_id).await
            })
            .await?;
    }
    Ok(())
}
