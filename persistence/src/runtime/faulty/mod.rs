//! A store that goes wrong on purpose, around any other store, for tests and simulation.
//!
//! ```text
//!   call ─▶ fault? ─ none ──────▶ store ─▶ answer
//!                  ├ request lost, refused, rejected ─▶ the store never hears of it
//!                  ├ answer lost ─▶ store ─▶ "unknown"
//!                  └ delay, hang ─▶ later ─▶ store ─▶ answer, whatever overtook it
//! ```
//!
//! What it says of a call is true: a batch that is *not written* never reached the store, one that is
//! *unknown* may have. So whatever keeps its promises on this store keeps them on one that really fails.
//!
//! Not here: torn or lost data on disk. A store that breaks its own promises is another thing to test.
//!
//! Invariants: a call without a fault reaches the store when it is made, in the order of the calls. A call
//! that its caller gave up while it was held or delayed never reaches it.

mod control;
mod fault;

use std::sync::Arc;
use std::time::Duration;

pub use control::FaultControl;
pub use fault::{Asked, Call, Fault, On};

use crate::ids::{PersistenceId, ShardId};
use crate::journal::{
    Batch, Claim, ClaimError, EventPage, IdPage, Journal, JournalLimits, JournalMeta, Known, ListIds,
    Pending, ReadError, ReadEvents, Snapshot, SnapshotCriteria, SnapshotError, SnapshotStore, StoreError,
    WriteError, Writer,
};

/// A store with faults: a [`Journal`] if `S` is one, a [`SnapshotStore`] if `S` is one.
///
/// ```
/// use std::sync::Arc;
/// use abide_persistence::journal::{Journal, WriteError};
/// use abide_persistence::runtime::{Call, Fault, Faulty, MemoryJournal};
/// use abide_persistence::testkit::Owner;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let faulty = Faulty::new(Arc::new(MemoryJournal::new()));
/// let faults = faulty.control().clone();
/// let journal: Arc<dyn Journal> = Arc::new(faulty);
///
/// let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
/// faults.next(1, Call::Write, Fault::AnswerLost);
/// assert!(matches!(owner.append(&id, 1, 1).await, Err(WriteError::Unknown(_))));
/// // The claim settles what was in doubt: here the event was stored.
/// owner.again().await.expect_all(&id, [1], 1).await;
/// # });
/// ```
pub struct Faulty<S: ?Sized> {
    store: Arc<S>,
    control: FaultControl,
}

impl<S: ?Sized> Faulty<S> {
    /// Around a store, without faults so far.
    pub fn new(store: Arc<S>) -> Self {
        Self::controlled(store, FaultControl::new(0))
    }

    /// Around a store, under faults that are controlled already: several stores may share them.
    pub fn controlled(store: Arc<S>, control: FaultControl) -> Self {
        Self { store, control }
    }

    /// The handle by which it goes wrong.
    pub fn control(&self) -> &FaultControl {
        &self.control
    }

    /// The store inside.
    pub fn store(&self) -> &Arc<S> {
        &self.store
    }
}

impl<S: ?Sized> Clone for Faulty<S> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), control: self.control.clone() }
    }
}

fn unreadable<T>(answer: Result<T, StoreError>) -> Result<T, StoreError> {
    answer.and_then(|_| Err(StoreError("what is stored is damaged, on purpose".to_owned())))
}

/// One that failed, or was fenced, stays so.
fn damaged_page(page: Result<EventPage, ReadError>) -> Result<EventPage, ReadError> {
    page.and_then(|_| Err(ReadError::Damaged("on purpose".to_owned())))
}

/// Nothing to load stays nothing.
fn damaged_snapshot(
    loaded: Result<Option<Snapshot>, SnapshotError>,
) -> Result<Option<Snapshot>, SnapshotError> {
    match loaded? {
        None => Ok(None),
        Some(Snapshot { sequence_nr, .. }) => {
            Err(SnapshotError::Damaged { sequence_nr, reason: "on purpose".to_owned() })
        }
    }
}

impl<S: Journal + ?Sized> Journal for Faulty<S> {
    fn limits(&self) -> JournalLimits {
        self.store.limits()
    }

    fn is_shared(&self) -> bool {
        self.store.is_shared()
    }

    fn meta(&self) -> Pending<Result<Option<JournalMeta>, StoreError>> {
        let store = self.store.clone();
        self.control.run(Asked::Meta, Some(unreadable), move || store.meta())
    }

    fn replace_meta(
        &self,
        expected: Option<JournalMeta>,
        new: JournalMeta,
    ) -> Pending<Result<bool, StoreError>> {
        let store = self.store.clone();
        self.control.run(Asked::Meta, None, move || store.replace_meta(expected, new))
    }

    fn claim(
        &self,
        shard: ShardId,
        claim: Claim,
        writer: Writer,
        least: Option<Known>,
    ) -> Pending<Result<(), ClaimError>> {
        let store = self.store.clone();
        let asked = Asked::Claim(shard, claim);
        self.control.run(asked, None, move || store.claim(shard, claim, writer, least))
    }

    fn write(&self, batch: Batch) -> Pending<Result<(), WriteError>> {
        let store = self.store.clone();
        let asked = batch.clone();
        self.control.run(Asked::Write(&asked), None, move || store.write(batch))
    }

    fn refuses_writes(&self, shard: ShardId) -> Option<Duration> {
        self.control.rests(shard).or_else(|| self.store.refuses_writes(shard))
    }

    fn read(&self, read: ReadEvents) -> Pending<Result<EventPage, ReadError>> {
        let store = self.store.clone();
        let asked = read.clone();
        self.control.run(Asked::Read(&asked), Some(damaged_page), move || store.read(read))
    }

    fn persistence_ids(&self, query: ListIds) -> Pending<Result<IdPage, ReadError>> {
        let store = self.store.clone();
        let asked = query.clone();
        self.control.run(Asked::ListIds(&asked), None, move || store.persistence_ids(query))
    }

    fn health(&self) -> Pending<Result<(), StoreError>> {
        let store = self.store.clone();
        self.control.run(Asked::Health, None, move || store.health())
    }

    /// Never fails: whoever closes a store has no use for another fault.
    fn close(&self) -> Pending<()> {
        self.store.close()
    }
}

impl<S: SnapshotStore + ?Sized> SnapshotStore for Faulty<S> {
    fn save(
        &self,
        shard: ShardId,
        persistence_id: PersistenceId,
        snapshot: Snapshot,
    ) -> Pending<Result<(), StoreError>> {
        let (store, id, saved) = (self.store.clone(), persistence_id.clone(), snapshot.clone());
        let asked = Asked::SaveSnapshot(shard, &id, &saved);
        self.control.run(asked, None, move || store.save(shard, persistence_id, snapshot))
    }

    fn load(
        &self,
        shard: ShardId,
        persistence_id: PersistenceId,
        criteria: SnapshotCriteria,
    ) -> Pending<Result<Option<Snapshot>, SnapshotError>> {
        let (store, id) = (self.store.clone(), persistence_id.clone());
        let asked = Asked::LoadSnapshot(shard, &id, criteria);
        self.control.run(asked, Some(damaged_snapshot), move || store.load(shard, persistence_id, criteria))
    }

    fn delete(
        &self,
        shard: ShardId,
        persistence_id: PersistenceId,
        criteria: SnapshotCriteria,
    ) -> Pending<Result<(), StoreError>> {
        let (store, id) = (self.store.clone(), persistence_id.clone());
        let asked = Asked::DeleteSnapshots(shard, &id, criteria);
        self.control.run(asked, None, move || store.delete(shard, persistence_id, criteria))
    }
}
