//! Moving a slot from one primary to another, in steps that a test can stop between.

use anyhow::{Context, Result, bail};

use super::ground::Ground;
use super::node::Node;

/// Longest that one step may take on the server, in milliseconds.
const STEP_MS: &str = "5000";

/// A slot on its way. Between the steps some of its keys are here and some there: who asks the old primary
/// for one that has gone is answered with ASK.
#[derive(Debug)]
pub struct SlotMove<'a> {
    ground: &'a Ground,
    slot: String,
    from: &'a Node,
    to: &'a Node,
}

impl Ground {
    /// Begins to move a slot: tells both ends, moves nothing yet.
    ///
    /// # Errors
    /// If the slot is there already, or one end refuses.
    pub async fn begin_slot_move<'a>(&'a self, slot: u16, to: &'a Node) -> Result<SlotMove<'a>> {
        let from = self.primary_of(slot).await?;
        if from == to {
            bail!("{to:?} serves slot {slot} already");
        }
        let (from_id, to_id) = (from.view().await?.myself().id.clone(), to.view().await?.myself().id.clone());
        let slot = slot.to_string();
        to.ask::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]).await?;
        from.ask::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).await?;
        Ok(SlotMove { ground: self, slot, from, to })
    }

    /// Moves a slot with all its keys.
    ///
    /// # Errors
    /// As its steps.
    pub async fn move_slot(&self, slot: u16, to: &Node) -> Result<()> {
        let on_its_way = self.begin_slot_move(slot, to).await?;
        while on_its_way.move_keys(100).await? > 0 {}
        on_its_way.finish().await
    }
}

impl SlotMove<'_> {
    /// Moves up to this many keys, and says how many it moved.
    ///
    /// # Errors
    /// If one end does not answer or refuses.
    pub async fn move_keys(&self, count: usize) -> Result<usize> {
        let mut connection = self.from.connect().await?;
        let keys: Vec<Vec<u8>> = redis::cmd("CLUSTER")
            .arg("GETKEYSINSLOT")
            .arg(&self.slot)
            .arg(count)
            .query_async(&mut connection)
            .await?;
        if keys.is_empty() {
            return Ok(0);
        }
        let address = self.to.address();
        let mut migrate = redis::cmd("MIGRATE");
        migrate.arg(address.ip().to_string()).arg(address.port()).arg("").arg(0).arg(STEP_MS);
        if let Some(password) = self.ground.password() {
            migrate.arg("AUTH").arg(password);
        }
        migrate.arg("KEYS").arg(&keys);
        migrate.query_async::<()>(&mut connection).await.context("MIGRATE")?;
        Ok(keys.len())
    }

    /// Gives the slot to its new primary, and tells all primaries.
    ///
    /// # Errors
    /// If keys are left behind, or somebody does not answer.
    pub async fn finish(self) -> Result<()> {
        let id = self.to.view().await?.myself().id.clone();
        // The new owner first: were it the old one, nobody would own the slot for a moment.
        let mut others = Vec::new();
        for node in self.ground.running().filter(|node| *node != self.to) {
            if node.view().await?.myself().primary.is_none() {
                others.push(node);
            }
        }
        for node in std::iter::once(self.to).chain(others) {
            node.ask::<()>(&["CLUSTER", "SETSLOT", &self.slot, "NODE", &id]).await?;
        }
        Ok(())
    }
}
