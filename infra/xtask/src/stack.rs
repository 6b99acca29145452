//! Bringing the local stack up and down.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::api::{stack, text};
use crate::aws::{self, Aws};
use crate::paths::{Paths, Ports, root};
use crate::process::{Daemon, bare, starting};
use crate::server::{self, Server};
use crate::step::{say, step};
use crate::{build, cluster, http, keys, python, seed, smoke};

const DATABASE: &str = "m3_local";
/// Fixed, though the API's port is not: the tokens in events/ name it.
const TOKEN_ISSUER: &str = "https://local.m3corecrm";
/// Meta's API carries its version in the path, so the stand-in's base does too.
const META_VERSION: &str = "v23.0";

/// Starts the developer's stack; Ctrl-C meanwhile stops it again.
pub fn up() -> Result<()> {
    let paths = Paths::stack();
    stop_on_interrupt(paths.clone())?;
    start(&paths)
}

/// Starts what is not running, deploys what has changed, and proves that the main job works.
pub fn start(paths: &Paths) -> Result<()> {
    paths.create()?;
    let began = Instant::now();
    let mut ports = Ports::load(paths);

    step("python tools", || {
        let (_, made) = python::environment()?;
        Ok(((), if made { "installed" } else { "installed before" }.to_owned()))
    })?;
    let server = step("database", || {
        let server = start_database(paths, &mut ports)?;
        let origin = server.origin.clone();
        Ok((server, origin))
    })?;
    say("  functions");
    let binaries = build::build()?;
    let (aws, fresh) = step("local AWS", || {
        let (aws, started) = aws::start(paths, &mut ports, true)?;
        let outcome = format!(
            "{} {}",
            if started { "started at" } else { "running at" },
            aws.endpoint
        );
        Ok(((aws, started), outcome))
    })?;
    let providers = step("stand-in providers", || {
        start_providers(paths, &mut ports, &binaries)
    })?;
    let app_password = keys::app_password(paths)?;
    let deployed = step("deploy", || {
        let settings = deployment(
            paths,
            &aws,
            &providers,
            &binaries,
            &keys::secrets(&app_password, &server, DATABASE)?,
        );
        let deployed = aws::deploy(&settings)?;
        let outcome = format!(
            "{} functions, {} with new code",
            deployed.functions,
            deployed.changed.len()
        );
        Ok((deployed, outcome))
    })?;
    step("migrate", || {
        Ok((
            (),
            aws::invoke(&aws.endpoint, "migrator", &json!({}))?.to_string(),
        ))
    })?;
    let description = describe(&aws, &server, &providers, &app_password)?;
    if fresh || deployed.applied {
        step("demo data", || {
            seed::seed(&description, Some(&binaries)).map(|outcome| ((), outcome))
        })?;
        say("  the main job");
        smoke::smoke(&description)?;
    }
    fs::write(
        paths.stack_json(),
        serde_json::to_string_pretty(&description)? + "\n",
    )?;
    say(&format!("\nup in {:.1} s", began.elapsed().as_secs_f64()));
    print_welcome(&description)
}

/// Stops everything; true when something was running.
pub fn down(paths: &Paths) -> bool {
    let providers = Daemon::new(paths, "fake-providers").stop(Signal::TERM, Duration::from_secs(2));
    let aws = aws::stop(paths);
    let database = cluster::stop(paths);
    let _ = fs::remove_file(paths.stack_json());
    providers || aws || database
}

/// Stops everything, forgets all data, and starts anew.
pub fn reset() -> Result<()> {
    let paths = Paths::stack();
    down(&paths);
    cluster::wipe(&paths)?;
    keys::wipe(&paths)?;
    if let Some(server) = server::external()? {
        server.drop_database(DATABASE)?;
    }
    for folder in [paths.state(), paths.logs()] {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
    }
    up()
}

/// True when `up` has finished and its processes are alive.
pub fn is_up(paths: &Paths) -> bool {
    stack(paths).is_ok_and(|description| {
        aws::daemon(paths).alive().is_some()
            && text(&description, "/api_url")
                .and_then(|url| http::get(&format!("{url}/v1/health")))
                .is_ok_and(|answer| answer.status == 200)
    })
}

