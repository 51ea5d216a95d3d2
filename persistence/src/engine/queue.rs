//! What an entity has begun and not finished: handlers that wait for their event, writes that wait for
//! their batch, requests that wait for the entity.
//!
//! Allocated only while there is something unfinished, and reused, so an idle entity pays a pointer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::codec::EncodedEvent;
use crate::ids::SequenceNr;
use crate::model::{
    Answer, Behaviour, Caller, Deferred, EncodedState, EventHandler, EventsHandler, PersistentActor, Sender,
};

use super::extras::{Awaited, Call, Extras, Ticket};
use super::kind::Shared;
use super::panics::drop_quietly;
use super::recovering::Recovering;
use super::request::{Incoming, Request};
use super::turn::Turn;

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
    /// A snapshot of the state after all events before it, to be saved once they are stored.
    Snapshot { state: EncodedState },
}

impl<A: PersistentActor> Entry<A> {
    /// Events that must be stored before it runs.
    pub(crate) fn events(&self) -> u64 {
        match self {
            Self::Event { .. } => 1,
            Self::Events { events, .. } => events.len() as u64,
            Self::Defer { .. } | Self::Rejected { .. } | Self::Snapshot { .. } => 0,
            Self::Release { events, .. } | Self::Spent { events } => *events,
        }
    }

    /// Whether other handlers of the same command have yet to run.
    pub(crate) fn is_shared(&self) -> bool {
        match self {
            Self::Event { sender, .. }
            | Self::Events { sender, .. }
            | Self::Defer { sender, .. }
            | Self::Rejected { sender, .. } => sender.is_held_elsewhere(),
            Self::Release { .. } | Self::Spent { .. } | Self::Snapshot { .. } => false,
        }
    }

    fn is_stashing(&self) -> bool {
        match self {
            Self::Event { stashing, .. }
            | Self::Events { stashing, .. }
            | Self::Defer { stashing, .. }
            | Self::Rejected { stashing, .. } => *stashing,
            Self::Release { .. } | Self::Spent { .. } | Self::Snapshot { .. } => false,
        }
    }
}

/// Where an entity stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It handles requests.
    #[default]
    Ready,
    /// It wants to read.
    Load,
    /// It reads.
    Loading,
    /// It failed and comes back then.
    Waiting { until: Duration },
    /// Its code panicked; what is written is let finish, then it recovers.
    Draining,
    /// It was told to stop; what is begun is let finish.
    Stopping,
    /// The same, unless something comes meanwhile.
    Leaving,
    /// It has stopped, and nobody waits for it.
    Gone,
    /// It cannot be recovered.
    Parked { reason: Arc<str> },
}

/// A change of the entity's stream that waits for its batch.
pub(crate) enum QueuedWrite {
    /// Stored together.
    Append(Vec<EncodedEvent>),
    /// Up to this number, with what stays in their place.
    DeleteTo(SequenceNr, Bytes),
}

