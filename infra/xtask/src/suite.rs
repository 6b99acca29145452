//! Every test: first against a throwaway database and emulator, then against the deployed local stack.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, IsTerminal};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::build::cargo;
use crate::paths::{Paths, Ports};
use crate::process::{output, starting};
use crate::step::{say, step};
use crate::{aws, cluster, privacy, server, stack};

/// How many tests passed, failed and were skipped.
#[derive(Default, Debug, PartialEq)]
struct Totals {
    passed: u64,
    failed: u64,
    skipped: u64,
}

/// Runs all tests and prints the totals; `arguments` go to the test runner.
pub fn test(arguments: &[String]) -> Result<()> {
    let throwaway = Paths::test();
    let developer = Paths::stack();
    let was_up = stack::is_up(&developer);
    {
        let (throwaway, developer) = (throwaway.clone(), developer.clone());
        ctrlc::set_handler(move || {
            let _lock = starting();
            let _ = clear(&throwaway);
            if !was_up {
                stack::down(&developer);
            }
            std::process::exit(130);
        })?;
    }
    let nextest = output(cargo().args(["nextest", "--version"])).is_ok();
    let mut totals = Totals::default();

    clear(&throwaway)?;
    let logs = throwaway.local.join("suite-logs");
    std::fs::create_dir_all(&logs)?;
    let inside = with_backends(&throwaway, |database_url, endpoint| {
        let mut command = runner(nextest, false, arguments)?;
        command
            .env("M3_TEST_ADMIN_DATABASE_URL", database_url)
            .env("M3_TEST_AWS_ENDPOINT", endpoint)
            .env("M3_TEST_LOGS", &logs);
        let passed = watch(command, &mut totals)?;
        // A run of chosen tests may log nothing.
        if arguments.is_empty() {
            step("search the logs", || {
                privacy::search(&logs).map(|said| ((), said))
            })?;
        }
        Ok(passed)
    });
    clear(&throwaway)?;
    let outside = stack::start(&developer)
        .and_then(|()| runner(nextest, true, arguments))
        .and_then(|command| watch(command, &mut totals));
    if !was_up {
        stack::down(&developer);
    }
    say(&format!(
        "\ntests: {} passed, {} failed, {} skipped",
        totals.passed, totals.failed, totals.skipped
    ));
    let (inside, outside) = (inside?, outside?);
    if !(inside && outside) || totals.failed > 0 {
        bail!("there are failing tests");
    }
    Ok(())
}

fn with_backends(paths: &Paths, work: impl FnOnce(&str, &str) -> Result<bool>) -> Result<bool> {
    paths.create()?;
    let mut ports = Ports::load(paths);
    let server = step("test database", || {
        let server = match server::external()? {
            Some(server) => server,
            None => cluster::start(paths, &mut ports, false)?,
        };
        let origin = server.origin.clone();
        Ok((server, origin))
    })?;
    let aws = step("test AWS", || {
        let (aws, _) = aws::start(paths, &mut ports, false)?;
        let endpoint = aws.endpoint.clone();
        Ok((aws, endpoint))
    })?;
    work(
        &server.admin_url(server.admin.get_dbname().unwrap_or("postgres")),
        &aws.endpoint,
    )
}

/// Stops the throwaway processes and removes their files.
fn clear(paths: &Paths) -> Result<()> {
    aws::stop(paths);
    cluster::stop(paths);
    cluster::wipe(paths)?;
    if paths.local.exists() {
        std::fs::remove_dir_all(&paths.local).context("cannot remove the test folder")?;
    }
    Ok(())
}

