//! Where a server runs: as a child process or as a container. What can be done to it is the same, except that
//! only a container's network can be cut.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Result, bail};

use super::container::{Container, Cut};
use super::process::Process;

#[derive(Debug)]
pub(super) enum Host {
    Process(Mutex<Process>),
    Container(Container),
}

impl Host {
    pub(super) fn process(process: Process) -> Self {
        Self::Process(Mutex::new(process))
    }

    pub(super) async fn start(&self) -> Result<()> {
        match self {
            Self::Process(process) => lock(process).start(),
            Self::Container(container) => container.start().await,
        }
    }

    /// How it ended; `None` while it runs.
    pub(super) async fn ended(&self) -> Result<Option<String>> {
        match self {
            Self::Process(process) => lock(process).ended(),
            Self::Container(container) => container.ended().await,
        }
    }

    pub(super) async fn kill(&self) -> Result<()> {
        match self {
            Self::Process(process) => lock(process).kill(),
            Self::Container(container) => container.kill().await,
        }
    }

    /// Sends a signal, named as `kill` wants it.
    pub(super) async fn signal(&self, name: &str) -> Result<()> {
        match self {
            Self::Process(process) => lock(process).signal(name),
            Self::Container(container) => container.signal(name).await,
        }
    }

    pub(super) async fn cut_off(&self, cut: Cut) -> Result<()> {
        match self {
            Self::Process(_) => bail!("a process has no network of its own; ask for containers"),
            Self::Container(container) => container.cut_off(cut).await,
        }
    }

    pub(super) async fn reconnect(&self) -> Result<()> {
        match self {
            Self::Process(_) => bail!("a process has no network of its own; ask for containers"),
            Self::Container(container) => container.reconnect().await,
        }
    }
}

fn lock(process: &Mutex<Process>) -> MutexGuard<'_, Process> {
    process.lock().unwrap_or_else(PoisonError::into_inner)
}
