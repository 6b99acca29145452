//! The Python environment of the emulator and the deployer, pinned in infra/local/requirements.txt.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::paths::root;
use crate::process::output;

/// The environment's interpreter, and whether it had to be made.
pub fn environment() -> Result<(PathBuf, bool)> {
    let venv = root().join(".local/venv");
    let python = venv.join("bin/python");
    let requirements = root().join("infra/local/requirements.txt");
    let wanted = fs::read_to_string(&requirements).context("infra/local/requirements.txt")?;
    let stamp = venv.join("installed.txt");
    if python.exists() && fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok((python, false));
    }
    let base = interpreter()?;
    let _ = fs::remove_dir_all(&venv);
    output(Command::new(&base).args(["-m", "venv"]).arg(&venv))
        .context("Python cannot make a virtual environment; Debian has it in the package python3-venv")?;
    output(
        Command::new(&python)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "-r",
            ])
            .arg(&requirements),
    )?;
    fs::write(stamp, wanted)?;
    Ok((python, true))
}

fn interpreter() -> Result<String> {
    for name in ["python3", "python3.13", "python3.12", "python3.11", "python3.14"] {
        let version =
            output(Command::new(name).args(["-c", "import sys; print(sys.version_info >= (3, 11))"]));
        if version.is_ok_and(|answer| answer == "True") {
            return Ok(name.to_owned());
        }
    }
    bail!("no Python 3.11 or newer in PATH")
}
