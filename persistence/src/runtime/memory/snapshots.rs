//! Snapshots in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::ready;
use crate::envelope::StoredSnapshot;
use crate::ids::{PersistenceId, SequenceNr, ShardId};
use crate::journal::{Pending, Snapshot, SnapshotCriteria, SnapshotError, SnapshotStore, StoreError};

/// A snapshot store in memory; shared by its clones. It keeps the same bytes as all others.
#[derive(Clone, Default)]
pub struct MemorySnapshots {
    shared: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    snapshots: BTreeMap<PersistenceId, BTreeMap<SequenceNr, Kept>>,
    failing: usize,
}

struct Kept {
    time_ms: u64,
    bytes: Bytes,
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

    /// Changes the stored bytes of one snapshot, to damage it; `false` if there is none.
    pub fn rewrite(
        &self,
        persistence_id: &PersistenceId,
        sequence_nr: SequenceNr,
        change: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let mut state = self.lock();
        let kept = state.snapshots.get_mut(persistence_id).and_then(|kept| kept.get_mut(&sequence_nr));
        let Some(kept) = kept else { return false };
        let mut bytes = kept.bytes.to_vec();
        change(&mut bytes);
        kept.bytes = bytes.into();
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call<T: Send + 'static>(&self, act: impl FnOnce(&mut State) -> T) -> Result<T, StoreError> {
        let mut state = self.lock();
        match state.failing.checked_sub(1) {
            Some(left) => {
                state.failing = left;
                Err(StoreError("failed on purpose".to_owned()))
            }
            None => Ok(act(&mut state)),
        }
    }
}

impl SnapshotStore for MemorySnapshots {
    fn save(
        &self,
        _shard: ShardId,
        persistence_id: PersistenceId,
        snapshot: Snapshot,
    ) -> Pending<Result<(), StoreError>> {
        let (sequence_nr, time_ms) = (snapshot.sequence_nr, snapshot.time_ms);
        let bytes = StoredSnapshot::new(&persistence_id, snapshot).to_bytes();
        ready(self.call(|state| {
            let of_entity = state.snapshots.entry(persistence_id).or_default();
            of_entity.insert(sequence_nr, Kept { time_ms, bytes });
        }))
    }

    fn load(
        &self,
        _shard: ShardId,
        persistence_id: PersistenceId,
        criteria: SnapshotCriteria,
    ) -> Pending<Result<Option<Snapshot>, SnapshotError>> {
        let newest = self.call(|state| {
            let mut newest_first = state.snapshots.get(&persistence_id)?.iter().rev();
            let (number, kept) =
                newest_first.find(|(number, kept)| criteria.matches(**number, kept.time_ms))?;
            Some((*number, kept.bytes.clone()))
        });
        ready(match newest {
            Ok(None) => Ok(None),
            Ok(Some((sequence_nr, bytes))) => match StoredSnapshot::open(bytes, &persistence_id, sequence_nr)
            {
                Ok(snapshot) => Ok(Some(snapshot)),
                Err(damage) => Err(SnapshotError::Damaged { sequence_nr, reason: damage.to_string() }),
            },
            Err(cause) => Err(cause.into()),
        })
    }

    fn delete(
        &self,
        _shard: ShardId,
        persistence_id: PersistenceId,
        criteria: SnapshotCriteria,
    ) -> Pending<Result<(), StoreError>> {
        ready(self.call(|state| {
            if let Some(snapshots) = state.snapshots.get_mut(&persistence_id) {
                snapshots.retain(|number, kept| !criteria.matches(*number, kept.time_ms));
                if snapshots.is_empty() {
                    state.snapshots.remove(&persistence_id);
                }
            }
        }))
    }
}
