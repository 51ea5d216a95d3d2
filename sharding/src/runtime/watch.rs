//! Tells whoever follows an entity that its shard has stored something.
//!
//! A notice is a hint and never the truth: it may come for another entity of the shard, and events that were
//! written on another node bring none. So a watch also ends by itself after a while, and who watches reads
//! the journal then.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use abide_persistence::ShardId;
use tokio::sync::watch;

/// Longest wait without a look at the journal.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Who watches which shard of a region.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    /// How many there are; all that a lane looks at while there are none.
    count: AtomicUsize,
    shards: Mutex<HashMap<ShardId, watch::Sender<()>>>,
}

impl Watchers {
    /// A batch of this shard was acknowledged.
    pub(crate) fn stored(&self, shard: ShardId) {
        // Who begins to watch at this very moment may be missed, and then finds out by looking.
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        if let Some(watched) = self.lock().get(&shard) {
            watched.send_replace(());
        }
    }

    pub(crate) fn watch(self: &Arc<Self>, shard: ShardId) -> EventsWatch {
        let mut shards = self.lock();
        let stored = shards.entry(shard).or_insert_with(|| watch::channel(()).0).subscribe();
        self.count.fetch_add(1, Ordering::Relaxed);
        EventsWatch { watchers: Arc::clone(self), shard, stored: Some(stored) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ShardId, watch::Sender<()>>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for events of an entity; see [`Region::watch`](super::region::Region::watch).
pub struct EventsWatch {
    watchers: Arc<Watchers>,
    shard: ShardId,
    /// There until it is dropped.
    stored: Option<watch::Receiver<()>>,
}

impl EventsWatch {
    /// Ends when the entity may have new events: its shard has stored a batch on this node since the last
    /// call, or a second has passed, because events may have been written elsewhere.
    pub async fn changed(&mut self) {
        if let Some(stored) = &mut self.stored {
            // The sender is there as long as we are; late or not, it is time to look.
            let _ = tokio::time::timeout(LOOK_EVERY, stored.changed()).await;
        }
    }
}

impl Drop for EventsWatch {
    fn drop(&mut self) {
        let mut shards = self.watchers.lock();
        self.stored = None;
        if shards.get(&self.shard).is_some_and(|stored| stored.receiver_count() == 0) {
            shards.remove(&self.shard);
        }
        self.watchers.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for EventsWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventsWatch").field("shard", &self.shard).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_watch_ends_with_a_batch_of_its_shard_or_after_a_second() {
        let watchers = Arc::new(Watchers::default());
        let mut watch = watchers.watch(ShardId(1));
        let begun = tokio::time::Instant::now();
        watchers.stored(ShardId(2));
        watch.changed().await;
        assert_eq!(begun.elapsed(), LOOK_EVERY, "another shard's batch is none of its business");
        watchers.stored(ShardId(1));
        watch.changed().await;
        assert_eq!(begun.elapsed(), LOOK_EVERY, "what came between two calls is not missed");
    }

    #[test]
    fn who_is_gone_leaves_nothing_behind() {
        let watchers = Arc::new(Watchers::default());
        let (one, two) = (watchers.watch(ShardId(1)), watchers.watch(ShardId(1)));
        drop(one);
        assert_eq!((watchers.lock().len(), watchers.count.load(Ordering::Relaxed)), (1, 1));
        drop(two);
        assert_eq!((watchers.lock().len(), watchers.count.load(Ordering::Relaxed)), (0, 0));
    }
}
