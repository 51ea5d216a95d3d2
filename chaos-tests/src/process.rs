//! The program under test, as a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Longest wait for a node to listen; reached only if it never will.
const START_LIMIT: Duration = Duration::from_secs(60);

/// The program that `cargo test --workspace` has built beside this test, or the one named by `ABIDE_BIN`.
///
/// # Errors
/// If it is not there.
pub fn program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("ABIDE_BIN") {
        return Ok(path.into());
    }
    let test = std::env::current_exe()?;
    let profile = test.ancestors().nth(2).context("a test lies two folders below its profile")?;
    let path = profile.join("abide");
    if !path.exists() {
        bail!("{} is not built; run `cargo build -p abide` or `cargo test --workspace`", path.display());
    }
    Ok(path)
}

/// A running node. Killed when dropped.
#[derive(Debug)]
pub struct Node {
    child: Child,
    /// Where it serves clients.
    pub http: SocketAddr,
}

impl Node {
    /// Starts `abide serve` on a data directory, at free ports, and waits until it listens.
    ///
    /// # Errors
    /// If it ends instead, with what it wrote.
    pub fn serve(data_dir: &Path, settings: &[&str]) -> Result<Self> {
        let ports = data_dir.with_extension("ports.json");
        let _ = std::fs::remove_file(&ports);
        let mut command = Command::new(program()?);
        command.arg("serve").arg("--ports-file").arg(&ports);
        command.args(["--set", "http.listen=127.0.0.1:0", "--set"]);
        command.arg(format!("node.data_dir={}", data_dir.display()));
        for setting in settings {
            command.args(["--set", setting]);
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let log = child.stderr.take().context("its standard error is piped")?;
        let lines = std::thread::spawn(move || {
            BufReader::new(log).lines().map_while(Result::ok).collect::<Vec<_>>().join("\n")
        });
        for _ in 0..START_LIMIT.as_millis() / 10 {
            if let Some(status) = child.try_wait()? {
                let log = lines.join().unwrap_or_default();
                bail!("the node ended ({status}) instead of serving:\n{log}");
            }
            if let Some(http) = bound(&ports) {
                return Ok(Self { child, http });
            }
            pause(Duration::from_millis(10));
        }
        let _ = child.kill();
        bail!("the node did not listen within {START_LIMIT:?}:\n{}", lines.join().unwrap_or_default())
    }

    /// `kill -9`: no handler runs, nothing is flushed.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn terminate(mut self) -> Result<ExitStatus> {
        Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status()?;
        Ok(self.child.wait()?)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn bound(ports: &Path) -> Option<SocketAddr> {
    let ports: serde_json::Value = serde_json::from_slice(&std::fs::read(ports).ok()?).ok()?;
    ports["http"].as_str()?.parse().ok()
}

/// Waits; for tests that poll a process.
#[expect(clippy::disallowed_methods, reason = "a test's own thread may sleep")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
