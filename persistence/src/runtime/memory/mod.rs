//! Stores in memory, for tests: the same fence, no durability, and a handle to break them on purpose.
//!
//! A clone is another connection to the same store, so that several nodes of one process can share it;
//! closing a connection leaves the others open. Nothing waits and nothing runs by itself: a call is done
//! when it is made, unless [`MemoryControl`] holds it back.

mod control;
mod snapshots;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

pub use control::{Call, Fault, MemoryControl};
pub use snapshots::MemorySnapshots;

use crate::ids::{PersistenceId, SequenceNr, ShardId};
use crate::journal::fence::{BatchVerdict, ClaimVerdict, judge_batch, judge_claim, may_decide};
use crate::journal::{
    Batch, Claim, ClaimError, EventPage, Journal, JournalLimits, JournalMeta, Pending, ReadError, ReadEvents,
    StoreError, Token, Write, WriteError, Writer,
};

const LIMITS: JournalLimits = JournalLimits {
    max_event_bytes: 16 << 20,
    max_atomic_bytes: 64 << 20,
    batch_events: 512,
    batch_bytes: 1 << 20,
};

/// A journal in memory; shared by its clones.
pub struct MemoryJournal {
    shared: Arc<Mutex<State>>,
    closed: Arc<AtomicBool>,
}

#[derive(Default)]
struct State {
    meta: Option<JournalMeta>,
    tokens: HashMap<ShardId, Token>,
    streams: BTreeMap<PersistenceId, Stream>,
    breakage: control::Breakage,
}

#[derive(Clone, Default)]
struct Stream {
    deleted_to: u64,
    /// From `deleted_to + 1` on.
    events: VecDeque<Bytes>,
}

impl Stream {
    fn last(&self) -> u64 {
        self.deleted_to + self.events.len() as u64
    }
}

impl MemoryJournal {
    /// An empty one.
    pub fn new() -> Self {
        Self { shared: Arc::default(), closed: Arc::default() }
    }

    /// The handle by which a test breaks it, holds it up, and looks inside.
    pub fn control(&self) -> MemoryControl {
        MemoryControl::new(self.shared.clone())
    }

    /// The store, unless this connection is closed or the store is down or told to refuse.
    fn call(&self, call: Call) -> Result<(MutexGuard<'_, State>, Option<Fault>), StoreError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StoreError("the journal is closed".to_owned()));
        }
        let mut state = lock(&self.shared);
        let fault = state.breakage.next(call)?;
        Ok((state, fault))
    }
}

fn lock(shared: &Mutex<State>) -> MutexGuard<'_, State> {
    // A test that fails with the lock held must not fail the others' clean-up too.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lost() -> StoreError {
    StoreError("no answer from the journal".to_owned())
}

/// Does it, if the fault lets it come to that; `None` if the answer is lost.
fn under<T>(fault: Option<Fault>, act: impl FnOnce() -> T) -> Option<T> {
    match fault {
        None => Some(act()),
        Some(Fault::AnswerLost) => {
            act();
            None
        }
        Some(Fault::RequestLost | Fault::Refused) => None,
    }
}

impl State {
    fn claim(&mut self, shard: ShardId, claim: Claim, writer: Writer) -> Result<(), ClaimError> {
        match judge_claim(self.tokens.get(&shard).copied(), claim, writer) {
            ClaimVerdict::Take(token) => {
                self.tokens.insert(shard, token);
                Ok(())
            }
            ClaimVerdict::AlreadyTaken => Ok(()),
            ClaimVerdict::Fenced(held) => Err(ClaimError::Fenced { held }),
            ClaimVerdict::Usurped(usurped) => Err(usurped.into()),
        }
    }

    fn write(&mut self, batch: &Batch) -> Result<(), WriteError> {
        let held = self.tokens.get(&batch.shard).copied();
        match judge_batch(held, batch.claim, batch.number, batch.writer) {
            BatchVerdict::Write(token) => {
                self.check_ends(&batch.writes)?;
                for write in batch.writes.iter() {
                    apply(write, self.streams.entry(write.persistence_id().clone()).or_default());
                }
                self.tokens.insert(batch.shard, token);
                Ok(())
            }
            BatchVerdict::AlreadyWritten => Ok(()),
            BatchVerdict::Fenced(held) => Err(WriteError::Fenced { held, sent_again: false }),
        }
    }

    /// Checks all writes before the first is applied, so that a refused batch leaves nothing behind.
    fn check_ends(&self, writes: &[Write]) -> Result<(), WriteError> {
        let mut ends: HashMap<&PersistenceId, u64> = HashMap::new();
        for write in writes {
            let Write::Append { persistence_id, first, events } = write else { continue };
            let stored = || self.streams.get(persistence_id).map_or(0, Stream::last);
            let end = ends.entry(persistence_id).or_insert_with(stored);
            if end.checked_add(1) != Some(first.0) {
                return Err(WriteError::Conflict {
                    persistence_id: persistence_id.clone(),
                    first: *first,
                    found: SequenceNr(*end),
                });
            }
            *end += events.len() as u64;
        }
        Ok(())
    }

