//! The contacts routes beside a minimal handler that gives the same answers: one process on one
//! core each, Postgres and the asker on the other, in turns.

use crate::http::{Connection, Message, request};
use crate::load::{self, Ask, Round, median};
use crate::process::Running;
use crate::table::{Table, Target};
use crate::{Bench, POOL, data, start_server};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;

const TIME: Duration = Duration::from_millis(600);
/// Tenants that contacts are created in, so that creates wait for each other as little as in life.
const CREATORS: u32 = 16;

/// A server that is measured.
struct Peer {
    process: Running,
    port: u16,
    /// Where its list, deep page and record are.
    paths: [String; 3],
}

pub async fn measure(bench: &Bench, table: &mut Table) -> Result<()> {
    let database = bench.crowded().await?;
    let settings = bench.server.app_settings(&database, None, POOL);
    let token = data::token(1)?;
    let minimal = |authorise: bool| {
        start_server(
            "bench-minimal",
            json!({ "database": settings }),
            json!({ "authorise": authorise }),
        )
    };
    let started = [
        bench.serve("contacts", Some(settings.clone()), json!({}))?,
        minimal(false)?,
        minimal(true)?,
    ];
    let mut peers = Vec::new();
    for (process, port) in started {
        peers.push(Peer {
            process,
            port,
            paths: paths(port, &token)?,
        });
    }
    same_answers(&peers, &token)?;
    let get = |path: &str| request("GET", path, &[("authorization", &format!("Bearer {token}"))], b"");
    for connections in [1, 16] {
        for (at, what) in ["list of 50", "page 400", "get"].into_iter().enumerate() {
            let compared = compare(bench, &peers, connections, 200, &|peer: &Peer| {
                let bytes = get(&peer.paths[at]);
                Box::new(move |_| bytes.clone())
            })?;
            compared.report(table, what, connections);
            compared.report_slowest(table, what, connections, 250.0);
            if at == 0 {
                compared.report_cpu(table, connections);
                if connections == 1 {
                    beside_sql(table, &peers, &token, &compared)?;
                }
            }
        }
        let tokens = (2..)
            .take(CREATORS as usize)
            .map(data::token)
            .collect::<Result<Vec<_>>>()?;
        let compared = compare(bench, &peers, connections, 201, &|_| {
            let tokens = tokens.clone();
            Box::new(move |serial| create(&tokens[(serial % CREATORS) as usize], serial))
        })?;
        compared.report(table, "create", connections);
        compared.report_slowest(table, "create", connections, 400.0);
    }
    Ok(())
}

/// What each peer did, by round.
struct Compared(Vec<Vec<(Round, Duration)>>);

type MakeAsk<'a> = &'a dyn Fn(&Peer) -> Box<dyn Fn(u32) -> Vec<u8> + Sync>;

fn compare(
    bench: &Bench,
    peers: &[Peer],
    connections: usize,
    status: u16,
    make: MakeAsk<'_>,
) -> Result<Compared> {
    let mut all: Vec<Vec<_>> = peers.iter().map(|_| Vec::new()).collect();
    for number in 0..=bench.rounds {
        for (peer, rounds) in peers.iter().zip(&mut all) {
            let ask = make(peer);
            let ask: Ask<'_> = &*ask;
            let before = peer.process.cpu_time()?;
            let round = load::round(peer.port, connections, TIME, status, ask)?;
            // The first warms up.
            if number > 0 {
                rounds.push((round, peer.process.cpu_time()?.saturating_sub(before)));
            }
        }
    }
    Ok(Compared(all))
}

impl Compared {
    fn median(&self, peer: usize, figure: impl Fn(&Round) -> f64) -> f64 {
        median(self.0[peer].iter().map(|(round, _)| figure(round)))
    }

    /// The median over the rounds of what peer 0 did by what another did right after.
    fn ratio(&self, peer: usize, figure: impl Fn(&(Round, Duration)) -> f64) -> f64 {
        median(
            self.0[0]
                .iter()
                .zip(&self.0[peer])
                .map(|(ours, theirs)| figure(ours) / figure(theirs)),
        )
    }

    fn report(&self, table: &mut Table, what: &str, connections: usize) {
        let [ours, minimal, checked] = [0, 1, 2].map(|peer| self.median(peer, Round::rate));
        let ratio = self.ratio(1, |(round, _)| round.rate());
        let fair = self.ratio(2, |(round, _)| round.rate());
        let detail = format!(
            "{ours:.0} ÷ {minimal:.0} a second; {fair:.2}× of one that also checks session and permission ({checked:.0})"
        );
        table.add(
            format!("{what}, {connections} connections ÷ minimal handler"),
            Target::AtLeast(0.8),
            ratio,
            "×",
            detail,
        );
    }

