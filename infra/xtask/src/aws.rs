//! The local AWS: ministack's process, the deployment into it, and calls to a function.

use std::io::Write;
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::Value;

use crate::http::{self, Answer};
use crate::paths::{Paths, Ports, root};
use crate::process::{Daemon, bare};
use crate::python;

/// The addresses of a running emulator.
pub struct Aws {
    pub endpoint: String,
    pub api_url: String,
    pub webhooks_url: String,
}

/// The emulator's process.
pub fn daemon(paths: &Paths) -> Daemon {
    Daemon::new(paths, "aws")
}

/// Stops the emulator and every function it runs; it writes its state first.
pub fn stop(paths: &Paths) -> bool {
    daemon(paths).stop(Signal::TERM, Duration::from_secs(8))
}

/// Starts the emulator, or finds it running. `keep` makes it remember its state over a restart.
pub fn start(paths: &Paths, ports: &mut Ports, keep: bool) -> Result<(Aws, bool)> {
    let daemon = daemon(paths);
    let addresses = |aws: u16, api: u16, webhooks: u16| Aws {
        endpoint: format!("http://127.0.0.1:{aws}"),
        api_url: format!("http://127.0.0.1:{api}"),
        webhooks_url: format!("http://127.0.0.1:{webhooks}"),
    };
    if daemon.alive().is_some()
        && let (Some(aws), Some(api), Some(webhooks)) =
            (ports.last("aws"), ports.last("api"), ports.last("webhooks"))
    {
        let running = addresses(aws, api, webhooks);
        daemon.wait_until(Duration::from_secs(30), || healthy(&running.endpoint))?;
        return Ok((running, false));
    }
    let (python, _) = python::environment()?;
    let aws = ports.pick("aws", "M3_AWS_PORT")?;
    let api = ports.pick("api", "M3_API_PORT")?;
    let webhooks = ports.pick("webhooks", "M3_WEBHOOKS_PORT")?;
    let mut command = bare(&python);
    command
        .arg("-B")
        .arg(root().join("infra/local/launcher.py"))
        .arg("--state")
        .arg(paths.state());
    for (name, port) in [
        ("--port", aws),
        ("--api-port", api),
        ("--webhooks-port", webhooks),
    ] {
        command.args([name, &port.to_string()]);
    }
    if keep {
        command.arg("--keep");
    }
    daemon.start(&mut command)?;
    let started = addresses(aws, api, webhooks);
    daemon.wait_until(Duration::from_mins(1), || healthy(&started.endpoint))?;
    Ok((started, true))
}

fn healthy(endpoint: &str) -> bool {
    let Some(address) = endpoint.strip_prefix("http://") else {
        return false;
    };
    // A connection first: the HTTP client would wait for a server that is not there yet.
    TcpStream::connect(address).is_ok()
        && http::get(&format!("{endpoint}/_ministack/health")).is_ok_and(|a| a.status == 200)
}

/// What a deployment did.
pub struct Deployed {
    /// False when the running stack already was what the template says.
    pub applied: bool,
    pub functions: usize,
    /// The functions that got new code.
    pub changed: Vec<String>,
}

/// Deploys template.yaml. `settings` is what infra/local/deploy.py reads.
pub fn deploy(settings: &Value) -> Result<Deployed> {
    let (python, _) = python::environment()?;
    let mut child = bare(python)
        .arg("-B")
        .arg(root().join("infra/local/deploy.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child
        .stdin
        .take()
        .context("deploy.py has no input")?
        .write_all(settings.to_string().as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let answer: Value = serde_json::from_slice(&output.stdout).context("deploy.py answered no JSON")?;
    let names = |key: &str| {
        let list = answer[key].as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    Ok(Deployed {
        applied: answer["applied"].as_bool().unwrap_or(true),
        functions: names("functions").len(),
        changed: names("changed"),
    })
}

/// The name that the local stack deploys a function under: `contacts`, also for `ContactsFunction`.
pub fn function_name(given: &str) -> String {
    let Some(logical_id) = given.strip_suffix("Function") else {
        return given.to_owned();
    };
    let mut name = String::new();
    for character in logical_id.chars() {
        if character.is_ascii_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.push(character.to_ascii_lowercase());
    }
    name
}

/// Invokes a function and returns its answer; an error of the function's is an error here.
pub fn invoke(endpoint: &str, function: &str, event: &Value) -> Result<Value> {
    let url = format!("{endpoint}/2015-03-31/functions/{function}/invocations");
    let Answer {
        status,
        headers,
        body,
    } = http::send("POST", &url, &[], event.to_string().as_bytes())?;
    if status >= 300 {
        bail!("{function} could not be invoked ({status}): {body}");
    }
    if headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("x-amz-function-error"))
    {
        bail!("{function} failed: {body}");
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_goes_by_its_template_name_too() {
        for (given, name) in [
            ("contacts", "contacts"),
            ("ContactsFunction", "contacts"),
            ("InboundMessageProcessorFunction", "inbound-message-processor"),
        ] {
            assert_eq!(function_name(given), name);
        }
    }
}
