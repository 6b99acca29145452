//! Applying the numbered SQL of `migrations/`: roles first, then what is new, as the owner.

use config::{Database, Tls};
use kernel::{Error, Result, Secret};
use refinery::{Migration, Runner};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio_postgres::{Client, NoTls};

/// What a run did.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// The migrations that this run applied, in order.
    pub applied: Vec<String>,
}

/// Brings a database up to date. Repeating it has no effect; a second run at the same time waits
/// for the first.
///
/// # Errors
/// 503 when the database is away; internal when a migration fails (it is rolled back).
pub async fn run(
    owner: &Database,
    app_password: &Secret,
    bootstrap: &str,
    migrations: &[Migration],
) -> Result<Report> {
    let mut client = connect(owner).await?;
    // Two databases of one cluster share their roles, so the lock alone does not keep two
    // bootstraps apart; the loser repeats.
    client
        .batch_execute("SELECT pg_advisory_lock(hashtextextended('m3corecrm.migrate', 0))")
        .await
        .map_err(failed)?;
    let mut tries = 0;
    while let Err(error) = bootstrap_roles(&client, bootstrap, app_password).await {
        tries += 1;
        if tries == 5 {
            return Err(failed(error));
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    client.batch_execute("SET ROLE m3_owner").await.map_err(failed)?;
    let report = Runner::new(migrations)
        .run_async(&mut client)
        .await
        .map_err(Error::internal)?;
    Ok(Report {
        applied: report
            .applied_migrations()
            .iter()
            .map(ToString::to_string)
            .collect(),
    })
}

async fn bootstrap_roles(
    client: &Client,
    bootstrap: &str,
    app_password: &Secret,
) -> Result<(), tokio_postgres::Error> {
    client.batch_execute(bootstrap).await?;
    // ALTER ROLE takes no parameters; format() quotes.
    let set_password = client
        .query_one(
            "SELECT format('ALTER ROLE m3_app PASSWORD %L', $1::text)",
            &[app_password.expose()],
        )
        .await?;
    client.batch_execute(set_password.get(0)).await
}

async fn connect(settings: &Database) -> Result<Client> {
    let mut postgres = tokio_postgres::Config::new();
    postgres
        .host(&settings.host)
        .port(settings.port)
        .dbname(&settings.dbname)
        .user(&settings.username)
        .password(settings.password.expose());
    match settings.tls {
        Tls::Disable => Ok(spawn(postgres.connect(NoTls).await.map_err(failed)?)),
        Tls::Require => {
            postgres.ssl_mode(tokio_postgres::config::SslMode::Require);
            Ok(spawn(
                postgres
                    .connect(crate::connect::tls_with(rds_roots()?)?)
                    .await
                    .map_err(failed)?,
            ))
        }
    }
}

/// The migrator goes past the proxy to the cluster itself, whose certificate comes from RDS's own
/// regional roots.
fn rds_roots() -> Result<RootCertStore> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    for root in CertificateDer::pem_slice_iter(include_bytes!("rds-roots.pem")) {
        roots
            .add(root.map_err(Error::internal)?)
            .map_err(Error::internal)?;
    }
    Ok(roots)
}

fn spawn<S, T>((client, connection): (Client, tokio_postgres::Connection<S, T>)) -> Client
where
    tokio_postgres::Connection<S, T>: Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static,
{
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::warn!(%error, "the migration connection ended");
        }
    });
    client
}

fn failed(error: tokio_postgres::Error) -> Error {
    crate::from_postgres(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roots_of_rds_are_readable() {
        assert_eq!(
            rds_roots().unwrap().len(),
            webpki_roots::TLS_SERVER_ROOTS.len() + 29
        );
    }
}
