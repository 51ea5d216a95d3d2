//! What a [`PersistentActor`] may do while its code runs.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::actor::PersistentActor;
use super::answer::{Answer, Failure, Outcome, Payload, Reply};
use super::caller::{Caller, Format};
use super::effect::EffectAnswer;
use super::event_sourced::{EventSourced, EventSourcedActor};
use crate::codec::{self, EncodedEvent};
use crate::engine::queue::{Entry, Work, WorkSlot};
use crate::engine::turn::{Report, Turn};
use crate::ids::{EntityId, PersistenceId, SequenceNr};

pub(crate) type EventHandler<A> =
    Box<dyn FnOnce(&mut A, &<A as PersistentActor>::Event, &mut Context<'_, A>) + Send>;
pub(crate) type EventsHandler<A> =
    Box<dyn FnMut(&mut A, &<A as PersistentActor>::Event, &mut Context<'_, A>) + Send>;
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
        let limits = &self.turn.settings.journal;
        let mut sum = 0;
        let mut encoded = Vec::with_capacity(events.len());
        for event in events {
            let event = codec::encode(event)?;
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
        for event in &events {
            state.apply(event);
        }
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
    }
}

impl<A: PersistentActor> Context<'_, A> {
    /// The output gate: lets the answer go once `events` more events, and all before them, are stored.
    pub(crate) fn release(&mut self, events: u64, result: Result<Reply, Box<Failure>>) {
        let to = self.sender.with(|caller| caller.as_mut().and_then(Caller::take));
        let sequence_nr = if A::SPECULATIVE {
            self.sequence_nr.plus(self.work.peek().map_or(0, Work::unstored))
        } else {
            self.sequence_nr
        };
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
