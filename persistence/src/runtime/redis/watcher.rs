//! Looks who owns what: at the start, now and then, and whenever something went wrong.
//!
//! Every node that was heard of is asked about itself, all at once, with little time to answer: a dead node
//! delays nobody. See [`Routes`] for whom to believe.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::{Pipeline, Value};
use tokio::time::timeout;

use super::connector::{Address, Role};
use super::engine::nodes;
use super::engine::replies::{Reply, connected_replicas, reply, text};
use super::engine::routes::Routes;
use super::hub::Hub;
use super::link::Link;
use super::options::Deployment;
use crate::journal::StoreError;

/// A node that is there answers within milliseconds.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// Looks follow each other no faster.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// How old what the gauges show may be.
const BETWEEN_SHOWS: Duration = Duration::from_secs(1);

/// Shows what waits, until the store is closed.
pub(super) async fn show(hub: Arc<Hub>) {
    while !hub.is_closed() {
        hub.show();
        tokio::time::sleep(BETWEEN_SHOWS).await;
    }
}

/// Looks around for one store.
pub(super) struct Watcher {
    hub: Arc<Hub>,
    routes: Routes,
    links: HashMap<Address, Link>,
    /// Which single server was chosen, and how often another one was.
    choices: u64,
}

/// What one node said.
enum Said {
    /// Of a cluster.
    Nodes(Vec<nodes::Node>),
    /// A server alone; whether it is a primary.
    Alone(bool),
    /// A Sentinel, of the primary that it watches.
    Sentinel(Watched),
}

/// What a Sentinel says.
struct Watched {
    epoch: u64,
    primary: Address,
    replicas: Vec<Address>,
    stands_for: Duration,
}

