//! What a test wants to have.

use anyhow::Result;

use super::certificates::Tls;
use super::ground::Ground;
use super::server::Server;

/// How the servers belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One primary and its replicas, with nobody to fail over.
    Single {
        /// How many replicas.
        replicas: usize,
    },
    /// A cluster.
    Cluster {
        /// How many primaries share the slots.
        primaries: usize,
        /// How many replicas each has.
        replicas_each: usize,
    },
    /// One primary, its replicas, and Sentinels who fail over.
    Sentinel {
        /// How many replicas.
        replicas: usize,
        /// How many Sentinels.
        sentinels: usize,
    },
}

impl Shape {
    /// Servers that hold data.
    pub fn nodes(self) -> usize {
        match self {
            Self::Single { replicas } | Self::Sentinel { replicas, .. } => 1 + replicas,
            Self::Cluster { primaries, replicas_each } => primaries * (1 + replicas_each),
        }
    }

    /// Sentinels.
    pub fn sentinels(self) -> usize {
        match self {
            Self::Single { .. } | Self::Cluster { .. } => 0,
            Self::Sentinel { sentinels, .. } => sentinels,
        }
    }
}

/// A ground that has not been started yet.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) shape: Shape,
    pub(super) server: Server,
    pub(super) settings: Vec<(String, String)>,
    pub(super) password: Option<String>,
    pub(super) validity_factor: u32,
    pub(super) tls: Option<Tls>,
    pub(super) in_containers: bool,
}

impl Plan {
    pub(super) fn new(shape: Shape) -> Self {
        Self {
            shape,
            server: Server::default(),
            settings: Vec::new(),
            password: None,
            validity_factor: 1,
            tls: None,
            in_containers: false,
        }
    }

    /// Gives the primary of a [`Shape::Single`] or [`Shape::Sentinel`] this many replicas.
    #[must_use]
    pub fn replicas(mut self, count: usize) -> Self {
        match &mut self.shape {
            Shape::Single { replicas } | Shape::Sentinel { replicas, .. } => *replicas = count,
            Shape::Cluster { replicas_each, .. } => *replicas_each = count,
        }
        self
    }

    /// Takes another make of server.
    #[must_use]
    pub fn server(mut self, server: Server) -> Self {
        self.server = server;
        self
    }

    /// Adds a line to every server's settings, after ours: the last word on it. The value is written as it
    /// stands, so a user is `set("user", "journal on >secret ~* +@all")`.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Asks everybody for this password: clients, replicas and Sentinels.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Speaks TLS and nothing else, with certificates of its own: see [`Ground::certificates`].
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Lets a replica stand for election this many node time-outs after it lost its primary. One by default;
    /// Redis's own default is ten, and zero means for ever.
    #[must_use]
    pub fn validity_factor(mut self, factor: u32) -> Self {
        self.validity_factor = factor;
        self
    }

    /// Gives each server a container with an address of its own, so that it can be cut off. Grounds with
    /// containers wait for each other. Where no engine is they are processes all the same, and say so: ask
    /// [`Ground::can_cut`].
    #[must_use]
    pub fn in_containers(mut self) -> Self {
        self.in_containers = true;
        self
    }

    /// Starts the servers and waits until they are one healthy whole.
    ///
    /// # Errors
    /// If a server ends instead, with its log, or if they do not find together.
    pub async fn start(self) -> Result<Ground> {
        Ground::start(self).await
    }
}
