//! What an entity has begun and not finished: handlers that wait for their event, writes that wait for
//! their batch, requests that wait for the entity.
//!
//! Allocated only while there is something unfinished, and reused, so an idle entity pays a pointer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::codec::EncodedEvent;
use crate::ids::SequenceNr;
use crate::model::{Answer, Caller, Deferred, EventHandler, EventsHandler, PersistentActor, Sender};

use super::request::Request;

/// Something that waits for its place in the order of handlers.
pub(crate) enum Entry<A: PersistentActor> {
    /// Runs once its event is stored.
    Event { event: A::Event, handler: EventHandler<A>, sender: Sender, stashing: bool },
    /// Runs once for each of its events, which are stored together.
    Events { events: VecDeque<A::Event>, handler: EventsHandler<A>, sender: Sender, stashing: bool },
    /// Runs once everything before it has.
    Defer { handler: Deferred<A>, sender: Sender, stashing: bool },
    /// An event that cannot be stored; told to the entity in its place.
    Rejected { event: A::Event, reason: String, sender: Sender, stashing: bool },
    /// The output gate: an answer that waits for its own events and all before it.
    Release { events: u64, to: Option<Caller>, answer: Answer },
    /// Events whose handler went with the incarnation that made it.
    Spent { events: u64 },
}

impl<A: PersistentActor> Entry<A> {
    /// Events that must be stored before it runs.
    pub(crate) fn events(&self) -> u64 {
        match self {
            Self::Event { .. } => 1,
            Self::Events { events, .. } => events.len() as u64,
            Self::Defer { .. } | Self::Rejected { .. } => 0,
            Self::Release { events, .. } | Self::Spent { events } => *events,
        }
    }

    fn is_stashing(&self) -> bool {
        match self {
            Self::Event { stashing, .. }
            | Self::Events { stashing, .. }
            | Self::Defer { stashing, .. }
            | Self::Rejected { stashing, .. } => *stashing,
            Self::Release { .. } | Self::Spent { .. } => false,
        }
    }
}

/// Where an entity stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It handles requests.
    #[default]
    Ready,
    /// It wants the events from here on.
    Load { from: SequenceNr },
    /// They are being read.
    Loading,
    /// It failed and comes back then.
    Waiting { until: Duration },
    /// Its code panicked; what is written is let finish, then it recovers.
    Draining,
    /// It cannot be recovered.
    Parked { reason: Arc<str> },
}

/// The part of an entity that exists only while something is unfinished.
pub(crate) struct Work<A: PersistentActor> {
    pub(crate) phase: Phase,
    queue: VecDeque<Entry<A>>,
    /// Entries in the queue that hold back further requests.
    stashing: usize,
    writes: VecDeque<Vec<EncodedEvent>>,
    /// Events in `writes`.
    queued: u64,
    /// Events in the batch that is being written.
    in_flight: u64,
    /// Events of that batch that are stored and whose entries have not run yet.
    stored: u64,
    pub(crate) stash: VecDeque<Request<A>>,
    /// Failures since the last success.
    pub(crate) attempts: u32,
}

impl<A: PersistentActor> Default for Work<A> {
    fn default() -> Self {
        Self {
            phase: Phase::default(),
            queue: VecDeque::new(),
            stashing: 0,
            writes: VecDeque::new(),
            queued: 0,
            in_flight: 0,
            stored: 0,
            stash: VecDeque::new(),
            attempts: 0,
        }
    }
}

impl<A: PersistentActor> Work<A> {
    pub(crate) fn push(&mut self, entry: Entry<A>) {
        self.stashing += usize::from(entry.is_stashing());
        self.queue.push_back(entry);
    }

    /// Queues events that are to be stored together.
    pub(crate) fn write(&mut self, events: Vec<EncodedEvent>) {
        self.queued += events.len() as u64;
        self.writes.push_back(events);
    }

