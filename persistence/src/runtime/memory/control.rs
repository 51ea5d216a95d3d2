//! Breaking the memory journal on purpose: faults, outages, and batches held in flight.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{State, lock};
use crate::ids::{PersistenceId, ShardId};
use crate::journal::{Batch, Pending, StoreError, Token, WriteError};

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Reading or replacing the meta record.
    Meta,
    /// Claiming a shard.
    Claim,
    /// Writing a batch.
    Write,
    /// Reading a page.
    Read,
    /// Asking whether the store works.
    Health,
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not done, and the caller is told so. A batch is not written.
    Refused,
    /// It never arrives, and the caller cannot know: unknown.
    RequestLost,
    /// It is done, and the caller cannot know: unknown.
    AnswerLost,
}

/// Breaks a [`MemoryJournal`](super::MemoryJournal), holds it up, and looks inside.
#[derive(Clone)]
pub struct MemoryControl {
    shared: Arc<Mutex<State>>,
}

impl MemoryControl {
    pub(super) fn new(shared: Arc<Mutex<State>>) -> Self {
        Self { shared }
    }

    /// Gives the next call of this kind that has none yet a fault.
    pub fn fail_next(&self, call: Call, fault: Fault) {
        lock(&self.shared).breakage.faults.entry(call).or_default().push_back(fault);
    }

    /// From now on every call is refused with this reason; `None` ends the outage.
    pub fn set_down(&self, reason: Option<&str>) {
        lock(&self.shared).breakage.down = reason.map(str::to_owned);
    }

    /// From now on batches wait in flight, in the order of their calls. Claims and reads go on, so that
    /// another owner may take the shard meanwhile.
    pub fn hold_writes(&self) {
        lock(&self.shared).breakage.holding = true;
    }

    /// How many batches wait.
    pub fn held_writes(&self) -> usize {
        lock(&self.shared).breakage.held.len()
    }

    /// Resolves once at least so many batches wait.
    pub fn until_held(&self, writes: usize) -> Pending<()> {
        let (sender, receiver) = oneshot::channel();
        let mut state = lock(&self.shared);
        state.breakage.watchers.push((writes, sender));
        state.breakage.tell_watchers();
        Box::pin(async move { drop(receiver.await) })
    }

    /// Lets the oldest waiting batch go, with or without a fault of its own; `false` if none waits.
    pub fn release_write(&self, fault: Option<Fault>) -> bool {
        let mut state = lock(&self.shared);
        let Some(held) = state.breakage.held.pop_front() else { return false };
        let answer = state.write_under(fault.or(held.fault), &held.batch);
        drop(held.answer.send(answer));
        true
    }

    /// Lets every waiting batch go, and holds no more.
    pub fn release_writes(&self) {
        lock(&self.shared).breakage.holding = false;
        while self.release_write(None) {}
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

/// What is broken at the moment.
#[derive(Default)]
pub(super) struct Breakage {
    faults: HashMap<Call, VecDeque<Fault>>,
    down: Option<String>,
    holding: bool,
    held: VecDeque<Held>,
    watchers: Vec<(usize, oneshot::Sender<()>)>,
}

/// A batch in flight.
struct Held {
    batch: Batch,
    fault: Option<Fault>,
    answer: oneshot::Sender<Result<(), WriteError>>,
}

impl Breakage {
    /// The fault of this call; one that is refused ends right here.
    pub(super) fn next(&mut self, call: Call) -> Result<Option<Fault>, StoreError> {
        if let Some(reason) = &self.down {
            return Err(StoreError(reason.clone()));
        }
        match self.faults.get_mut(&call).and_then(VecDeque::pop_front) {
            Some(Fault::Refused) => Err(StoreError("refused on purpose".to_owned())),
            fault => Ok(fault),
        }
    }

    pub(super) fn holding(&self) -> bool {
        self.holding
    }

    pub(super) fn hold(
        &mut self,
        batch: Batch,
        fault: Option<Fault>,
        answer: oneshot::Sender<Result<(), WriteError>>,
    ) {
        self.held.push_back(Held { batch, fault, answer });
        self.tell_watchers();
    }

    fn tell_watchers(&mut self) {
        let held = self.held.len();
        for (writes, told) in std::mem::take(&mut self.watchers) {
            if writes <= held {
                let _ = told.send(());
            } else {
                self.watchers.push((writes, told));
            }
        }
    }
}