impl Watcher {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        let routes = Routes::unknown(hub.options.seeds.iter().cloned());
        Self { hub, routes, links: HashMap::new(), choices: 0 }
    }

    /// Looks until the store is closed.
    pub(super) async fn run(mut self) {
        loop {
            // Whichever it was: somebody who asks, or the time.
            let _ = timeout(self.hub.options.topology_check, self.hub.look_wanted()).await;
            if self.hub.is_closed() {
                return;
            }
            if let Err(why) = self.look().await {
                tracing::debug!(%why, "the topology of the journal's servers is not known");
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    /// Looks for the first time: the seeds name others, and each is believed about itself only.
    ///
    /// # Errors
    /// As for [`look`](Self::look), once nobody names anybody new.
    pub(super) async fn look_everywhere(&mut self) -> Result<(), StoreError> {
        loop {
            let heard_of = self.routes.nodes().count();
            let looked = self.look().await;
            if looked.is_ok() || self.routes.nodes().count() == heard_of {
                return looked;
            }
        }
    }

    /// Asks everybody once.
    ///
    /// # Errors
    /// If nobody is known to own anything, or not everything has an owner.
    pub(super) async fn look(&mut self) -> Result<(), StoreError> {
        let asked: Vec<Address> = match self.hub.options.deployment {
            Deployment::Direct => self.routes.nodes().cloned().collect(),
            Deployment::Sentinel { .. } => self.hub.options.seeds.clone(),
        };
        let ask = |address: Address| {
            let link = self.links.remove(&address);
            let hub = Arc::clone(&self.hub);
            async move {
                let answer = timeout(ANSWER_WITHIN, ask(&hub, &address, link)).await;
                let late = format!("{address} did not answer within {ANSWER_WITHIN:?}");
                (address, answer.unwrap_or(Err(late)))
            }
        };
        let mut asking: FuturesUnordered<_> = asked.into_iter().map(ask).collect();
        let mut troubles = Vec::new();
        let mut alone = Vec::new();
        while let Some((address, answer)) = asking.next().await {
            let mut is_changed = false;
            match answer {
                Ok((said, link)) => {
                    self.links.insert(address.clone(), link);
                    match said {
                        Said::Nodes(nodes) => is_changed |= self.routes.observe(&nodes),
                        Said::Alone(is_primary) => alone.push((address, is_primary)),
                        Said::Sentinel(watched) => {
                            self.hub.set_watched_replicas(watched.replicas, watched.stands_for);
                            is_changed |= self.routes.single(watched.epoch, &watched.primary);
                        }
                    }
                }
                Err(trouble) => troubles.push(trouble),
            }
            // At once: whoever does not answer holds up nobody.
            if is_changed {
                self.hub.follow(&self.routes);
            }
        }
        drop(asking);
        if self.choose(&alone, &mut troubles) {
            self.hub.follow(&self.routes);
        }
        self.routes.end_look();
        let asked: Vec<&Address> = self.routes.nodes().chain(&self.hub.options.seeds).collect();
        self.links.retain(|address, _| asked.contains(&address));
        let result = match self.routes.homeless() {
            0 => Ok(()),
            some => Err(if troubles.is_empty() {
                format!("{some} slots have no owner")
            } else {
                troubles.join("; ")
            }),
        };
        self.hub.is_blind(result.as_ref().err().cloned().unwrap_or_default());
        result.map_err(StoreError)
    }

    /// Which of the servers that stand alone it is: the one so far, as long as it is a primary.
    fn choose(&mut self, alone: &[(Address, bool)], troubles: &mut Vec<String>) -> bool {
        let primaries: Vec<&Address> =
            alone.iter().filter(|(_, is_primary)| *is_primary).map(|(address, _)| address).collect();
        let so_far = self.routes.primary(0);
        if alone.is_empty() || so_far.is_some_and(|so_far| primaries.contains(&so_far)) {
            return false;
        }
        let is_deposed =
            |so_far: &Address| alone.iter().any(|(address, is_primary)| address == so_far && !is_primary);
        match (so_far, primaries.as_slice()) {
            // It does not answer. Another primary may be its successor or a stranger: nobody here can tell.
            (Some(so_far), _) if !is_deposed(so_far) => false,
            (_, [primary]) => {
                self.choices += 1;
                self.routes.single(self.choices, primary)
            }
            (_, []) => {
                let (replica, _) = &alone[0];
                troubles.push(format!("{replica} is a replica; name its primary, or its Sentinels"));
                false
            }
            (_, several) => {
                let several: Vec<String> = several.iter().map(ToString::to_string).collect();
                troubles.push(format!("{} are primaries of their own; name one", several.join(" and ")));
                false
            }
        }
    }
}

/// Asks one node, on the connection of the last time if there is one.
async fn ask(hub: &Hub, address: &Address, link: Option<Link>) -> Result<(Said, Link), String> {
    let role = match hub.options.deployment {
        Deployment::Direct => Role::Watch,
        Deployment::Sentinel { .. } => Role::Sentinel,
    };
    let mut link = match link {
        Some(link) => link,
        None => Link::open(&hub.options.connector, address, role).await.map_err(|error| error.to_string())?,
    };
    let mut asked = Pipeline::new();
    match &hub.options.deployment {
        Deployment::Direct => {
            asked.cmd("CLUSTER").arg("NODES");
            asked.cmd("ROLE");
        }
        Deployment::Sentinel { master } => {
            asked.cmd("SENTINEL").arg("MASTER").arg(master);
            asked.cmd("SENTINEL").arg("REPLICAS").arg(master);
            asked.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(master);
        }
    }
    let answers = link.send(&asked).await.map_err(|error| format!("{address}: {error}"))?;
    let odd = |_| format!("{address} gave another number of answers");
    let said = match &hub.options.deployment {
        Deployment::Direct => {
            let [nodes, role] = <[Value; 2]>::try_from(answers).map_err(odd)?;
            node_said(address, nodes, role)
        }
        Deployment::Sentinel { master } => {
            sentinel_said(address, master, <[Value; 3]>::try_from(answers).map_err(odd)?)
        }
    };
    Ok((said?, link))
}

fn node_said(address: &Address, nodes: Value, role: Value) -> Result<Said, String> {
    match reply(nodes) {
        Reply::Done(nodes) => {
            let nodes = text(&nodes).ok_or_else(|| format!("{address} does not list its nodes"))?;
            Ok(Said::Nodes(nodes::parse(nodes, address)))
        }
        Reply::Doubt(reason) if reason.contains("cluster support disabled") => match reply(role) {
            Reply::Done(role) => Ok(Said::Alone(connected_replicas(&role).is_some())),
            other => Err(format!("{address} does not say what it is: {other:?}")),
        },
        Reply::Refused { reason, .. } | Reply::Foreign(reason) | Reply::Doubt(reason) => {
            Err(format!("{address}: {reason}"))
        }
    }
}

fn sentinel_said(
    address: &Address,
    master: &str,
    [watched, replicas, leads_to]: [Value; 3],
) -> Result<Said, String> {
    let watched = match reply(watched) {
        Reply::Done(watched) => watched,
        _ => return Err(format!("the Sentinel at {address} does not watch {master:?}")),
    };
    let watched = fields(&watched);
    let number = |name: &str| watched.get(name).and_then(|value| value.parse::<u64>().ok());
    let place = |fields: &HashMap<&str, &str>| {
        Some(Address::new(*fields.get("ip")?, fields.get("port")?.parse().ok()?))
    };
    // While it leads a failover, this names the new primary already, and what it says of the old one does not.
    let leads_to = match reply(leads_to) {
        Reply::Done(Value::Array(parts)) => parts,
        _ => Vec::new(),
    };
    let primary = match leads_to.as_slice() {
        [host, port] => text(host).zip(text(port).and_then(|port| port.parse().ok())),
        _ => None,
    };
    let primary = primary
        .map(|(host, port)| Address::new(host, port))
        .ok_or_else(|| format!("the Sentinel at {address} does not say where {master:?} is"))?;
    // The old primary is listed too, as dead as it is. It cannot be elected before it has been in sync.
    let was_replica = |fields: &HashMap<&str, &str>| fields.get("role-reported") != Some(&"master");
    let replicas = match reply(replicas) {
        Reply::Done(Value::Array(replicas)) => {
            let replicas = replicas.iter().map(fields).filter(was_replica);
            replicas.filter_map(|replica| place(&replica)).collect()
        }
        _ => Vec::new(),
    };
    // It elects a replica whose link was down for up to ten times this, counted from when the primary went down.
    let down_after = Duration::from_millis(number("down-after-milliseconds").unwrap_or(30_000));
    Ok(Said::Sentinel(Watched {
        epoch: number("config-epoch").unwrap_or(0),
        primary,
        replicas,
        stands_for: down_after * 11,
    }))
}

fn fields(value: &Value) -> HashMap<&str, &str> {
    match value {
        Value::Array(words) => {
            words.chunks_exact(2).filter_map(|pair| Some((text(&pair[0])?, text(&pair[1])?))).collect()
        }
        Value::Map(pairs) => {
            pairs.iter().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect()
        }
        _ => HashMap::new(),
    }
}
