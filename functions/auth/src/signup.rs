//! Signing up.

use crate::App;
use crate::answer::{Delivered, Delivery, SignedInAnswer};
use crate::presented::Key;
use axum::extract::State;
use identity::signup::{self, Earlier, Signup, SignupKey};
use identity::{RefreshToken, login, session, user};
use kernel::{Code, TenantId};
use schemars::JsonSchema;
use serde::Deserialize;
use web::{Json, Origin, Quota, Result};

/// A company and its first user.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignupBody {
    /// The name of the company.
    pub tenant_name: String,
    pub full_name: String,
    pub email: String,
    /// At least 12 characters; common passwords are refused.
    pub password: String,
    #[serde(default)]
    pub delivery: Delivery,
}

/// Signs a company up.
///
/// Makes the company, its first user with the role `super_admin`, and a session. Repeated with the
/// same `Idempotency-Key`, it logs in to what the first made.
pub async fn create(
    State(app): State<App>,
    Origin(origin): Origin,
    quota: Quota,
    Key(idempotency): Key,
    Json(body): Json<SignupBody>,
) -> Result<Delivered<201, SignedInAnswer>> {
    let signup = Signup::parse(&body.tenant_name, &body.full_name, &body.email, &body.password)?;
    app.guard.signup_from(&origin, &quota).await?;
    let key = idempotency
        .as_ref()
        .map(|idempotency| signup.key(app.db.sealer(), &idempotency.key));
    let repeat = async |key: &SignupKey| -> Result<Option<_>> {
        let Some(earlier) = signup::earlier(&app.db, key).await? else {
            return Ok(None);
        };
        let answer = log_in_to(&app, &origin, earlier, &signup, body.delivery).await?;
        if let Some(idempotency) = &idempotency {
            idempotency.mark_replayed();
        }
        Ok(Some(answer))
    };
    if let Some(key) = &key
        && let Some(answer) = repeat(key).await?
    {
        return Ok(answer);
    }
    let password_hash = signup.password().hash()?;
    let token = RefreshToken::generate()?;
    let caller = App::act_for(TenantId(app.db.clock().id()), &origin);
    let made = app.db.write(&caller, async |tx| {
        signup::insert(&tx, &signup, &password_hash, key.as_ref(), &token).await
    });
    match (made.await, &key) {
        (Ok(made), _) => Ok(app.signed_in(made.account, made.session, &token, body.delivery)?),
        (Err(error), Some(key)) if error.code() == Code::Conflict => {
            repeat(key).await?.ok_or_else(|| error.into())
        }
        (Err(error), _) => Err(error.into()),
    }
}

/// Opens a session in what an earlier signup made; the password must still be its user's.
async fn log_in_to(
    app: &App,
    origin: &kernel::Origin,
    earlier: Earlier,
    signup: &Signup,
    delivery: Delivery,
) -> Result<Delivered<201, SignedInAnswer>> {
    let caller = App::act_for(earlier.tenant, origin);
    let hash = app
        .db
        .read(&caller, async |tx| {
            user::password_hash(&tx, earlier.user_id).await
        })
        .await?;
    if !signup.password().verify(hash.as_deref())? {
        return Err(signup::key_reused().into());
    }
    let token = RefreshToken::generate()?;
    let opened = app
        .db
        .write(&caller, async |tx| {
            session::sign_in(&tx, earlier.user_id, &token).await
        })
        .await?;
    let (account, session) = opened.ok_or_else(login::refused)?;
    Ok(app.signed_in(account, session, &token, delivery)?)
}
