//! `/v1/auth`: signing up, logging in, refreshing, logging out, and the list of sessions (S1.4).

pub mod accept_invite;
mod answer;
mod guard;
pub mod login;
pub mod logout;
pub mod oauth;
mod presented;
pub mod refresh;
pub mod register;
pub mod session;
mod sign_in;
pub mod signup;
mod tokens;

use axum::extract::FromRef;
use config::{Env, secret};
use kernel::{Caller, Clock, Error, Origin, Permission, Result, TenantId};
use std::sync::Arc;
use web::{Access, Routes, Web};

pub use guard::{Guard, Limits};
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
    /// Origins of web pages that may use the cookie.
    pub cors_origins: Arc<[String]>,
}

#[must_use]
pub fn routes() -> Routes<App> {
    Routes::new("auth")
        .post("/v1/auth/signup", Access::Public, signup::create)
        .post("/v1/auth/login", Access::Public, login::create)
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
            cors_origins: env
                .or("CORS_ORIGINS", "")
                .split(',')
                .map(|origin| origin.trim().to_owned())
                .collect(),
            db,
        };
        identity::password::warm_up()?;
        app.db.warm_up().await;
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
