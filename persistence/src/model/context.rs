//! What a [`PersistentActor`] may do while its code runs.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use serde::Serialize;

use super::actor::PersistentActor;
use super::answer::{Answer, Failure, Outcome, Payload, Reply};
use super::caller::{Caller, Format};
use super::effect::EffectAnswer;
use super::event_sourced::{EventSourced, EventSourcedActor};
use super::options::StashOverflow;
use super::signal::Signal;
use crate::codec::EncodedEvent;
use crate::engine::extras::{Awaited, Call, TimerMessage};
use crate::engine::kind::Kind;
use crate::engine::panics::caught;
use crate::engine::queue::{Entry, Work, WorkSlot};
use crate::engine::request::{Incoming, Request};
use crate::engine::turn::{Report, Turn};
use crate::envelope::BaseRecord;
use crate::ids::{EntityId, PersistenceId, SequenceNr};
use crate::journal::{EventToken, Snapshot, SnapshotCriteria, SnapshotError};

pub(crate) type EventHandler<A> =
    Box<dyn FnOnce(&mut A, &<A as PersistentActor>::Event, &mut Context<'_, A>) + Send>;
pub(crate) type EventsHandler<A> =
    Box<dyn FnMut(&mut A, &<A as PersistentActor>::Event, &mut Context<'_, A>) + Send>;
/// Handles commands in place of [`PersistentActor::receive_command`]; see [`Context::switch_to`].
pub type Behaviour<A> = fn(&mut A, <A as PersistentActor>::Command, &mut Context<'_, A>);
pub(crate) type LoadHandler<A> =
    Box<dyn FnOnce(&mut A, Result<Option<Loaded<A>>, SnapshotError>, &mut Context<'_, A>) + Send>;
pub(crate) type Deferred<A> = Box<dyn FnOnce(&mut A, &mut Context<'_, A>) + Send>;

/// A transient view of one entity at work: valid during one call of its code, never stored.
///
/// The order of things, whatever is called where: handlers run in the order of the calls that made them;
/// those of nested calls come after all that were made before them; the next command comes after all
/// handlers of `persist`, `persist_all` and `defer`, but does not wait for those of the `_async` kin.
pub struct Context<'a, A: PersistentActor> {
    pub(crate) id: &'a EntityId,
    /// The last event whose handler has run, or is running.
    pub(crate) sequence_nr: SequenceNr,
    /// Under which token that event was written.
    pub(crate) token: EventToken,
    /// The newest snapshot that is known to be stored.
    pub(crate) snapshot: Option<EventRef>,
    /// Events up to this number were deleted.
    pub(crate) deleted_to: SequenceNr,
    /// The code that runs now is the handler of an event.
    pub(crate) in_handler: bool,
    /// The last event that the command was to be handled after, if it said so.
    pub(crate) expected: Option<SequenceNr>,
    pub(crate) sender: Sender,
    pub(crate) work: WorkSlot<'a, A>,
    pub(crate) turn: &'a mut Turn,
}

impl<A: PersistentActor> Context<'_, A> {
    /// The entity's own id.
    pub fn id(&self) -> &EntityId {
        self.id
    }

    /// Number of the last event that the entity's state contains.
    pub fn last_sequence_nr(&self) -> SequenceNr {
        self.sequence_nr
    }

    /// Number of the last event of the newest snapshot that is known to be stored; 0 if none is.
    pub fn snapshot_sequence_nr(&self) -> SequenceNr {
        self.snapshot.map_or(SequenceNr::ZERO, |snapshot| snapshot.sequence_nr)
    }

    /// Always false here; see [`RecoveryContext`](super::RecoveryContext).
    pub fn is_recovering(&self) -> bool {
        false
    }

    /// Always true here.
    pub fn is_recovery_finished(&self) -> bool {
        true
    }

    /// Stores an event, then runs the handler. No further command is handled before.
    pub fn persist(
        &mut self,
        event: A::Event,
        handler: impl FnOnce(&mut A, &A::Event, &mut Context<'_, A>) + Send + 'static,
    ) {
        self.persist_one(event, Box::new(handler), true);
    }

    /// Stores an event, then runs the handler. Commands go on meanwhile.
    pub fn persist_async(
        &mut self,
        event: A::Event,
        handler: impl FnOnce(&mut A, &A::Event, &mut Context<'_, A>) + Send + 'static,
    ) {
        self.persist_one(event, Box::new(handler), false);
    }

    /// Stores events, all or none, then runs the handler for each. No further command is handled before.
    /// Of no events nothing comes: no handler runs and nobody waits.
    pub fn persist_all(
        &mut self,
        events: Vec<A::Event>,
        handler: impl FnMut(&mut A, &A::Event, &mut Context<'_, A>) + Send + 'static,
    ) {
        self.persist_many(events, Box::new(handler), true);
    }

    /// Stores events, all or none, then runs the handler for each. Commands go on meanwhile.
    pub fn persist_all_async(
        &mut self,
        events: Vec<A::Event>,
        handler: impl FnMut(&mut A, &A::Event, &mut Context<'_, A>) + Send + 'static,
    ) {
        self.persist_many(events, Box::new(handler), false);
    }

    /// Runs the handler after all earlier ones, without storing anything; right after the code that runs
    /// now if none is waiting. No further command is handled before.
    ///
    /// It does not run if an earlier write fails, and never in recovery.
    pub fn defer(&mut self, handler: impl FnOnce(&mut A, &mut Context<'_, A>) + Send + 'static) {
        self.defer_boxed(Box::new(handler), true);
    }

    /// Like [`defer`](Self::defer), but commands go on meanwhile.
    pub fn defer_async(&mut self, handler: impl FnOnce(&mut A, &mut Context<'_, A>) + Send + 'static) {
        self.defer_boxed(Box::new(handler), false);
    }

    /// Answers the sender of the command that this code runs for. The first answer is the one that
    /// counts; later ones are counted and reported.
    pub fn reply(&mut self, reply: A::Reply) {
        self.answer_sender(|format| value(format, reply).map(Reply::Value));
    }

    /// Answers with a domain "no".
    pub fn reject(&mut self, rejection: A::Rejection) {
        // A sender that is shared was given to a handler: something was persisted, or may be.
        let outcome = if self.sender.is_shared() { Outcome::Unknown } else { Outcome::None };
        self.answer_sender(|format| {
            value(format, rejection).map(|rejection| Reply::Rejection { rejection, outcome })
        });
    }

    /// The sender of the command that this code runs for, to be answered later with
    /// [`reply_to`](Self::reply_to). Dropped unanswered, it tells the caller that it was.
    pub fn sender(&mut self) -> ReplyTo<A> {
        ReplyTo { sender: self.sender.share(), reply: PhantomData }
    }

    /// Answers a sender that was kept.
    pub fn reply_to(&mut self, to: ReplyTo<A>, reply: A::Reply) {
        let current = std::mem::replace(&mut self.sender, to.sender);
        self.reply(reply);
        let answered = std::mem::replace(&mut self.sender, current);
        answered.finish(self.turn, self.sequence_nr);
    }

    /// Puts the command that this code runs for aside, with its sender, until
    /// [`unstash_all`](Self::unstash_all).
    ///
    /// If the entity holds as many requests as it may, the command is turned away as the type's
    /// [`StashOverflow`](super::StashOverflow) says. A full stash does not keep out a command that can be
    /// handled at once. A command that came with a condition is handled later only if that holds then.
    ///
    /// # Panics
    /// In the handler of an event: the command has been handled by then.
    pub fn stash(&mut self, command: A::Command) {
        self.stash_in("", command);
    }

    /// As [`stash`](Self::stash), in a stash with a name: an entity may have several.
    ///
    /// # Panics
    /// In the handler of an event.
    pub fn stash_in(&mut self, name: impl Into<Cow<'static, str>>, command: A::Command) {
        assert!(!self.in_handler, "a command cannot be stashed in the handler of its event: it was handled");
        let sender = std::mem::take(&mut self.sender);
        // A condition holds when the command is handled, not when it is put aside.
        let incoming = match self.expected {
            Some(expected) => Incoming::CommandIf(command, expected),
            None => Incoming::Command(command),
        };
        let request = Request { incoming, sender, deadline: None };
        let capacity = self.work.shared.kind.settings.stash_capacity;
        let work = self.work.get();
        if work.holds() >= capacity {
            work.lose(self.turn);
            return turn_away(self.id, &self.work.shared.kind, self.turn, request);
        }
        work.extras(self.turn).stash(name.into(), request);
    }

    /// Puts all commands that were stashed before those that wait, in the order in which they were stashed.
    pub fn unstash_all(&mut self) {
        self.unstash_all_from("");
    }

    /// As [`unstash_all`](Self::unstash_all), from a stash with a name.
    pub fn unstash_all_from(&mut self, name: &str) {
        if let Some(work) = self.work.held
            && let Some(extras) = &mut work.extras
        {
            let stashed = extras.unstash(name);
            work.prepend(stashed);
        }
    }

    /// Lets `behaviour` handle commands from the next one on, in place of
    /// [`receive_command`](PersistentActor::receive_command). Behaviours form a stack; a restart empties
    /// it, so one that follows from the past is to be switched to in recovery as well.
    pub fn switch_to(&mut self, behaviour: Behaviour<A>) {
        self.work.get().extras(self.turn).behaviours.push(behaviour);
    }

    /// Returns to the behaviour before the last [`switch_to`](Self::switch_to).
    pub fn switch_back(&mut self) {
        if let Some(extras) = self.work.held.as_mut().and_then(|work| work.extras.as_mut()) {
            extras.behaviours.pop();
        }
    }

    /// Ends this incarnation once all that waits now is handled and written. What comes later meets a new
    /// one. Snapshots that were to be saved or deleted are; what comes of futures is dropped.
    pub fn stop(&mut self) {
        self.work.get().enqueue(Incoming::Stop);
    }

    /// Leaves memory once all that waits now is handled and written, unless something else has come by
    /// then, or it has a timer, has put commands aside, or waits for a future or a snapshot. Entities that
    /// nobody asks for leave by themselves.
    pub fn passivate(&mut self) {
        self.work.get().enqueue(Incoming::Passivate);
    }

    /// Saves a snapshot of the state after the last event; pass [`PersistentActor::state`]. What comes of
    /// it is told by [`Signal::SnapshotSaved`] or [`Signal::SnapshotNotSaved`]; it stops nobody.
    pub fn save_snapshot(&mut self, state: &A::State) {
        match encode_state::<A>(&self.work.shared.kind, || state) {
            Ok(state) => self.save(state, false),
            Err(reason) => {
                let sequence_nr = self.sequence_nr;
                self.work.get().enqueue(Incoming::signal(Signal::SnapshotNotSaved { sequence_nr, reason }));
            }
        }
    }

    /// Loads the newest snapshot that is meant, and runs the handler in its turn. The entity's own state
    /// is left alone.
    pub fn load_snapshot(
        &mut self,
        criteria: SnapshotCriteria,
        handler: impl FnOnce(&mut A, Result<Option<Loaded<A>>, SnapshotError>, &mut Context<'_, A>)
        + Send
        + 'static,
    ) {
        let awaited = Awaited::Loaded(Box::new(handler));
        self.work.get().call(self.turn, Call::Load(criteria), awaited);
    }

    /// Deletes snapshots; but never the newest one that is known, on which deleted events may rest, and
    /// while none is known, none that ends with the last event. What comes of it is
    /// told by [`Signal::SnapshotsDeleted`] or [`Signal::SnapshotsNotDeleted`].
    pub fn delete_snapshots(&mut self, criteria: SnapshotCriteria) {
        let mut spared = criteria;
        // If none is known, one of the last event may be on its way to the store, and would meet this there.
        let newest = self.snapshot.map_or(self.sequence_nr, |newest| newest.sequence_nr);
        let is_any = self.snapshot.is_some() || newest > SequenceNr::ZERO;
        // Where events were deleted, every snapshot that contains them may be the one that is needed.
        let kept = if self.deleted_to > SequenceNr::ZERO { newest.min(self.deleted_to) } else { newest };
        if is_any && criteria.max_sequence_nr >= kept {
            let below = kept.0.checked_sub(1).map(SequenceNr);
            match below.filter(|below| *below >= criteria.min_sequence_nr) {
                Some(below) => spared.max_sequence_nr = below,
                None => {
                    let reason =
                        "the newest snapshot is kept, and those that contain deleted events".to_owned();
                    let signal = Signal::SnapshotsNotDeleted { criteria, reason };
                    return self.work.get().enqueue(Incoming::signal(signal));
                }
            }
        }
        self.work.get().call(self.turn, Call::Delete(spared), Awaited::Deleted(criteria));
    }

    /// Deletes the events up to and including `to`, in the order of writes. Numbers go on as if they were
    /// there. What comes of it is told by [`Signal::EventsDeleted`] or [`Signal::EventsNotDeleted`].
    ///
    /// Without a snapshot that contains them, what they said is gone: the entity recovers from the events
    /// that are left. Of the event `to` itself the journal keeps the token only if the newest snapshot or the
    /// stream ends with it: an older snapshot that ends with `to` is of no use afterwards, so to keep one to
    /// fall back on, delete up to the event before its last.
    pub fn delete_events(&mut self, to: SequenceNr) {
        if to > self.sequence_nr {
            let reason = format!("the last event is {}", self.sequence_nr);
            let signal = Signal::EventsNotDeleted { to, reason };
            return self.work.get().enqueue(Incoming::signal(signal));
        }
        if to == SequenceNr::ZERO {
            return self.work.get().enqueue(Incoming::signal(Signal::EventsDeleted { to }));
        }
        let record =
            base_record(to, self.snapshot, EventRef { sequence_nr: self.sequence_nr, token: self.token });
        self.work.get().delete(to, record);
    }

    /// Sends a message to itself after a delay. One timer for each key: an earlier one is cancelled, even
    /// if its message is waiting already. Timers end with the incarnation; an entity that has one stays in
    /// memory.
    pub fn start_timer(&mut self, key: impl Into<Cow<'static, str>>, delay: Duration, message: A::Message) {
        self.set_timer(key.into(), delay, TimerMessage::Once(message));
    }

    /// Sends a message to itself again and again. If the entity is slow, what was missed is not made up
    /// for.
    pub fn start_periodic_timer(
        &mut self,
        key: impl Into<Cow<'static, str>>,
        period: Duration,
        message: impl FnMut() -> A::Message + Send + 'static,
    ) {
        // A period of nothing would leave time for nothing else.
        let period = period.max(Duration::from_millis(1));
        self.set_timer(key.into(), period, TimerMessage::Every { period, make: Box::new(message) });
    }

    /// Cancels a timer; its message does not come, even if it is waiting already. `false` if there is none.
    pub fn cancel_timer(&mut self, key: &str) -> bool {
        let extras = self.work.held.as_mut().and_then(|work| work.extras.as_mut());
        extras.is_some_and(|extras| extras.cancel_timer(key))
    }

    /// Whether a timer is set, or its message waiting.
    pub fn is_timer_active(&self, key: &str) -> bool {
        let extras = self.work.peek().and_then(|work| work.extras.as_ref());
        extras.is_some_and(|extras| extras.has_timer(key))
    }

    /// Sends [`Signal::ReceiveTimeout`] whenever no command and no message has come for this long; `None`
    /// ends that. It does not keep the entity in memory.
    pub fn set_receive_timeout(&mut self, after: Option<Duration>) {
        let now = self.turn.now.since_start;
        let after = after.map(|after| after.max(Duration::from_millis(1)));
        self.work.get().extras(self.turn).set_receive_timeout(after, now);
    }

    /// Runs a future beside the entity, and hands what it comes to to
    /// [`receive_message`](PersistentActor::receive_message). This is the way to wait for anything: the
    /// entity's own code must not. The result of an earlier incarnation is dropped.
    pub fn pipe_to_self<F>(
        &mut self,
        future: F,
        message: impl FnOnce(F::Output) -> A::Message + Send + 'static,
    ) where
        F: Future + Send + 'static,
    {
        let run = async move { Box::new(message(future.await)) as Box<dyn Any + Send> };
        self.work.get().call(self.turn, Call::Run(Box::pin(run)), Awaited::Ran { guard: None });
    }

    /// Leaves a signal alone. One that tells of a failure is logged as a warning.
    pub fn unhandled(&mut self, signal: Signal) {
        if signal.is_failure() {
            let id = PersistenceId::new(A::TYPE, self.id.clone());
            self.turn.reports.push(Report::Unhandled { id, signal });
        }
    }

    fn set_timer(&mut self, key: Cow<'static, str>, delay: Duration, message: TimerMessage<A>) {
        let due = self.turn.now.since_start.saturating_add(delay);
        self.work.get().extras(self.turn).start_timer(key, due, message);
    }

    /// Saves a state that contains exactly the events up to the last one handled.
    pub(crate) fn save(&mut self, state: EncodedState, retained: bool) {
        let at = EventRef { sequence_nr: self.sequence_nr, token: self.token };
        self.work.get();
        save(self.work.held, &self.work.shared.kind, self.turn, at, state, retained);
    }

    fn persist_one(&mut self, event: A::Event, handler: EventHandler<A>, stashing: bool) {
        let sender = self.sender.share();
        match self.encode(std::slice::from_ref(&event)) {
            Ok(encoded) => {
                let work = self.work.get();
                work.write(encoded);
                work.push(Entry::Event { event, handler, sender, stashing });
            }
            Err(reason) => self.work.get().push(Entry::Rejected { event, reason, sender, stashing }),
        }
    }

    fn persist_many(&mut self, mut events: Vec<A::Event>, handler: EventsHandler<A>, stashing: bool) {
        if events.is_empty() {
            return;
        }
        let sender = self.sender.share();
        match self.encode(&events) {
            Ok(encoded) => {
                let work = self.work.get();
                work.write(encoded);
                work.push(Entry::Events { events: events.into(), handler, sender, stashing });
            }
            Err(reason) => {
                let event = events.swap_remove(0);
                self.work.get().push(Entry::Rejected { event, reason, sender, stashing });
            }
        }
    }

    fn defer_boxed(&mut self, handler: Deferred<A>, stashing: bool) {
        let sender = self.sender.share();
        self.work.get().push(Entry::Defer { handler, sender, stashing });
    }

    /// Encodes what is to be written at once, and refuses what no journal of this entity would take.
    fn encode(&self, events: &[A::Event]) -> Result<Vec<EncodedEvent>, String> {
        let limits = &self.work.shared.kind.settings.journal;
        let mut sum = 0;
        let mut encoded = Vec::with_capacity(events.len());
        for event in events {
            let event = self.work.shared.kind.events.encode(event)?;
            let bytes = event.payload.len();
            if bytes > limits.max_event_bytes {
                let limit = limits.max_event_bytes;
                return Err(format!("event \"{}\" has {bytes} bytes, the journal takes {limit}", event.name));
            }
            sum += bytes;
            encoded.push(event);
        }
        if sum > limits.max_atomic_bytes {
            let limit = limits.max_atomic_bytes;
            return Err(format!(
                "{} events have {sum} bytes together, the journal takes {limit}",
                events.len()
            ));
        }
        Ok(encoded)
    }

    fn answer_sender(&mut self, reply: impl FnOnce(Format) -> Result<Reply, Failure>) {
        let extra = self.sender.with(|caller| match caller.as_mut().and_then(Caller::take) {
            Some(taken) => {
                let format = taken.format();
                // Nobody knows here whether the command has persisted something.
                let result = reply(format).map_err(|failure| Box::new(failure.after(1)));
                self.turn.answers.push((taken, Answer { result, sequence_nr: self.sequence_nr }));
                false
            }
            None => true,
        });
        if extra {
            let id = PersistenceId::new(A::TYPE, self.id.clone());
            self.turn.reports.push(Report::ReplyWithoutCaller { id });
        }
    }
}

impl<T: EventSourced> Context<'_, EventSourcedActor<T>> {
    /// Carries out a decision: all of the user's code first, so that a panic leaves nothing behind; then
    /// the write; then the answer, gated behind everything that is not yet stored.
    pub(crate) fn decide(&mut self, state: &mut T, events: Vec<T::Event>, answer: EffectAnswer<T>) {
        let encoded = match self.encode(&events) {
            Ok(encoded) => encoded,
            Err(reason) => {
                self.turn.reports.push(Report::EventRejected {
                    id: PersistenceId::new(T::TYPE, self.id.clone()),
                    reason: reason.clone(),
                });
                let failure = Failure::EventRejected { reason, outcome: Outcome::None };
                return self.release(0, Err(Box::new(failure)));
            }
        };
        let before = self.sequence_nr.plus(self.work.peek().map_or(0, Work::unstored));
        let after = before.plus(events.len() as u64);
        let retention = self.work.shared.kind.retention;
        let mut due = Ok(retention.is_due(before, after));
        for (at, event) in events.iter().enumerate() {
            state.apply(event);
            if let Some(is_due) = retention.snapshot_when {
                let says_so = || is_due(state, event, before.plus(at as u64 + 1));
                due = due.and_then(|due| Ok(due || caught(says_so)?));
            }
        }
        // The state runs ahead of the journal: what a snapshot will hold is what it is now, and it is saved
        // when the journal has caught up. If there is none, that costs the snapshot, not the decision.
        let snapshot = match due {
            Ok(true) if self.may_snapshot() => {
                Some(encode_state::<EventSourcedActor<T>>(&self.work.shared.kind, || state))
            }
            Ok(_) => None,
            Err(reason) => Some(Err(reason)),
        };
        let format = self.sender.with(|caller| caller.as_ref().map(Caller::format));
        let result = match (answer, format) {
            (EffectAnswer::Nothing, _) | (_, None) => Ok(Reply::Nothing),
            (EffectAnswer::Reply(reply), Some(format)) => value(format, reply).map(Reply::Value),
            (EffectAnswer::ReplyFrom(reply), Some(format)) => value(format, reply(state)).map(Reply::Value),
            (EffectAnswer::Reject(rejection), Some(format)) => value(format, rejection).map(|rejection| {
                let outcome = if encoded.is_empty() { Outcome::None } else { Outcome::Unknown };
                Reply::Rejection { rejection, outcome }
            }),
        };
        let count = encoded.len() as u64;
        if count > 0 {
            self.work.get().write(encoded);
        }
        self.release(count, result.map_err(|failure| Box::new(failure.after(count))));
        match snapshot {
            None => {}
            Some(Ok(state)) => self.work.get().push(Entry::Snapshot { state }),
            Some(Err(reason)) => {
                let signal = Signal::SnapshotNotSaved { sequence_nr: after, reason };
                self.work.get().enqueue(Incoming::signal(signal));
            }
        }
    }

    /// Whether a snapshot by itself would be saved now: there is a store, and none is on its way.
    fn may_snapshot(&self) -> bool {
        self.work.shared.kind.has_snapshots && !self.work.peek().is_some_and(Work::is_saving)
    }
}

/// A snapshot that was loaded at run time.
pub struct Loaded<A: PersistentActor> {
    /// The last event that it contains.
    pub sequence_nr: SequenceNr,
    /// When it was taken, in milliseconds since 1970.
    pub time_ms: u64,
    /// The state.
    pub state: A::State,
}

impl<A: PersistentActor> fmt::Debug for Loaded<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("sequence_nr", &self.sequence_nr).finish_non_exhaustive()
    }
}

/// A state turned to bytes.
pub(crate) struct EncodedState {
    codec: u32,
    payload: Bytes,
}

/// A panic in the user's code for it is one more reason why there is no snapshot, and stops nobody.
pub(crate) fn encode_state<'a, A: PersistentActor>(
    kind: &Kind<A>,
    state: impl FnOnce() -> &'a A::State,
) -> Result<EncodedState, String> {
    let (codec, payload) = caught(|| kind.states.encode_named(A::STATE_NAME, state())).flatten()?;
    Ok(EncodedState { codec, payload })
}

/// An event by number and token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventRef {
    pub(crate) sequence_nr: SequenceNr,
    pub(crate) token: EventToken,
}

/// Begins to save a state that contains exactly the events up to `at`.
pub(crate) fn save<A: PersistentActor>(
    work: &mut Option<Box<Work<A>>>,
    kind: &Kind<A>,
    turn: &mut Turn,
    at: EventRef,
    state: EncodedState,
    retained: bool,
) {
    let EventRef { sequence_nr, token } = at;
    let work = work.get_or_insert_default();
    let refused = if !kind.has_snapshots {
        Some("this type has no snapshot store: set [snapshot] store")
    } else if sequence_nr > SequenceNr::ZERO && token == EventToken::NONE {
        Some("the entity recovered only part of its events, so its state is not what they add up to")
    } else {
        None
    };
    if let Some(reason) = refused {
        let signal = Signal::SnapshotNotSaved { sequence_nr, reason: reason.to_owned() };
        return work.enqueue(Incoming::signal(signal));
    }
    let time_ms = turn.now.wall_ms;
    let snapshot = Snapshot {
        sequence_nr,
        claim: token.claim,
        batch: token.batch,
        time_ms,
        codec: state.codec,
        name: A::STATE_NAME.to_owned(),
        version: A::STATE_VERSION,
        payload: state.payload,
        records: Bytes::new(),
    };
    // One that was asked for counts as well when it is decided which events may go.
    let read_back = kind.retention.delete_events;
    let awaited = Awaited::Saved { sequence_nr, token, time_ms, retained };
    work.call(turn, Call::Save { snapshot, read_back }, awaited);
}

/// What stays in place of the events up to `to`.
pub(crate) fn base_record(to: SequenceNr, snapshot: Option<EventRef>, last: EventRef) -> Bytes {
    let known = [snapshot, Some(last)].into_iter().flatten().find(|event| event.sequence_nr == to);
    let token = known.map_or(EventToken::NONE, |event| event.token);
    let record = BaseRecord {
        epoch: token.claim.epoch.0,
        session: token.claim.session,
        batch: token.batch,
        rests_on_snapshot: snapshot.is_some_and(|snapshot| snapshot.sequence_nr >= to),
        records: Bytes::new(),
    };
    record.encode_to_vec().into()
}

/// Turns away a command for which there is no room.
pub(crate) fn turn_away<A: PersistentActor>(
    id: &EntityId,
    kind: &Kind<A>,
    turn: &mut Turn,
    request: Request<A>,
) {
    let capacity = kind.settings.stash_capacity;
    let mut sender = request.sender;
    match kind.settings.stash_overflow {
        StashOverflow::Fail => {}
        StashOverflow::Drop => {
            let id = PersistenceId::new(A::TYPE, id.clone());
            turn.reports.push(Report::DeadLetter { id });
        }
        StashOverflow::Reply => {
            let format = sender.with(|caller| caller.as_ref().map_or(Format::Local, Caller::format));
            // Nobody else would catch it: this is not the entity's turn.
            let reply = caught(|| A::overflow_reply().map(|reply| value(format, reply)));
            match reply {
                Ok(None) => {}
                Ok(Some(reply)) => {
                    let result = reply.map(Reply::Value).map_err(Box::new);
                    let caller = sender.with(|caller| caller.as_mut().and_then(Caller::take));
                    let answer = Answer { result, sequence_nr: SequenceNr::ZERO };
                    return turn.answers.extend(caller.map(|caller| (caller, answer)));
                }
                Err(what) => {
                    let id = PersistenceId::new(A::TYPE, id.clone());
                    turn.reports.push(Report::Panicked { id, what });
                }
            }
        }
    }
    sender.fail(turn, || Failure::EntityBusy { capacity });
}

impl<A: PersistentActor> Context<'_, A> {
    /// Number of the newest event that the entity has decided on, whether it is stored or not.
    pub(crate) fn decided_sequence_nr(&self) -> SequenceNr {
        self.sequence_nr.plus(self.work.peek().map_or(0, Work::unstored))
    }

    /// Number of the newest event that the state contains.
    pub(crate) fn newest_sequence_nr(&self) -> SequenceNr {
        if A::SPECULATIVE {
            self.sequence_nr.plus(self.work.peek().map_or(0, Work::unstored))
        } else {
            self.sequence_nr
        }
    }

    /// The output gate: lets the answer go once `events` more events, and all before them, are stored.
    pub(crate) fn release(&mut self, events: u64, result: Result<Reply, Box<Failure>>) {
        let to = self.sender.with(|caller| caller.as_mut().and_then(Caller::take));
        let sequence_nr = self.newest_sequence_nr();
        let answer = Answer { result, sequence_nr };
        if events == 0 && self.work.peek().is_none_or(Work::nothing_waits) {
            self.turn.answers.extend(to.map(|to| (to, answer)));
        } else {
            self.work.get().push(Entry::Release { events, to, answer });
        }
    }
}

/// Turns a value into what the caller wants.
pub(crate) fn value<V: Serialize + Send + 'static>(format: Format, value: V) -> Result<Payload, Failure> {
    match format {
        Format::Local => Ok(Payload::Local(Box::new(value))),
        Format::Json => json(&value),
    }
}

pub(crate) fn json<V: Serialize>(value: &V) -> Result<Payload, Failure> {
    serde_json::to_vec(value)
        .map(Payload::Json)
        .map_err(|cause| Failure::AnswerNotEncodable { reason: cause.to_string(), outcome: Outcome::None })
}

impl<A: PersistentActor> fmt::Debug for Context<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("type", &A::TYPE)
            .field("id", self.id)
            .field("sequence_nr", &self.sequence_nr)
            .finish_non_exhaustive()
    }
}

/// The sender of a command, kept to be answered later.
#[must_use = "a sender that is dropped unanswered leaves its caller with an error"]
pub struct ReplyTo<A: PersistentActor> {
    sender: Sender,
    reply: PhantomData<fn(A::Reply)>,
}

impl<A: PersistentActor> fmt::Debug for ReplyTo<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sender.fmt(f)
    }
}

