//! Databases. `M3_TEST_ADMIN_DATABASE_URL` names a server (`cargo xtask test` starts one and sets
//! it). Tests share one migrated database and make a tenant each; a test about migrations or all
//! tenants takes a database of its own.

use config::{Database, Tls};
use db::Db;
use kernel::{Caller, Clock, Secret, TenantId};
use refinery::Migration;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use tokio_postgres::{Client, NoTls, config::Host};
use uuid::Uuid;

const APP_PASSWORD: &str = "m3-app-test";

/// A migrated database and how to reach it.
pub struct TestDb {
    /// As the application reaches it.
    pub settings: Database,
    /// As an administrator reaches it.
    pub admin: Database,
    pub db: Db,
}

impl TestDb {
    /// A caller that acts for a tenant as one of our own functions.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "tests stand in for a verified message")]
    pub fn system(tenant: TenantId) -> Caller {
        Caller::verified_system(
            tenant,
            "test",
            kernel::Origin {
                request_id: "test".to_owned(),
                ..Default::default()
            },
        )
    }

    /// A caller as a verified token makes one.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "tests stand in for a verified token")]
    pub fn user(tenant: TenantId, user_id: Uuid, session_id: Uuid) -> Caller {
        Caller::verified_user(tenant, user_id, session_id, None, kernel::Origin::default())
    }

    /// A new tenant without users, on `dev_pro` and with as many seats as a test may need.
    ///
    /// # Panics
    /// When the database refuses.
    pub async fn tenant(&self) -> TenantId {
        let tenant = TenantId(self.db.clock().id());
        let insert = "INSERT INTO tenants (id, name, slug) VALUES ($1, 'Test', $2)";
        let subscribe =
            "UPDATE tenant_subscription SET plan_code = 'dev_pro', status = 'active' WHERE tenant_id = $1";
        let seats =
            "INSERT INTO entitlement_overrides (tenant_id, scope, scope_id, code, created_at, updated_at)
             VALUES ($1, 'tenant', $1, 'users.max', now(), now())";
        let (caller, slug) = (Self::system(tenant), format!("test-{tenant}"));
        let write = self.db.write(&caller, async |tx| {
            tx.execute(insert, &[&tenant.0, &slug]).await?;
            tx.execute(subscribe, &[&tenant.0]).await?;
            tx.execute(seats, &[&tenant.0]).await
        });
        write.await.expect("a tenant can be made");
        tenant
    }
}

/// The database that tests share, with the system's clock.
///
/// # Panics
/// When there is no server, or it can't be migrated.
pub async fn database() -> TestDb {
    database_with(Clock::system()).await
}

/// The database that tests share, with another clock.
///
/// # Panics
/// As [`database`].
pub async fn database_with(clock: Clock) -> TestDb {
    let server = server();
    let name = shared_name();
    let admin = admin_client(&server).await;
    admin
        .batch_execute("SELECT pg_advisory_lock(hashtextextended('m3corecrm.testkit', 0))")
        .await
        .expect("locks");
    let known = admin
        .query_opt("SELECT FROM pg_database WHERE datname = $1", &[&name])
        .await
        .expect("lists databases");
    if known.is_none() {
        let building = format!("{name}_building");
        create(&admin, &building, None).await;
        migrate(&Database {
            dbname: building.clone(),
            ..server.clone()
        })
        .await;
        admin
            .batch_execute(&format!("ALTER DATABASE {building} RENAME TO {name}"))
            .await
            .expect("renames");
    }
    admin
        .batch_execute("SELECT pg_advisory_unlock_all()")
        .await
        .expect("unlocks");
    open(&server, name, clock)
}

/// An empty database of the test's own, migrated unless the test is about that.
///
/// # Panics
/// As [`database`].
pub async fn fresh_database(migrated: bool) -> TestDb {
    fresh_database_with(migrated, Clock::system()).await
}

