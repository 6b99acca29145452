//! Asking again and again over a number of connections, and what that took.

use crate::http::Connection;
use crate::process::{OTHER_CORE, claim};
use anyhow::{Result, bail};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Makes the bytes of a request from a number that no other request of the run has.
pub type Ask<'a> = &'a (dyn Fn(u32) -> Vec<u8> + Sync);

/// Numbers the requests of a run.
static SERIAL: AtomicU32 = AtomicU32::new(0);

/// What a round of requests took.
pub struct Round {
    pub requests: u32,
    pub elapsed: Duration,
    /// Ascending.
    latencies: Vec<Duration>,
}

impl Round {
    /// Requests a second.
    pub fn rate(&self) -> f64 {
        f64::from(self.requests) / self.elapsed.as_secs_f64()
    }

    /// The median latency in microseconds.
    pub fn p50(&self) -> f64 {
        self.latencies[self.latencies.len() / 2].as_secs_f64() * 1e6
    }

    /// What 95 of 100 requests took at most, in milliseconds.
    pub fn p95(&self) -> f64 {
        self.latencies[self.latencies.len() * 95 / 100].as_secs_f64() * 1e3
    }
}

/// Asks for a time over so many connections; every answer must have the status.
pub fn round(port: u16, connections: usize, time: Duration, status: u16, ask: Ask<'_>) -> Result<Round> {
    let started = Instant::now();
    let one = || -> Result<Vec<Duration>> {
        claim(Some(OTHER_CORE))?;
        let mut connection = Connection::open(port)?;
        let mut latencies = Vec::new();
        while started.elapsed() < time {
            let request = ask(SERIAL.fetch_add(1, Ordering::Relaxed));
            let sent = Instant::now();
            let answer = connection.ask(&request)?;
            latencies.push(sent.elapsed());
            if answer.status() != status {
                bail!(
                    "{} instead of {status}: {}",
                    answer.status(),
                    String::from_utf8_lossy(&answer.body)
                );
            }
        }
        Ok(latencies)
    };
    let mut latencies = Vec::new();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..connections).map(|_| scope.spawn(one)).collect();
        for thread in threads {
            latencies.extend(thread.join().unwrap_or_else(|_| bail!("a thread ended"))?);
        }
        anyhow::Ok(())
    })?;
    let elapsed = started.elapsed();
    latencies.sort_unstable();
    Ok(Round {
        requests: u32::try_from(latencies.len())?,
        elapsed,
        latencies,
    })
}

/// The middle one; 0 of none.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
