//! Signing in with Google, Apple or LinkedIn (AppA.5).

mod providers;

use crate::App;
use crate::answer::{Delivered, Delivery, SignedInAnswer};
use crate::sign_in::{audit_failures, sign_in};
use axum::extract::State;
use identity::oauth::{self, Candidate, IdentityProvider, Subject, Vouched};
use identity::sign_in::FirstFactor;
use kernel::{Code, Email, Error, Validator};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use web::{Json, Origin, Query, Quota, Result};

pub use providers::Oauth;

/// With whom, and where to come back.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OauthStartQuery {
    pub provider: IdentityProvider,
    /// One of the addresses that are configured, to the letter.
    #[serde(rename = "redirectUri")]
    pub redirect_uri: String,
}

/// Where to send the person.
#[derive(Serialize, JsonSchema)]
pub struct OauthStart {
    /// Holds `state`: the client keeps it, and goes on only when the same one comes back.
    #[serde(rename = "authUrl")]
    pub auth_url: String,
}

/// What the provider sent the person back with.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OauthCallback {
    pub provider: IdentityProvider,
    pub code: String,
    pub state: String,
    /// The slug or id of the company; needed when the person has accounts in several.
    pub tenant: Option<String>,
    #[serde(default)]
    pub delivery: Delivery,
}

/// Who signed in, as after a login.
#[derive(Serialize, JsonSchema)]
pub struct OauthAnswer {
    #[serde(flatten)]
    pub signed_in: SignedInAnswer,
    /// The same tokens by other names.
    pub token: TokenPair,
}

/// `access_token` and `refresh_token`.
#[derive(Serialize, JsonSchema)]
pub struct TokenPair {
    pub access: String,
    /// With `"delivery": "body"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh: Option<String>,
}

/// Begins signing in with an account elsewhere.
///
/// The state in the address is good once and for 10 minutes. 404 `PROVIDER_NOT_CONFIGURED` for a provider
/// that this installation has no registration with.
pub async fn start(
    State(app): State<App>,
    Origin(origin): Origin,
    quota: Quota,
    Query(query): Query<OauthStartQuery>,
) -> Result<Delivered<200, OauthStart>> {
    app.guard.login_from(&origin, &quota).await?;
    let auth_url = app.oauth.begin(query.provider, &query.redirect_uri).await?;
    Ok(Delivered::new(OauthStart { auth_url }, None))
}

/// Signs in with the code that the provider sent the person back with.
///
/// Opens the one active account here that was opened with the same identity before, or whose verified
/// e-mail address the provider vouches for; it makes no account (401 `AUTH_OAUTH_NO_ACCOUNT`). When there
/// are several: 409 `AUTH_TENANT_REQUIRED` with the companies; repeat with the same code, state and a
/// `tenant`, once and within 10 minutes. With a second factor on: 401 `AUTH_2FA_REQUIRED`, as from
/// `/v1/auth/login`; an identity that is new to the account is linked when the session opens. Everything
/// else that is wrong with code, state or provider is 401 `AUTH_OAUTH_REFUSED`: begin again. The user is told
/// of an identity that is linked; a new password unlinks all.
pub async fn callback(
    State(app): State<App>,
    Origin(origin): Origin,
    quota: Quota,
    Json(body): Json<OauthCallback>,
) -> Result<Delivered<200, OauthAnswer>> {
    let mut validator = Validator::default();
    let code = validator.text("code", &body.code, 4096);
    let state = validator.text("state", &body.state, 200);
    let tenant = validator
        .optional_text("tenant", body.tenant.as_deref(), 100)
        .map(|tenant| tenant.to_lowercase());
    validator.finish()?;
    app.guard.login_from(&origin, &quota).await?;

    let identity = app.oauth.identity(body.provider, &state, &code).await?;
    let email = identity.email.as_deref().filter(|_| identity.email_verified);
    let email = email.and_then(Email::parse).ok_or_else(unverified)?;
    let vouched = Vouched {
        provider: body.provider,
        subject: &identity.subject,
        email: &email,
    };
    let found = oauth::find(&app.db, &vouched, tenant.as_deref()).await?;
    let (candidates, barred): (Vec<Candidate>, Vec<Candidate>) =
        found.into_iter().partition(|candidate| candidate.active);
    let candidate = match candidates.as_slice() {
        [] => return Err(refuse(&app, &origin, &barred).await?.into()),
        [one] => one,
        several => {
            app.oauth
                .keep_identity(body.provider, &state, &code, &identity)
                .await?;
            return Err(tenant_required(several).into());
        }
    };
    let subject = Subject::of(app.db.sealer(), &vouched);
    let proved = if candidate.linked {
        FirstFactor::Linked(&subject)
    } else {
        FirstFactor::Unlinked(&subject)
    };
    match sign_in::<200>(&app, &origin, candidate.account, proved, body.delivery).await? {
        Some(answer) => Ok(answer.map(OauthAnswer::from)),
        None => Err(refuse(&app, &origin, &candidates).await?.into()),
    }
}

/// The answer to somebody whom no account lets in, once the logs of those that would have tell of it.
async fn refuse(app: &App, origin: &kernel::Origin, barred: &[Candidate]) -> kernel::Result<Error> {
    app.guard.login_failed();
    audit_failures(
        app,
        origin,
        barred.iter().map(|candidate| (candidate.account, false)),
    )
    .await?;
    Ok(oauth::no_account())
}

impl From<SignedInAnswer> for OauthAnswer {
    fn from(signed_in: SignedInAnswer) -> Self {
        let token = TokenPair {
            access: signed_in.tokens.access_token.clone(),
            refresh: signed_in.tokens.refresh_token.clone(),
        };
        Self { signed_in, token }
    }
}

fn unverified() -> Error {
    Error::new(
        Code::AuthOauthRefused,
        "The provider does not vouch for an e-mail address of this account; verify it there first.",
    )
}

fn tenant_required(several: &[Candidate]) -> Error {
    let slugs: Vec<&str> = several.iter().map(|candidate| candidate.slug.as_str()).collect();
    let message = "This person has accounts in several companies; repeat with `tenant`.";
    Error::new(Code::AuthTenantRequired, message).with_details(json!({ "tenants": slugs }))
}
