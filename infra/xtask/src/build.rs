//! Building the functions.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::paths::root;
use crate::process::{output, run};

/// Cargo, as the one that runs this tool.
pub fn cargo() -> Command {
    let mut command = Command::new(option_env!("CARGO").unwrap_or("cargo"));
    command.current_dir(root());
    command
}

/// The names of all functions: the folders under functions/.
pub fn function_names() -> Result<Vec<String>> {
    let mut names: Vec<String> = fs::read_dir(root().join("functions"))?
        .flatten()
        .filter(|entry| entry.path().join("Cargo.toml").exists())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    Ok(names)
}

/// Builds every binary, showing Cargo's progress; returns their folder. Always the whole workspace, as the tests do:
/// Cargo gives a dependency the features of all that is built together, and another selection would build the AWS
/// SDKs anew.
pub fn build() -> Result<PathBuf> {
    run(cargo().args(["build", "--workspace", "--bins"])).context("the workspace does not build")?;
    Ok(target()?.join("debug"))
}

/// A tool of the workspace, built.
pub fn tool(name: &str) -> Result<Command> {
    let mut command = Command::new(build()?.join(name));
    command.current_dir(root());
    Ok(command)
}

fn target() -> Result<PathBuf> {
    let metadata: Value = serde_json::from_str(&output(cargo().args([
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
    ]))?)?;
    Ok(metadata["target_directory"]
        .as_str()
        .context("cargo metadata names no target folder")?
        .into())
}
