//! All entities of one type in one shard: by value, found by id.
//!
//! [`Cells`] knows the type; the shard knows it as an [`EntityStore`]. So types are erased once for each
//! store, not once for each entity.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashTable;

use super::cell::Cell;
use super::extras::{Called, Calling, Ticket};
use super::kind::{Kind, Shared};
use super::panics::drop_quietly;
use super::request::{self, Body, Incoming, Message, Request};
use super::slab::Slab;
use super::turn::{BatchBuilder, Report, Turn, Wants, WriteFailure};
use crate::ids::{EntityId, PersistenceId, PersistenceIdHash, SequenceNr};
use crate::journal::{EventPage, EventToken, ReadError, Snapshot, SnapshotCriteria, SnapshotError};
use crate::model::{Caller, Failure, Outcome, PersistentActor, Sender};

/// Where an entity lies in its store, while it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

/// What to read for an entity that recovers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Load {
    /// The newest snapshot that is meant; answered by [`EntityStore::snapshot_loaded`].
    Snapshot {
        /// Whose.
        persistence_id: PersistenceId,
        /// Which.
        criteria: SnapshotCriteria,
    },
    /// A page of events; answered by [`EntityStore::loaded`].
    Events {
        /// Whose.
        persistence_id: PersistenceId,
        /// First number wanted.
        from: SequenceNr,
        /// Last number wanted.
        to: SequenceNr,
        /// Most events in the page.
        max_events: usize,
        /// The page ends after the event that reaches this many bytes.
        max_bytes: usize,
    },
}

/// The entities of one type in one shard, as the shard sees them.
pub trait EntityStore: Send {
    /// A request has arrived; the entity is created if it is not here. `None` if nothing came of it but
    /// an answer.
    fn deliver(
        &mut self,
        turn: &mut Turn,
        hash: PersistenceIdHash,
        id: &EntityId,
        message: Message<Body>,
        caller: Option<Caller>,
        deadline: Option<Duration>,
    ) -> Option<(Slot, Wants)>;

    /// Adds an entity's queued writes to a batch, as far as it has room. `true` if some are left.
    fn collect(&mut self, slot: Slot, batch: &mut BatchBuilder) -> bool;

    /// The entity's part of the batch in flight is acknowledged, written under this token.
    fn written(&mut self, turn: &mut Turn, slot: Slot, token: EventToken) -> Wants;

    /// A write of the entity was not acknowledged.
    fn failed(&mut self, turn: &mut Turn, slot: Slot, failure: &WriteFailure) -> Wants;

    /// The entity begins to read its past. `None` if it does not after all.
    fn begin_load(&mut self, turn: &mut Turn, slot: Slot) -> Option<Load>;

    /// A snapshot was loaded, or there is none, or it could not be.
    fn snapshot_loaded(
        &mut self,
        turn: &mut Turn,
        slot: Slot,
        loaded: Result<Option<Snapshot>, SnapshotError>,
    ) -> Wants;

    /// A page was read, or could not be.
    fn loaded(&mut self, turn: &mut Turn, slot: Slot, page: Result<EventPage, ReadError>) -> Wants;

    /// What was read may not be the truth: it is read again from the start.
    fn reload(&mut self, turn: &mut Turn, slot: Slot) -> Wants;

    /// The moment has come that the entity wanted to be woken at.
    fn wake(&mut self, turn: &mut Turn, slot: Slot) -> Wants;

    /// The calls that an entity wants made; each is answered by [`called`](Self::called).
    fn take_calls(&mut self, slot: Slot) -> Vec<Calling>;

    /// What ends a call that is under way, when it is dropped: the incarnation keeps it as long as it
    /// waits for the result.
    fn guard(&mut self, slot: Slot, ticket: Ticket, guard: Box<dyn Any + Send>);

    /// A call has come to something.
    fn called(&mut self, turn: &mut Turn, slot: Slot, ticket: Ticket, called: Called) -> Wants;

    /// Looks at up to `budget` entities, a few at a time in turn: requests past their deadline are told
    /// so, and entities untouched since `idle_before` (seconds) are dropped. Returns how many were.
    fn sweep(&mut self, turn: &mut Turn, idle_before: u32, budget: u32) -> usize;

    /// Drops the least recently used of a few idle entities, approximately. `false` if there is none.
    fn evict(&mut self) -> bool;

    /// Drops all entities; whoever waits is told.
    fn unload(&mut self, turn: &mut Turn, failure: &dyn Fn(Outcome) -> Failure);

    /// How many entities are here.
    fn len(&self) -> usize;

    /// Whether none is.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many cannot be recovered.
    fn parked_count(&self) -> usize;

    /// Those that cannot be recovered, and why; up to `most`.
    fn parked(&self, most: usize) -> Vec<(EntityId, String)>;
}

