//! Signing up.

use crate::App;
use crate::answer::{Delivered, Delivery, SignedInAnswer};
use crate::presented::Key;
use crate::sign_in::sign_in;
use axum::extract::State;
use identity::link::{self, LinkToken, Purpose};
use identity::login::{self, FoundAccount};
use identity::sign_in::FirstFactor;
use identity::signup::{self, Earlier, Signup, SignupKey};
use identity::user::{self, Account};
use kernel::{Code, Error, Idempotency, TenantId};
use schemars::JsonSchema;
use serde::Deserialize;
use web::{Created, Json, Origin, Quota, Result};

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

/// A company and its first user, who will log in later.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterBody {
    /// The name of the company.
    pub tenant_name: String,
    pub full_name: String,
    pub email: String,
    /// At least 12 characters; common passwords are refused.
    pub password: String,
}

/// Signs a company up.
///
/// Makes the company, its first user with the role `super_admin`, and a session, and sends a link to
/// verify the address: an address gets five links an hour, then 429. Repeated with the same
/// `Idempotency-Key`, it logs in to what the first made.
pub async fn create(
    State(app): State<App>,
    Origin(origin): Origin,
    quota: Quota,
    Key(idempotency): Key,
    Json(body): Json<SignupBody>,
) -> Result<Delivered<201, SignedInAnswer>> {
    let signup = Signup::parse(&body.tenant_name, &body.full_name, &body.email, &body.password)?;
    app.guard.signup_from(&origin, &quota).await?;
    let made = sign_up(&app, &origin, idempotency.as_ref(), &signup).await?;
    let opened = sign_in(
        &app,
        &origin,
        made.account,
        FirstFactor::Password(&made.password_hash),
        body.delivery,
    )
    .await?;
    opened.ok_or_else(|| login::refused().into())
}

/// Registers a company and its super admin.
///
/// As `/v1/auth/signup`, without a session: the answer holds no tokens. A link to verify the address
/// is sent; until it is followed, the new super admin can log in and do nothing privileged. Whether
/// the address has an account in another company is never told.
pub async fn register(
    State(app): State<App>,
    Origin(origin): Origin,
    quota: Quota,
    Key(idempotency): Key,
    Json(body): Json<RegisterBody>,
) -> Result<Created<Account>> {
    let signup = Signup::parse(&body.tenant_name, &body.full_name, &body.email, &body.password)?;
    app.guard.signup_from(&origin, &quota).await?;
    let made = sign_up(&app, &origin, idempotency.as_ref(), &signup)
        .await?
        .account;
    let caller = App::act_for(made.tenant, &origin);
    let account = app
        .db
        .read(&caller, async |tx| user::find(&tx, made.user_id).await)
        .await?;
    Ok(Created(account.ok_or_else(Error::not_found)?))
}

/// A super admin, and the hash of the password that was right.
struct Made {
    account: FoundAccount,
    password_hash: String,
}

/// Makes what is signed up for, or finds what an earlier request with the same key made.
async fn sign_up(
    app: &App,
    origin: &kernel::Origin,
    idempotency: Option<&Idempotency>,
    signup: &Signup,
) -> Result<Made> {
    let key = idempotency.map(|idempotency| signup.key(app.db.sealer(), &idempotency.key));
    let repeat = async |key: &SignupKey| -> Result<Option<Made>> {
        let Some(earlier) = signup::earlier(&app.db, key).await? else {
            return Ok(None);
        };
        let password_hash = prove(app, origin, earlier, signup).await?;
        if let Some(idempotency) = idempotency {
            idempotency.mark_replayed();
        }
        Ok(Some(Made {
            account: FoundAccount {
                tenant: earlier.tenant,
                user_id: earlier.user_id,
            },
            password_hash,
        }))
    };
    if let Some(key) = &key
        && let Some(found) = repeat(key).await?
    {
        return Ok(found);
    }
    // Anybody can name anybody's address.
    app.guard.mail_to(signup.email()).await?;
    let password_hash = signup.password().hash()?;
    let link = LinkToken::generate()?;
    let tenant = TenantId(app.db.clock().id());
    let caller = App::act_for(tenant, origin);
    let made = app.db.write(&caller, async |tx| {
        let user_id = signup::make(&tx, signup, &password_hash, key.as_ref()).await?;
        link::send(&tx, user_id, Purpose::VerifyEmail, &link, &app.app_url).await?;
        Ok(user_id)
    });
    match (made.await, &key) {
        (Ok(user_id), _) => Ok(Made {
            account: FoundAccount { tenant, user_id },
            password_hash,
        }),
        (Err(error), Some(key)) if error.code() == Code::Conflict => {
            repeat(key).await?.ok_or_else(|| error.into())
        }
        (Err(error), _) => Err(error.into()),
    }
}

/// The password must still be that of the user whom an earlier signup made.
async fn prove(app: &App, origin: &kernel::Origin, earlier: Earlier, signup: &Signup) -> Result<String> {
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
    hash.ok_or_else(|| signup::key_reused().into())
}
