//! Work that nobody asks for: each minute what was left half done, each hour companies that were closed,
//! each day what is out of date.
//! Every task may run twice, or two at once.

mod daily;
mod hourly;
mod minute;

use cloud::{Accounts, Bucket, Cloud};
use config::{Env, secret};
use db::Db;
use kernel::{Clock, Error, Result};
use std::sync::Arc;
use worker::Task;

pub const NAME: &str = "scheduler";

/// What it works with.
#[derive(Clone)]
pub struct App {
    pub db: Db,
    /// What the webhook edge knows of accounts.
    pub accounts: Arc<Accounts>,
    /// Where people open the web client, without a trailing slash.
    pub app_url: Arc<str>,
    /// Where exports are, which an erasure and a company's end delete.
    pub bucket: Bucket,
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
        let secrets = cloud
            .secrets(&env, &[secret::DATABASE, secret::DATA_KEYS, secret::EDGE_KEYS])
            .await?;
        let edge = secrets.sealer(secret::EDGE_KEYS).map_err(Error::internal)?;
        let db = Db::from_config(&secrets, clock.clone())?.with_after_commit(cloud.after_commit(&env)?);
        db.warm_up().await?;
        Ok(Self {
            bucket: cloud.bucket(setting("BUCKET")?),
            db,
            accounts: Arc::new(cloud.accounts(setting("STATE_TABLE")?, edge, clock)),
            app_url: setting("APP_URL")?.trim_end_matches('/').into(),
        })
    }

    /// Runs the task `minute`, `hourly` or `daily`.
    ///
    /// # Errors
    /// When a part of it failed; the rest was done.
    pub async fn handle(&self, task: Task) -> Result<()> {
        match task.name.as_str() {
            "minute" => minute::run(self, &task).await,
            "hourly" => hourly::run(self, &task).await,
            "daily" => daily::run(self, &task).await,
            _ => Err(Error::internal("there is no task of this name")),
        }
    }
}
