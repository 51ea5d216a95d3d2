//! What only some entities have: behaviours, stashes of their own, timers, calls that are under way.
//!
//! Allocated with the first of them and gone with the last, so that the others pay nothing.

use std::any::Any;
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use super::request::Request;
use crate::ids::{PersistenceId, SequenceNr};
use crate::journal::{EventToken, Snapshot, SnapshotCriteria, SnapshotError, StoreError};
use crate::model::{Behaviour, LoadHandler, PersistentActor};

/// Names a call of an entity, so that its result finds the incarnation that made it, and no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    incarnation: u64,
    number: u64,
}

/// Something that an entity wants done outside of its shard; answered by [`Called`].
pub enum Call {
    /// Store a snapshot.
    Save {
        /// The snapshot.
        snapshot: Snapshot,
        /// Whether it counts only once it was read back: events will be deleted because of it.
        read_back: bool,
    },
    /// Load the newest snapshot that is meant.
    Load(SnapshotCriteria),
    /// Delete snapshots.
    Delete(SnapshotCriteria),
    /// Run a future to its end.
    Run(Pin<Box<dyn Future<Output = Box<dyn Any + Send>> + Send>>),
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Save { snapshot, read_back } => f
                .debug_struct("Save")
                .field("sequence_nr", &snapshot.sequence_nr)
                .field("read_back", read_back)
                .finish_non_exhaustive(),
            Self::Load(criteria) => f.debug_tuple("Load").field(criteria).finish(),
            Self::Delete(criteria) => f.debug_tuple("Delete").field(criteria).finish(),
            Self::Run(_) => f.write_str("Run"),
        }
    }
}

/// A call on its way out.
#[derive(Debug)]
pub struct Calling {
    /// To be handed back with the result.
    pub ticket: Ticket,
    /// Whose call.
    pub persistence_id: PersistenceId,
    /// What is to be done.
    pub call: Call,
}

/// What a call came to.
pub enum Called {
    /// Of [`Call::Save`].
    Saved(Result<(), StoreError>),
    /// Of [`Call::Load`].
    Loaded(Result<Option<Snapshot>, SnapshotError>),
    /// Of [`Call::Delete`].
    Deleted(Result<(), StoreError>),
    /// Of [`Call::Run`]: what it came to, or what its panic said.
    Ran(Result<Box<dyn Any + Send>, String>),
}

impl fmt::Debug for Called {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Saved(result) => f.debug_tuple("Saved").field(result).finish(),
            Self::Loaded(result) => {
                f.debug_tuple("Loaded").field(&result.as_ref().map(Option::is_some)).finish()
            }
            Self::Deleted(result) => f.debug_tuple("Deleted").field(result).finish(),
            Self::Ran(result) => f.debug_tuple("Ran").field(&result.as_ref().map(|_| ())).finish(),
        }
    }
}

/// What an entity does with the result of a call.
pub(crate) enum Awaited<A: PersistentActor> {
    Saved {
        sequence_nr: SequenceNr,
        token: EventToken,
        time_ms: u64,
        retained: bool,
    },
    Loaded(LoadHandler<A>),
    Deleted(SnapshotCriteria),
    Ran {
        /// Ends the future when it is dropped.
        guard: Option<Box<dyn Any + Send>>,
    },
}

pub(crate) type TimerKey = Cow<'static, str>;

struct Timer<A: PersistentActor> {
    key: TimerKey,
    /// Tells it from an earlier one under the same key, whose message may still be waiting.
    number: u64,
    due: Duration,
    message: TimerMessage<A>,
    /// Its message waits for the entity: a slow entity meets one, not a pile.
    waiting: bool,
}

pub(crate) enum TimerMessage<A: PersistentActor> {
    Once(A::Message),
    Every { period: Duration, make: Box<dyn FnMut() -> A::Message + Send> },
}