/// The entities of type `A` in one shard.
pub struct Cells<A: PersistentActor> {
    cells: Slab<Cell<A>>,
    places: HashTable<u32>,
    shared: Shared<A>,
    /// Where the next sweep goes on.
    hand: u32,
    /// How many are parked.
    parked: usize,
}

impl<A: PersistentActor> fmt::Debug for Cells<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cells")
            .field("type", &A::TYPE)
            .field("len", &self.cells.len())
            .finish_non_exhaustive()
    }
}

impl<A: PersistentActor> Cells<A> {
    /// An empty store for entities of this kind.
    pub fn new(kind: Arc<Kind<A>>) -> Self {
        Self { cells: Slab::new(), places: HashTable::new(), shared: Shared::new(kind), hand: 0, parked: 0 }
    }

    /// How many idle entities [`EntityStore::evict`] compares.
    const EVICTION_SAMPLE: u32 = 8;

    fn hash(id: &EntityId) -> u64 {
        PersistenceIdHash::of(A::TYPE.as_str(), id.as_str()).in_shard()
    }

    fn find(&self, hash: PersistenceIdHash, id: &EntityId) -> Option<u32> {
        let is_it = |place: &u32| self.cells.get(*place).is_some_and(|cell| cell.id() == id);
        self.places.find(hash.in_shard(), is_it).copied()
    }

    fn with(&mut self, slot: Slot, f: impl FnOnce(&mut Cell<A>, &mut Shared<A>) -> Wants) -> Wants {
        let Some(cell) = self.cells.get_mut(slot.0) else { return Wants::default() };
        let before = cell.is_parked();
        let wants = f(cell, &mut self.shared);
        let after = cell.is_parked();
        self.parked = self.parked + usize::from(after) - usize::from(before);
        if wants.gone {
            self.drop_idle(slot.0);
        }
        wants
    }

    /// Lets a parked entity try again; the caller is told that it does.
    fn release(
        &mut self,
        turn: &mut Turn,
        hash: PersistenceIdHash,
        id: &EntityId,
        caller: Option<Caller>,
    ) -> Option<(Slot, Wants)> {
        let released = self.find(hash, id).map(Slot).map(|slot| {
            let wants = self.with(slot, |cell, _| cell.release(turn));
            (slot, wants)
        });
        Sender::new(caller).finish(turn, SequenceNr::ZERO);
        released
    }

    fn drop_idle(&mut self, place: u32) {
        if let Some(cell) = self.cells.remove(place)
            && let Ok(entry) = self.places.find_entry(Self::hash(cell.id()), |at| *at == place)
        {
            entry.remove();
            drop_quietly(cell);
        }
        if self.cells.len() == 0 {
            self.places = HashTable::new();
        }
    }
}

impl<A: PersistentActor> EntityStore for Cells<A> {
    fn deliver(
        &mut self,
        turn: &mut Turn,
        hash: PersistenceIdHash,
        id: &EntityId,
        message: Message<Body>,
        caller: Option<Caller>,
        deadline: Option<Duration>,
    ) -> Option<(Slot, Wants)> {
        let incoming = match message {
            Message::ReadState => Incoming::ReadState,
            Message::Release => return self.release(turn, hash, id, caller),
            Message::Command(body) => match request::decode(body) {
                Ok(command) => Incoming::Command(command),
                Err(failure) => return refuse(turn, caller, failure),
            },
            Message::CommandIf(body, expected) => match request::decode(body) {
                Ok(command) => Incoming::CommandIf(command, expected),
                Err(failure) => return refuse(turn, caller, failure),
            },
        };
        let request = Request { incoming, sender: Sender::new(caller), deadline };
        let found = self.find(hash, id);
        let place = match found {
            Some(place) => place,
            None => match Cell::new(id.clone(), turn.now.tick(), &mut self.shared) {
                Ok(cell) => {
                    turn.created += 1;
                    let place = self.cells.insert(cell);
                    let cells = &self.cells;
                    self.places.insert_unique(hash.in_shard(), place, |at| {
                        cells.get(*at).map_or(0, |cell| Self::hash(cell.id()))
                    });
                    place
                }
                Err(what) => {
                    let id = PersistenceId::new(A::TYPE, id.clone());
                    turn.reports.push(Report::Panicked { id, what: what.clone() });
                    request.sender.fail(turn, || Failure::Panicked { what, outcome: Outcome::None });
                    return None;
                }
            },
        };
        let slot = Slot(place);
        let mut wants = self.with(slot, |cell, shared| cell.deliver(turn, shared, request));
        wants.load |= found.is_none();
        Some((slot, wants))
    }

