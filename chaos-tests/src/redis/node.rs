//! One server of a ground, and what can be done to it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ClientTlsConfig, FromRedisValue, TlsCertificates};

use super::certificates::{Certificates, Tls};
use super::container::Cut;
use super::host::Host;
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
    /// It runs, and [`Node::cut_off`] keeps others from it.
    CutOff,
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
    tls: Option<Tls>,
    host: Host,
    state: Mutex<State>,
}

/// What a server is known by.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) address: SocketAddr,
    pub(super) bus_port: u16,
    pub(super) url: String,
    /// Its folder.
    pub(super) dir: PathBuf,
    /// Its folder, as it sees it.
    pub(super) inside: PathBuf,
    pub(super) tls: Option<Tls>,
}

impl Node {
    /// Not started yet.
    pub(super) fn new(identity: Identity, host: Host) -> Self {
        let Identity { name, address, bus_port, url, dir, tls, inside: _ } = identity;
        Self { name, address, bus_port, url, dir, tls, host, state: Mutex::new(State::Dead) }
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
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts it, with the data that it has, and waits until it answers.
    ///
    /// # Errors
    /// If it runs already, or ends instead of answering: with its log.
    pub async fn start(&self) -> Result<()> {
        self.launch().await?;
        self.wait_ready().await
    }

    pub(super) async fn launch(&self) -> Result<()> {
        self.host.start().await.with_context(|| self.name.clone())?;
        self.now(State::Running);
        Ok(())
    }

    pub(super) async fn wait_ready(&self) -> Result<()> {
        let what = format!("the first answer of {}", self.name);
        until(&what, READY_WITHIN, || async {
            if let Some(ended) = self.host.ended().await? {
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
        self.host.kill().await.with_context(|| self.name.clone())?;
        self.now(State::Dead);
        Ok(())
    }

    /// SIGSTOP: it hangs, and its connections stay open.
    ///
    /// # Errors
    /// If it does not run.
    pub async fn stop(&self) -> Result<()> {
        self.host.signal("STOP").await.with_context(|| self.name.clone())?;
        self.now(State::Stopped);
        Ok(())
    }

    /// SIGCONT: it goes on where it hung, and does first what has gathered meanwhile.
    ///
    /// # Errors
    /// If it does not run.
    pub async fn cont(&self) -> Result<()> {
        self.host.signal("CONT").await.with_context(|| self.name.clone())?;
        self.now(State::Running);
        Ok(())
    }

    /// SIGTERM: it waits for its replicas, syncs its files and ends.
    ///
    /// # Errors
    /// If it does not run, or does not end.
    pub async fn shutdown(&self) -> Result<()> {
        self.host.signal("TERM").await.with_context(|| self.name.clone())?;
        let what = format!("the end of {}", self.name);
        until(&what, ENDED_WITHIN, || async { self.host.ended().await?.context("it still runs") }).await?;
        self.now(State::Dead);
        Ok(())
    }

    /// Cuts its network paths: packets vanish, connections stay open. Only containers can be cut off.
    ///
    /// # Errors
    /// If it is a process, or does not run.
    pub async fn cut_off(&self, from: Cut) -> Result<()> {
        self.host.cut_off(from).await.with_context(|| self.name.clone())?;
        self.now(State::CutOff);
        Ok(())
    }

    /// Mends what was cut.
    ///
    /// # Errors
    /// If it is a process, or does not run.
    pub async fn reconnect(&self) -> Result<()> {
        self.host.reconnect().await.with_context(|| self.name.clone())?;
        self.now(State::Running);
        Ok(())
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
        let client = self.client()?;
        let connection = client.get_multiplexed_async_connection_with_config(&config).await;
        connection.with_context(|| format!("no connection to {} at {}", self.name, self.address))
    }

    fn client(&self) -> Result<Client> {
        let Some(tls) = self.tls else { return Ok(Client::open(self.url.as_str())?) };
        let Certificates { ca, cert, key } = Certificates::in_folder(&self.dir);
        let ours = ClientTlsConfig { client_cert: std::fs::read(cert)?, client_key: std::fs::read(key)? };
        let client_tls = match tls {
            Tls::OneWay => None,
            Tls::Mutual => Some(ours),
        };
        let certificates = TlsCertificates { client_tls, root_cert: Some(std::fs::read(ca)?) };
        Ok(Client::build_with_tls(self.url.as_str(), certificates)?)
    }

    fn now(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_else(|_| "(it wrote no log)".to_owned())
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