/// The part of an entity that exists only while something is unfinished.
pub(crate) struct Work<A: PersistentActor> {
    pub(crate) phase: Phase,
    queue: VecDeque<Entry<A>>,
    /// Entries in the queue that hold back further requests.
    stashing: usize,
    writes: VecDeque<QueuedWrite>,
    /// Events in `writes`.
    queued: u64,
    /// Events in the batch that is being written.
    in_flight: u64,
    /// Deletions in that batch.
    deletes: Vec<SequenceNr>,
    /// Events of that batch that are stored and whose entries have not run yet.
    stored: u64,
    pub(crate) stash: VecDeque<Request<A>>,
    /// Failures since the last success.
    pub(crate) attempts: u32,
    /// Panics since a command went well.
    pub(crate) panics: u32,
    pub(crate) recovering: Option<Box<Recovering<A>>>,
    /// What others are to do; done even if the incarnation that asked for it has ended.
    calls: Vec<(Ticket, Call)>,
    pub(crate) extras: Option<Box<Extras<A>>>,
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
            deletes: Vec::new(),
            stored: 0,
            stash: VecDeque::new(),
            attempts: 0,
            panics: 0,
            recovering: None,
            calls: Vec::new(),
            extras: None,
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
        self.writes.push_back(QueuedWrite::Append(events));
    }

    /// Queues a deletion.
    pub(crate) fn delete(&mut self, to: SequenceNr, record: Bytes) {
        self.writes.push_back(QueuedWrite::DeleteTo(to, record));
    }

    /// Takes the next write into the batch in flight, with the distance of its first event from the last
    /// one whose entry has run.
    pub(crate) fn take_write(&mut self) -> Option<(u64, QueuedWrite)> {
        let write = self.writes.pop_front()?;
        let offset = self.stored + self.in_flight + 1;
        match &write {
            QueuedWrite::Append(events) => {
                self.queued -= events.len() as u64;
                self.in_flight += events.len() as u64;
            }
            QueuedWrite::DeleteTo(to, _) => self.deletes.push(*to),
        }
        Some((offset, write))
    }

    /// The batch in flight is stored. Hands out the deletions that were in it.
    pub(crate) fn store(&mut self) -> Vec<SequenceNr> {
        self.stored += std::mem::take(&mut self.in_flight);
        self.attempts = 0;
        std::mem::take(&mut self.deletes)
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

    /// Whether anything of it is being written or waits to be.
    pub(crate) fn is_writing(&self) -> bool {
        self.in_flight > 0 || !self.deletes.is_empty() || self.has_writes()
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
        self.deletes.clear();
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
        self.queue.len() + self.stash.len() + self.extras.as_ref().map_or(0, |extras| extras.holds())
    }

    /// Whether one more request is too many. One that is handled at once needs no room beside those that
    /// the entity has stashed: it may be the one that they wait for.
    pub(crate) fn is_full(&self, capacity: usize) -> bool {
        let stashed = self.extras.as_ref().map_or(0, |extras| extras.stashed());
        let room = if self.takes_requests() { capacity.saturating_add(stashed) } else { capacity };
        self.holds() >= room
    }

    /// A command was turned away; the entity is told in its turn how many were.
    pub(crate) fn lose(&mut self, turn: &mut Turn) {
        let extras = self.extras(turn);
        extras.lost += 1;
        if extras.lost == 1 {
            self.enqueue(Incoming::Overflow);
        }
    }

    /// Lets others do something, and keeps what its result is for.
    pub(crate) fn call(&mut self, turn: &mut Turn, call: Call, awaited: Awaited<A>) {
        let ticket = self.extras(turn).await_call(awaited);
        self.calls.push((ticket, call));
    }

    pub(crate) fn has_calls(&self) -> bool {
        !self.calls.is_empty()
    }

    pub(crate) fn take_calls(&mut self) -> Vec<(Ticket, Call)> {
        std::mem::take(&mut self.calls)
    }

    /// Whether a snapshot is on its way by itself, or will be once the events before it are stored.
    pub(crate) fn is_saving(&self) -> bool {
        self.extras.as_ref().is_some_and(|extras| extras.is_saving())
            || self.queue.iter().any(|entry| matches!(entry, Entry::Snapshot { .. }))
    }

    /// What only some entities have; made with the first use.
    pub(crate) fn extras(&mut self, turn: &mut Turn) -> &mut Extras<A> {
        self.extras.get_or_insert_with(|| Box::new(Extras::new(turn.next_incarnation())))
    }

    /// Queues what the entity is to handle after all that waits already.
    pub(crate) fn enqueue(&mut self, incoming: Incoming<A>) {
        self.stash.push_back(Request::to_self(incoming));
    }

    /// Puts requests before all that waits, keeping their order.
    pub(crate) fn prepend(&mut self, mut requests: VecDeque<Request<A>>) {
        requests.append(&mut self.stash);
        self.stash = requests;
    }

    /// The behaviour that the next command meets, if it was switched.
    pub(crate) fn behaviour(&self) -> Option<Behaviour<A>> {
        self.extras.as_ref()?.behaviours.last().copied()
    }

    /// What the incarnation leaves behind: timers and calls go with it, commands that it had stashed wait
    /// again, before the others.
    pub(crate) fn end_incarnation(&mut self) {
        self.recovering = None;
        if let Some(mut extras) = self.extras.take() {
            let stashed = extras.unstash_everything();
            self.prepend(stashed);
            drop_quietly(extras);
        }
        // These were for the incarnation that ended.
        self.stash.retain(|request| request.incoming.is_from_outside());
    }

    /// Whether its queues are of a size that is worth keeping for another entity.
    pub(crate) fn is_worth_keeping(&self) -> bool {
        const KEPT_ENTRIES: usize = 64;
        let largest = self.queue.capacity().max(self.stash.capacity()).max(self.writes.capacity());
        largest <= KEPT_ENTRIES
    }

    /// Whether something holds an entity that was told to leave unless it is needed: somebody waits, it has
    /// put commands aside, a timer is set, or it waits for a result that it has a use for.
    pub(crate) fn is_needed(&self) -> bool {
        !self.stash.is_empty() || self.extras.as_ref().is_some_and(|extras| extras.holds_back())
    }

    /// Whether nothing is left at all.
    pub(crate) fn is_finished(&self) -> bool {
        self.attempts == 0
            && self.panics == 0
            && self.is_at_rest()
            && self.extras.as_ref().is_none_or(|extras| extras.is_empty())
    }

    /// Whether nothing is left that would be lost with the entity.
    pub(crate) fn is_at_rest(&self) -> bool {
        matches!(self.phase, Phase::Ready | Phase::Gone)
            && self.unstored() == 0
            && !self.is_writing()
            && self.queue.is_empty()
            && self.stash.is_empty()
            && self.calls.is_empty()
            && self.extras.as_ref().is_none_or(|extras| extras.lets_go())
    }
}

/// An entity's place for its [`Work`], with what its type shares: taken when first needed.
pub(crate) struct WorkSlot<'a, A: PersistentActor> {
    pub(crate) held: &'a mut Option<Box<Work<A>>>,
    pub(crate) shared: &'a mut Shared<A>,
}

impl<A: PersistentActor> WorkSlot<'_, A> {
    pub(crate) fn peek(&self) -> Option<&Work<A>> {
        self.held.as_deref()
    }

    pub(crate) fn get(&mut self) -> &mut Work<A> {
        let shared = &mut *self.shared;
        self.held.get_or_insert_with(|| shared.take())
    }
}
