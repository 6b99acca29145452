//! `/v1/approvals`: what needs approval, and what waits for it (S3A).

mod carry_out;
pub mod decision;
pub mod policy;
pub mod request;

use axum::extract::FromRef;
use cloud::Cloud;
use config::{Env, secret};
use kernel::{Clock, Error, Permission, Result};
use std::sync::Arc;
use web::{Access, Routes, Web};

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
    use Permission::{ApprovalsDecide, ApprovalsPoliciesManage as Manage, ApprovalsRequestsRead};
    Routes::new("approvals")
        .get("/v1/approvals/policies", Manage, policy::list)
        .post("/v1/approvals/policies", Manage, policy::create)
        .get("/v1/approvals/policies/{id}", Manage, policy::get)
        .patch("/v1/approvals/policies/{id}", Manage, policy::update)
        .delete("/v1/approvals/policies/{id}", Manage, policy::delete)
        .get("/v1/approvals/requests", ApprovalsRequestsRead, request::list)
        .get("/v1/approvals/requests/{id}", ApprovalsRequestsRead, request::get)
        .post(
            "/v1/approvals/requests/{id}/approve",
            ApprovalsDecide,
            decision::approve,
        )
        .post(
            "/v1/approvals/requests/{id}/reject",
            ApprovalsDecide,
            decision::reject,
        )
        .post(
            "/v1/approvals/requests/{id}/cancel",
            Access::SignedIn,
            request::cancel,
        )
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
        db.warm_up().await?;
        let app_url = env.required("APP_URL").map_err(Error::internal)?;
        Ok(Self {
            db,
            web: Web::from_config(&env, &secrets, clock)?,
            app_url: app_url.trim_end_matches('/').into(),
        })
    }
}

impl FromRef<App> for Web {
    fn from_ref(app: &App) -> Self {
        app.web.clone()
    }
}
