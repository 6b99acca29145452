//! Connecting: TLS with bundled roots, and the refusal to work as a role that could bypass
//! row-level security.

use crate::error::from_postgres;
use crate::used_keys::UsedKeys;
use crate::{Params, tx};
use config::Tls;
use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
};
use kernel::nudge::AfterCommit;
use kernel::{Caller, Clock, Error, Nudge, Result, Sealer};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;
use tokio_postgres::{NoTls, Row, SimpleQueryMessage};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const WAIT_TIMEOUT: Duration = Duration::from_secs(5);

/// The database of this process.
#[derive(Clone)]
pub struct Db {
    pool: Pool,
    clock: Clock,
    sealer: Sealer,
    after_commit: Option<AfterCommit>,
    used_keys: UsedKeys,
}

impl Db {
    /// Makes the pool; the first connection is opened by [`Db::warm_up`] or the first use.
    ///
    /// # Errors
    /// When the settings can't make a pool.
    pub fn new(settings: &config::Database, sealer: Sealer, clock: Clock) -> Result<Self> {
        let mut postgres = tokio_postgres::Config::new();
        postgres
            .host(&settings.host)
            .port(settings.port)
            .dbname(&settings.dbname)
            .user(&settings.username)
            .password(settings.password.expose())
            .application_name("m3corecrm")
            .connect_timeout(CONNECT_TIMEOUT)
            .keepalives_idle(Duration::from_secs(30));
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = match settings.tls {
            Tls::Disable => Manager::from_config(postgres, NoTls, recycling),
            Tls::Require => {
                postgres.ssl_mode(tokio_postgres::config::SslMode::Require);
                Manager::from_config(postgres, tls()?, recycling)
            }
        };
        let pool = Pool::builder(manager)
            .max_size(settings.max_connections)
            .runtime(Runtime::Tokio1)
            .create_timeout(Some(CONNECT_TIMEOUT))
            .wait_timeout(Some(WAIT_TIMEOUT))
            .post_create(Hook::async_fn(|client, _| Box::pin(refuse_bypass(client))))
            .build()
            .map_err(Error::internal)?;
        Ok(Self {
            pool,
            clock,
            sealer,
            after_commit: None,
            used_keys: UsedKeys::default(),
        })
    }

    /// The same database, whose transactions pass on their nudges once they are committed.
    #[must_use]
    pub fn with_after_commit(mut self, after_commit: AfterCommit) -> Self {
        self.after_commit = Some(after_commit);
        self
    }

    /// The database that the function's secrets name, sealed with the data keys.
    ///
    /// # Errors
    /// Internal, when a secret is missing or malformed.
    pub fn from_config(secrets: &config::Secrets, clock: Clock) -> Result<Self> {
        let settings: config::Database = secrets.parse(config::secret::DATABASE).map_err(Error::internal)?;
        let sealer = secrets
            .sealer(config::secret::DATA_KEYS)
            .map_err(Error::internal)?;
        Self::new(&settings, sealer, clock)
    }

    /// Opens the first connection, so that the first request does not wait for it. Finding the
    /// database away is not an error here: requests say 503 until it is back.
    ///
    /// # Errors
    /// Internal, when the role is one that would see every tenant.
    pub async fn warm_up(&self) -> Result<()> {
        match self.connection().await {
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, "the database is away");
                Ok(())
            }
            outcome => outcome.map(drop),
        }
    }

    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    #[must_use]
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Runs `work` in a read-only tenant transaction.
    ///
    /// # Errors
    /// What `work` returns; 401 or 403 when the caller may not enter; 503 when the database is away.
    pub async fn read<T>(&self, caller: &Caller, work: impl AsyncFnOnce(tx::Tx) -> Result<T>) -> Result<T> {
        tx::read(self, caller, work).await
    }

    /// Runs `work` in a tenant transaction and commits when it succeeds. When the caller carries an
    /// idempotency key that was answered before, `work` does not run and that answer is returned.
    ///
    /// # Errors
    /// As [`Db::read`]; 409 while the same key is being answered, 422 when it was used for another
    /// request.
    pub async fn write<T: Serialize + DeserializeOwned>(
        &self,
        caller: &Caller,
        work: impl AsyncFnOnce(tx::Tx) -> Result<T>,
    ) -> Result<T> {
        tx::write(self, caller, work).await
    }

    /// Checks the caller's session and permission, for a route that needs no transaction.
    ///
    /// # Errors
    /// 401 or 403 when the caller may not enter; 503 when the database is away.
    pub async fn authorise(&self, caller: &Caller) -> Result<()> {
        self.read(caller, async |tx| tx.query_one("SELECT 1", &[]).await.map(drop))
            .await
    }

    /// Calls a look-up function of schema `app`: a statement outside any tenant.
    ///
    /// # Errors
    /// 503 when the database is away.
    pub async fn lookup(&self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>> {
        let client = self.connection().await?;
        let statement = client.prepare_cached(sql).await.map_err(from_postgres)?;
        client.query(&statement, params).await.map_err(from_postgres)
    }

    pub(crate) fn used_keys(&self) -> &UsedKeys {
        &self.used_keys
    }

    pub(crate) async fn nudge(&self, caller: &Caller, nudges: Vec<Nudge>) {
        if let Some(after_commit) = &self.after_commit
            && !nudges.is_empty()
        {
            after_commit(caller.clone(), nudges).await;
        }
    }

    pub(crate) async fn connection(&self) -> Result<Object> {
        self.pool.get().await.map_err(|error| match error {
            // Whatever refuses a connection (starting, stopping, full), it may be gone in a moment.
            PoolError::Backend(error) => Error::unavailable(from_postgres(error)),
            PoolError::PostCreateHook(refusal @ HookError::Message(_)) => Error::internal(refusal),
            other => Error::unavailable(other),
        })
    }
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db")
            .field("pool", &self.pool.status())
            .finish_non_exhaustive()
    }
}

const ROLE_SEES_EVERYTHING: &str = "SELECT r.rolsuper OR r.rolbypassrls OR EXISTS (
        SELECT FROM pg_roles o WHERE o.rolname IN ('m3_owner', 'm3_lookup') AND pg_has_role(r.oid, o.oid, 'MEMBER'))
    FROM pg_roles r WHERE r.rolname = current_user";

/// A role that is superuser, bypasses row-level security, or can become the owner or whoever looks things up
/// before a tenant is known, would see every tenant: no connection is better than that one.
async fn refuse_bypass(client: &tokio_postgres::Client) -> Result<(), HookError> {
    // A simple query is one trip where a prepared one is two: every cold start waits for this.
    let role = client
        .simple_query(ROLE_SEES_EVERYTHING)
        .await
        .map_err(HookError::Backend)?;
    let kept = role
        .iter()
        .any(|message| matches!(message, SimpleQueryMessage::Row(row) if row.get(0) == Some("f")));
    if !kept {
        return Err(HookError::message(
            "the database role can bypass row-level security; connect as m3_app",
        ));
    }
    Ok(())
}

/// TLS with the public roots, which RDS Proxy's certificates come from.
fn tls() -> Result<tokio_postgres_rustls::MakeRustlsConnect> {
    tls_with(rustls::RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    })
}

pub(crate) fn tls_with(roots: rustls::RootCertStore) -> Result<tokio_postgres_rustls::MakeRustlsConnect> {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::internal)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(tokio_postgres_rustls::MakeRustlsConnect::new(client))
}
