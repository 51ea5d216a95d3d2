//! Which make of server, and where its program is.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// A make of server. They differ in what `WAIT` waits for: up to Redis 7.0 for all that the server had written
/// when the connection's last command ran, from Redis 7.2 and Valkey on only for what this connection itself
/// has caused to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Server {
    /// The `redis-server` of the system.
    #[default]
    Redis,
    /// Valkey 8, which `make tools` puts into `target/`.
    Valkey,
}

impl Server {
    /// Its program.
    ///
    /// # Errors
    /// If it is not installed, with what installs it.
    pub fn program(self) -> Result<PathBuf> {
        let found = match self {
            Self::Redis => in_path("redis-server"),
            Self::Valkey => valkey(),
        };
        match found {
            Some(program) => Ok(program),
            None => bail!("no program for {self:?} here; `make tools` installs it"),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Valkey => "valkey",
        }
    }

    /// Whether its program is here.
    pub fn is_here(self) -> bool {
        self.program().is_ok()
    }
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|program| program.is_file())
}

fn valkey() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let fetched = workspace.join("target/servers/valkey/usr/bin/valkey-server");
    if fetched.is_file() { Some(fetched) } else { in_path("valkey-server") }
}
