//! `/v1/approvals`: what needs approval, and what waits for it (S3A).

use axum::extract::FromRef;
use cloud::Cloud;
use config::{Env, secret};
use kernel::{Clock, Result};
use web::{Routes, Web};

/// What the handlers work with.
#[derive(Clone)]
pub struct App {
    pub db: db::Db,
    pub web: Web,
}

#[must_use]
pub fn routes() -> Routes<App> {
    Routes::new("approvals")
}

impl App {
    /// Reads settings and secrets and connects, while the function starts.
    ///
    /// # Errors
    /// When a setting or secret is missing or malformed.
    pub async fn from_environment() -> Result<Self> {
        let (env, clock) = (Env::from_process(), Clock::system());
        let cloud = Cloud::connect(&env)?;
        let wanted = [secret::DATABASE, secret::TOKEN_KEYS, secret::DATA_KEYS];
        let secrets = cloud.secrets(&env, &wanted).await?;
        let db = db::Db::from_config(&secrets, clock.clone())?.with_after_commit(cloud.after_commit(&env)?);
        db.warm_up().await;
        Ok(Self {
            db,
            web: Web::from_config(&env, &secrets, clock)?,
        })
    }
}

impl FromRef<App> for Web {
    fn from_ref(app: &App) -> Self {
        app.web.clone()
    }
}
