//! Who is a primary and who is a replica, and changing it.

use std::collections::HashMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail};

use super::config::MASTER_NAME;
use super::ground::Ground;
use super::health::HEALTHY_WITHIN;
use super::node::{Node, State};
use super::plan::Shape;
use super::view::View;
use crate::wait::until;

/// How a replica takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failover {
    /// The primary stops writing, hands over, and nothing is lost.
    Graceful,
    /// Without the primary, by election.
    Force,
    /// Without the primary and without election.
    Takeover,
}

/// A server's own word on replication, from `INFO replication`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Replication {
    /// Whose replica it is; `None` for a primary.
    pub(super) primary: Option<SocketAddr>,
    /// Whether it is a primary, or in step with its primary.
    pub(super) in_step: bool,
    /// Replicas that hang on it and have acknowledged something.
    pub(super) online: usize,
}

impl Replication {
    fn parse(info: &str) -> Result<Self> {
        let fields: HashMap<&str, &str> = info.lines().filter_map(|line| line.split_once(':')).collect();
        let field = |name: &str| {
            fields.get(name).map(|value| value.trim()).with_context(|| format!("INFO without {name}"))
        };
        let online = |line: &&str| line.starts_with("slave") && line.contains("state=online");
        let online = info.lines().filter(online).count();
        if field("role")? == "master" {
            return Ok(Self { primary: None, in_step: true, online });
        }
        let host = field("master_host")?.parse().context("a primary is named by its address here")?;
        let primary = SocketAddr::new(host, field("master_port")?.parse()?);
        Ok(Self { primary: Some(primary), in_step: field("master_link_status")? == "up", online })
    }
}

impl Node {
    /// What it believes about its cluster.
    ///
    /// # Errors
    /// If it does not answer, or is in none.
    pub async fn view(&self) -> Result<View> {
        View::parse(&self.ask::<String>(&["CLUSTER", "NODES"]).await?)
    }

    pub(super) async fn replication(&self) -> Result<Replication> {
        Replication::parse(&self.ask::<String>(&["INFO", "replication"]).await?)
    }
}

impl Ground {
    /// Who serves a slot: of those that run and say so, the one with the newest claim. Without a cluster it is
    /// the primary, whatever the slot.
    ///
    /// # Errors
    /// If nobody does now, or a running server does not answer.
    pub async fn primary_of(&self, slot: u16) -> Result<&Node> {
        match self.shape() {
            Shape::Cluster { .. } => {
                let mut best: Option<(u64, &Node)> = None;
                for node in self.running() {
                    let view = node.view().await?;
                    let myself = view.myself();
                    if myself.serves(slot) && best.is_none_or(|(epoch, _)| myself.config_epoch > epoch) {
                        best = Some((myself.config_epoch, node));
                    }
                }
                best.map(|(_, node)| node).with_context(|| format!("nobody serves slot {slot}"))
            }
            Shape::Single { .. } | Shape::Sentinel { .. } => self.primary().await,
        }
    }

    /// The primary, where there is one: by the word of the Sentinels, or of the server itself.
    ///
    /// # Errors
    /// If nobody is now, or a running server does not answer.
    pub async fn primary(&self) -> Result<&Node> {
        let running = |node: &&Node| node.state() == State::Running;
        match self.shape() {
            Shape::Cluster { .. } => bail!("a cluster has many primaries; ask for that of a slot"),
            Shape::Sentinel { .. } => {
                let sentinel = self.sentinels().iter().find(running).context("no Sentinel runs")?;
                self.node_at(sentinel.watched().await?)
            }
            Shape::Single { .. } => {
                for node in self.running() {
                    if node.replication().await?.primary.is_none() {
                        return Ok(node);
                    }
                }
                bail!("no running server is a primary")
            }
        }
    }

    /// The running replicas of a primary, by their own word.
    ///
    /// # Errors
    /// If a running server does not answer.
    pub async fn replicas_of(&self, primary: &Node) -> Result<Vec<&Node>> {
        let mut replicas = Vec::new();
        for node in self.running() {
            if node.replication().await?.primary == Some(primary.address()) {
                replicas.push(node);
            }
        }
        Ok(replicas)
    }

    /// Waits until somebody else than `old` serves a slot, and gives who.
    ///
    /// # Errors
    /// If that takes longer than [`HEALTHY_WITHIN`].
    pub async fn wait_for_other_primary(&self, slot: u16, old: &Node) -> Result<&Node> {
        until("a failover", HEALTHY_WITHIN, || async {
            let primary = self.primary_of(slot).await?;
            if primary == old { bail!("{old:?} still serves slot {slot}") } else { Ok(primary) }
        })
        .await
    }

    /// Makes a replica of a cluster the primary, and waits until it says that it is one. Others learn it
    /// later: see [`Ground::wait_healthy`].
    ///
    /// # Errors
    /// If it refuses, or is not elected.
    pub async fn failover(&self, replica: &Node, how: Failover) -> Result<()> {
        let command: &[&str] = match how {
            Failover::Graceful => &["CLUSTER", "FAILOVER"],
            Failover::Force => &["CLUSTER", "FAILOVER", "FORCE"],
            Failover::Takeover => &["CLUSTER", "FAILOVER", "TAKEOVER"],
        };
        replica.ask::<()>(command).await?;
        until("the promotion", HEALTHY_WITHIN, || async {
            if replica.view().await?.myself().primary.is_some() {
                bail!("{replica:?} is still a replica");
            }
            Ok(())
        })
        .await
    }

    /// Tells the Sentinels to fail over, and waits until they name another primary.
    ///
    /// # Errors
    /// If they refuse, or do not get it done.
    pub async fn sentinel_failover(&self) -> Result<&Node> {
        let old = self.primary().await?;
        let sentinel = self.sentinels().first().context("this ground has no Sentinels")?;
        sentinel.ask::<()>(&["SENTINEL", "FAILOVER", MASTER_NAME]).await?;
        self.wait_for_other_primary(0, old).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_primary_counts_the_replicas_that_are_online() {
        let info = "# Replication\r\nrole:master\r\nconnected_slaves:2\r\n\
                    slave0:ip=127.0.0.1,port=1,state=online,offset=1,lag=0\r\n\
                    slave1:ip=127.0.0.1,port=2,state=wait_bgsave,offset=0,lag=0\r\n";
        let replication = Replication::parse(info).expect("it is well formed");
        assert_eq!(replication, Replication { primary: None, in_step: true, online: 1 });
    }

    #[test]
    fn a_replica_names_its_primary_and_whether_it_follows() {
        let info = "role:slave\r\nmaster_host:127.0.0.1\r\nmaster_port:7\r\nmaster_link_status:down\r\n";
        let replication = Replication::parse(info).expect("it is well formed");
        let primary = Some(([127, 0, 0, 1], 7).into());
        assert_eq!(replication, Replication { primary, in_step: false, online: 0 });
    }
}
