//! The developer's tool: `cargo xtask <command>`.

mod api;
mod aws;
mod build;
mod check;
mod cluster;
mod http;
mod keys;
mod logs;
mod paths;
mod privacy;
mod process;
mod python;
mod redrive;
mod seed;
mod server;
mod smoke;
mod source;
mod stack;
mod step;
mod suite;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::api::Api;
use crate::paths::{Paths, read_json};
use crate::step::{complain, say};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Runs, tests and checks M3CoreCRM on this machine"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts the local stack, or brings a running one up to date
    Up,
    /// Stops the local stack
    Down,
    /// Stops the local stack, forgets its data, and starts it anew
    Reset,
    /// Prints the logs of a function, or of everything
    Logs {
        /// A function, or postgres, aws, fake-providers
        name: Option<String>,
        /// Go on printing as lines come
        #[arg(short, long)]
        follow: bool,
    },
    /// Invokes a deployed function with an event and prints its answer
    Invoke { function: String, event: PathBuf },
    /// Prints an access token
    Token {
        /// Whose, when not the demo user's; the demo user's password is tried
        #[arg(long)]
        email: Option<String>,
    },
    /// Fills the demo tenant with what is missing
    Seed,
    /// Runs every test: against a throwaway database and AWS, then against the local stack
    Test {
        /// Handed to the test runner
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Measures, and prints the table of docs/PERFORMANCE.md
    Bench {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Formatting, lints, dependencies, allowed edges, generated files, template
    Check,
    /// Writes events/; with --check says whether it is up to date
    Events {
        #[arg(long)]
        check: bool,
    },
    /// Moves the messages of a dead-letter queue back to its queue
    Redrive {
        /// inbound-webhooks, outbound-messages, event-outbox, domain-events
        queue: String,
    },
    /// Writes openapi.json; with --check says whether it is up to date
    Openapi {
        #[arg(long)]
        check: bool,
        /// Brings the stack up to date and has it answer the samples first
        #[arg(long, conflicts_with = "check")]
        record: bool,
    },
}

fn main() -> ExitCode {
    let outcome = run(Arguments::parse().command);
    // Ctrl-C reaches the programs that run under this one, too, and their end is an error here, perhaps
    // before the handler has heard of it. It holds this until all is stopped, and then ends the process.
    if outcome.is_err() {
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    let _stopping = process::starting();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Up => stack::up(),
        Command::Down => {
            say(if stack::down(&Paths::stack()) {
                "stopped"
            } else {
                "nothing was running"
            });
            Ok(())
        }
        Command::Reset => stack::reset(),
        Command::Logs { name, follow } => logs::print(name.as_deref(), follow),
        Command::Invoke { function, event } => {
            let description = api::stack(&Paths::stack())?;
            let answer = aws::invoke(
                api::text(&description, "/aws_endpoint")?,
                &aws::function_name(&function),
                &read_json(&event)?,
            )?;
            say(&serde_json::to_string_pretty(&answer)?);
            Ok(())
        }
        Command::Token { email } => {
            let description = api::stack(&Paths::stack())?;
            let email = email
                .as_deref()
                .map_or_else(|| api::text(&description, "/demo/email"), Ok)?;
            say(Api::log_in(&description, email)?.token());
            Ok(())
        }
        Command::Seed => {
            say(&seed::seed(&api::stack(&Paths::stack())?, None)?);
            Ok(())
        }
        Command::Test { arguments } => suite::test(&arguments),
        Command::Bench { arguments } => process::run(
            build::cargo()
                .args(["run", "--release", "--package", "bench", "--"])
                .args(arguments),
        ),
        Command::Check => check::run(),
        Command::Events { check } => {
            let flag = check.then_some("--check");
            process::run(build::tool("demo")?.arg("events").args(flag))
        }
        Command::Redrive { queue } => {
            let moved = redrive::redrive(api::text(&api::stack(&Paths::stack())?, "/aws_endpoint")?, &queue)?;
            say(&format!("{moved} messages are back in {queue}"));
            Ok(())
        }
        Command::Openapi { check, record } => {
            if record {
                stack::up()?;
            }
            let mut tool = build::tool("openapi")?;
            tool.args(check.then_some("--check"));
            if record {
                let description = api::stack(&Paths::stack())?;
                // Samples work on a stack that is freshly seeded.
                say(&seed::seed(&description, None)?);
                tool.args(["--record", api::text(&description, "/aws_endpoint")?]);
            }
            process::run(&mut tool)
        }
    }
}
