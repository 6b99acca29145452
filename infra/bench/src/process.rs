//! Processes of the benchmark: started on a core of their own, measured, ended with it.

use anyhow::{Context, Result, bail};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::num::NonZero;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// The core of the server that is measured.
pub const SERVER_CORE: usize = 0;
/// The core of Postgres and of whoever asks.
pub const OTHER_CORE: usize = 1;
/// A nice value: others' builds shall not be what is measured.
#[cfg(target_os = "linux")]
const PRIORITY: i32 = -15;

/// A process that ends when this is dropped.
pub struct Running(Child);

impl Running {
    /// Starts a process; on one core when it says so. What it prints is dropped, its errors are ours.
    pub fn start(command: &mut Command, core: Option<usize>) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let start = || -> Result<Child> {
            // A child runs where the thread that started it may run.
            claim(core)?;
            command
                .spawn()
                .with_context(|| format!("{command:?} does not start"))
        };
        let joined = thread::scope(|scope| scope.spawn(start).join());
        joined.unwrap_or_else(|_| bail!("a thread ended")).map(Self)
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Time on a processor so far.
    pub fn cpu_time(&self) -> Result<Duration> {
        let mut nanos = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            nanos += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Memory held, in KiB.
    pub fn resident_kib(&self) -> Result<u32> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How many cores the machine has; asked first by a thread that may use them all.
pub fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| thread::available_parallelism().map_or(1, NonZero::get))
}

/// Keeps this thread, and what it starts, on one core, where the machine has that many; and before
/// whatever else the machine does, where that is allowed.
#[cfg(target_os = "linux")]
pub fn claim(core: Option<usize>) -> Result<()> {
    if let Some(core) = core.filter(|core| *core < cores()) {
        let mut set = rustix::thread::CpuSet::new();
        set.set(core);
        rustix::thread::sched_setaffinity(None, &set)?;
    }
    let _ = rustix::process::setpriority_process(None, PRIORITY);
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub fn claim(_: Option<usize>) -> Result<()> {
    Ok(())
}

/// A port that nobody listens on.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Waits until somebody listens.
pub fn wait_for(port: u16) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > deadline {
            bail!("nothing listens on port {port}");
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// A release binary built beside this one.
pub fn binary(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if !path.exists() {
        bail!("{} is not built", path.display());
    }
    Ok(path)
}
