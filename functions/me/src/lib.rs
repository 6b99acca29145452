//! `/v1/me` and what the API says of itself: its health, its description, its public keys.

pub mod about;
pub mod me;

use axum::extract::FromRef;
use config::{Env, TokenKeys, secret};
use kernel::{Clock, Error, Result};
use serde_json::Value;
use std::sync::Arc;
use web::{Access, Routes, Web};

/// What the handlers work with.
#[derive(Clone)]
pub struct App {
    pub db: db::Db,
    /// The JWK set that access tokens verify with.
    pub jwks: Arc<Value>,
    pub web: Web,
}

#[must_use]
pub fn routes() -> Routes<App> {
    Routes::new("me")
        .get("/v1/me", Access::SignedIn, me::get)
        .get("/v1/health", Access::Public, about::health)
        .get("/v1/openapi.json", Access::Public, about::openapi)
        .get("/.well-known/jwks.json", Access::Public, about::jwks)
}

impl App {
    /// Reads settings and secrets and connects, while the function starts.
    ///
    /// # Errors
    /// When a setting or secret is missing or malformed.
    pub async fn from_environment() -> Result<Self> {
        let env = Env::from_process();
        let cloud = cloud::Cloud::connect(&env)?;
        let secrets = cloud
            .secrets(&env, &[secret::DATABASE, secret::TOKEN_KEYS, secret::DATA_KEYS])
            .await?;
        let web = Web::from_config(&env, &secrets, Clock::system())?;
        let keys: TokenKeys = secrets.parse(secret::TOKEN_KEYS).map_err(Error::internal)?;
        let jwks = identity::token::jwks(
            keys.keys
                .iter()
                .map(|key| (key.kid.as_str(), key.public_key.as_str())),
        );
        let db = db::Db::from_config(&secrets, Clock::system())?;
        db.warm_up().await?;
        Ok(Self {
            db,
            jwks: Arc::new(jwks),
            web,
        })
    }
}

impl FromRef<App> for Web {
    fn from_ref(app: &App) -> Self {
        app.web.clone()
    }
}
