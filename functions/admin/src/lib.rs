//! `/v1/admin` and `/v1/tenants`: users, roles, groups, what the plan includes, the audit log, and
//! the companies themselves (S12).

pub mod access;
pub mod compliance;
pub mod people;
pub mod plan;
pub mod security;
pub mod tenants;

use axum::extract::FromRef;
use cloud::{Bucket, Cloud, LINKS, RateLimit};
use config::{Env, secret};
use kernel::{Clock, Error, Result};
use people::links::Links;
use people::mails::{Limits, Mails};
use std::sync::Arc;
use web::{Routes, Web};

/// On a developer's machine everybody has one address, and tests make hundreds of companies.
const LOCAL_FACTOR: u32 = 100;

/// What the handlers work with.
#[derive(Clone)]
pub struct App {
    pub db: db::Db,
    pub web: Web,
    /// Where exports are put.
    pub bucket: Bucket,
    /// How often an address may follow links.
    pub links: Links,
    /// How many links are mailed to an address, and for a company.
    pub mails: Mails,
    /// Where people open the system: links in messages begin with it. No trailing slash.
    pub app_url: Arc<str>,
    /// Whether this is a developer's environment, where plans may be tried out.
    pub is_dev: bool,
}

#[must_use]
pub fn routes() -> Routes<App> {
    let table = Routes::new("admin");
    let table = people::routes(table);
    let table = access::routes(table);
    let table = plan::routes(table);
    let table = compliance::routes(table);
    let table = security::routes(table);
    tenants::routes(table)
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
            secret::PROVISIONING_KEY,
        ];
        let secrets = cloud.secrets(&env, &wanted).await?;
        let db = db::Db::from_config(&secrets, clock.clone())?.with_after_commit(cloud.after_commit(&env)?);
        db.warm_up().await?;
        let limiter = cloud.rate_limiter(setting("STATE_TABLE")?, clock.clone());
        let factor = if setting("M3_ENV")? == "local" {
            LOCAL_FACTOR
        } else {
            1
        };
        let followed = RateLimit {
            capacity: LINKS.capacity * factor,
            ..LINKS
        };
        let links = Links::new(limiter.clone(), followed, db.sealer().clone());
        let mails = Mails::new(limiter, Limits::times(factor), db.sealer().clone());
        let operator = secrets.parse(secret::PROVISIONING_KEY).map_err(Error::internal)?;
        Ok(Self {
            db,
            web: Web::from_config(&env, &secrets, clock)?.with_operator(&operator),
            bucket: cloud.bucket(setting("BUCKET")?),
            links,
            mails,
            app_url: setting("APP_URL")?.trim_end_matches('/').into(),
            is_dev: matches!(env.optional("M3_ENV"), Some("local" | "dev")),
        })
    }
}

impl FromRef<App> for Web {
    fn from_ref(app: &App) -> Self {
        app.web.clone()
    }
}
