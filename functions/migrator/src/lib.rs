//! Brings the database up to date: invoked after a deployment, answers with what it applied.

use config::{Database, Env, secret};
use db::migrate::{self, Report};
use kernel::{Error, Result};

/// Applies the migrations that this binary carries.
///
/// # Errors
/// When a setting is missing, the database is away, or a migration fails.
pub async fn handle() -> Result<Report> {
    let env = Env::from_process();
    let cloud = cloud::Cloud::connect(&env)?;
    let secrets = cloud
        .secrets(&env, &[secret::DATABASE_OWNER, secret::DATABASE])
        .await?;
    let owner: Database = secrets.parse(secret::DATABASE_OWNER).map_err(Error::internal)?;
    let app: Database = secrets.parse(secret::DATABASE).map_err(Error::internal)?;
    migrate::run(
        &owner,
        &app.password,
        BOOTSTRAP,
        migrations::migrations::runner().get_migrations(),
    )
    .await
}

const BOOTSTRAP: &str = include_str!("../../../migrations/bootstrap.sql");

mod migrations {
    refinery::embed_migrations!("../../migrations");
}
