//! Background processes: started in groups of their own, written down, and stopped by what was written.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group, waitpid};

use crate::paths::{Paths, env};

/// Held while a process is started and written down, so that Ctrl-C finds either none or a known one.
static STARTING: Mutex<()> = Mutex::new(());

/// The lock under which processes start; whoever keeps it stops any further one.
pub fn starting() -> MutexGuard<'static, ()> {
    STARTING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One background process of a stack, by its name (`postgres`, `aws`, `fake-providers`).
pub struct Daemon {
    name: &'static str,
    paths: Paths,
}

impl Daemon {
    pub fn new(paths: &Paths, name: &'static str) -> Self {
        Self {
            name,
            paths: paths.clone(),
        }
    }

    fn file(&self) -> PathBuf {
        self.paths.run().join(format!("{}.pid", self.name))
    }

    pub fn log(&self) -> PathBuf {
        self.paths.logs().join(format!("{}.log", self.name))
    }

    /// Starts `command` detached from the terminal, its output in the log file.
    ///
    /// It gets a bare environment: what the developer has exported must not steer the functions.
    pub fn start(&self, command: &mut Command) -> Result<()> {
        let _lock = starting();
        let log =
            File::create(self.log()).with_context(|| format!("cannot write {}", self.log().display()))?;
        command
            .env_remove("AWS_PROFILE")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        command.process_group(0);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))?;
        fs::write(
            self.file(),
            format!("{} {}", child.id(), start_mark(child.id()).unwrap_or_default()),
        )?;
        Ok(())
    }

    /// The process id, while the process that was written down is alive.
    pub fn alive(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.file()).ok()?;
        let (id, mark) = text.split_once(' ')?;
        let id: u32 = id.parse().ok()?;
        let pid = Pid::from_raw(i32::try_from(id).ok()?)?;
        // A child of ours that has ended stays in the table until it is waited for.
        let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        let same = match start_mark(id) {
            Some(now) => now == mark,
            None => mark.is_empty() && rustix::process::test_kill_process(pid).is_ok(),
        };
        same.then_some(pid)
    }

    /// Asks with `signal`, waits up to `patience`, then kills the whole group. True when there was one.
    pub fn stop(&self, signal: Signal, patience: Duration) -> bool {
        let found = self.alive();
        if let Some(pid) = found {
            let _ = kill_process(pid, signal);
            let deadline = Instant::now() + patience;
            while self.alive().is_some() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
            // Also reaches what the process has started and left behind.
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
        let _ = fs::remove_file(self.file());
        found.is_some()
    }

    /// Waits until `ready` holds; fails with the end of the log when the process ends first or time is up.
    pub fn wait_until(&self, patience: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            if ready() {
                return Ok(());
            }
            if self.alive().is_none() {
                bail!("{} ended at once:\n{}", self.name, tail(&self.log(), 20));
            }
            if Instant::now() > deadline {
                bail!(
                    "{} is not ready after {patience:?}:\n{}",
                    self.name,
                    tail(&self.log(), 20)
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What tells a process from a later one with the same id: its start time in ticks; none for a zombie or no process.
fn start_mark(id: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The command's name may hold spaces and brackets; the numbered fields begin behind the last bracket.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    (state != "Z")
        .then(|| fields.nth(18).map(str::to_owned))
        .flatten()
}

/// A command with no environment but what programs need to run at all.
pub fn bare(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    for name in ["PATH", "HOME", "LANG", "TZ", "LD_LIBRARY_PATH"] {
        if let Some(value) = env(name) {
            command.env(name, value);
        }
    }
    command
}

/// Runs a command to its end and returns its standard output; its error output becomes the error.
pub fn output(command: &mut Command) -> Result<String> {
    let shown = command.get_program().display().to_string();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {shown}"))?;
    if !output.status.success() {
        bail!(
            "{shown} failed ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs a command with the terminal as its own; an exit code other than 0 is an error.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = command.get_program().display().to_string();
    let status = command.status().with_context(|| format!("cannot run {shown}"))?;
    if !status.success() {
        bail!("{shown} failed ({status})");
    }
    Ok(())
}

/// The last lines of a file.
pub fn tail(path: &Path, lines: usize) -> String {
    let text = fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn stopping_leaves_nothing_of_what_was_started() {
        let paths = Paths {
            local: std::env::temp_dir().join(format!("m3-process-{}", std::process::id())),
        };
        paths.create().unwrap();
        let daemon = Daemon::new(&paths, "deaf");
        // It does not listen when it is asked, and has started another.
        let script = "trap '' TERM; sleep 600 & echo $!; wait; sleep 600";
        daemon.start(bare("sh").args(["-c", script])).unwrap();
        let child = || fs::read_to_string(daemon.log()).ok()?.trim().parse::<u32>().ok();
        daemon
            .wait_until(Duration::from_secs(10), || child().is_some())
            .unwrap();
        let child = child().unwrap();
        assert!(daemon.alive().is_some() && start_mark(child).is_some());
        assert!(daemon.stop(Signal::TERM, Duration::from_millis(100)));
        assert!(daemon.alive().is_none());
        let deadline = Instant::now() + Duration::from_secs(10);
        while start_mark(child).is_some() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(start_mark(child), None, "what it had started is gone too");
        assert!(
            !daemon.stop(Signal::TERM, Duration::ZERO),
            "there is nothing to stop twice"
        );
        fs::remove_dir_all(&paths.local).unwrap();
    }
}
