//! Breaking the memory journal on purpose, and looking inside it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use super::{State, lock};
use crate::ids::{PersistenceId, ShardId};
use crate::journal::{Pending, Token};
use crate::runtime::faulty::{Call, Fault, FaultControl};

/// Breaks a [`MemoryJournal`](super::MemoryJournal), holds it up, and looks inside. A short form of its
/// [`FaultControl`], which can do more.
#[derive(Clone)]
pub struct MemoryControl {
    faults: FaultControl,
    shared: Arc<Mutex<State>>,
}

/// What a memory journal held at some moment.
#[derive(Clone)]
pub struct MemoryBackup(State);

impl MemoryControl {
    pub(super) fn new(faults: FaultControl, shared: Arc<Mutex<State>>) -> Self {
        Self { faults, shared }
    }

    /// All that can go wrong, for all its connections.
    pub fn faults(&self) -> &FaultControl {
        &self.faults
    }

    /// Gives the next call of this kind that has none yet a fault.
    pub fn fail_next(&self, call: Call, fault: Fault) {
        self.faults.next(1, call, fault);
    }

    /// From now on every call is refused with this reason; `None` ends the outage.
    pub fn set_down(&self, reason: Option<&str>) {
        self.faults.set_down(reason);
    }

    /// From now on batches wait in flight, in the order of their calls. Claims and reads go on, so that
    /// another owner may take the shard meanwhile.
    pub fn hold_writes(&self) {
        self.faults.hold(Call::Write);
    }

    /// How many batches wait.
    pub fn held_writes(&self) -> usize {
        self.faults.held()
    }

    /// Resolves once at least so many batches wait.
    pub fn until_held(&self, writes: usize) -> Pending<()> {
        self.faults.until_held(writes)
    }

    /// Lets the oldest waiting batch go, with or without a fault of its own; `false` if none waits.
    pub fn release_write(&self, fault: Option<Fault>) -> bool {
        self.faults.release(fault)
    }

    /// Lets every waiting batch go, and holds no more.
    pub fn release_writes(&self) {
        self.faults.release_all();
    }

    /// Refuses claims and batches of a shard as an open breaker does; see [`FaultControl::rest`].
    pub fn rest(&self, shard: ShardId, rests: Option<Duration>) {
        self.faults.rest(shard, rests);
    }

    /// What the journal holds now.
    pub fn backup(&self) -> MemoryBackup {
        MemoryBackup(lock(&self.shared).clone())
    }

    /// Goes back to what the journal held then: everything since is lost.
    pub fn restore(&self, backup: &MemoryBackup) {
        *lock(&self.shared) = backup.0.clone();
    }

    /// The fence of a shard.
    pub fn token(&self, shard: ShardId) -> Option<Token> {
        lock(&self.shared).tokens.get(&shard).copied()
    }

    /// The events of an entity that are stored and not deleted.
    pub fn events(&self, persistence_id: &PersistenceId) -> Vec<Bytes> {
        let state = lock(&self.shared);
        state
            .streams
            .get(persistence_id)
            .map(|stream| stream.events.iter().cloned().collect())
            .unwrap_or_default()
    }
}
