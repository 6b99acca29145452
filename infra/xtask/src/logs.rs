//! Printing what the processes and functions of the local stack have written.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::paths::Paths;
use crate::process::tail;
use crate::step::say;

/// How much of each file is shown before new lines.
const LAST_LINES: usize = 100;

/// Prints the last lines of one log or of all, and with `follow` whatever comes after them.
pub fn print(name: Option<&str>, follow: bool) -> Result<()> {
    let folder = Paths::stack().logs();
    let mut files: Vec<PathBuf> = match name {
        Some(name) => vec![folder.join(format!("{name}.log"))],
        None => folder
            .read_dir()
            .context("no logs yet")?
            .flatten()
            .map(|entry| entry.path())
            .collect(),
    };
    files.sort();
    if let (Some(name), false) = (name, files[0].exists() || follow) {
        bail!("{name} has written nothing yet");
    }
    let several = files.len() > 1;
    let mut followed = Vec::new();
    for path in files {
        let label = path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .filter(|_| several);
        let position = path.metadata().map(|metadata| metadata.len()).unwrap_or_default();
        show(label.as_deref(), &tail(&path, LAST_LINES));
        followed.push((path, label, position));
    }
    if follow {
        loop {
            std::thread::sleep(Duration::from_millis(200));
            for (path, label, position) in &mut followed {
                show(label.as_deref(), &appended(path, position));
            }
        }
    }
    Ok(())
}

/// The whole lines that were added behind `position`, which moves on; a file that shrank begins anew.
fn appended(path: &PathBuf, position: &mut u64) -> String {
    let Ok(mut file) = File::open(path) else {
        return String::new();
    };
    if file.metadata().is_ok_and(|metadata| metadata.len() < *position) {
        *position = 0;
    }
    let mut bytes = Vec::new();
    if file.seek(SeekFrom::Start(*position)).is_err() || file.read_to_end(&mut bytes).is_err() {
        return String::new();
    }
    let complete = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    *position += complete as u64;
    String::from_utf8_lossy(&bytes[..complete]).trim_end().to_owned()
}

fn show(label: Option<&str>, text: &str) {
    for line in text.lines() {
        match label {
            Some(label) => say(&format!("{label:<26} {line}")),
            None => say(line),
        }
    }
}
