//! All servers of a test.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};

use super::lease::Lease;
use super::node::{Identity, Node, State};
use super::plan::{Plan, Shape};
use super::process::Process;
use super::{config, forming};

/// Sentinels of a [`Ground::sentinel`].
const SENTINELS: usize = 3;

/// A private Redis. All of it ends when this is dropped.
#[derive(Debug)]
pub struct Ground {
    plan: Plan,
    // Dropped in this order: servers end before their folders go.
    nodes: Vec<Node>,
    sentinels: Vec<Node>,
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
        let lease = Lease::take().await?;
        let mut nodes = Vec::new();
        for n in 0..plan.shape.nodes() {
            let identity = identify(&plan, &lease, n, format!("node-{n}"))?;
            let settings = config::node(&plan, &identity);
            nodes.push(server(&plan, identity, &settings, &[])?);
        }
        let mut sentinels = Vec::new();
        for n in 0..plan.shape.sentinels() {
            // Sentinels ask for no password: `requirepass` is the servers' alone.
            let open = Plan { password: None, ..plan.clone() };
            let identity = identify(&open, &lease, nodes.len() + n, format!("sentinel-{n}"))?;
            let settings = config::sentinel(&plan, &identity, nodes[0].address());
            sentinels.push(server(&plan, identity, &settings, &["--sentinel"])?);
        }
        let ground = Self { plan, nodes, sentinels, _lease: lease };
        forming::form(&ground).await?;
        ground.wait_healthy().await?;
        Ok(ground)
    }

    /// How the servers belong together.
    pub fn shape(&self) -> Shape {
        self.plan.shape
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

    /// The servers with data that run and are not held by SIGSTOP.
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

/// The n-th server of a lease.
fn identify(plan: &Plan, lease: &Lease, n: usize, name: String) -> Result<Identity> {
    let (port, bus_port) = lease.ports(n)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let dir = lease.folder(&name)?;
    let secret = plan.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
    Ok(Identity { name, address, bus_port, url: format!("redis://{secret}{address}"), dir })
}

fn server(plan: &Plan, identity: Identity, settings: &str, flags: &[&str]) -> Result<Node> {
    let conf = identity.dir.join("conf");
    std::fs::write(&conf, settings).with_context(|| format!("cannot write {}", conf.display()))?;
    let mut args = vec![conf.display().to_string()];
    args.extend(flags.iter().map(ToString::to_string));
    let process = Process::new(plan.server.program()?, args, &identity.dir);
    Ok(Node::new(identity, process))
}