    /// Takes the next atomic write into the batch in flight, with the distance of its first event from the
    /// last one whose entry has run.
    pub(crate) fn take_write(&mut self) -> Option<(u64, Vec<EncodedEvent>)> {
        let events = self.writes.pop_front()?;
        let offset = self.stored + self.in_flight + 1;
        self.queued -= events.len() as u64;
        self.in_flight += events.len() as u64;
        Some((offset, events))
    }

    /// The batch in flight is stored.
    pub(crate) fn store(&mut self) {
        self.stored += std::mem::take(&mut self.in_flight);
        self.attempts = 0;
    }

    /// The next entry, if all that it waits for is stored.
    pub(crate) fn next_entry(&mut self) -> Option<Entry<A>> {
        if self.queue.front()?.events() > self.stored {
            return None;
        }
        self.queue.pop_front()
    }

    /// One event of the current entry has had its turn.
    pub(crate) fn consume(&mut self, events: u64) {
        self.stored -= events;
    }

    /// An entry that may hold back requests is through.
    pub(crate) fn unblock(&mut self, stashing: bool) {
        self.stashing -= usize::from(stashing);
    }

    /// Events that are not stored, or stored and not yet handled.
    pub(crate) fn unstored(&self) -> u64 {
        self.queued + self.in_flight + self.stored
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    pub(crate) fn has_writes(&self) -> bool {
        !self.writes.is_empty()
    }

    pub(crate) fn nothing_waits(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether the next request may be handled now.
    pub(crate) fn takes_requests(&self) -> bool {
        self.stashing == 0 && self.phase == Phase::Ready
    }

    /// Takes everything that was begun; what remains is as after a start.
    pub(crate) fn abandon(&mut self) -> VecDeque<Entry<A>> {
        self.stashing = 0;
        self.writes.clear();
        (self.queued, self.in_flight, self.stored) = (0, 0, 0);
        std::mem::take(&mut self.queue)
    }

    /// Takes the entries and leaves their writes to finish.
    pub(crate) fn take_entries(&mut self) -> VecDeque<Entry<A>> {
        self.stashing = 0;
        std::mem::take(&mut self.queue)
    }

    /// How many requests it holds, waiting or begun.
    pub(crate) fn holds(&self) -> usize {
        self.queue.len() + self.stash.len()
    }

    /// Whether nothing is left at all.
    pub(crate) fn is_finished(&self) -> bool {
        self.attempts == 0 && self.is_at_rest()
    }

    /// Whether nothing is left but the memory of failures, which may go with the entity.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.phase == Phase::Ready && self.unstored() == 0 && self.queue.is_empty() && self.stash.is_empty()
    }
}

/// An entity's place for its [`Work`], with the store of spare ones: taken when first needed.
pub(crate) struct WorkSlot<'a, A: PersistentActor> {
    pub(crate) held: &'a mut Option<Box<Work<A>>>,
    pub(crate) spare: &'a mut Spare<A>,
}

/// Boxes of work that were used before; they keep the room of their queues.
// Boxed on purpose: a box is handed over as it is, without moving what it holds.
#[expect(clippy::vec_box)]
pub(crate) struct Spare<A: PersistentActor>(Vec<Box<Work<A>>>);

impl<A: PersistentActor> Spare<A> {
    /// There are a thousand shards of some types each; more would hold more memory than it saves time.
    const KEPT: usize = 4;
    /// A queue that once grew beyond this is not worth keeping.
    const KEPT_ENTRIES: usize = 64;

    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn take(&mut self) -> Box<Work<A>> {
        self.0.pop().unwrap_or_default()
    }

    pub(crate) fn put(&mut self, work: Box<Work<A>>) {
        let largest = work.queue.capacity().max(work.stash.capacity()).max(work.writes.capacity());
        if self.0.len() < Self::KEPT && largest <= Self::KEPT_ENTRIES {
            self.0.push(work);
        }
    }
}

impl<A: PersistentActor> WorkSlot<'_, A> {
    pub(crate) fn peek(&self) -> Option<&Work<A>> {
        self.held.as_deref()
    }

    pub(crate) fn get(&mut self) -> &mut Work<A> {
        let spare = &mut *self.spare;
        self.held.get_or_insert_with(|| spare.take())
    }
}
