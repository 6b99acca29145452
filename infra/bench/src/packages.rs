//! Building for release, and the size of what is uploaded.

use crate::process::binary;
use crate::table::{Table, Target};
use anyhow::{Context, Result, ensure};
use flate2::{Compression, write::DeflateEncoder};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Builds packages for release, showing Cargo's progress.
pub fn build(packages: &[String]) -> Result<()> {
    let mut command = Command::new(option_env!("CARGO").unwrap_or("cargo"));
    command.current_dir(root()).args(["build", "--release", "--bins"]);
    for package in packages {
        command.args(["--package", package]);
    }
    ensure!(command.status()?.success(), "the packages do not build");
    Ok(())
}

/// Every function as it is uploaded: its binary, compressed.
pub fn measure(table: &mut Table) -> Result<()> {
    let mut names: Vec<String> = fs::read_dir(root().join("functions"))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    names.sort();
    build(
        &names
            .iter()
            .map(|name| format!("{name}-function"))
            .collect::<Vec<_>>(),
    )?;
    for name in ["bench-floor-bare".to_owned()].into_iter().chain(names) {
        let bytes = fs::read(binary(&name)?).with_context(|| name.clone())?;
        let mut zip = DeflateEncoder::new(Vec::new(), Compression::default());
        zip.write_all(&bytes)?;
        let mib = |bytes: usize| f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) / f64::from(1 << 20);
        let target = if name.starts_with("bench") {
            Target::None
        } else {
            Target::AtMost(8.0)
        };
        let detail = format!("{:.1} MiB before", mib(bytes.len()));
        table.add(
            format!("package of `{name}`"),
            target,
            mib(zip.finish()?.len()),
            " MiB",
            detail,
        );
    }
    Ok(())
}