/// See the module.
pub(crate) struct Extras<A: PersistentActor> {
    incarnation: u64,
    numbers: u64,
    pub(crate) behaviours: Vec<Behaviour<A>>,
    stashes: Vec<(TimerKey, VecDeque<Request<A>>)>,
    timers: Vec<Timer<A>>,
    receive_timeout: Option<ReceiveTimeout>,
    awaited: HashMap<u64, Awaited<A>>,
    /// When the shard was last asked to wake the entity.
    woken_at: BTreeSet<Duration>,
    /// Commands turned away since the entity was last told.
    pub(crate) lost: u64,
}

struct ReceiveTimeout {
    after: Duration,
    due: Duration,
    waiting: bool,
}

impl<A: PersistentActor> Extras<A> {
    pub(crate) fn new(incarnation: u64) -> Self {
        Self {
            incarnation,
            numbers: 0,
            behaviours: Vec::new(),
            stashes: Vec::new(),
            timers: Vec::new(),
            receive_timeout: None,
            awaited: HashMap::new(),
            woken_at: BTreeSet::new(),
            lost: 0,
        }
    }

    /// Whether the entity may leave memory without anything being lost.
    pub(crate) fn lets_go(&self) -> bool {
        self.timers.is_empty() && self.awaited.is_empty() && self.stashed() == 0
    }

    /// A wake-up that was asked for and is still to come keeps it too: forgotten, it would be asked for
    /// again with every timer that is set and cancelled.
    pub(crate) fn is_empty(&self) -> bool {
        self.lets_go()
            && self.behaviours.is_empty()
            && self.receive_timeout.is_none()
            && self.woken_at.is_empty()
            && self.lost == 0
    }

    /// Whether the entity is not to leave by itself: what it would lose, it asked for.
    pub(crate) fn holds_back(&self) -> bool {
        let has_use = |awaited: &Awaited<A>| matches!(awaited, Awaited::Ran { .. } | Awaited::Loaded(_));
        !self.timers.is_empty() || self.stashed() > 0 || self.awaited.values().any(has_use)
    }

