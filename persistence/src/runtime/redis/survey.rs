//! What a primary says of its replicas when it is met for the first time.

use std::time::Duration;

use redis::{Pipeline, Value};

use super::connector::Address;
use super::engine::nodes;
use super::engine::replies::{Reply, connected_replicas, reply, text};
use super::hub::Hub;
use super::link::Link;

/// What Redis takes where nobody says otherwise; assumed where a service does not show its settings.
const NODE_TIMEOUT: Duration = Duration::from_secs(15);
const VALIDITY_FACTOR: u32 = 10;
const PING_PERIOD: Duration = Duration::from_secs(10);

/// The replicas of one primary.
pub(super) struct Survey {
    /// That belong to it, connected or not.
    pub(super) listed: Vec<Address>,
    /// That are connected and in sync.
    pub(super) connected: Vec<Address>,
    /// How long one that is lost can still be elected; `None` is for ever.
    pub(super) stands_for: Option<Duration>,
}

/// Asks a primary on a connection of our own.
pub(super) async fn of_primary(link: &mut Link, hub: &Hub) -> Result<Survey, String> {
    let mut asked = Pipeline::new();
    asked.cmd("ROLE");
    asked.cmd("CLUSTER").arg("NODES");
    for setting in ["cluster-node-timeout", "cluster-replica-validity-factor", "repl-ping-replica-period"] {
        asked.cmd("CONFIG").arg("GET").arg(setting);
    }
    let mut answers = link.send(&asked).await.map_err(|error| error.to_string())?.into_iter().map(reply);
    let mut next = || match answers.next() {
        Some(Reply::Done(value)) => Some(value),
        _ => None,
    };
    let role = next().ok_or("it does not say what it is (ROLE)")?;
    let connected = connected_replicas(&role).ok_or("it is no primary any more")?;
    let nodes = next();
    let (node_timeout, factor, ping) = (number(next()), number(next()), number(next()));
    let Some(nodes) = nodes.as_ref().and_then(text) else {
        // No cluster: who may be elected, and for how long, Sentinel says; without one, nobody is.
        let (listed, stands_for) = hub.watched_replicas();
        return Ok(Survey { listed, connected, stands_for });
    };
    let stands_for = match factor.unwrap_or(VALIDITY_FACTOR.into()) {
        0 => None,
        factor => {
            let node_timeout = node_timeout.map_or(NODE_TIMEOUT, Duration::from_millis);
            let ping = ping.map_or(PING_PERIOD, Duration::from_secs);
            Some(node_timeout * u32::try_from(factor.saturating_add(1)).unwrap_or(u32::MAX) + ping)
        }
    };
    let nodes = nodes::parse(nodes, &Address::new("", 0));
    let myself = nodes.iter().find(|node| node.is_myself).map(|node| node.id.as_str());
    let is_mine = |node: &&nodes::Node| node.replica_of.is_some() && node.replica_of.as_deref() == myself;
    let listed = nodes.iter().filter(is_mine).map(|node| node.address.clone()).collect();
    Ok(Survey { listed, connected, stands_for })
}

fn number(answer: Option<Value>) -> Option<u64> {
    match answer? {
        Value::Array(pair) => text(pair.get(1)?)?.parse().ok(),
        Value::Map(pairs) => text(&pairs.first()?.1)?.parse().ok(),
        _ => None,
    }
}