/// Who is to be answered; shared by all the handlers that a command leaves behind.
#[derive(Debug, Default)]
pub(crate) enum Sender {
    #[default]
    Nobody,
    Direct(Option<Caller>),
    /// Whoever lets go last has ended the command.
    Shared(Arc<Mutex<Option<Caller>>>),
}

impl Sender {
    pub(crate) fn new(caller: Option<Caller>) -> Self {
        caller.map_or(Self::Nobody, |caller| Self::Direct(Some(caller)))
    }

    fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    /// A second handle to the same sender.
    pub(crate) fn share(&mut self) -> Self {
        if let Self::Direct(caller) = self {
            *self = Self::Shared(Arc::new(Mutex::new(caller.take())));
        }
        match self {
            Self::Shared(shared) => Self::Shared(Arc::clone(shared)),
            Self::Nobody | Self::Direct(_) => Self::Nobody,
        }
    }

    pub(crate) fn with<R>(&mut self, f: impl FnOnce(&mut Option<Caller>) -> R) -> R {
        match self {
            Self::Nobody => f(&mut None),
            Self::Direct(caller) => f(caller),
            Self::Shared(shared) => f(&mut shared.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// An event of the command is stored.
    pub(crate) fn mark_stored(&mut self) {
        self.with(|caller| caller.iter_mut().for_each(Caller::mark_stored));
    }

    /// Whether others hold it too: handlers of the same command that have yet to run.
    pub(crate) fn is_held_elsewhere(&self) -> bool {
        matches!(self, Self::Shared(shared) if Arc::strong_count(shared) > 1)
    }

    /// A handler is done with the sender. If it was the last one and nobody answered, the command has
    /// ended without a reply.
    pub(crate) fn finish(self, turn: &mut Turn, sequence_nr: SequenceNr) {
        if let Some(caller) = self.into_last().filter(Caller::waits) {
            turn.answers.push((caller, Answer { result: Ok(Reply::Nothing), sequence_nr }));
        }
    }

    /// The command has failed, whoever else still holds its sender.
    pub(crate) fn fail(mut self, turn: &mut Turn, failure: impl FnOnce() -> Failure) {
        if let Some(caller) = self.with(Option::take).filter(Caller::waits) {
            let failure = caller.judge(failure());
            turn.answers.push((caller, Answer::failed(failure)));
        }
    }

    fn into_last(self) -> Option<Caller> {
        match self {
            Self::Nobody => None,
            Self::Direct(caller) => caller,
            Self::Shared(shared) => {
                Arc::into_inner(shared)?.into_inner().unwrap_or_else(PoisonError::into_inner)
            }
        }
    }
}
