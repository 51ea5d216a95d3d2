//! Stores in memory, for tests: the same fence, no durability, and a handle to break them on purpose.
//!
//! A clone is another connection to the same store, so that several nodes of one process can share it;
//! closing a connection leaves the others open. Nothing waits and nothing runs by itself: a call is done
//! when it is made, unless [`MemoryControl`] holds it back.

mod control;
mod snapshots;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
pub use control::{MemoryBackup, MemoryControl};
pub use snapshots::MemorySnapshots;

use crate::ids::{EntityId, PersistenceId, SequenceNr, ShardId};
use crate::journal::fence::{BatchVerdict, ClaimVerdict, judge_batch, judge_claim, may_decide};
use crate::journal::{
    Batch, Claim, ClaimError, EventPage, IdPage, Journal, JournalLimits, JournalMeta, Known, ListIds,
    Pending, ReadError, ReadEvents, StoreError, Token, Write, WriteError, Writer,
};
use crate::runtime::faulty::{FaultControl, Faulty};

const LIMITS: JournalLimits = JournalLimits {
    max_event_bytes: 16 << 20,
    max_atomic_bytes: 64 << 20,
    batch_events: 512,
    batch_bytes: 1 << 20,
};

/// A journal in memory; shared by its clones.
pub struct MemoryJournal {
    faulty: Faulty<Connection>,
}

/// The store as one of its users sees it, without faults.
struct Connection {
    shared: Arc<Mutex<State>>,
    closed: AtomicBool,
}

#[derive(Clone, Default)]
struct State {
    meta: Option<JournalMeta>,
    tokens: HashMap<ShardId, Token>,
    streams: BTreeMap<PersistenceId, Stream>,
    /// Who has ever stored an event, by shard and type.
    ids: BTreeMap<(ShardId, &'static str), BTreeSet<EntityId>>,
}

#[derive(Clone, Default)]
struct Stream {
    deleted_to: u64,
    record: Bytes,
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
        Self::connect(Arc::default(), FaultControl::new(0))
    }

    fn connect(shared: Arc<Mutex<State>>, faults: FaultControl) -> Self {
        let connection = Connection { shared, closed: AtomicBool::new(false) };
        Self { faulty: Faulty::controlled(Arc::new(connection), faults) }
    }

    /// The handle by which a test breaks it, holds it up, and looks inside.
    pub fn control(&self) -> MemoryControl {
        MemoryControl::new(self.faulty.control().clone(), self.faulty.store().shared.clone())
    }
}

impl Connection {
    /// The store, unless this connection is closed.
    fn state(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StoreError("the journal is closed".to_owned()));
        }
        Ok(lock(&self.shared))
    }
}

