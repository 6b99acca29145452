//! Measures the system against its targets and against what it could be at best, and prints the
//! table of docs/PERFORMANCE.md.
//!
//! ```text
//! cargo xtask bench [--admin-url postgres://…] [--rounds N] [--built] [SECTION…]
//! ```
//!
//! Sections: trips, start, peers, pages, intake, packages; without one, all of them. With a server
//! of one's own the databases stay and a second run is faster; `--built` takes the binaries as they are.

mod aws;
mod data;
mod http;
mod intake;
mod load;
mod packages;
mod pages;
mod peers;
mod postgres;
mod process;
mod proxy;
mod start;
mod table;
mod trips;

use anyhow::{Context, Result, bail};
use data::Size;
use postgres::Server;
use process::{Running, SERVER_CORE};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::process::Command;
use table::Table;

const SECTIONS: [&str; 6] = ["trips", "start", "peers", "pages", "intake", "packages"];
/// Connections to Postgres of a server that is asked over 16 connections.
const POOL: usize = 16;

/// What the sections measure with.
struct Bench {
    server: Server,
    /// A database with one tenant that has 60 contacts.
    lonely: String,
    /// Where AWS is played.
    aws: String,
    /// How often each pair is measured, alternating.
    rounds: usize,
}

impl Bench {
    /// 1 000 tenants with about 1 000 000 contacts, the first of them with enough for 400 pages;
    /// the tenants 2 to 17 are created in.
    async fn crowded(&self) -> Result<String> {
        let size = Size {
            tenants: 1000,
            contacts: 979,
            more_of_first: 20_021,
        };
        self.server
            .database("crowded", async |admin| data::fill(admin, size).await)
            .await
    }

    /// A function's routes on a socket; returns the port.
    fn serve(&self, function: &str, database: Option<Value>, more: Value) -> Result<(Running, u16)> {
        start_server(
            "bench-served",
            json!({ "function": function, "database": database, "aws_endpoint": self.aws }),
            more,
        )
    }
}

/// Starts a server of the benchmark on the core of servers and waits for it.
fn start_server(binary: &str, mut serve: Value, more: Value) -> Result<(Running, u16)> {
    let port = process::free_port()?;
    serve["port"] = json!(port);
    for (name, value) in more.as_object().into_iter().flatten() {
        serve[name] = value.clone();
    }
    let mut command = Command::new(process::binary(binary)?);
    command.env_clear().env("RUST_LOG", "info").arg(serve.to_string());
    let running = Running::start(&mut command, Some(SERVER_CORE))?;
    process::wait_for(port)?;
    Ok((running, port))
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    process::cores();
    let (mut rounds, mut built, mut admin_url, mut sections) = (7, false, None, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => rounds = arguments.next().context("--rounds takes a number")?.parse()?,
            "--built" => built = true,
            "--admin-url" => admin_url = Some(arguments.next().context("--admin-url takes a URL")?),
            section if SECTIONS.contains(&section) => sections.push(section.to_owned()),
            other => bail!("no section {other}; there are {}", SECTIONS.join(", ")),
        }
    }
    if sections.is_empty() {
        sections = SECTIONS.map(str::to_owned).to_vec();
    }
    if !built {
        let packages = ["bench", "contacts-function", "webhooks-function"];
        packages::build(&packages.map(str::to_owned))?;
    }
    complain("Starting Postgres");
    let server = Server::start(admin_url.as_deref()).await?;
    server.durable(false).await?;
    let size = Size {
        tenants: 1,
        contacts: 60,
        more_of_first: 0,
    };
    let lonely = server
        .database("lonely", async |admin| data::fill(admin, size).await)
        .await?;
    let bench = Bench {
        aws: aws::start(secrets(&server, &lonely)?)?,
        server,
        lonely,
        rounds,
    };
    let mut table = Table::default();
    for section in &sections {
        complain(&format!("Measuring {section}"));
        match section.as_str() {
            "trips" => trips::measure(&bench, &mut table).await?,
            "start" => start::measure(&bench, &mut table)?,
            "peers" => peers::measure(&bench, &mut table).await?,
            "pages" => pages::measure(&bench, &mut table).await?,
            "intake" => intake::measure(&bench, &mut table).await?,
            _ => packages::measure(&mut table)?,
        }
    }
    say(&format!("{table}"));
    complain(&format!("{} missed", table.misses()));
    Ok(())
}

/// The secrets that functions start with.
fn secrets(server: &Server, database: &str) -> Result<HashMap<String, String>> {
    let global = json!({ "meta": null, "twilio": null });
    let named = [
        ("TOKEN_KEYS_SECRET", bench::token_keys()?),
        ("DATA_KEYS_SECRET", bench::data_keys()),
        ("EDGE_KEYS_SECRET", bench::data_keys()),
        ("GLOBAL_ACCOUNTS_SECRET", global),
        ("DATABASE_SECRET", server.app_settings(database, None, 4)),
    ];
    Ok(named
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_string()))
        .collect())
}

#[expect(clippy::print_stdout, reason = "the table is what the tool is for")]
fn say(text: &str) {
    println!("{text}");
}

/// Progress.
#[expect(clippy::print_stderr, reason = "a command-line tool talks")]
fn complain(text: &str) {
    eprintln!("{text}");
}
