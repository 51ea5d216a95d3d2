//! Where servers are, and how a connection to one of them is made.

use std::fmt;

use redis::aio::MultiplexedConnection;

use crate::journal::{Pending, StoreError};

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// A name or an address; IPv6 without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Address {
    /// From its parts.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What a connection is for. Each is a connection of its own, because a `WAIT` blocks the one it came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Claims and batches, with their `WAIT`.
    Write,
    /// Events and ids.
    Read,
    /// Snapshots: large, and nobody waits for a save.
    Snapshots,
    /// Topology, settings, health.
    Watch,
    /// A Sentinel, not a server of data.
    Sentinel,
}

/// Why there is no connection. Names the address and the fault, and no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answered, or not in time. It may work later.
    #[error("{0}")]
    Unreachable(String),
    /// The server said no, or something is wrong on our side, such as a password or a certificate. It stays
    /// so until somebody changes it.
    #[error("{0}")]
    Refused(String),
}

impl From<ConnectError> for StoreError {
    fn from(error: ConnectError) -> Self {
        Self(error.to_string())
    }
}

/// Makes connections. The host program may bring its own; ours dials by URL.
///
/// What it hands out is owned by the store, which drops it when it is broken or no longer of use. Connecting
/// may take as long as the caller waits; an error names the address and the fault, and no secret.
pub trait Connector: Send + Sync + 'static {
    /// Connects to a server, authenticated and ready for commands.
    fn connect(&self, to: &Address, role: Role) -> Pending<Result<MultiplexedConnection, ConnectError>>;

    /// The number of the database that its connections use, apart from those to watch.
    fn database(&self) -> u32 {
        0
    }
}
