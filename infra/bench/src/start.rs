//! Start-up: from exec to the first request for an invocation, of the real binaries and of floors.

use crate::load::median;
use crate::process::{Running, binary};
use crate::table::{Table, Target};
use crate::{Bench, http};
use anyhow::{Context, Result};
use kernel::Phone;
use std::process::Command;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

const NEXT: &str = "GET /2018-06-01/runtime/invocation/next ";

/// A binary and its arguments.
type Start = (&'static str, &'static [&'static str]);

const BARE: Start = ("bench-floor-bare", &[]);
const CONTACTS: [Start; 4] = [
    ("bench-floor", &["contacts", "clients"]),
    ("bench-floor", &["contacts", "secrets"]),
    ("bench-floor", &["contacts", "all"]),
    ("contacts", &[]),
];
const WEBHOOKS: [Start; 4] = [
    ("bench-floor", &["webhooks", "clients"]),
    ("bench-floor", &["webhooks", "secrets"]),
    ("bench-floor", &["webhooks", "all"]),
    ("webhooks", &[]),
];

pub fn measure(bench: &Bench, table: &mut Table) -> Result<()> {
    phone_numbers(table);
    let lambda = Lambda::start(bench)?;
    let starts: Vec<Start> = [BARE].into_iter().chain(CONTACTS).chain(WEBHOOKS).collect();
    let mut times = vec![Vec::new(); starts.len()];
    for _ in 0..bench.rounds * 3 {
        for (start, times) in starts.iter().zip(&mut times) {
            times.push(lambda.time(start)?.0.as_secs_f64() * 1000.0);
        }
    }
    let medians: Vec<f64> = times.iter().map(|times| median(times.iter().copied())).collect();
    let bare = medians[0];
    for (name, at) in [("contacts", 1), ("webhooks", 5)] {
        let [clients, secrets, floor, ours] =
            [medians[at], medians[at + 1], medians[at + 2], medians[at + 3]];
        let ratio = median(
            times[at + 3]
                .iter()
                .zip(&times[at + 2])
                .map(|(ours, floor)| ours / floor),
        );
        let connect = if name == "contacts" {
            format!(", connection {:.1}", floor - secrets)
        } else {
            String::new()
        };
        let shares = format!(
            "{ours:.1} ms ÷ {floor:.1} ms; process and runtime {bare:.1}, SDK clients {:.1}, secrets {:.1}{connect}, the rest {:.1}",
            clients - bare,
            secrets - clients,
            ours - floor,
        );
        table.add(
            format!("start of `{name}` ÷ floor"),
            Target::AtMost(1.2),
            ratio,
            "×",
            shares,
        );
        table.add(
            format!("start of `{name}` ÷ bare lambda_http"),
            Target::None,
            ours / bare,
            "×",
            format!("{bare:.1} ms bare"),
        );
    }
    for name in ["contacts", "webhooks"] {
        let (_, running) = lambda.time(&(name, &[]))?;
        thread::sleep(Duration::from_millis(300));
        let mib = f64::from(running.resident_kib()?) / 1024.0;
        table.add(
            format!("idle memory of `{name}`"),
            Target::AtMost(40.0),
            mib,
            " MiB",
            "RSS while it waits for its first invocation",
        );
    }
    Ok(())
}

/// The first number that a process parses pays for the numbering plans.
fn phone_numbers(table: &mut Table) {
    let parse = || {
        let started = Instant::now();
        let phone = Phone::parse("+201001234567");
        (started.elapsed().as_secs_f64() * 1000.0, phone)
    };
    let (first, second) = (parse().0, parse().0);
    table.add(
        "first phone number of a process",
        Target::None,
        first,
        " ms",
        format!("{second:.4} ms from then on"),
    );
}

/// Lambda's side of a function.
struct Lambda {
    port: u16,
    asked: Receiver<Instant>,
    aws: String,
}

impl Lambda {
    fn start(bench: &Bench) -> Result<Self> {
        let (sender, asked) = mpsc::channel();
        let port = http::serve(move |request| {
            if request.head.starts_with(NEXT) {
                let _ = sender.send(Instant::now());
            }
            None
        })?;
        Ok(Self {
            port,
            asked,
            aws: bench.aws.clone(),
        })
    }

    /// How long a binary takes to ask for its first invocation.
    fn time(&self, (name, arguments): &Start) -> Result<(Duration, Running)> {
        let mut command = Command::new(binary(name)?);
        command.args(*arguments).env_clear();
        for (name, value) in [
            (
                "AWS_LAMBDA_RUNTIME_API",
                format!("127.0.0.1:{}", self.port).as_str(),
            ),
            ("AWS_LAMBDA_FUNCTION_NAME", name),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "bench"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "bench"),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "bench"),
            ("AWS_SECRET_ACCESS_KEY", "bench"),
            ("AWS_ENDPOINT_URL", &self.aws),
            ("TOKEN_ISSUER", bench::ISSUER),
            ("STATE_TABLE", "state"),
            ("BUCKET", "bench"),
            (
                "INBOUND_WEBHOOKS_QUEUE_URL",
                "http://127.0.0.1/bench/inbound-webhooks",
            ),
            ("EVENT_OUTBOX_QUEUE_URL", "http://127.0.0.1/bench/event-outbox"),
            (
                "OUTBOUND_MESSAGES_QUEUE_URL",
                "http://127.0.0.1/bench/outbound-messages",
            ),
            ("WEBHOOKS_URL", "http://127.0.0.1"),
            ("APP_URL", "http://127.0.0.1"),
        ] {
            command.env(name, value);
        }
        for secret in [
            "DATABASE",
            "TOKEN_KEYS",
            "DATA_KEYS",
            "EDGE_KEYS",
            "GLOBAL_ACCOUNTS",
        ] {
            command.env(format!("{secret}_SECRET"), format!("{secret}_SECRET"));
        }
        while self.asked.try_recv().is_ok() {}
        let started = Instant::now();
        let running = Running::start(&mut command, None)?;
        let asked = self
            .asked
            .recv_timeout(Duration::from_secs(20))
            .with_context(|| format!("{name} never asked"))?;
        Ok((asked.duration_since(started), running))
    }
}
