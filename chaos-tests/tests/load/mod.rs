//! Writers at full speed on a journal, and what their streams must hold afterwards.
//!
//! Each shard has an [owner](owner) who claims, writes numbered batches, and claims again after anything but
//! an acknowledgement. All that is sent is written down in the shard's [book](book), with what came of it;
//! afterwards the [raw lists](raw) are held against the book.

mod book;
mod owner;
mod raw;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use abide_chaos_tests::wait::until;
use abide_persistence::journal::{Claim, Epoch, Journal, Known, Writer};
use anyhow::{Result, bail};
use tokio::task::JoinSet;
use tokio::time::Instant;

pub(crate) use book::Findings;
pub(crate) use owner::End;
pub(crate) use raw::slot_of;

pub(crate) use book::Shard;
use owner::Owner;

/// Until every shard is written again after whatever was done to the servers. Where that took longer than calls may
/// take, a primary is left alone for another half minute.
const WRITTEN_WITHIN: Duration = Duration::from_secs(60);

/// Writers of some shards.
pub(crate) struct Load {
    pub(crate) shards: Vec<Arc<Shard>>,
    stop: Arc<AtomicBool>,
    owners: JoinSet<(usize, End)>,
}

impl Load {
    /// Owners of shards that nobody has used, all of one process.
    pub(crate) fn start(journal: &Arc<dyn Journal>, prefix: &str, shards: u32) -> Self {
        let began = Instant::now();
        let shards = (0..shards).map(|number| Arc::new(Shard::new(prefix, number, began))).collect();
        Self::own(journal, shards, 1, None)
    }

    /// Owners of the same shards in another process, to whom they were given at a higher epoch.
    pub(crate) fn succeed(&self, journal: &Arc<dyn Journal>, of: impl Fn(&Shard) -> bool) -> Self {
        let shards = self.shards.iter().filter(|shard| of(shard)).cloned().collect();
        Self::own(journal, shards, 2, Some(Known::claimed_at(Epoch::new(1, 1))))
    }

    fn own(journal: &Arc<dyn Journal>, shards: Vec<Arc<Shard>>, epoch: u64, least: Option<Known>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut owners = JoinSet::new();
        for (at, shard) in shards.iter().enumerate() {
            let owner = Owner {
                journal: Arc::clone(journal),
                shard: Arc::clone(shard),
                claim: Claim { epoch: Epoch::new(1, epoch), session: 1 },
                writer: Writer { cluster: 1, incarnation: epoch.into() },
                known: least,
                stop: Arc::clone(&stop),
            };
            owners.spawn(async move { (at, owner.run().await) });
        }
        Self { shards, stop, owners }
    }

    /// Waits until each shard has been written so often from now on; those of an owner who has ended do not
    /// count.
    pub(crate) async fn until_each_wrote(&self, times: u64) -> Result<()> {
        let goals: Vec<u64> = self.shards.iter().map(|shard| shard.acknowledged() + times).collect();
        until("a write of every shard", WRITTEN_WITHIN, || async {
            for (shard, goal) in self.shards.iter().zip(&goals) {
                if shard.acknowledged() < *goal && !shard.is_given_up() {
                    bail!("shard {} waits: {}", shard.number, shard.trouble());
                }
            }
            Ok(())
        })
        .await
    }

    /// Lets the owners finish what they have sent, and says how each ended.
    pub(crate) async fn stop(mut self) -> Vec<(u32, End)> {
        self.stop.store(true, Ordering::Relaxed);
        let mut ends = Vec::new();
        while let Some(ended) = self.owners.join_next().await {
            let (at, end) = ended.unwrap();
            ends.push((self.shards[at].number, end));
        }
        ends
    }
}

/// Holds the lists of all shards against their books.
pub(crate) async fn verify(
    ground: &abide_chaos_tests::redis::Ground,
    shards: &[Arc<Shard>],
) -> Result<Findings> {
    let mut all = Findings::default();
    for shard in shards {
        let lists = raw::lists(ground, shard).await?;
        all.add(shard.check(&lists));
    }
    Ok(all)
}