fn lock(shared: &Mutex<State>) -> MutexGuard<'_, State> {
    // A test that fails with the lock held must not fail the others' clean-up too.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn claim(
        &mut self,
        shard: ShardId,
        claim: Claim,
        writer: Writer,
        least: Option<Known>,
    ) -> Result<(), ClaimError> {
        match judge_claim(self.tokens.get(&shard).copied(), claim, writer, least) {
            ClaimVerdict::Take(token) => {
                self.tokens.insert(shard, token);
                Ok(())
            }
            ClaimVerdict::AlreadyTaken => Ok(()),
            ClaimVerdict::Fenced(held) => Err(ClaimError::Fenced { held }),
            ClaimVerdict::Lost { held, least } => Err(ClaimError::Lost { held, least }),
            ClaimVerdict::Usurped(usurped) => Err(usurped.into()),
        }
    }

    fn write(&mut self, batch: &Batch) -> Result<(), WriteError> {
        let held = self.tokens.get(&batch.shard).copied();
        match judge_batch(held, batch.claim, batch.number, batch.writer) {
            BatchVerdict::Write(token) => {
                self.check_ends(&batch.writes)?;
                for write in batch.writes.iter() {
                    self.note_id(batch.shard, write);
                    apply(write, self.streams.entry(write.persistence_id().clone()).or_default());
                }
                self.tokens.insert(batch.shard, token);
                Ok(())
            }
            BatchVerdict::AlreadyWritten => Ok(()),
            BatchVerdict::Fenced(held) => Err(WriteError::Fenced { held, sent_again: false }),
            BatchVerdict::Lost(held) => Err(WriteError::Lost { held, sent_again: false }),
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

    fn note_id(&mut self, shard: ShardId, write: &Write) {
        if let Write::Append { persistence_id: PersistenceId { entity_type, id }, events, .. } = write
            && !events.is_empty()
        {
            self.ids.entry((shard, entity_type.as_str())).or_default().insert(id.clone());
        }
    }

    fn list(&self, query: &ListIds) -> IdPage {
        let Some(ids) = self.ids.get(&(query.shard, query.entity_type.as_str())) else {
            return IdPage::default();
        };
        let after = query.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut above = ids.range((after, Bound::Unbounded));
        let ids = above.by_ref().take(query.limit).cloned().collect();
        IdPage { ids, more: above.next().is_some() }
    }

    fn read(&self, read: &ReadEvents) -> Result<EventPage, ReadError> {
        if let Some(known) = read.known {
            let held = self.tokens.get(&read.shard).copied();
            if !may_decide(held, known) {
                return Err(ReadError::Fenced { held });
            }
        }
        let Some(stream) = self.streams.get(&read.persistence_id) else { return Ok(EventPage::default()) };
        let mut page = EventPage {
            events: Vec::new(),
            deleted_to: SequenceNr(stream.deleted_to),
            record: stream.record.clone(),
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
        Write::DeleteTo { to, record, .. } => {
            let gone = to.0.min(stream.last()).saturating_sub(stream.deleted_to);
            if gone > 0 {
                stream.events.drain(..gone as usize);
                stream.deleted_to += gone;
                stream.record = record.clone();
            }
        }
    }
}

fn ready<T: Send + 'static>(answer: T) -> Pending<T> {
    Box::pin(std::future::ready(answer))
}

impl Journal for Connection {
    fn limits(&self) -> JournalLimits {
        LIMITS
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn meta(&self) -> Pending<Result<Option<JournalMeta>, StoreError>> {
        ready(self.state().map(|state| state.meta.clone()))
    }

    fn replace_meta(
        &self,
        expected: Option<JournalMeta>,
        new: JournalMeta,
    ) -> Pending<Result<bool, StoreError>> {
        ready(self.state().map(|mut state| {
            let same = state.meta == expected;
            if same {
                state.meta = Some(new);
            }
            same
        }))
    }

    fn claim(
        &self,
        shard: ShardId,
        claim: Claim,
        writer: Writer,
        least: Option<Known>,
    ) -> Pending<Result<(), ClaimError>> {
        let state = self.state().map_err(ClaimError::Failed);
        ready(state.and_then(|mut state| state.claim(shard, claim, writer, least)))
    }

    fn write(&self, batch: Batch) -> Pending<Result<(), WriteError>> {
        ready(self.state().map_err(WriteError::NotWritten).and_then(|mut state| state.write(&batch)))
    }

    fn read(&self, read: ReadEvents) -> Pending<Result<EventPage, ReadError>> {
        ready(self.state().map_err(ReadError::Failed).and_then(|state| state.read(&read)))
    }

    fn persistence_ids(&self, query: ListIds) -> Pending<Result<IdPage, ReadError>> {
        ready(self.state().map(|state| state.list(&query)).map_err(ReadError::Failed))
    }

    fn health(&self) -> Pending<Result<(), StoreError>> {
        ready(self.state().map(drop))
    }

    fn close(&self) -> Pending<()> {
        self.closed.store(true, Ordering::Release);
        ready(())
    }
}

impl Journal for MemoryJournal {
    fn limits(&self) -> JournalLimits {
        self.faulty.limits()
    }

    fn is_shared(&self) -> bool {
        self.faulty.is_shared()
    }

    fn meta(&self) -> Pending<Result<Option<JournalMeta>, StoreError>> {
        self.faulty.meta()
    }

    fn replace_meta(
        &self,
        expected: Option<JournalMeta>,
        new: JournalMeta,
    ) -> Pending<Result<bool, StoreError>> {
        self.faulty.replace_meta(expected, new)
    }

    fn claim(
        &self,
        shard: ShardId,
        claim: Claim,
        writer: Writer,
        least: Option<Known>,
    ) -> Pending<Result<(), ClaimError>> {
        self.faulty.claim(shard, claim, writer, least)
    }

    fn write(&self, batch: Batch) -> Pending<Result<(), WriteError>> {
        self.faulty.write(batch)
    }

    fn refuses_writes(&self, shard: ShardId) -> Option<Duration> {
        self.faulty.refuses_writes(shard)
    }

    fn read(&self, read: ReadEvents) -> Pending<Result<EventPage, ReadError>> {
        self.faulty.read(read)
    }

    fn persistence_ids(&self, query: ListIds) -> Pending<Result<IdPage, ReadError>> {
        self.faulty.persistence_ids(query)
    }

    fn health(&self) -> Pending<Result<(), StoreError>> {
        self.faulty.health()
    }

    fn close(&self) -> Pending<()> {
        self.faulty.close()
    }
}

impl Default for MemoryJournal {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for MemoryJournal {
    /// Another connection to the same store, under the same faults.
    fn clone(&self) -> Self {
        Self::connect(self.faulty.store().shared.clone(), self.faulty.control().clone())
    }
}
