//! `/v1/contacts`: the people that a company sells to (S3.4).

pub mod contact;

use axum::extract::FromRef;
use config::{Env, secret};
use kernel::{Clock, Error, Permission, Result};
use std::sync::Arc;
use web::{Routes, Web};

/// What the handlers work with.
#[derive(Clone)]
pub struct App {
    pub db: db::Db,
    pub web: Web,
    /// Where people open the web client, without a trailing slash.
    pub app_url: Arc<str>,
}

#[must_use]
pub fn routes() -> Routes<App> {
    Routes::new("contacts")
        .get("/v1/contacts", Permission::ContactRead, contact::list)
        .post("/v1/contacts", Permission::ContactCreate, contact::create)
        .get("/v1/contacts/{id}", Permission::ContactRead, contact::get)
        .patch("/v1/contacts/{id}", Permission::ContactUpdate, contact::update)
        .delete("/v1/contacts/{id}", Permission::ContactDelete, contact::delete)
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
        let db = db::Db::from_config(&secrets, Clock::system())?.with_after_commit(cloud.after_commit(&env)?);
        db.warm_up().await?;
        let app_url = env.required("APP_URL").map_err(Error::internal)?;
        let app_url = app_url.trim_end_matches('/').into();
        Ok(Self { db, web, app_url })
    }
}

impl FromRef<App> for Web {
    fn from_ref(app: &App) -> Self {
        app.web.clone()
    }
}
