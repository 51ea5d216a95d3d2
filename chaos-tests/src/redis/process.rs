//! A server as a child process.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

/// A child process that can be started again. Killed when dropped.
#[derive(Debug)]
pub(super) struct Process {
    program: PathBuf,
    args: Vec<String>,
    dir: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// Not started yet. It will work in its folder, by which a sweep knows it.
    pub(super) fn new(program: PathBuf, args: Vec<String>, dir: &Path) -> Self {
        Self { program, args, dir: dir.to_owned(), child: None }
    }

    pub(super) fn start(&mut self) -> Result<()> {
        if self.ended()?.is_none() {
            bail!("it runs already");
        }
        let mut command = Command::new(&self.program);
        command.args(&self.args).current_dir(&self.dir);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child =
            Some(command.spawn().with_context(|| format!("cannot start {}", self.program.display()))?);
        Ok(())
    }

    /// How it ended; `None` while it runs.
    pub(super) fn ended(&mut self) -> Result<Option<String>> {
        let Some(child) = &mut self.child else { return Ok(Some("not started".to_owned())) };
        let status = child.try_wait()?;
        if status.is_some() {
            self.child = None;
        }
        Ok(status.map(|status| status.to_string()))
    }

    pub(super) fn kill(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { bail!("it does not run") };
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Sends a signal, named as `kill` wants it.
    pub(super) fn signal(&mut self, name: &str) -> Result<()> {
        let Some(child) = &self.child else { bail!("it does not run") };
        signal(child.id(), name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Sends a signal to a process, named as `kill` wants it.
pub(super) fn signal(pid: u32, name: &str) -> Result<()> {
    let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status()?;
    if !status.success() {
        bail!("cannot send {name} to process {pid}");
    }
    Ok(())
}