    fn write_under(&mut self, fault: Option<Fault>, batch: &Batch) -> Result<(), WriteError> {
        if fault == Some(Fault::Refused) {
            return Err(WriteError::NotWritten(StoreError("refused on purpose".to_owned())));
        }
        under(fault, || self.write(batch)).unwrap_or_else(|| Err(WriteError::Unknown(lost())))
    }

    fn read(&self, read: &ReadEvents) -> Result<EventPage, ReadError> {
        if let Some(claim) = read.claim {
            let held = self.tokens.get(&read.shard).copied();
            if !may_decide(held, claim) {
                return Err(ReadError::Fenced { held });
            }
        }
        let Some(stream) = self.streams.get(&read.persistence_id) else { return Ok(EventPage::default()) };
        let mut page = EventPage {
            events: Vec::new(),
            deleted_to: SequenceNr(stream.deleted_to),
            last: SequenceNr(stream.last()),
        };
        let first = read.from.0.max(stream.deleted_to + 1);
        let skipped = (first - stream.deleted_to - 1).min(stream.events.len() as u64) as usize;
        let wanted = (read.to.0.saturating_add(1).saturating_sub(first)).min(read.max_events as u64) as usize;
        let mut bytes = 0;
        for event in stream.events.range(skipped..).take(wanted) {
            bytes += event.len();
            page.events.push(event.clone());
            if bytes >= read.max_bytes {
                break;
            }
        }
        Ok(page)
    }
}

fn apply(write: &Write, stream: &mut Stream) {
    match write {
        Write::Append { events, .. } => stream.events.extend(events.iter().cloned()),
        Write::DeleteTo { to, .. } => {
            let gone = to.0.min(stream.last()).saturating_sub(stream.deleted_to);
            stream.events.drain(..gone as usize);
            stream.deleted_to += gone;
        }
    }
}

fn ready<T: Send + 'static>(answer: T) -> Pending<T> {
    Box::pin(std::future::ready(answer))
}

impl Journal for MemoryJournal {
    fn limits(&self) -> JournalLimits {
        LIMITS
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn meta(&self) -> Pending<Result<Option<JournalMeta>, StoreError>> {
        ready(self.call(Call::Meta).and_then(|(state, fault)| match fault {
            None => Ok(state.meta.clone()),
            Some(_) => Err(lost()),
        }))
    }

    fn replace_meta(
        &self,
        expected: Option<JournalMeta>,
        new: JournalMeta,
    ) -> Pending<Result<bool, StoreError>> {
        ready(self.call(Call::Meta).and_then(|(mut state, fault)| {
            let replace = || {
                let same = state.meta == expected;
                if same {
                    state.meta = Some(new);
                }
                same
            };
            under(fault, replace).ok_or_else(lost)
        }))
    }

    fn claim(&self, shard: ShardId, claim: Claim, writer: Writer) -> Pending<Result<(), ClaimError>> {
        let failed = |cause| Err(ClaimError::Failed(cause));
        ready(match self.call(Call::Claim) {
            Ok((mut state, fault)) => {
                under(fault, || state.claim(shard, claim, writer)).unwrap_or_else(|| failed(lost()))
            }
            Err(cause) => failed(cause),
        })
    }

    fn write(&self, batch: Batch) -> Pending<Result<(), WriteError>> {
        match self.call(Call::Write) {
            Ok((mut state, fault)) => {
                if !state.breakage.holding() {
                    return ready(state.write_under(fault, &batch));
                }
                let (sender, receiver) = oneshot::channel();
                state.breakage.hold(batch, fault, sender);
                Box::pin(async move { receiver.await.unwrap_or_else(|_| Err(WriteError::Unknown(lost()))) })
            }
            Err(cause) => ready(Err(WriteError::NotWritten(cause))),
        }
    }

    fn read(&self, read: ReadEvents) -> Pending<Result<EventPage, ReadError>> {
        ready(match self.call(Call::Read) {
            Ok((state, None)) => state.read(&read),
            Ok((_, Some(_))) => Err(ReadError::Failed(lost())),
            Err(cause) => Err(ReadError::Failed(cause)),
        })
    }

    fn health(&self) -> Pending<Result<(), StoreError>> {
        ready(self.call(Call::Health).and_then(|(_, fault)| fault.map_or(Ok(()), |_| Err(lost()))))
    }

    fn close(&self) -> Pending<()> {
        self.closed.store(true, Ordering::Release);
        ready(())
    }
}

impl Default for MemoryJournal {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for MemoryJournal {
    /// Another connection to the same store.
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), closed: Arc::default() }
    }
}
