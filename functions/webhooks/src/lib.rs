//! `/v1/webhooks`: what providers post. Verified here against secrets held in memory, put into the
//! queue, answered. No database is in the path, so none can be away (review Epic 3).

mod intake;
pub mod meta;
pub mod twilio;

use axum::extract::FromRef;
use cloud::{Accounts, Bucket, Cloud, Queue};
use config::{Env, GlobalAccounts, secret};
use kernel::{Clock, Error, Result};
use std::sync::Arc;
use web::{Access, Routes, Web};

/// What the handlers work with.
#[derive(Clone)]
pub struct App {
    pub accounts: Arc<Accounts>,
    pub global: Arc<GlobalAccounts>,
    pub queue: Queue,
    pub bucket: Bucket,
    /// The address that providers were told, without a slash at its end: Twilio signs it.
    pub webhooks_url: Arc<str>,
    pub web: Web,
}

#[must_use]
pub fn routes() -> Routes<App> {
    Routes::new("webhooks")
        .get("/v1/webhooks/meta", Access::Public, meta::handshake)
        .post("/v1/webhooks/meta", Access::Public, meta::receive)
        .post("/v1/webhooks/twilio", Access::Public, twilio::receive)
}

impl App {
    /// Reads settings and secrets, while the function starts.
    ///
    /// # Errors
    /// When a setting or secret is missing or malformed.
    pub async fn from_environment() -> Result<Self> {
        let (env, clock) = (Env::from_process(), Clock::system());
        let setting = |name| env.required(name).map_err(Error::internal);
        let cloud = Cloud::connect(&env)?;
        let secrets = cloud
            .secrets(&env, &[secret::EDGE_KEYS, secret::GLOBAL_ACCOUNTS])
            .await?;
        let edge = secrets.sealer(secret::EDGE_KEYS).map_err(Error::internal)?;
        Ok(Self {
            accounts: Arc::new(cloud.accounts(setting("STATE_TABLE")?, edge, clock.clone())),
            global: Arc::new(secrets.parse(secret::GLOBAL_ACCOUNTS).map_err(Error::internal)?),
            queue: cloud.queue(setting("INBOUND_WEBHOOKS_QUEUE_URL")?),
            bucket: cloud.bucket(setting("BUCKET")?),
            webhooks_url: setting("WEBHOOKS_URL")?.trim_end_matches('/').into(),
            web: Web::new(clock, None, ""),
        })
    }
}

impl FromRef<App> for Web {
    fn from_ref(app: &App) -> Self {
        app.web.clone()
    }
}
