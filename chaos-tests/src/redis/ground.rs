//! All servers of a test.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, bail};

use super::certificates::{Certificates, Signed};
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
        if plan.shape.nodes() == 0 {
            bail!("{:?} has no servers; ask for one primary at least", plan.shape);
        }
        let engine = if plan.in_containers { engine(plan.server).await? } else { None };
        let lease = Lease::take().await?;
        let signed = match plan.tls {
            Some(_) => Some(Signed::make(addresses(&plan, engine.as_ref())?.into_iter())?),
            None => None,
        };
        let builder = Builder { plan: &plan, signed, engine, lease };
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

    /// What a client needs to be let in, if the servers speak TLS.
    pub fn certificates(&self) -> Option<Certificates> {
        self.plan.tls.map(|_| Certificates::in_folder(self.nodes[0].dir()))
    }

    /// The servers with data that run, not held by SIGSTOP and not cut off.
    pub fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.state() == State::Running)
    }

    /// Kills all servers with data at once and starts them again, each with what it has stored. Waits until
    /// each answers, not until they are healthy.
    ///
    /// # Errors
    /// If one of them does not run, or ends instead of serving.
    pub async fn restart_all(&self) -> Result<()> {
        for node in &self.nodes {
            node.kill9().await?;
        }
        forming::start(&self.nodes).await
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

/// Where its servers will be.
fn addresses(plan: &Plan, engine: Option<&Engine>) -> Result<Vec<IpAddr>> {
    match engine {
        Some(engine) => (0..plan.shape.nodes() + plan.shape.sentinels()).map(|n| engine.address(n)).collect(),
        None => Ok(vec![Ipv4Addr::LOCALHOST.into()]),
    }
}

struct Builder<'a> {
    plan: &'a Plan,
    signed: Option<Signed>,
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
        let scheme = if self.signed.is_some() { "rediss" } else { "redis" };
        let url = format!("{scheme}://{secret}{address}");
        if let Some(signed) = &self.signed {
            signed.write_to(&dir)?;
        }
        Ok(Identity { name, address, bus_port, url, dir, inside, tls: self.plan.tls })
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
