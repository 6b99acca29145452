//! Where things are, and the settings of the developer's environment.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

/// An environment variable, when it is set and not empty.
#[expect(
    clippy::disallowed_methods,
    reason = "the tool's one reader of its environment; it has no config crate"
)]
pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The repository's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap_or(Path::new("."))
        .to_path_buf()
}

/// The folders of one stack: the developer's, or the throwaway one of the tests.
#[derive(Clone)]
pub struct Paths {
    /// `.local`, or `.local/test`.
    pub local: PathBuf,
}

impl Paths {
    /// The stack that `up` starts.
    pub fn stack() -> Self {
        Self {
            local: root().join(".local"),
        }
    }

    /// The database and emulator that tests use, gone when they end.
    pub fn test() -> Self {
        Self {
            local: root().join(".local/test"),
        }
    }

    pub fn run(&self) -> PathBuf {
        self.local.join("run")
    }

    pub fn logs(&self) -> PathBuf {
        self.local.join("logs")
    }

    /// What the emulator and the deployment keep.
    pub fn state(&self) -> PathBuf {
        self.local.join("aws")
    }

    pub fn stack_json(&self) -> PathBuf {
        self.local.join("stack.json")
    }

    /// Creates the folders that other steps expect.
    pub fn create(&self) -> Result<()> {
        for folder in [self.run(), self.logs(), self.state()] {
            std::fs::create_dir_all(&folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        Ok(())
    }
}

/// Ports that stay the same from one `up` to the next while they are free.
pub struct Ports {
    file: PathBuf,
    chosen: Map<String, Value>,
}

impl Ports {
    pub fn load(paths: &Paths) -> Self {
        let file = paths.local.join("ports.json");
        let chosen = read_json(&file)
            .ok()
            .and_then(|v| v.as_object().cloned())
            .unwrap_or_default();
        Self { file, chosen }
    }

    /// The port of `name`: the variable's (an error when it is taken), else the last one used, else a free one.
    pub fn pick(&mut self, name: &str, variable: &str) -> Result<u16> {
        let port = if let Some(text) = env(variable) {
            let port = text
                .parse()
                .with_context(|| format!("{variable} is not a port: {text}"))?;
            if !is_free(port) {
                bail!("port {port} ({variable}) is in use");
            }
            port
        } else {
            let last = self
                .chosen
                .get(name)
                .and_then(Value::as_u64)
                .and_then(|p| u16::try_from(p).ok());
            match last.filter(|port| is_free(*port)) {
                Some(port) => port,
                None => TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port(),
            }
        };
        self.chosen.insert(name.to_owned(), port.into());
        std::fs::write(&self.file, Value::Object(self.chosen.clone()).to_string())?;
        Ok(port)
    }

    /// The port `name` got last time.
    pub fn last(&self, name: &str) -> Option<u16> {
        self.chosen
            .get(name)
            .and_then(Value::as_u64)
            .and_then(|p| u16::try_from(p).ok())
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// A JSON file's content.
pub fn read_json(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))
}
