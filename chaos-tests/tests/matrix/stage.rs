//! What a cell plays on: the servers, the writers, and who of them is hit.

use std::sync::Arc;
use std::time::Duration;

use abide_chaos_tests::proxy::{Proxies, Weather};
use abide_chaos_tests::redis::{Cut, Failover, Ground, Node};
use abide_persistence::journal::Journal;
use anyhow::{Context, Result};
use futures_util::future::try_join_all;

use crate::cell::{Cell, Fault};
use crate::load::{End, Load, Shard, slot_of};

/// Slots that are moved.
const MOVES: usize = 4;
/// Without a server that writes cannot do without.
const WITHOUT: Duration = Duration::from_secs(1);
/// Until writers that wrote before have written again.
const SOME: u64 = 20;

/// One run of a cell.
pub(crate) struct Stage<'a> {
    pub(crate) cell: Cell,
    pub(crate) ground: &'a Ground,
    pub(crate) load: &'a Load,
    /// Through which the load's journal talks, where the client can be cut off.
    pub(crate) proxies: Option<&'a Proxies>,
    /// Another journal, on the other side of what is cut.
    pub(crate) other_side: Option<&'a Arc<dyn Journal>>,
    /// Who is hit.
    pub(crate) victim: &'a Node,
    /// Whose shards those are.
    pub(crate) is_hit: &'a dyn Fn(&Shard) -> bool,
}

impl Stage<'_> {
    /// Does to the servers what the cell says, and mends it. Gives how the owners on the other side ended.
    pub(crate) async fn play(&self) -> Result<Vec<(u32, End)>> {
        match self.cell.fault {
            Fault::Kill => {
                self.victim.kill9().await?;
                self.wait_for_successor().await?;
                self.go_on_without().await?;
                self.victim.start().await?;
            }
            Fault::Hang => {
                self.victim.stop().await?;
                self.wait_for_successor().await?;
                self.victim.cont().await?;
            }
            Fault::CutOff => {
                self.victim.cut_off(Cut::All).await?;
                self.wait_for_successor().await?;
                self.victim.reconnect().await?;
            }
            Fault::CutOffWithClient => return self.cut_off_with_client(None).await,
            Fault::CutOffWithReplica => return self.cut_off_with_client(Some(self.a_replica().await?)).await,
            Fault::Failover => self.fail_over(Failover::Graceful).await?,
            Fault::Force => self.fail_over(Failover::Force).await?,
            Fault::Takeover => self.fail_over(Failover::Takeover).await?,
            Fault::Restart => {
                try_join_all(self.ground.nodes().iter().map(Node::shutdown)).await?;
                try_join_all(self.ground.nodes().iter().map(Node::start)).await?;
            }
            Fault::ReplicaLost => {
                let replica = self.a_replica().await?;
                replica.kill9().await?;
                self.go_on_without().await?;
                replica.start().await?;
            }
            Fault::SlotsMoved => self.move_slots().await?,
        }
        Ok(Vec::new())
    }

    fn a_slot(&self) -> Result<u16> {
        let hit = self.load.shards.iter().find(|shard| (self.is_hit)(shard));
        hit.map(|shard| slot_of(shard)).context("somebody's shards are hit")
    }

    async fn wait_for_successor(&self) -> Result<()> {
        self.ground.wait_for_other_primary(self.a_slot()?, self.victim).await?;
        Ok(())
    }

    /// With one server less: writes go on where they can.
    async fn go_on_without(&self) -> Result<()> {
        if self.cell.does_without_one() {
            return self.load.until_each_wrote(SOME).await;
        }
        tokio::time::sleep(WITHOUT).await;
        Ok(())
    }

    async fn a_replica(&self) -> Result<&Node> {
        let replicas = self.ground.replicas_of(self.victim).await?;
        replicas.first().copied().context("every primary has a replica")
    }

    async fn fail_over(&self, how: Failover) -> Result<()> {
        self.ground.failover(self.a_replica().await?, how).await
    }

    async fn move_slots(&self) -> Result<()> {
        let hit = self.load.shards.iter().filter(|shard| (self.is_hit)(shard));
        for shard in hit.take(MOVES) {
            let spared = self.load.shards.iter().find(|shard| !(self.is_hit)(shard));
            let to = self.ground.primary_of(slot_of(spared.context("others are spared")?)).await?;
            self.ground.move_slot(slot_of(shard), to).await?;
        }
        Ok(())
    }

    /// Owner and primary are alone with each other, or with one replica, and nothing may be acknowledged there that
    /// the other side does not have; a new owner takes the shards at the new primary. When all are together again,
    /// the old owners learn of it.
    async fn cut_off_with_client(&self, replica: Option<&Node>) -> Result<Vec<(u32, End)>> {
        let proxies = self.proxies.context("the client talks through proxies")?;
        let journal = self.other_side.context("there is another side")?;
        proxies.set_weather_except(&[self.victim], Weather::Silent);
        let together = |other: &Node| Cut::PeersBut(other.address().ip());
        self.victim.cut_off(replica.map_or(Cut::Peers, together)).await?;
        if let Some(replica) = replica {
            replica.cut_off(together(self.victim)).await?;
        }
        self.wait_for_successor().await?;
        let successors = self.load.succeed(journal, self.is_hit);
        if self.cell.does_without_one() && replica.is_none() {
            successors.until_each_wrote(SOME).await?;
        }
        for node in std::iter::once(self.victim).chain(replica) {
            node.reconnect().await?;
        }
        for proxy in proxies.iter() {
            proxy.set_weather(Weather::Fair);
        }
        self.ground.wait_healthy().await?;
        successors.until_each_wrote(SOME).await?;
        Ok(successors.stop().await)
    }
}
