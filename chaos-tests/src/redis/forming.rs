//! Making one whole of servers that do not know each other yet.

use std::time::Duration;

use anyhow::{Result, bail};

use super::ground::Ground;
use super::node::Node;
use super::plan::Shape;
use super::view::SLOTS;
use crate::wait::until;

const MET_WITHIN: Duration = Duration::from_secs(20);

/// Starts servers all at once and waits until each answers.
pub(super) async fn start(nodes: &[Node]) -> Result<()> {
    for node in nodes {
        node.launch().await?;
    }
    for node in nodes {
        node.wait_ready().await?;
    }
    Ok(())
}

pub(super) async fn form(ground: &Ground) -> Result<()> {
    start(ground.nodes()).await?;
    match ground.shape() {
        Shape::Single { .. } => replicate(ground.nodes()).await,
        Shape::Cluster { primaries, replicas_each } => cluster(ground, primaries, replicas_each).await,
        Shape::Sentinel { .. } => {
            replicate(ground.nodes()).await?;
            watch(ground).await
        }
    }
}

/// Makes all but the first replicas of the first.
async fn replicate(nodes: &[Node]) -> Result<()> {
    let Some((primary, replicas)) = nodes.split_first() else { bail!("a ground has at least one server") };
    let (host, port) = (primary.address().ip().to_string(), primary.address().port().to_string());
    for replica in replicas {
        replica.ask::<()>(&["REPLICAOF", &host, &port]).await?;
        // So that it is still one after a restart.
        replica.ask::<()>(&["CONFIG", "REWRITE"]).await?;
    }
    Ok(())
}

/// Starts the Sentinels, once replication stands: what they find first is what they go by.
async fn watch(ground: &Ground) -> Result<()> {
    until("replication", MET_WITHIN, || ground.check_replication()).await?;
    start(ground.sentinels()).await?;
    for sentinel in ground.sentinels() {
        // By default they look every ten seconds at who replicates from whom, and bear a false primary for
        // four times the time between two of their greetings. Lost when one is restarted.
        let faster = ["SENTINEL", "DEBUG", "INFO-PERIOD", "1000", "PUBLISH-PERIOD", "500"];
        sentinel.ask::<()>(&faster).await?;
    }
    Ok(())
}

async fn cluster(ground: &Ground, primaries: usize, replicas_each: usize) -> Result<()> {
    let nodes = ground.nodes();
    let share = usize::from(SLOTS).div_ceil(primaries);
    for (n, primary) in nodes[..primaries].iter().enumerate() {
        let (from, to) = (n * share, ((n + 1) * share).min(usize::from(SLOTS)) - 1);
        primary.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", &from.to_string(), &to.to_string()]).await?;
    }
    for (n, node) in nodes.iter().enumerate() {
        // Different from the start, so that nobody has to settle it while a test begins.
        node.ask::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()]).await?;
    }
    // Each meets each, because rumour alone takes seconds.
    for (n, node) in nodes.iter().enumerate() {
        for other in &nodes[n + 1..] {
            let (host, port) = (other.address().ip().to_string(), other.address().port());
            let bus = other.bus_port().to_string();
            node.ask::<()>(&["CLUSTER", "MEET", &host, &port.to_string(), &bus]).await?;
        }
    }
    until("the meeting of all nodes", MET_WITHIN, || ground.check_acquaintance()).await?;
    for (n, replica) in nodes[primaries..].iter().enumerate() {
        let primary = nodes[n / replicas_each].view().await?.myself().id.clone();
        until("a replica's knowledge of its primary", MET_WITHIN, || async {
            replica.ask::<()>(&["CLUSTER", "REPLICATE", &primary]).await
        })
        .await?;
    }
    Ok(())
}