/// As [`fresh_database`], with another clock.
///
/// # Panics
/// As [`database`].
pub async fn fresh_database_with(migrated: bool, clock: Clock) -> TestDb {
    let server = server();
    let admin = admin_client(&server).await;
    let name = format!("m3_own_{}", Clock::system().id().simple());
    create(&admin, &name, None).await;
    if migrated {
        migrate(&Database {
            dbname: name.clone(),
            ..server.clone()
        })
        .await;
    }
    open(&server, name, clock)
}

/// A connection as the administrator of `settings`.
///
/// # Panics
/// When the server is away.
pub async fn admin_client(settings: &Database) -> Client {
    let mut postgres = tokio_postgres::Config::new();
    postgres
        .host(&settings.host)
        .port(settings.port)
        .dbname(&settings.dbname)
        .user(&settings.username);
    postgres.password(settings.password.expose());
    let (client, connection) = postgres.connect(NoTls).await.expect("the test server answers");
    tokio::spawn(connection);
    client
}

/// The folder of numbered migrations.
#[must_use]
pub fn migrations_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../migrations")
}

/// Applies all migrations to a database.
///
/// # Panics
/// When one fails.
pub async fn migrate(owner: &Database) -> db::migrate::Report {
    let (bootstrap, migrations) = sources();
    db::migrate::run(
        owner,
        &Secret::new(APP_PASSWORD.to_owned()),
        &bootstrap,
        &migrations,
    )
    .await
    .expect("migrations apply")
}

fn sources() -> (String, Vec<Migration>) {
    let dir = migrations_dir();
    let bootstrap = std::fs::read_to_string(dir.join("bootstrap.sql")).expect("bootstrap.sql is there");
    let migrations = refinery::load_sql_migrations(&dir).expect("migrations are readable");
    (bootstrap, migrations)
}

async fn create(admin: &Client, name: &str, template: Option<&str>) {
    admin
        .batch_execute(&format!("DROP DATABASE IF EXISTS {name}"))
        .await
        .expect("drops what a killed run left");
    let template = template
        .map(|template| format!(" TEMPLATE {template}"))
        .unwrap_or_default();
    admin
        .batch_execute(&format!("CREATE DATABASE {name}{template}"))
        .await
        .expect("creates a database");
}

fn open(server: &Database, name: String, clock: Clock) -> TestDb {
    let admin = Database {
        dbname: name,
        ..server.clone()
    };
    let settings = Database {
        username: "m3_app".to_owned(),
        password: Secret::new(APP_PASSWORD.to_owned()),
        max_connections: 32,
        ..admin.clone()
    };
    let db = Db::new(&settings, crate::keys::sealer(), clock).expect("a pool can be made");
    TestDb { settings, admin, db }
}

/// The shared database is named by what it was migrated with.
fn shared_name() -> String {
    let (bootstrap, migrations) = sources();
    let mut hasher = DefaultHasher::new();
    bootstrap.hash(&mut hasher);
    let mut checksums: Vec<_> = migrations.iter().map(Migration::checksum).collect();
    checksums.sort_unstable();
    checksums.hash(&mut hasher);
    format!("m3_test_{:016x}", hasher.finish())
}

fn server() -> Database {
    let url = config::Env::from_process();
    let url = url
        .required("M3_TEST_ADMIN_DATABASE_URL")
        .expect("run `cargo xtask test`, which starts a Postgres for the tests");
    let parsed =
        tokio_postgres::Config::from_str(url).expect("M3_TEST_ADMIN_DATABASE_URL is a postgres:// URL");
    let host = match parsed.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        _ => "127.0.0.1".to_owned(),
    };
    Database {
        host,
        port: parsed.get_ports().first().copied().unwrap_or(5432),
        dbname: parsed.get_dbname().unwrap_or("postgres").to_owned(),
        username: parsed.get_user().unwrap_or("postgres").to_owned(),
        password: Secret::new(
            String::from_utf8_lossy(parsed.get_password().unwrap_or_default()).into_owned(),
        ),
        tls: Tls::Disable,
        max_connections: 4,
    }
}

/// A random id, for values that must not collide between tests.
#[must_use]
pub fn unique() -> Uuid {
    Clock::system().id()
}
