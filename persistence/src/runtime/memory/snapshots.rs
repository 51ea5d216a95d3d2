//! Snapshots in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ids::{PersistenceId, SequenceNr, ShardId};
use crate::journal::{Pending, Snapshot, SnapshotCriteria, SnapshotStore, StoreError};

/// A snapshot store in memory; shared by its clones.
#[derive(Clone, Default)]
pub struct MemorySnapshots {
    shared: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    snapshots: BTreeMap<PersistenceId, BTreeMap<SequenceNr, Snapshot>>,
    failing: usize,
}

impl MemorySnapshots {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Fails the next calls, so many of them, whatever they ask for.
    pub fn fail_next(&self, calls: usize) {
        self.lock().failing = calls;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call<T: Send + 'static>(&self, act: impl FnOnce(&mut State) -> T) -> Pending<Result<T, StoreError>> {
        let mut state = self.lock();
        let answer = match state.failing.checked_sub(1) {
            Some(left) => {
                state.failing = left;
                Err(StoreError("failed on purpose".to_owned()))
            }
            None => Ok(act(&mut state)),
        };
        Box::pin(std::future::ready(answer))
    }
}

impl SnapshotStore for MemorySnapshots {
    fn save(
        &self,
        _shard: ShardId,
        persistence_id: PersistenceId,
        snapshot: Snapshot,
    ) -> Pending<Result<(), StoreError>> {
        self.call(|state| {
            state.snapshots.entry(persistence_id).or_default().insert(snapshot.sequence_nr, snapshot);
        })
    }

    fn load(
        &self,
        _shard: ShardId,
        persistence_id: PersistenceId,
        criteria: SnapshotCriteria,
    ) -> Pending<Result<Option<Snapshot>, StoreError>> {
        let matches = |snapshot: &&Snapshot| criteria.matches(snapshot.sequence_nr, snapshot.time_ms);
        self.call(|state| state.snapshots.get(&persistence_id)?.values().rev().find(matches).cloned())
    }

    fn delete(
        &self,
        _shard: ShardId,
        persistence_id: PersistenceId,
        criteria: SnapshotCriteria,
    ) -> Pending<Result<(), StoreError>> {
        self.call(|state| {
            if let Some(snapshots) = state.snapshots.get_mut(&persistence_id) {
                snapshots.retain(|number, snapshot| !criteria.matches(*number, snapshot.time_ms));
            }
        })
    }
}
