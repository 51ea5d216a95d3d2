//! The proxy as a test holds it: where it listens, and what it does to what passes.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::frame;
use super::link;
use super::trap::{Fault, Request, Set, Sprung, Trap};

/// What happens to all that passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Nothing.
    Fair,
    /// Everything takes this much longer; what was sent together waits together.
    Slow {
        /// On the way to the server.
        requests: Duration,
        /// On the way back.
        replies: Duration,
    },
    /// Nothing passes, and connections stay open. What was sent arrives when the weather clears, as TCP does it
    /// after a cut.
    Silent,
    /// All connections end, and new ones end at once.
    Cut,
}

type Rule = Box<dyn FnMut(&Request) -> Fault + Send>;

/// What the proxy and its links share.
pub(super) struct Shared {
    pub(super) server: SocketAddr,
    /// Whether it looks at what is said.
    pub(super) reads: bool,
    pub(super) weather: watch::Sender<Weather>,
    traps: Mutex<Vec<Set>>,
    rule: Mutex<Option<Rule>>,
}

impl Shared {
    /// What is to be done to a request: by the first trap that it falls into, else by the rule.
    pub(super) fn judge(&self, request: &Request) -> Sprung {
        let mut traps = lock(&self.traps);
        traps.retain(Set::is_set);
        if let Some(at) = traps.iter().position(|trap| trap.matches(request)) {
            return traps.remove(at).spring(request);
        }
        drop(traps);
        let fault = lock(&self.rule).as_mut().map(|rule| rule(request)).unwrap_or_default();
        // Nobody can release what a rule holds: its sender is gone, which counts as released.
        Sprung { fault, released: watch::channel(true).1 }
    }
}

/// Stands before one server. All its connections end when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Stands before a server that speaks RESP.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn to(server: SocketAddr) -> Result<Self> {
        Self::open(server, true).await
    }

    /// Stands before a server without looking at what is said: for TLS. It has weather and no faults.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn opaque_to(server: SocketAddr) -> Result<Self> {
        Self::open(server, false).await
    }

    async fn open(server: SocketAddr, reads: bool) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let weather = watch::Sender::new(Weather::Fair);
        let (traps, rule) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { server, reads, weather, traps, rule });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server behind it.
    pub fn server(&self) -> SocketAddr {
        self.shared.server
    }

    /// Changes what happens to all that passes, at once and until it is changed again.
    pub fn set_weather(&self, weather: Weather) {
        self.shared.weather.send_replace(weather);
    }

    /// Lies in wait for the next request that matches.
    pub fn trap(&self, matches: impl Fn(&Request) -> bool + Send + 'static, fault: Fault) -> Trap {
        let (set, trap) = Set::new(matches, fault);
        lock(&self.shared.traps).push(set);
        trap
    }

    /// Asks this for every request that no trap has caught. [`Fault::Hold`] and [`Fault::HoldReply`] are for
    /// traps: here they let pass.
    pub fn set_rule(&self, rule: impl FnMut(&Request) -> Fault + Send + 'static) {
        *lock(&self.shared.rule) = Some(Box::new(rule));
    }

    /// Asks nobody any more.
    pub fn clear_rule(&self) {
        *lock(&self.shared.rule) = None;
    }

    /// Sends requests straight to the server, once more, on a connection of their own; gives the replies as
    /// they came.
    ///
    /// # Errors
    /// If the server does not answer them all.
    pub async fn replay(&self, requests: &[Request]) -> Result<Vec<Bytes>> {
        let mut server = TcpStream::connect(self.shared.server).await?;
        for request in requests {
            server.write_all(&request.raw).await?;
        }
        let mut replies = Vec::with_capacity(requests.len());
        let mut buffer = BytesMut::new();
        while replies.len() < requests.len() {
            match frame::length(&buffer)? {
                Some(length) => replies.push(buffer.split_to(length).freeze()),
                None if server.read_buf(&mut buffer).await? == 0 => {
                    bail!("the server ended the connection of a replay");
                }
                None => {}
            }
        }
        Ok(replies)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Its links end with it, because this is dropped.
    let mut links = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while links.try_join_next().is_some() {}
        links.spawn(link::run(client, Arc::clone(&shared)));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