    /// At full load of one core: several times what a company of medium size asks for.
    fn report_slowest(&self, table: &mut Table, what: &str, connections: usize, target_ms: f64) {
        if connections == 1 {
            return;
        }
        let what = format!("P95 of {what}, {connections} connections");
        let detail = format!(
            "at {:.0} requests a second on one core",
            self.median(0, Round::rate)
        );
        table.add(
            what,
            Target::AtMost(target_ms),
            self.median(0, Round::p95),
            " ms",
            detail,
        );
    }

    fn report_cpu(&self, table: &mut Table, connections: usize) {
        let micros = |(round, cpu): &(Round, Duration)| cpu.as_secs_f64() * 1e6 / f64::from(round.requests);
        let [ours, minimal] = [0, 1].map(|peer| median(self.0[peer].iter().map(micros)));
        let detail = format!("{ours:.0} µs ÷ {minimal:.0} µs a request");
        let what = format!("server CPU of the list, {connections} connections ÷ minimal handler");
        table.add(what, Target::AtMost(1.3), self.ratio(1, micros), "×", detail);
    }
}

/// The median of the list against that of a handler that says hello plus the statement alone.
fn beside_sql(table: &mut Table, peers: &[Peer], token: &str, list: &Compared) -> Result<()> {
    let mut floors = Vec::new();
    for _ in 0..5 {
        let hello = load::round(peers[1].port, 1, TIME / 2, 200, &|_| {
            request("GET", "/hello", &[], b"")
        })?
        .p50();
        let sql: f64 = String::from_utf8(ask(peers[1].port, "GET", "/sql", token)?.body)?.parse()?;
        floors.push((hello, sql));
    }
    let [hello, sql] = [
        median(floors.iter().map(|floor| floor.0)),
        median(floors.iter().map(|floor| floor.1)),
    ];
    let ours = list.median(0, Round::p50);
    let minimal = list.median(1, Round::p50);
    let detail =
        format!("{ours:.0} µs ÷ ({hello:.0} + {sql:.0}) µs; the minimal handler takes {minimal:.0} µs");
    table.add(
        "p50 of the list ÷ (hello + its SQL, prepared)",
        Target::AtMost(1.3),
        ours / (hello + sql),
        "×",
        detail,
    );
    Ok(())
}

fn create(token: &str, serial: u32) -> Vec<u8> {
    let body = json!({
        "first_name": "Mona", "last_name": format!("Hassan{serial}"),
        "channels": [{ "type": "phone", "value": data::phone(0, serial) }],
    });
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    request("POST", "/v1/contacts", &headers, body.to_string().as_bytes())
}

fn ask(port: u16, method: &str, path: &str, token: &str) -> Result<Message> {
    let answer = Connection::open(port)?.ask(&request(
        method,
        path,
        &[("authorization", &format!("Bearer {token}"))],
        b"",
    ))?;
    ensure!(
        answer.status() == 200,
        "{path}: {}",
        String::from_utf8_lossy(&answer.body)
    );
    Ok(answer)
}

/// The first page, the 400th, and a record of the first.
pub fn paths(port: u16, token: &str) -> Result<[String; 3]> {
    let list = "/v1/contacts".to_owned();
    let mut path = list.clone();
    let mut record = String::new();
    for page in 1..400 {
        let body: Value = serde_json::from_slice(&ask(port, "GET", &path, token)?.body)?;
        let cursor = body["next_cursor"]
            .as_str()
            .with_context(|| format!("page {page} is the last"))?;
        // Ours is opaque; the minimal handler's is a piece of a query.
        path = if cursor.contains('=') {
            format!("{list}?{cursor}")
        } else {
            format!("{list}?cursor={cursor}")
        };
        if page == 1 {
            record = format!("{list}/{}", body["data"][7]["id"].as_str().unwrap_or_default());
        }
    }
    Ok([list, path, record])
}

/// A comparison of different work would say nothing.
fn same_answers(peers: &[Peer], token: &str) -> Result<()> {
    for at in 0..3 {
        let answers = peers.iter().map(|peer| -> Result<Value> {
            let mut body: Value =
                serde_json::from_slice(&ask(peer.port, "GET", &peer.paths[at], token)?.body)?;
            if let Some(page) = body.as_object_mut() {
                page.remove("next_cursor");
            }
            Ok(body)
        });
        let answers = answers.collect::<Result<Vec<_>>>()?;
        ensure!(
            answers.iter().all(|answer| *answer == answers[0]),
            "the peers answer differently: {:?}",
            peers[0].paths[at]
        );
    }
    Ok(())
}
