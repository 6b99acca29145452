//! `/v1/auth`: signing up, logging in with one factor or two, refreshing, logging out, sessions,
//! passwords, second factors and phones (S1.4, S1.8).

pub mod accept_invite;
mod answer;
pub mod factor;
mod guard;
mod guesses;
mod limits;
pub mod link;
pub mod login;
pub mod login_2fa;
pub mod logout;
pub mod oauth;
pub mod password;
pub mod phone;
mod presented;
mod proving;
pub mod refresh;
pub mod register;
pub mod session;
mod sign_in;
pub mod signup;
mod tokens;
pub mod totp;

use axum::extract::FromRef;
use config::{Env, secret};
use kernel::{Caller, Clock, Error, Feature, Origin, Permission, Result, TenantId};
use std::sync::Arc;
use web::{Access, Routes, Web};

pub use guard::Guard;
pub use limits::Limits;
pub use oauth::Oauth;
pub use tokens::Tokens;

/// What the handlers work with.
#[derive(Clone)]
pub struct App {
    pub db: db::Db,
    pub web: Web,
    pub tokens: Arc<Tokens>,
    pub guard: Guard,
    pub oauth: Oauth,
    /// Where people open the system: links in messages begin with it. No trailing slash.
    pub app_url: Arc<str>,
    /// Origins of web pages that may use the cookie.
    pub cors_origins: Arc<[String]>,
}

#[must_use]
pub fn routes() -> Routes<App> {
    let table = Routes::new("auth")
        .post("/v1/auth/signup", Access::Public, signup::create)
        .post("/v1/auth/register-super-admin", Access::Public, signup::register)
        .post("/v1/auth/login", Access::Public, login::create)
        .post("/v1/auth/login/2fa", Access::Public, login_2fa::create)
        .post("/v1/auth/refresh", Access::Public, refresh::create)
        .post("/v1/auth/logout", Access::Public, logout::create)
        .get("/v1/auth/oauth/start", Access::Public, oauth::start)
        .post("/v1/auth/oauth/callback", Access::Public, oauth::callback)
        .post("/v1/auth/accept-invite", Access::Public, accept_invite::create)
        .post("/v1/auth/register", Access::Public, register::create)
        .get("/v1/auth/sessions", Permission::SessionReadSelf, session::list)
        .delete(
            "/v1/auth/sessions/{id}",
            Permission::SessionRevokeSelf,
            session::revoke,
        )
        .post("/v1/auth/verify-email", Access::Public, link::verify_email)
        .post(
            "/v1/auth/resend-verification",
            Access::Public,
            link::resend_verification,
        )
        .post("/v1/auth/forgot-password", Access::Public, link::forgot_password)
        .post("/v1/auth/reset-password", Access::Public, password::reset)
        .post("/v1/auth/change-password", Access::SignedIn, password::change);
    phone_routes(factor_routes(table))
}

fn factor_routes(table: Routes<App>) -> Routes<App> {
    // Turning a factor off needs no plan: a company that paid less would lock its people in.
    let own = Permission::TwoFaManageSelf;
    table
        .post("/v1/auth/totp/setup", (own, Feature::TwoFaTotp), totp::set_up)
        .post("/v1/auth/totp/confirm", (own, Feature::TwoFaTotp), totp::confirm)
        .post("/v1/auth/totp/disable", own, totp::disable)
        .post("/v1/auth/2fa/totp/issue", (own, Feature::TwoFaTotp), totp::issue)
        .post(
            "/v1/auth/2fa/totp/verify",
            (own, Feature::TwoFaTotp),
            totp::verify,
        )
        .post("/v1/auth/2fa/backup-codes", own, factor::regenerate_backup_codes)
        .post(
            "/v1/auth/twofa/sms/enable",
            (own, Feature::TwoFaSms),
            factor::enable_sms,
        )
        .post("/v1/auth/twofa/sms/disable", own, factor::disable_sms)
        .post(
            "/v1/auth/twofa/whatsapp/enable",
            (own, Feature::TwoFaWhatsapp),
            factor::enable_whatsapp,
        )
        .post("/v1/auth/twofa/whatsapp/disable", own, factor::disable_whatsapp)
}

fn phone_routes(table: Routes<App>) -> Routes<App> {
    let start = Permission::PhoneVerifyStart;
    table
        .post("/v1/auth/phone/verify/start", start, phone::start)
        .post(
            "/v1/auth/phone/verify/confirm",
            Permission::PhoneVerifyConfirm,
            phone::confirm,
        )
        .post("/v1/auth/phone/verify/resend", start, phone::resend)
        .delete("/v1/auth/phone/verify/cancel", start, phone::cancel)
}

impl App {
    /// Reads settings and secrets and connects, while the function starts.
    ///
    /// # Errors
    /// When a setting or secret is missing or malformed.
    pub async fn from_environment() -> Result<Self> {
        let env = Env::from_process();
        let cloud = cloud::Cloud::connect(&env)?;
        let named = [
            secret::DATABASE,
            secret::TOKEN_KEYS,
            secret::TOKEN_SIGNING,
            secret::DATA_KEYS,
            secret::OAUTH_PROVIDERS,
        ];
        let secrets = cloud.secrets(&env, &named).await?;
        let clock = Clock::system();
        let db = db::Db::from_config(&secrets, clock.clone())?.with_after_commit(cloud.after_commit(&env)?);
        let oauth = Oauth::new(
            secrets.parse(secret::OAUTH_PROVIDERS).map_err(Error::internal)?,
            &cloud,
            env.required("STATE_TABLE").map_err(Error::internal)?,
            db.sealer().clone(),
            clock.clone(),
        );
        let app = Self {
            oauth,
            web: Web::from_config(&env, &secrets, clock.clone())?,
            tokens: Arc::new(Tokens::from_config(&env, &secrets)?),
            guard: Guard::from_config(&env, &cloud, db.sealer().clone(), clock)?,
            app_url: env
                .required("APP_URL")
                .map_err(Error::internal)?
                .trim_end_matches('/')
                .into(),
            cors_origins: env
                .or("CORS_ORIGINS", "")
                .split(',')
                .map(|origin| origin.trim().to_owned())
                .collect(),
            db,
        };
        identity::password::warm_up()?;
        app.db.warm_up().await?;
        Ok(app)
    }

    /// One of our own functions, for a tenant that a password, a refresh token or a signup led to.
    pub(crate) fn act_for(tenant: TenantId, origin: &Origin) -> Caller {
        #[expect(clippy::disallowed_methods, reason = "the steps before anybody is signed in")]
        Caller::verified_system(tenant, "auth", origin.clone())
    }
}

impl FromRef<App> for Web {
    fn from_ref(app: &App) -> Self {
        app.web.clone()
    }
}

/// A token that opens nothing (any more).
pub(crate) fn token_refused() -> Error {
    Error::new(
        kernel::Code::Unauthenticated,
        "The token is not valid (any more); log in again.",
    )
}
