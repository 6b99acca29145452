//! What the developer sees while something takes its time.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Result;

/// Prints a line of the tool's own. Nobody has to read to the end.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints what went wrong.
#[expect(
    clippy::print_stderr,
    reason = "a command-line tool complains on standard error"
)]
pub fn complain(line: &str) {
    eprintln!("{line}");
}

/// Runs one step; its line names it, then what came of it and how long it took.
pub fn step<T>(name: &str, work: impl FnOnce() -> Result<(T, String)>) -> Result<T> {
    begin(name);
    let started = Instant::now();
    match work() {
        Ok((value, outcome)) => {
            say(&format!("{outcome} ({})", seconds(started.elapsed())));
            Ok(value)
        }
        Err(error) => {
            say(&format!("failed ({})", seconds(started.elapsed())));
            Err(error)
        }
    }
}

#[expect(clippy::print_stdout, reason = "a command-line tool talks on standard output")]
fn begin(name: &str) {
    print!("  {name:<22} ");
    let _ = std::io::stdout().flush();
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
