//! A ground's own folder and ports, and the sweeping of what dead tests have left.
//!
//! Every ground holds one block of ports. The block has a lock file, held as long as the test's process
//! lives, and a folder. Nobody can forget to give a lock back: the kernel does it, whatever ends the process.
//! A lock that can be had, beside a folder that is there, means that the folder's owner is dead: its servers,
//! known by the folder they work in, are killed, and the folder goes.
//!
//! The ports lie below those that Linux gives to outgoing connections. So a server that was killed finds its
//! port free when it comes back.

use std::fs::{File, TryLockError};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::wait::until;

/// Ports of a block: two for each server.
const BLOCK: u16 = 32;
const FIRST_PORT: u16 = 10_240;
/// Where the ports for outgoing connections begin by default.
const END: u16 = 32_768;

/// Until a killed process is gone.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// What a ground holds of this machine. Given back when dropped.
#[derive(Debug)]
pub(super) struct Lease {
    dir: PathBuf,
    first_port: u16,
    /// Held, never read.
    _lock: File,
}

impl Lease {
    /// Sweeps what the dead left, and takes a free block.
    pub(super) async fn take() -> Result<Self> {
        let base = base()?;
        sweep(&base).await?;
        let blocks = (END - FIRST_PORT) / BLOCK;
        // Not all from the first on, so that grounds which start at once do not queue for the same blocks.
        let offset = u16::try_from(std::process::id() % u32::from(blocks))?;
        for n in 0..blocks {
            let first_port = FIRST_PORT + (offset + n) % blocks * BLOCK;
            let lock_path = base.join(format!("{first_port}.lock"));
            let Some(lock) = try_lock(&lock_path)? else { continue };
            let dir = folder_of(&lock_path);
            // One whose owner died since the sweep is the next ground's to sweep.
            if !dir.exists() && (first_port..first_port + BLOCK).all(is_free) {
                std::fs::create_dir(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
                return Ok(Self { dir, first_port, _lock: lock });
            }
        }
        bail!("no {BLOCK} ports in a row are free between {FIRST_PORT} and {END}");
    }

    /// A server's folder, made now.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir.join(name);
        std::fs::create_dir(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(dir)
    }

    /// The lock under which one ground at a time has containers.
    pub(super) fn containers_lock() -> Result<PathBuf> {
        Ok(base()?.join("containers.lock"))
    }

    /// The ports of the n-th server: for clients, and for the cluster's bus.
    pub(super) fn ports(&self, n: usize) -> Result<(u16, u16)> {
        let offset = u16::try_from(2 * n)?;
        if offset + 1 >= BLOCK {
            bail!("a ground has at most {} servers", BLOCK / 2);
        }
        Ok((self.first_port + offset, self.first_port + offset + 1))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Where all grounds of this user are. Lock files stay there, empty: to delete one that another process is
/// just opening would give two owners.
fn base() -> Result<PathBuf> {
    let user = std::fs::metadata("/proc/self").context("this needs Linux, for /proc")?.uid();
    let base = std::env::temp_dir().join(format!("abide-ground-{user}"));
    std::fs::create_dir_all(&base).with_context(|| format!("cannot create {}", base.display()))?;
    Ok(base)
}

fn try_lock(path: &Path) -> Result<Option<File>> {
    let file = File::options().create(true).append(true).open(path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

fn folder_of(lock: &Path) -> PathBuf {
    lock.with_extension("")
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

async fn sweep(base: &Path) -> Result<()> {
    for entry in std::fs::read_dir(base)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "lock") || !folder_of(&path).exists() {
            continue;
        }
        let Some(_held) = try_lock(&path)? else { continue };
        let dir = folder_of(&path);
        kill_those_in(&dir).await?;
        if dir.exists() {
            std::fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
        }
    }
    Ok(())
}

/// Kills every process that works in a folder, and waits until it is gone.
async fn kill_those_in(dir: &Path) -> Result<()> {
    for pid in those_in(dir)? {
        Command::new("kill").args(["-9", &pid.to_string()]).status().context("there is no `kill`")?;
    }
    until("the end of swept servers", GONE_WITHIN, || async {
        let left = those_in(dir)?;
        if left.is_empty() { Ok(()) } else { bail!("still there: {left:?}") }
    })
    .await
}

fn those_in(dir: &Path) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let pid = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        // Processes come and go while this reads, and those of others do not tell.
        if let (Some(pid), Ok(cwd)) = (pid, std::fs::read_link(path.join("cwd")))
            && cwd.starts_with(dir)
        {
            found.push(pid);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_dead_owner_left_is_swept_and_what_a_live_one_has_is_not() {
        let base = tempfile::tempdir().expect("a directory");
        let folder = |name: &str| {
            let dir = base.path().join(name);
            std::fs::create_dir(&dir).expect("a directory");
            dir
        };
        let (dead, alive) = (folder("10240"), folder("10272"));
        let unowned = try_lock(&base.path().join("10240.lock")).expect("a lock");
        drop(unowned);
        let _owned = try_lock(&base.path().join("10272.lock")).expect("a lock").expect("it is free");
        let work = |dir: &Path| Command::new("sleep").arg("600").current_dir(dir).spawn().expect("a process");
        let (mut left, mut kept) = (work(&dead), work(&alive));
        let reaper = std::thread::spawn(move || left.wait());
        sweep(base.path()).await.expect("it can be swept");
        assert!(
            !reaper.join().expect("no panic").expect("it ended").success(),
            "the left process was killed"
        );
        assert!(!dead.exists() && alive.exists());
        assert!(kept.try_wait().expect("it can be asked").is_none(), "the other lives");
        kept.kill().expect("it can be killed");
        kept.wait().expect("it ends");
    }
}
