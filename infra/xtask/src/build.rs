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

/// Builds every function and the fake providers, showing Cargo's progress; returns the binaries' folder.
pub fn build() -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--bins", "--package", "testkit"]);
    for name in function_names()? {
        command.args(["--package", &format!("{name}-function")]);
    }
    run(&mut command).context("the functions do not build")?;
    Ok(target()?.join("debug"))
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
