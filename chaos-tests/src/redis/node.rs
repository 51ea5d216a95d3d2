//! One server of a ground, and what can be done to it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue};

use super::process::Process;
use crate::wait::until;

/// Until a started server answers; loading a large file takes a while.
const READY_WITHIN: Duration = Duration::from_secs(30);
const ENDED_WITHIN: Duration = Duration::from_secs(20);
/// How long the ground's own questions wait. A stopped server takes connections and never answers.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What a server is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Running,
    /// SIGSTOP holds it.
    Stopped,
    /// It has no process.
    Dead,
}

/// One server: of data, or a Sentinel.
pub struct Node {
    name: String,
    address: SocketAddr,
    bus_port: u16,
    url: String,
    dir: PathBuf,
    host: Mutex<Host>,
}

/// What a server is known by.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) address: SocketAddr,
    pub(super) bus_port: u16,
    pub(super) url: String,
    pub(super) dir: PathBuf,
}

#[derive(Debug)]
struct Host {
    process: Process,
    state: State,
}

impl Node {
    /// Not started yet.
    pub(super) fn new(identity: Identity, process: Process) -> Self {
        let Identity { name, address, bus_port, url, dir } = identity;
        Self { name, address, bus_port, url, dir, host: Mutex::new(Host { process, state: State::Dead }) }
    }

    /// Its name in this ground, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where clients reach it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn bus_port(&self) -> u16 {
        self.bus_port
    }

    /// Its address as a URL, with the password if there is one.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The folder with its settings (`conf`), its data and its log (`log`).
    pub fn dir(&self) -> &std::path::Path {
        &self.dir
    }

    /// What it is doing, as far as this ground caused it.
    pub fn state(&self) -> State {
        self.host().state
    }

    /// Starts it, with the data that it has, and waits until it answers.
    ///
    /// # Errors
    /// If it runs already, or ends instead of answering: with its log.
    pub async fn start(&self) -> Result<()> {
        self.launch()?;
        self.wait_ready().await
    }

    pub(super) fn launch(&self) -> Result<()> {
        let mut host = self.host();
        host.process.start().with_context(|| self.name.clone())?;
        host.state = State::Running;
        Ok(())
    }

    pub(super) async fn wait_ready(&self) -> Result<()> {
        let what = format!("the first answer of {}", self.name);
        until(&what, READY_WITHIN, || async {
            if let Some(ended) = self.host().process.ended()? {
                return Ok(Err(anyhow!("{} ended ({ended}) instead of serving:\n{}", self.name, self.log())));
            }
            let _: redis::Value = self.ask(&["PING"]).await?;
            Ok(Ok(()))
        })
        .await?
    }

    /// `kill -9`: no handler runs, nothing is flushed.
    ///
    /// # Errors
    /// If it does not run.
    pub async fn kill9(&self) -> Result<()> {
        let mut host = self.host();
        host.process.kill().with_context(|| self.name.clone())?;
        host.state = State::Dead;
        Ok(())
    }

    /// SIGSTOP: it hangs, and its connections stay open.
    ///
    /// # Errors
    /// If it does not run.
    pub async fn stop(&self) -> Result<()> {
        self.signal("STOP", State::Stopped)
    }

    /// SIGCONT: it goes on where it hung, and does first what has gathered meanwhile.
    ///
    /// # Errors
    /// If it does not run.
    pub async fn cont(&self) -> Result<()> {
        self.signal("CONT", State::Running)
    }

    /// SIGTERM: it waits for its replicas, syncs its files and ends.
    ///
    /// # Errors
    /// If it does not run, or does not end.
    pub async fn shutdown(&self) -> Result<()> {
        self.signal("TERM", State::Running)?;
        let what = format!("the end of {}", self.name);
        until(&what, ENDED_WITHIN, || async {
            let mut host = self.host();
            if host.process.ended()?.is_none() {
                bail!("it still runs");
            }
            host.state = State::Dead;
            Ok(())
        })
        .await
    }

    /// Asks it a command, in words, on a connection of its own.
    ///
    /// # Errors
    /// If it does not answer, or answers with an error.
    pub async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> Result<T> {
        let mut connection = self.connect().await?;
        let (first, rest) = words.split_first().context("a command has a name")?;
        let answer = redis::cmd(first).arg(rest).query_async(&mut connection).await;
        answer.with_context(|| format!("{} to {}", words.join(" "), self.name))
    }

    /// A connection to it, with every right.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn connect(&self) -> Result<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER_WITHIN))
            .set_response_timeout(Some(ANSWER_WITHIN));
        let client = Client::open(self.url.as_str())?;
        let connection = client.get_multiplexed_async_connection_with_config(&config).await;
        connection.with_context(|| format!("no connection to {} at {}", self.name, self.address))
    }

    fn signal(&self, signal: &str, after: State) -> Result<()> {
        let mut host = self.host();
        host.process.signal(signal).with_context(|| self.name.clone())?;
        host.state = after;
        Ok(())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_else(|_| "(it wrote no log)".to_owned())
    }

    fn host(&self) -> MutexGuard<'_, Host> {
        self.host.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} ({:?})", self.name, self.address, self.state())
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.address == other.address
    }
}
