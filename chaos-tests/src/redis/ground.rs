//! All servers of a test.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};

use super::container::Container;
use super::engine::Engine;
use super::host::Host;
use super::lease::Lease;
use super::node::{Identity, Node, State};
use super::plan::{Plan, Shape};
use super::process::Process;
use super::server::Server;
use super::{config, container, forming};

/// Sentinels of a [`Ground::sentinel`].
const SENTINELS: usize = 3;

/// In a container every port is free.
const CONTAINER_PORTS: (u16, u16) = (6379, 16_379);
/// A server's settings, in its folder.
const CONF: &str = "conf";

/// A private Redis. All of it ends when this is dropped.
#[derive(Debug)]
pub struct Ground {
    plan: Plan,
    // Dropped in this order: servers end before their folders go.
    nodes: Vec<Node>,
    sentinels: Vec<Node>,
    engine: Option<Engine>,
    _lease: Lease,
}

impl Ground {
    /// One server; with [`Plan::replicas`], a primary and its replicas.
    pub fn single() -> Plan {
        Plan::new(Shape::Single { replicas: 0 })
    }

    /// A cluster.
    pub fn cluster(primaries: usize, replicas_each: usize) -> Plan {
        Plan::new(Shape::Cluster { primaries, replicas_each })
    }

    /// A primary, two replicas, and three Sentinels who watch it as [`config::MASTER_NAME`].
    pub fn sentinel() -> Plan {
        Plan::new(Shape::Sentinel { replicas: 2, sentinels: SENTINELS })
    }

    pub(super) async fn start(plan: Plan) -> Result<Self> {
        let engine = if plan.in_containers { engine(plan.server).await? } else { None };
        let builder = Builder { plan: &plan, lease: Lease::take().await?, engine };
        let mut nodes = Vec::new();
        for n in 0..plan.shape.nodes() {
            let identity = builder.identify(n, format!("node-{n}"), plan.password.as_deref())?;
            let settings = config::node(&plan, &identity);
            nodes.push(builder.server(identity, &settings, &[]).await?);
        }
        let mut sentinels = Vec::new();
        for n in nodes.len()..nodes.len() + plan.shape.sentinels() {
            // Sentinels ask for no password: `requirepass` is the servers' alone.
            let identity = builder.identify(n, format!("sentinel-{n}"), None)?;
            let settings = config::sentinel(&plan, &identity, nodes[0].address());
            sentinels.push(builder.server(identity, &settings, &["--sentinel"]).await?);
        }
        let Builder { lease, engine, .. } = builder;
        let ground = Self { plan, nodes, sentinels, engine, _lease: lease };
        forming::form(&ground).await?;
        ground.wait_healthy().await?;
        Ok(ground)
    }

    /// How the servers belong together.
    pub fn shape(&self) -> Shape {
        self.plan.shape
    }

    /// Whether its servers are containers, which can be cut off.
    pub fn can_cut(&self) -> bool {
        self.engine.is_some()
    }

    /// The servers that hold data.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The Sentinels.
    pub fn sentinels(&self) -> &[Node] {
        &self.sentinels
    }

    /// What a client is given: the Sentinels where there are some, else the servers.
    pub fn urls(&self) -> Vec<String> {
        let seeds = if self.sentinels.is_empty() { &self.nodes } else { &self.sentinels };
        seeds.iter().map(|node| node.url().to_owned()).collect()
    }

    /// The password that the servers ask for.
    pub fn password(&self) -> Option<&str> {
        self.plan.password.as_deref()
    }

    /// The servers with data that run, not held by SIGSTOP and not cut off.
    pub fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.state() == State::Running)
    }

    /// The server with data at an address.
    ///
    /// # Errors
    /// If none is there.
    pub fn node_at(&self, address: SocketAddr) -> Result<&Node> {
        let node = self.nodes.iter().find(|node| node.address() == address);
        node.with_context(|| format!("no server of this ground is at {address}"))
    }
}

/// The engine, or the reason why there will be processes.
async fn engine(server: Server) -> Result<Option<Engine>> {
    if let Some(missing) = Engine::missing().await {
        println!("no containers here ({missing}): the servers are processes, and cannot be cut off");
        return Ok(None);
    }
    Engine::take(&Lease::containers_lock()?, server).await.map(Some)
}

struct Builder<'a> {
    plan: &'a Plan,
    // Dropped in this order if starting fails: containers end before their folders go.
    engine: Option<Engine>,
    lease: Lease,
}

impl Builder<'_> {
    /// The n-th server: its name, address and folder.
    fn identify(&self, n: usize, name: String, password: Option<&str>) -> Result<Identity> {
        let dir = self.lease.folder(&name)?;
        let (ip, (port, bus_port), inside) = match &self.engine {
            Some(engine) => (engine.address(n)?, CONTAINER_PORTS, container::FOLDER.into()),
            None => (IpAddr::from(Ipv4Addr::LOCALHOST), self.lease.ports(n)?, dir.clone()),
        };
        let address = SocketAddr::new(ip, port);
        let secret = password.map(|password| format!(":{password}@")).unwrap_or_default();
        let url = format!("redis://{secret}{address}");
        Ok(Identity { name, address, bus_port, url, dir, inside })
    }

    async fn server(&self, identity: Identity, settings: &str, flags: &[&str]) -> Result<Node> {
        let conf = identity.dir.join(CONF);
        std::fs::write(&conf, settings).with_context(|| format!("cannot write {}", conf.display()))?;
        let mut args = vec![identity.inside.join(CONF).display().to_string()];
        args.extend(flags.iter().map(ToString::to_string));
        let host = match &self.engine {
            Some(engine) => {
                let ip = identity.address.ip();
                Host::Container(Container::create(engine, ip, &identity.dir, args).await?)
            }
            None => Host::process(Process::new(self.plan.server.program()?, args, &identity.dir)),
        };
        Ok(Node::new(identity, host))
    }
}
