//! The journal and the snapshot store.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::checks::{self, NotUsable};
use super::connector::ConnectError;
use super::engine::append::Append;
use super::engine::keys::Keys;
use super::hub::Hub;
use super::job::Job;
use super::jobs::Asker;
use super::jobs::append::AppendJob;
use super::jobs::claim::ClaimJob;
use super::jobs::ids::IdsJob;
use super::jobs::meta::{ReadMeta, ReplaceMeta};
use super::jobs::read::ReadJob;
use super::jobs::snapshots::{Change, ChangeSnapshots, LoadSnapshot, Shelf};
use super::options::RedisOptions;
use super::primary::Lane;
use super::pulse::Pulse;
use super::watcher::{self, Watcher};
use crate::envelope::StoredSnapshot;
use crate::ids::{PersistenceId, ShardId};
use crate::journal::{
    Batch, Claim, ClaimError, EventPage, IdPage, Journal, JournalLimits, JournalMeta, Known, ListIds, Loaded,
    Pending, ReadError, ReadEvents, Snapshot, SnapshotCriteria, SnapshotError, SnapshotStore, StoreError,
    StoreId, WriteError, Writer,
};

/// Events of a batch, and its bytes: what a server may do for one shard before it serves the others.
const BATCH_EVENTS: usize = 1024;
const BATCH_BYTES: usize = 4 << 20;
/// What a value has beside its payload: names, token, key and reply of the command.
const ENVELOPE: usize = 64 << 10;

/// A journal and a snapshot store on Redis. Clones are the same store; it must be opened, used and closed
/// while the Tokio runtime that it was opened on runs.
#[derive(Clone)]
pub struct RedisStore {
    hub: Arc<Hub>,
    pulse: Arc<Pulse>,
    id: StoreId,
}

impl std::fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RedisStore").field(&self.hub.options).finish()
    }
}

impl RedisStore {
    /// Looks at the servers, refuses what is unsafe and not accepted, and begins to watch who owns what.
    ///
    /// # Errors
    /// If the options break a rule, the servers are unsafe, or not every slot has an owner: with the address
    /// that failed, and why. [`NotUsable::may_pass`] says whether it is worth another try.
    pub async fn open(options: RedisOptions) -> Result<Self, NotUsable> {
        let wrong = |why: String| NotUsable::Connect(ConnectError::Refused(why));
        Keys::check(&options.key_prefix)
            .map_err(|rule| wrong(format!("{:?}: {rule}", options.key_prefix)))?;
        if options.seeds.is_empty() {
            return Err(wrong("no server is named".to_owned()));
        }
        checks::run(&options).await?;
        let hub = Hub::new(options);
        let mut watcher = Watcher::new(Arc::clone(&hub));
        watcher.look_everywhere().await.map_err(|why| ConnectError::Unreachable(why.to_string()))?;
        hub.spawn(watcher.run());
        hub.spawn(watcher::show(Arc::clone(&hub)));
        Ok(Self { hub, pulse: Arc::default(), id: StoreId::unique() })
    }

    /// Submits a job, and waits for its answer.
    fn ask<T: Send + 'static>(
        &self,
        lane: Lane,
        shard: ShardId,
        job: impl FnOnce(Asker<T>) -> Box<dyn Job>,
        gone: impl FnOnce(StoreError) -> T + Send + 'static,
    ) -> Pending<T> {
        let (asker, answer) = Asker::new();
        self.hub.submit(lane, shard, job(asker));
        Box::pin(answered(answer, gone))
    }
}

/// Waits. A job is dropped unanswered only with the runtime that it ran on.
async fn answered<T>(answer: oneshot::Receiver<T>, gone: impl FnOnce(StoreError) -> T) -> T {
    answer.await.unwrap_or_else(|_| gone(StoreError("the runtime of the journal has stopped".to_owned())))
}

impl Journal for RedisStore {
    fn limits(&self) -> JournalLimits {
        let largest = self.hub.options.max_value_bytes.saturating_sub(ENVELOPE);
        JournalLimits {
            max_event_bytes: largest,
            max_atomic_bytes: largest.saturating_mul(4),
            batch_events: BATCH_EVENTS.min(self.hub.options.max_batch.max(1)),
            batch_bytes: BATCH_BYTES,
        }
    }