/// The command for the tests in process, or for those through the deployed stack.
fn runner(nextest: bool, deployed: bool, arguments: &[String]) -> Result<Command> {
    let mut command = cargo();
    if nextest {
        let set = if deployed {
            "binary(e2e)"
        } else {
            "not binary(e2e)"
        };
        let colour = if std::io::stderr().is_terminal() {
            "always"
        } else {
            "never"
        };
        command.args([
            "nextest",
            "run",
            "--no-fail-fast",
            "--no-tests=pass",
            "--color",
            colour,
        ]);
        command.args(["--workspace", "-E", set]).args(arguments);
    } else if deployed {
        command
            .args(["test", "--workspace", "--test", "e2e", "--no-fail-fast"])
            .args(arguments);
    } else {
        command.args(["test", "--workspace", "--lib", "--bins", "--no-fail-fast"]);
        for name in in_process()? {
            command.args(["--test", &name]);
        }
        command.args(arguments);
    }
    Ok(command)
}

/// Every test binary but `e2e`: Cargo can leave one out only by naming the others.
fn in_process() -> Result<BTreeSet<String>> {
    let metadata = output(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let targets = packages.flat_map(|package| package["targets"].as_array().into_iter().flatten());
    let tests = targets.filter(|target| target["kind"][0] == "test" && target["name"] != "e2e");
    Ok(tests
        .filter_map(|target| Some(target["name"].as_str()?.to_owned()))
        .collect())
}

/// Runs the tests, shows what they print, and counts; false when the runner was not content.
fn watch(mut command: Command, totals: &mut Totals) -> Result<bool> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (out, err) = (
        child.stdout.take().context("no output")?,
        child.stderr.take().context("no output")?,
    );
    let counted = std::thread::scope(|scope| {
        let out = scope.spawn(|| show(out));
        let err = show(err);
        out.join().map(|out| (out, err))
    });
    let (out, err) = counted.ok().context("the tests' output could not be read")?;
    for part in [out, err] {
        totals.passed += part.passed;
        totals.failed += part.failed;
        totals.skipped += part.skipped;
    }
    Ok(child.wait()?.success())
}

fn show(stream: impl std::io::Read) -> Totals {
    let mut totals = Totals::default();
    for line in BufReader::new(stream).lines().map_while(std::io::Result::ok) {
        if let Some(found) = count(&line) {
            totals.passed += found.passed;
            totals.failed += found.failed;
            totals.skipped += found.skipped;
        }
        say(&line);
    }
    totals
}

/// The numbers of a runner's summary line: nextest's or libtest's.
fn count(line: &str) -> Option<Totals> {
    let plain = without_colours(line);
    // Further in, libtest's is what nextest shows of a test that failed, and counts itself.
    let numbers = plain
        .strip_prefix("test result:")
        .or_else(|| plain.trim().strip_prefix("Summary"))?;
    let words: Vec<&str> = numbers
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    let before = |wanted: &[&str]| -> u64 {
        words
            .windows(2)
            .filter(|pair| wanted.contains(&pair[1]))
            .filter_map(|pair| pair[0].parse::<u64>().ok())
            .sum()
    };
    Some(Totals {
        passed: before(&["passed"]),
        failed: before(&["failed", "timed", "exec"]),
        skipped: before(&["skipped", "ignored"]),
    })
}

fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(character) = rest.next() {
        if character == '\u{1b}' {
            rest.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_runners_summaries_are_counted() {
        let nextest = "     \u{1b}[32;1mSummary\u{1b}[0m [   0.512s] 7 tests run: 5 passed (1 slow), 1 failed, 1 timed out, 3 skipped";
        assert_eq!(
            count(nextest),
            Some(Totals {
                passed: 5,
                failed: 2,
                skipped: 3
            })
        );
        let libtest =
            "test result: ok. 12 passed; 0 failed; 2 ignored; 0 measured; 4 filtered out; finished in 0.01s";
        assert_eq!(
            count(libtest),
            Some(Totals {
                passed: 12,
                failed: 0,
                skipped: 2
            })
        );
        assert_eq!(count("test contacts::passed ... ok"), None);
        let shown = "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 8 filtered out";
        assert_eq!(count(shown), None, "nextest counts it");
    }
}
