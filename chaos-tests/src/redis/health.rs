//! Whether a ground is one healthy whole: everybody who runs agrees on who is who, and every replica is in
//! step.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::config::MASTER_NAME;
use super::ground::Ground;
use super::node::{Node, State};
use super::plan::Shape;
use super::view::{SLOTS, View};
use crate::wait::until;

/// The longest that healing may take.
pub const HEALTHY_WITHIN: Duration = Duration::from_secs(60);

impl Ground {
    /// Waits until all who run agree on who is who, each slot has one primary, and each replica is in step.
    /// Who is dead or stopped is left out.
    ///
    /// # Errors
    /// If that takes longer than [`HEALTHY_WITHIN`]: with what is wrong still.
    pub async fn wait_healthy(&self) -> Result<()> {
        until("a healthy ground", HEALTHY_WITHIN, || async {
            match self.shape() {
                Shape::Single { .. } => self.check_replication().await,
                Shape::Cluster { .. } => self.check_cluster().await,
                Shape::Sentinel { .. } => {
                    self.check_replication().await?;
                    self.check_sentinels().await
                }
            }
        })
        .await
    }

    /// One primary, and everybody else in step with it.
    pub(super) async fn check_replication(&self) -> Result<()> {
        let mut online = None;
        let mut followed = Vec::new();
        for node in self.running() {
            let replication = node.replication().await?;
            match replication.primary {
                Some(_) if !replication.in_step => bail!("{node:?} is not in step"),
                Some(primary) => followed.push(primary),
                None if online.is_some() => bail!("{node:?} is a second primary"),
                None => online = Some((node.address(), replication.online)),
            }
        }
        let (primary, online) = online.context("no primary runs")?;
        if followed.iter().any(|address| *address != primary) || online != followed.len() {
            bail!("{primary} has {online} replicas in step, of {followed:?}");
        }
        Ok(())
    }

    /// Every running node of a cluster knows every other one and has no doubts about it.
    pub(super) async fn check_acquaintance(&self) -> Result<Vec<(&Node, View)>> {
        let mut views = Vec::new();
        for node in self.running() {
            views.push((node, node.view().await?));
        }
        for (node, view) in &views {
            for other in self.running() {
                let peer = view.at(other.address());
                let peer = peer.with_context(|| format!("{node:?} does not know {other:?}"))?;
                if peer.doubtful || !(peer.linked || peer.myself) {
                    bail!("{node:?} is in doubt about {other:?}: {peer:?}");
                }
            }
        }
        Ok(views)
    }

    async fn check_cluster(&self) -> Result<()> {
        let views = self.check_acquaintance().await?;
        let mut covered = 0;
        for (node, view) in &views {
            let said = view.myself();
            for (other, theirs) in &views {
                let heard = theirs.at(node.address()).context("acquaintance was checked")?;
                if (&heard.primary, &heard.slots) != (&said.primary, &said.slots) {
                    bail!("{other:?} believes {heard:?} of {node:?}, who says {said:?}");
                }
            }
            covered += said.slot_count();
            self.check_member(node, view, &views).await?;
        }
        if covered != usize::from(SLOTS) {
            bail!("{covered} of {SLOTS} slots are served");
        }
        Ok(())
    }

    /// A replica follows whom it says, and a primary has all in step who follow it.
    async fn check_member(&self, node: &Node, view: &View, views: &[(&Node, View)]) -> Result<()> {
        if !node.ask::<String>(&["CLUSTER", "INFO"]).await?.contains("cluster_state:ok") {
            bail!("{node:?} says that the cluster is down");
        }
        let replication = node.replication().await?;
        let id = &view.myself().id;
        let following = views.iter().filter(|(_, view)| view.myself().primary.as_ref() == Some(id)).count();
        if !replication.in_step || replication.online != following {
            bail!("{node:?}, followed by {following}, has {replication:?}");
        }
        Ok(())
    }

    /// Every Sentinel knows the primary, all replicas and all Sentinels, and doubts nobody who runs.
    async fn check_sentinels(&self) -> Result<()> {
        let primary = self.primary().await?.address();
        let running: Vec<&Node> =
            self.sentinels().iter().filter(|sentinel| sentinel.state() == State::Running).collect();
        for sentinel in &running {
            let watched = sentinel.watched().await?;
            if watched != primary {
                bail!("{sentinel:?} watches {watched} instead of {primary}");
            }
            let master: HashMap<String, String> = sentinel.ask(&["SENTINEL", "MASTER", MASTER_NAME]).await?;
            let number = |name: &str| master.get(name).and_then(|value| value.parse::<usize>().ok());
            if master.get("flags").is_none_or(|flags| flags != "master")
                || number("num-other-sentinels") != Some(self.sentinels().len() - 1)
            {
                bail!("{sentinel:?} believes {master:?}");
            }
            let replicas: Vec<HashMap<String, String>> =
                sentinel.ask(&["SENTINEL", "REPLICAS", MASTER_NAME]).await?;
            for node in self.running().filter(|node| node.address() != primary) {
                let name = node.address().to_string();
                let known = replicas.iter().find(|replica| replica.get("name") == Some(&name));
                let said = |field: &str| known.and_then(|known| known.get(field)).map(String::as_str);
                // The reported role too: who still takes a replica for a false primary undoes its promotion.
                let expected = [("flags", "slave"), ("role-reported", "slave"), ("master-link-status", "ok")];
                if expected.iter().any(|(field, value)| said(field) != Some(value)) {
                    bail!("{sentinel:?} believes {known:?} of {node:?}");
                }
            }
        }
        Ok(())
    }
}

impl Node {
    /// The primary that this Sentinel names to clients.
    pub(super) async fn watched(&self) -> Result<SocketAddr> {
        let (host, port): (String, u16) =
            self.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME]).await?;
        Ok(SocketAddr::new(host.parse()?, port))
    }
}
