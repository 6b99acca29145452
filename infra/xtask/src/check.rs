//! `cargo xtask check`: everything that is judged without running the system.

mod alarms;
mod drift;
mod edges;
mod metrics;
mod template;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::build::{cargo, tool};
use crate::paths::root;
use crate::process::{output, run as run_command};
use crate::step::say;

const CARGO_DENY: &str = "0.20.2";
/// Brings cfn-lint along.
const SAM: &str = "aws-sam-cli==1.170.0";

/// Returns what is wrong; prints only what takes long.
type Step = fn() -> Result<()>;

/// Runs every step, also after one has failed, and fails with the names of those that did.
pub fn run() -> Result<()> {
    let steps: [(&str, Step); 9] = [
        ("format", format),
        ("dependency edges", edges::run),
        ("functions and events", drift::run),
        ("alarms and metrics", alarms::run),
        ("templates", templates),
        ("clippy", clippy),
        ("openapi.json", openapi),
        ("events", events),
        ("cargo-deny", deny),
    ];
    let mut failed = Vec::new();
    for (name, step) in steps {
        say(&format!("── {name}"));
        let started = Instant::now();
        let outcome = match step() {
            Ok(()) => "ok",
            Err(error) => {
                say(&format!("{error:#}"));
                failed.push(name);
                "FAILED"
            }
        };
        say(&format!(
            "   {name}: {outcome} ({:.1} s)",
            started.elapsed().as_secs_f64()
        ));
    }
    if failed.is_empty() {
        say("check: all passed");
        return Ok(());
    }
    bail!("check failed: {}", failed.join(", "));
}

fn format() -> Result<()> {
    run_command(cargo().args(["fmt", "--all", "--", "--check", "--files-with-diff"]))
        .context("`cargo fmt --all` puts it right")
}

fn clippy() -> Result<()> {
    run_command(cargo().args([
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))
}

/// The document must be the one that the handlers' types give now.
fn openapi() -> Result<()> {
    run_command(tool("openapi")?.arg("--check")).context("`cargo xtask openapi` writes it anew")
}

/// The sample events must be the ones that the demo tenant and the endpoints give now.
fn events() -> Result<()> {
    run_command(tool("demo")?.args(["events", "--check"])).context("`cargo xtask events` writes them anew")
}

/// `sam validate` reads one template at a time; cfn-lint alone also follows it into the nested ones.
fn templates() -> Result<()> {
    let tools = sam_tools()?;
    let mut nested: Vec<PathBuf> = fs::read_dir(root().join("infra/templates"))?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    nested.sort();
    let main = root().join("template.yaml");
    for template in std::iter::once(&main).chain(&nested) {
        let mut sam = lint(&tools.join("sam"));
        run_command(sam.args(["validate", "--lint", "--template-file"]).arg(template))?;
    }
    run_command(lint(&tools.join("cfn-lint")).arg(&main).args(&nested))
}

/// A linter's command: a region must be named, though none is called.
fn lint(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root()).env_remove("AWS_PROFILE");
    command
        .env("SAM_CLI_TELEMETRY", "0")
        .env("AWS_DEFAULT_REGION", "eu-central-1");
    command
}

/// The folder with `sam` and `cfn-lint`; installs them, apart from what the local stack runs on, when they are missing.
fn sam_tools() -> Result<PathBuf> {
    let venv = root().join(".local/lint-venv");
    let stamp = venv.join("installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == SAM) {
        return Ok(venv.join("bin"));
    }
    say(&format!(
        "   installing {SAM} into {} (about a minute, once)",
        venv.display()
    ));
    let _ = fs::remove_dir_all(&venv);
    output(Command::new("python3").args(["-m", "venv"]).arg(&venv))
        .context("python3 cannot make a virtual environment; Debian has it in the package python3-venv")?;
    run_command(Command::new(venv.join("bin/pip")).args([
        "install",
        "--quiet",
        "--disable-pip-version-check",
        SAM,
    ]))?;
    fs::write(stamp, SAM)?;
    Ok(venv.join("bin"))
}

fn deny() -> Result<()> {
    let program = cargo_deny()?;
    let command = || {
        let mut command = Command::new(&program);
        command.current_dir(root()).arg("--locked");
        command
    };
    run_command(command().args(["check", "--hide-inclusion-graph", "bans", "licenses", "sources"]))?;
    if let Err(error) = output(command().args(["fetch", "db"])) {
        let reason = format!("{error:#}");
        let reason = reason
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .unwrap_or_default()
            .trim();
        say(&format!(
            "   advisories NOT checked: the advisory database is out of reach ({reason})"
        ));
        return Ok(());
    }
    run_command(command().args(["check", "--disable-fetch", "advisories"]))
}

/// The pinned cargo-deny: the machine's, or one of our own under `.local/tools`, built once.
fn cargo_deny() -> Result<PathBuf> {
    let folder = root().join(".local/tools");
    let ours = folder.join("bin/cargo-deny");
    for program in [PathBuf::from("cargo-deny"), ours.clone()] {
        if output(Command::new(&program).arg("--version")).is_ok_and(|text| text.ends_with(CARGO_DENY)) {
            return Ok(program);
        }
    }
    say(&format!(
        "   building cargo-deny {CARGO_DENY} into {} (some minutes, once)",
        folder.display()
    ));
    // Unoptimised: it runs for a second, and optimising takes longer than all its runs together.
    run_command(
        cargo()
            .args([
                "install",
                "cargo-deny",
                "--locked",
                "--debug",
                "--version",
                CARGO_DENY,
                "--root",
            ])
            .arg(&folder),
    )?;
    Ok(ours)
}