    fn store_id(&self) -> Option<StoreId> {
        Some(self.id)
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn meta(&self) -> Pending<Result<Option<JournalMeta>, StoreError>> {
        let meta = self.hub.keys.meta();
        self.ask(Lane::Read, ShardId(0), |asker| Box::new(ReadMeta::new(meta, asker)), Err)
    }

    fn replace_meta(
        &self,
        expected: Option<JournalMeta>,
        new: JournalMeta,
    ) -> Pending<Result<bool, StoreError>> {
        let meta = self.hub.keys.meta();
        let job = |asker| Box::new(ReplaceMeta::new(meta, expected, new, asker)) as Box<dyn Job>;
        self.ask(Lane::Write, ShardId(0), job, Err)
    }

    fn claim(
        &self,
        shard: ShardId,
        claim: Claim,
        writer: Writer,
        least: Option<Known>,
    ) -> Pending<Result<(), ClaimError>> {
        let keys = self.hub.keys.shard(shard);
        let job = |asker| Box::new(ClaimJob::new(keys, claim, writer, least, asker)) as Box<dyn Job>;
        self.ask(Lane::Write, shard, job, |gone| Err(ClaimError::Failed(gone)))
    }

    fn write(&self, batch: Batch) -> Pending<Result<(), WriteError>> {
        let shard = batch.shard;
        match Append::new(batch, &self.hub.keys, self.hub.options.max_value_bytes) {
            Ok(append) => {
                let job = |asker| Box::new(AppendJob::new(append, asker)) as Box<dyn Job>;
                self.ask(Lane::Write, shard, job, |gone| Err(WriteError::Unknown(gone)))
            }
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn refuses_writes(&self, shard: ShardId) -> Option<Duration> {
        self.hub.rests(self.hub.keys.slot(shard))
    }

    fn read(&self, read: ReadEvents) -> Pending<Result<EventPage, ReadError>> {
        let (shard, keys) = (read.shard, self.hub.keys.shard(read.shard));
        let job = |asker| Box::new(ReadJob::new(keys, read, asker)) as Box<dyn Job>;
        self.ask(Lane::Read, shard, job, |gone| Err(ReadError::Failed(gone)))
    }

    fn persistence_ids(&self, query: ListIds) -> Pending<Result<IdPage, ReadError>> {
        let (shard, keys) = (query.shard, self.hub.keys.shard(query.shard));
        let job = |asker| Box::new(IdsJob::new(keys, query, asker)) as Box<dyn Job>;
        self.ask(Lane::Read, shard, job, |gone| Err(ReadError::Failed(gone)))
    }

    fn health(&self) -> Pending<Result<(), StoreError>> {
        let (hub, pulse) = (Arc::clone(&self.hub), Arc::clone(&self.pulse));
        Box::pin(async move { pulse.take(&hub).await })
    }

    fn close(&self) -> Pending<()> {
        let hub = Arc::clone(&self.hub);
        Box::pin(async move { hub.close().await })
    }
}

impl RedisStore {
    fn change(&self, shard: ShardId, id: PersistenceId, change: Change) -> Pending<Result<(), StoreError>> {
        let shelf = Shelf::new(self.hub.keys.shard(shard), id);
        let job = |asker| Box::new(ChangeSnapshots::new(shelf, change, asker)) as Box<dyn Job>;
        self.ask(Lane::SaveSnapshots, shard, job, Err)
    }
}

impl SnapshotStore for RedisStore {
    fn save(
        &self,
        shard: ShardId,
        persistence_id: PersistenceId,
        snapshot: Snapshot,
    ) -> Pending<Result<(), StoreError>> {
        let (number, time_ms) = (snapshot.sequence_nr, snapshot.time_ms);
        let stored = StoredSnapshot::new(&persistence_id, snapshot);
        let (bytes, most) = (stored.stored_len(), self.hub.options.max_value_bytes);
        if bytes > most {
            let words = format!("the snapshot has {bytes} bytes; this store takes {most} as one value");
            return Box::pin(std::future::ready(Err(StoreError(words))));
        }
        self.change(shard, persistence_id, Change::Save { number, time_ms, bytes: stored.to_bytes() })
    }

    fn load(
        &self,
        shard: ShardId,
        persistence_id: PersistenceId,
        criteria: SnapshotCriteria,
    ) -> Pending<Result<Option<Snapshot>, SnapshotError>> {
        let shelf = Shelf::new(self.hub.keys.shard(shard), persistence_id);
        let job = |asker| Box::new(LoadSnapshot::new(shelf, criteria, asker)) as Box<dyn Job>;
        let loaded = self.ask(Lane::LoadSnapshots, shard, job, |gone| Err(gone.into()));
        Box::pin(async move { loaded.await.map(|loaded: Loaded| loaded.snapshot) })
    }

    fn store_id(&self) -> Option<StoreId> {
        Some(self.id)
    }

    fn load_for_recovery(
        &self,
        shard: ShardId,
        persistence_id: PersistenceId,
        criteria: SnapshotCriteria,
        known: Known,
    ) -> Pending<Result<Loaded, SnapshotError>> {
        let shelf = Shelf::new(self.hub.keys.shard(shard), persistence_id);
        let job = |asker| Box::new(LoadSnapshot::for_recovery(shelf, criteria, known, asker)) as Box<dyn Job>;
        self.ask(Lane::LoadSnapshots, shard, job, |gone| Err(gone.into()))
    }

    fn delete(
        &self,
        shard: ShardId,
        persistence_id: PersistenceId,
        criteria: SnapshotCriteria,
    ) -> Pending<Result<(), StoreError>> {
        self.change(shard, persistence_id, Change::Delete(criteria))
    }
}