    /// What counts against the entity's bound.
    pub(crate) fn holds(&self) -> usize {
        self.stashed() + self.awaited.len()
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(crate) fn stashed(&self) -> usize {
        self.stashes.iter().map(|(_, requests)| requests.len()).sum()
    }

    pub(crate) fn stash(&mut self, name: TimerKey, request: Request<A>) {
        match self.stashes.iter_mut().find(|(known, _)| *known == name) {
            Some((_, requests)) => requests.push_back(request),
            None => self.stashes.push((name, VecDeque::from([request]))),
        }
    }

    pub(crate) fn unstash(&mut self, name: &str) -> VecDeque<Request<A>> {
        let found = self.stashes.iter().position(|(known, _)| known == name);
        found.map(|at| self.stashes.remove(at).1).unwrap_or_default()
    }

    /// All that was stashed, the oldest stash first.
    pub(crate) fn unstash_everything(&mut self) -> VecDeque<Request<A>> {
        std::mem::take(&mut self.stashes).into_iter().flat_map(|(_, requests)| requests).collect()
    }

    pub(crate) fn start_timer(&mut self, key: TimerKey, due: Duration, message: TimerMessage<A>) {
        self.cancel_timer(&key);
        let number = self.number();
        self.timers.push(Timer { key, number, due, message, waiting: false });
    }

    pub(crate) fn cancel_timer(&mut self, key: &str) -> bool {
        let found = self.timers.iter().position(|timer| timer.key == key);
        found.map(|at| drop(self.timers.swap_remove(at))).is_some()
    }

    pub(crate) fn has_timer(&self, key: &str) -> bool {
        self.timers.iter().any(|timer| timer.key == key)
    }

    pub(crate) fn set_receive_timeout(&mut self, after: Option<Duration>, now: Duration) {
        self.receive_timeout =
            after.map(|after| ReceiveTimeout { after, due: now.saturating_add(after), waiting: false });
    }

    /// Something has come.
    pub(crate) fn received(&mut self, now: Duration) {
        if let Some(timeout) = &mut self.receive_timeout {
            timeout.due = now.saturating_add(timeout.after);
            timeout.waiting = false;
        }
    }

    /// The next moment at which it wants to be woken, if the shard was not asked for it before.
    pub(crate) fn ask_to_be_woken(&mut self) -> Option<Duration> {
        let timers = self.timers.iter().filter(|timer| !timer.waiting).map(|timer| timer.due);
        let timeout =
            self.receive_timeout.iter().filter(|timeout| !timeout.waiting).map(|timeout| timeout.due);
        let next = timers.chain(timeout).min()?;
        if self.woken_at.first().is_some_and(|asked| *asked <= next) {
            return None;
        }
        self.woken_at.insert(next);
        Some(next)
    }

    /// The timers whose time has come, each to be handed back to [`fire`](Self::fire) in its turn, and
    /// whether nothing was received for too long.
    pub(crate) fn due(&mut self, now: Duration) -> (Vec<u64>, bool) {
        self.woken_at.retain(|asked| *asked > now);
        let mut due: Vec<_> =
            self.timers.iter_mut().filter(|timer| !timer.waiting && timer.due <= now).collect();
        due.sort_by_key(|timer| (timer.due, timer.number));
        let numbers = due
            .into_iter()
            .map(|timer| {
                timer.waiting = true;
                timer.number
            })
            .collect();
        let mut timed_out = false;
        if let Some(timeout) = self.receive_timeout.as_mut().filter(|timeout| !timeout.waiting) {
            timed_out = timeout.due <= now;
            timeout.waiting = timed_out;
        }
        (numbers, timed_out)
    }

    /// The message of a timer that was due, unless it was cancelled or set anew meanwhile.
    pub(crate) fn fire(&mut self, number: u64, now: Duration) -> Option<A::Message> {
        let at = self.timers.iter().position(|timer| timer.number == number)?;
        let timer = &mut self.timers[at];
        if let TimerMessage::Every { period, make } = &mut timer.message {
            // What was missed is missed: the next one comes a period from now.
            timer.due = now.saturating_add(*period);
            timer.waiting = false;
            return Some(make());
        }
        match self.timers.swap_remove(at).message {
            TimerMessage::Once(message) => Some(message),
            TimerMessage::Every { .. } => None,
        }
    }

    /// Whether a receive time-out that was due still is: nothing has come since.
    pub(crate) fn is_still_silent(&mut self, now: Duration) -> bool {
        let Some(timeout) = self.receive_timeout.as_mut().filter(|timeout| timeout.waiting) else {
            return false;
        };
        timeout.waiting = false;
        timeout.due = now.saturating_add(timeout.after);
        true
    }

    pub(crate) fn await_call(&mut self, awaited: Awaited<A>) -> Ticket {
        let ticket = Ticket { incarnation: self.incarnation, number: self.number() };
        self.awaited.insert(ticket.number, awaited);
        ticket
    }

    pub(crate) fn guard(&mut self, ticket: Ticket, ends: Box<dyn Any + Send>) {
        if ticket.incarnation == self.incarnation
            && let Some(Awaited::Ran { guard }) = self.awaited.get_mut(&ticket.number)
        {
            *guard = Some(ends);
        }
    }

    /// What the entity awaits from a call, if it was this incarnation that made it.
    pub(crate) fn called(&mut self, ticket: Ticket) -> Option<Awaited<A>> {
        if ticket.incarnation != self.incarnation {
            return None;
        }
        self.awaited.remove(&ticket.number)
    }

    /// Whether a snapshot is on its way by itself.
    pub(crate) fn is_saving(&self) -> bool {
        self.awaited.values().any(|awaited| matches!(awaited, Awaited::Saved { retained: true, .. }))
    }
}