/// From now on Ctrl-C (or SIGTERM) stops what this stack has started, and then this tool.
fn stop_on_interrupt(paths: Paths) -> Result<()> {
    ctrlc::set_handler(move || {
        // Never given back: nothing may start any more.
        let _lock = starting();
        down(&paths);
        say("\nstopped");
        std::process::exit(130);
    })
    .context("cannot listen for Ctrl-C")
}

fn start_database(paths: &Paths, ports: &mut Ports) -> Result<Server> {
    let server = match server::external()? {
        Some(server) => server,
        None => cluster::start(paths, ports, true)?,
    };
    server.ensure_database(DATABASE)?;
    Ok(server)
}

fn start_providers(paths: &Paths, ports: &mut Ports, binaries: &std::path::Path) -> Result<(String, String)> {
    let daemon = Daemon::new(paths, "fake-providers");
    let address = |port: u16| format!("http://127.0.0.1:{port}");
    let answers =
        |port: u16| http::get(&format!("{}/requests", address(port))).is_ok_and(|a| a.status == 200);
    if let (Some(_), Some(port)) = (daemon.alive(), ports.last("providers")) {
        daemon.wait_until(Duration::from_secs(10), || answers(port))?;
        return Ok((address(port), format!("running at {}", address(port))));
    }
    let binary = binaries.join("fake-providers");
    if !binary.exists() {
        bail!("the crate testkit has built no binary `fake-providers`");
    }
    let port = ports.pick("providers", "M3_PROVIDERS_PORT")?;
    daemon.start(bare(binary).args(["--port", &port.to_string()]))?;
    daemon.wait_until(Duration::from_secs(10), || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    })?;
    Ok((address(port), format!("started at {}", address(port))))
}

/// What infra/local/deploy.py is told.
fn deployment(
    paths: &Paths,
    aws: &Aws,
    providers: &str,
    binaries: &std::path::Path,
    secrets: &Value,
) -> Value {
    json!({
        "endpoint": aws.endpoint,
        "template": root().join("template.yaml"),
        "binaries": binaries,
        "state": paths.state(),
        "secrets": secrets,
        "sam_env": paths.local.join("sam-env.json"),
        "variables": {
            "AWS_ENDPOINT_URL": aws.endpoint,
            "M3_ENV": "local",
            "TOKEN_ISSUER": TOKEN_ISSUER,
            "WEBHOOKS_URL": aws.webhooks_url,
            "APP_URL": "http://localhost:3000",
            "META_API_URL": format!("{providers}/{META_VERSION}"),
            "TWILIO_API_URL": providers,
            "BREVO_API_URL": providers,
            "CORS_ORIGINS": "http://localhost:3000,http://localhost:5173",
            "RUST_LOG": "info",
        },
    })
}

fn describe(aws: &Aws, server: &Server, providers: &str, app_password: &str) -> Result<Value> {
    let demo = seed::facts()?;
    Ok(json!({
        "api_url": aws.api_url,
        "webhooks_url": aws.webhooks_url,
        "database_url": server.url("m3_app", app_password, DATABASE),
        "admin_database_url": server.admin_url(DATABASE),
        "aws_endpoint": aws.endpoint,
        "fake_providers_url": providers,
        "demo": {
            "tenant": demo["tenant"]["slug"],
            "email": demo["user"]["email"],
            "password": demo["user"]["password"],
        },
    }))
}

fn print_welcome(description: &Value) -> Result<()> {
    let api = text(description, "/api_url")?;
    say(&format!(
        "  API        {api}\n  webhooks   {}\n  demo       tenant {}, {} / {}\n\n  \
         curl -H \"authorization: Bearer $(cargo xtask token)\" {api}/v1/conversations\n",
        text(description, "/webhooks_url")?,
        text(description, "/demo/tenant")?,
        text(description, "/demo/email")?,
        text(description, "/demo/password")?,
    ));
    Ok(())
}
