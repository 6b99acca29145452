//! `/v1/whatsapp-accounts` and `/v1/conversations`: the accounts that a company connects, what
//! people write to them, and the answers (the review's messaging module).

pub mod account;
pub mod conversation;
mod edge;
pub mod message;

use axum::extract::FromRef;
use cloud::{Accounts, Cloud};
use config::{Env, secret};
use kernel::{Clock, Error, Permission, Result};
use std::sync::Arc;
use web::{Routes, Web};

/// What the handlers work with.
#[derive(Clone)]
pub struct App {
    pub db: db::Db,
    pub web: Web,
    /// What the webhook edge knows of accounts.
    pub accounts: Arc<Accounts>,
}

#[must_use]
pub fn routes() -> Routes<App> {
    use Permission::{MessagingAccountsManage as Manage, MessagingRead, MessagingSend};
    Routes::new("messaging")
        .get("/v1/whatsapp-accounts", Manage, account::list)
        .post("/v1/whatsapp-accounts", Manage, account::create)
        .get("/v1/whatsapp-accounts/{id}", Manage, account::get)
        .patch("/v1/whatsapp-accounts/{id}", Manage, account::update)
        .delete("/v1/whatsapp-accounts/{id}", Manage, account::delete)
        .get("/v1/conversations", MessagingRead, conversation::list)
        .get("/v1/conversations/{id}", MessagingRead, conversation::get)
        .patch("/v1/conversations/{id}", MessagingSend, conversation::update)
        .get("/v1/conversations/{id}/messages", MessagingRead, message::list)
        .post("/v1/conversations/{id}/messages", MessagingSend, message::reply)
}

impl App {
    /// Reads settings and secrets and connects, while the function starts.
    ///
    /// # Errors
    /// When a setting or secret is missing or malformed.
    pub async fn from_environment() -> Result<Self> {
        let (env, clock) = (Env::from_process(), Clock::system());
        let setting = |name| env.required(name).map_err(Error::internal);
        let cloud = Cloud::connect(&env)?;
        let wanted = [
            secret::DATABASE,
            secret::TOKEN_KEYS,
            secret::DATA_KEYS,
            secret::EDGE_KEYS,
        ];
        let secrets = cloud.secrets(&env, &wanted).await?;
        let edge = secrets.sealer(secret::EDGE_KEYS).map_err(Error::internal)?;
        let db = db::Db::from_config(&secrets, clock.clone())?.with_after_commit(cloud.after_commit(&env)?);
        db.warm_up().await?;
        Ok(Self {
            db,
            web: Web::from_config(&env, &secrets, clock.clone())?,
            accounts: Arc::new(cloud.accounts(setting("STATE_TABLE")?, edge, clock)),
        })
    }
}

impl FromRef<App> for Web {
    fn from_ref(app: &App) -> Self {
        app.web.clone()
    }
}