    fn collect(&mut self, slot: Slot, batch: &mut BatchBuilder) -> bool {
        self.cells.get_mut(slot.0).is_some_and(|cell| cell.collect(batch))
    }

    fn written(&mut self, turn: &mut Turn, slot: Slot, token: EventToken) -> Wants {
        self.with(slot, |cell, shared| cell.written(turn, shared, token))
    }

    fn failed(&mut self, turn: &mut Turn, slot: Slot, failure: &WriteFailure) -> Wants {
        self.with(slot, |cell, shared| cell.failed(turn, shared, failure))
    }

    fn begin_load(&mut self, turn: &mut Turn, slot: Slot) -> Option<Load> {
        let mut load = None;
        self.with(slot, |cell, shared| {
            load = cell.begin_load(turn, shared);
            Wants::default()
        });
        load
    }

    fn snapshot_loaded(
        &mut self,
        turn: &mut Turn,
        slot: Slot,
        loaded: Result<Option<Snapshot>, SnapshotError>,
    ) -> Wants {
        self.with(slot, |cell, shared| cell.snapshot_loaded(turn, shared, loaded))
    }

    fn loaded(&mut self, turn: &mut Turn, slot: Slot, page: Result<EventPage, ReadError>) -> Wants {
        self.with(slot, |cell, shared| cell.loaded(turn, shared, page))
    }

    fn reload(&mut self, turn: &mut Turn, slot: Slot) -> Wants {
        self.with(slot, |cell, _| cell.reload(turn))
    }

    fn wake(&mut self, turn: &mut Turn, slot: Slot) -> Wants {
        self.with(slot, |cell, shared| cell.wake(turn, shared))
    }

    fn take_calls(&mut self, slot: Slot) -> Vec<Calling> {
        let Some(cell) = self.cells.get_mut(slot.0) else { return Vec::new() };
        let calls = cell.take_calls();
        if cell.is_gone() {
            self.drop_idle(slot.0);
        }
        calls
    }

    fn guard(&mut self, slot: Slot, ticket: Ticket, guard: Box<dyn Any + Send>) {
        if let Some(cell) = self.cells.get_mut(slot.0) {
            cell.guard(ticket, guard);
        }
    }

    fn called(&mut self, turn: &mut Turn, slot: Slot, ticket: Ticket, called: Called) -> Wants {
        self.with(slot, |cell, shared| cell.called(turn, shared, ticket, called))
    }

    fn sweep(&mut self, turn: &mut Turn, idle_before: u32, budget: u32) -> usize {
        let mut dropped = 0;
        for _ in 0..budget.min(self.cells.places()) {
            let places = self.cells.places();
            if places == 0 {
                break;
            }
            let place = self.hand % places;
            self.hand = place + 1;
            let Some(cell) = self.cells.get_mut(place) else { continue };
            if !cell.is_idle() {
                cell.expire(turn);
            } else if cell.touched() < idle_before {
                self.drop_idle(place);
                dropped += 1;
            }
        }
        dropped
    }

    fn evict(&mut self) -> bool {
        let mut oldest: Option<(u32, u32)> = None;
        let mut seen = 0;
        for _ in 0..self.cells.places() {
            let place = self.hand % self.cells.places();
            self.hand = place + 1;
            if let Some(cell) = self.cells.get(place).filter(|cell| cell.is_idle()) {
                if oldest.is_none_or(|(touched, _)| cell.touched() < touched) {
                    oldest = Some((cell.touched(), place));
                }
                seen += 1;
                if seen == Self::EVICTION_SAMPLE {
                    break;
                }
            }
        }
        oldest.map(|(_, place)| self.drop_idle(place)).is_some()
    }

    fn unload(&mut self, turn: &mut Turn, failure: &dyn Fn(Outcome) -> Failure) {
        self.places = HashTable::new();
        self.parked = 0;
        for cell in self.cells.drain() {
            cell.unload(turn, failure);
        }
    }

    fn len(&self) -> usize {
        self.cells.len()
    }

    fn parked_count(&self) -> usize {
        self.parked
    }

    fn parked(&self, most: usize) -> Vec<(EntityId, String)> {
        let cells = (0..self.cells.places()).filter_map(|place| self.cells.get(place));
        let parked = cells.filter_map(|cell| Some((cell.id().clone(), cell.parked()?.to_owned())));
        if self.parked == 0 { Vec::new() } else { parked.take(most).collect() }
    }
}

fn refuse(turn: &mut Turn, caller: Option<Caller>, failure: Failure) -> Option<(Slot, Wants)> {
    Sender::new(caller).fail(turn, || failure);
    None
}

/// What an idle entity of type `A` takes beside its id and its state.
#[cfg(test)]
pub(crate) const fn cell_bytes<A: PersistentActor>() -> usize {
    size_of::<Cell<A>>()
}
