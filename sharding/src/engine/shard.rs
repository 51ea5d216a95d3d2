//! One shard: who holds it, which batch is in flight, who waits for what.
//!
//! ```text
//!              Assign            claim taken
//!   Unowned ───────────▶ Claiming ─────────▶ Held ── batch k in flight ── written ─┐
//!      ▲                  ▲   │ fenced        │  ▲                                 │
//!      │                  │   ▼               │  └─────────────────────────────────┘
//!      └──── Unload ──── Lost ◀── fenced, ────┤
//!                                 conflict    │ anything else but written
//!                         session + 1 ◀───────┘
//! ```
//!
//! A shard of which the journal has lost events is parked (`loss.rs`); while the journal refuses writes, no
//! command is begun (`gate.rs`).
//!
//! Invariants: one batch in flight; a number is used for one batch only; entities read only under a
//! claim that was taken, and what they read under an older one does not count.

use std::any::Any;
use std::collections::VecDeque;
use std::time::Duration;

use abide_persistence::engine::{
    Backoff, Body, Called, Calling, EntityStore, Load, Message, Slot, Ticket, Turn, Wants,
};
use abide_persistence::journal::{
    Batch, Claim, ClaimError, Epoch, EventPage, JournalLimits, Known, ReadError, ReadEvents, Snapshot,
    SnapshotCriteria, SnapshotError, Usurped, Write, Writer,
};
use abide_persistence::model::{Answer, Caller, Failure, Outcome};
use abide_persistence::{EntityId, PersistenceId, PersistenceIdHash, ShardId};

pub use loss::Loss;

use self::batches::InFlight;
use super::registry::TypeIndex;

mod batches;
mod gate;
mod loss;

/// A request on its way to an entity of this shard.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// The entity's type.
    pub entity_type: TypeIndex,
    /// Hash of its persistence id.
    pub hash: PersistenceIdHash,
    /// Its id; copied only if the entity is not in memory yet.
    pub id: &'a EntityId,
    /// What is asked.
    pub message: Message<Body>,
    /// Who is to be answered.
    pub caller: Option<Caller>,
    /// When nobody waits for the answer any more, since the start of the process.
    pub deadline: Option<Duration>,
    /// For how long the journal would refuse what a command stores, if it would.
    pub journal_rests: Option<Duration>,
}

/// An entity of this shard, while it is here.
pub type Place = (TypeIndex, Slot);

/// What the shard wants done.
#[derive(Debug)]
pub enum Action {
    /// Claim the shard at the journal; tell [`Shard::claimed`].
    Claim {
        /// With this claim.
        claim: Claim,
        /// What the journal must hold.
        least: Option<Known>,
    },
    /// Write the batch; tell [`Shard::written`].
    Write(Batch),
    /// Read a page; tell [`Shard::read`] with the same place and life.
    Read {
        /// For whom.
        place: Place,
        /// Which life of the shard asked; see [`Shard::read`].
        life: u64,
        /// What.
        read: ReadEvents,
    },
    /// Load a snapshot; tell [`Shard::snapshot_loaded`] with the same place and life.
    LoadSnapshot {
        /// For whom.
        place: Place,
        /// Which life of the shard asked.
        life: u64,
        /// What the entity's events will be read by.
        known: Known,
        /// Whose.
        persistence_id: PersistenceId,
        /// Which.
        criteria: SnapshotCriteria,
    },
    /// Do what an entity wants done; tell [`Shard::called`] with the same place and life.
    Call {
        /// For whom.
        place: Place,
        /// Which life of the shard asked.
        life: u64,
        /// What.
        calling: Calling,
    },
    /// Call [`Shard::wake`] then.
    Wake {
        /// Since the start of the process.
        at: Duration,
        /// Whom; nobody in particular means the shard itself.
        place: Option<Place>,
    },
    /// The shard is lost to this node. It comes back only by a new assignment.
    Lost(Lost),
    /// The journal has lost events of the shard. It waits for an operator.
    Parked(Loss),
}

/// Why a shard was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// A newer owner has claimed it.
    Fenced(String),
    /// Journal and owner disagree on where a stream ends.
    Conflict(String),
    /// Another cluster or process works on this journal. The node must stop.
    Usurped(Usurped),
}

impl Lost {
    fn words(&self) -> String {
        match self {
            Self::Fenced(words) | Self::Conflict(words) => words.clone(),
            Self::Usurped(usurped) => usurped.to_string(),
        }
    }
}

#[derive(Debug)]
enum Hold {
    Unowned,
    Claiming { claim: Claim, attempts: u32, retry_at: Option<Duration> },
    Held { claim: Claim, next_batch: u64 },
    Lost { reason: String },
    Parked { loss: Loss },
}

/// One shard of this node.
pub struct Shard {
    id: ShardId,
    writer: Writer,
    limits: JournalLimits,
    hold: Hold,
    stores: Vec<Option<Box<dyn EntityStore>>>,
    /// Entities with queued writes; one may stand here more than once.
    dirty: VecDeque<Place>,
    /// Entities that want to read, while there is no claim to read under.
    loads: Vec<Place>,
    in_flight: Option<InFlight>,
    /// Writes that were refused through no fault of theirs, to be numbered anew.
    again: Vec<(Place, Write)>,
    /// Counts unloads, so that what was asked for before is not taken for an answer after.
    life: u64,
    /// The last session used with an epoch. It outlives the hold: a session is never used twice.
    last_claim: Option<Claim>,
    /// The most that the journal has acknowledged. It outlives the hold, too.
    known: Option<Known>,
    /// A read found less than is known; the next claim decides.
    doubts: bool,
    /// The journal refuses writes, and what is to be written waits until it is looked at again.
    looks_again_at: Option<Duration>,
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard").field("id", &self.id).field("hold", &self.hold).finish_non_exhaustive()
    }
}

/// Pauses between tries to claim: the first soon, because a restarting journal is back soon.
const CLAIM_BACKOFF: Backoff =
    Backoff { min: Duration::from_millis(100), max: Duration::from_secs(5), factor: 2.0, jitter: 0.2 };

impl Shard {
    /// A shard that nobody has given to this node yet.
    pub fn new(id: ShardId, writer: Writer, limits: JournalLimits) -> Self {
        Self {
            id,
            writer,
            limits,
            hold: Hold::Unowned,
            stores: Vec::new(),
            dirty: VecDeque::new(),
            loads: Vec::new(),
            in_flight: None,
            again: Vec::new(),
            life: 0,
            last_claim: None,
            known: None,
            doubts: false,
            looks_again_at: None,
        }
    }

    /// The shard is this node's from now on, at this epoch.
    pub fn assign(&mut self, turn: &mut Turn, epoch: Epoch, actions: &mut Vec<Action>) {
        if self.last_claim.is_some_and(|last| last.epoch > epoch) {
            return;
        }
        // Nothing has changed that would bring back what was lost.
        if matches!(self.hold, Hold::Parked { .. }) && self.last_claim.is_some_and(|last| last.epoch == epoch)
        {
            return;
        }
        if let Hold::Claiming { claim, .. } | Hold::Held { claim, .. } = self.hold {
            if claim.epoch >= epoch {
                return;
            }
            self.unload(turn, &|outcome| Failure::ShardLost { outcome });
        }
        let session = match self.last_claim {
            Some(last) if last.epoch == epoch => last.again(),
            _ => Claim { epoch, session: 1 },
        };
        self.begin_claim(session, actions);
    }

    /// Who writes for it.
    pub fn writer(&self) -> Writer {
        self.writer
    }

    /// Which shard.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// Whether it is this node's, claimed or about to be.
    pub fn is_assigned(&self) -> bool {
        matches!(self.hold, Hold::Claiming { .. } | Hold::Held { .. })
    }

    /// Whether a claim of this shard was taken.
    pub fn is_held(&self) -> bool {
        matches!(self.hold, Hold::Held { .. })
    }

    /// How often the journal has not taken the present claim.
    pub fn claim_attempts(&self) -> u32 {
        if let Hold::Claiming { attempts, .. } = self.hold { attempts } else { 0 }
    }

    /// Whether it was taken from this node, or disagrees with the journal.
    pub fn is_lost(&self) -> bool {
        matches!(self.hold, Hold::Lost { .. })
    }

    /// Whether a batch is on its way.
    pub fn is_writing(&self) -> bool {
        self.in_flight.is_some()
    }

    /// How many entities are here.
    pub fn entities(&self) -> usize {
        self.stores.iter().flatten().map(|store| store.len()).sum()
    }

    /// Those that cannot be recovered, and why; up to `most`.
    pub fn parked(&self, most: usize) -> Vec<(TypeIndex, EntityId, String)> {
        let stores = self.stores.iter().enumerate().filter_map(|(at, store)| Some((at, store.as_ref()?)));
        let parked = stores.flat_map(|(at, store)| {
            let entity_type = TypeIndex(u16::try_from(at).unwrap_or(u16::MAX));
            store.parked(most).into_iter().map(move |(id, reason)| (entity_type, id, reason))
        });
        parked.take(most).collect()
    }

    /// How many entities cannot be recovered.
    pub fn parked_count(&self) -> usize {
        self.stores.iter().flatten().map(|store| store.parked_count()).sum()
    }

    /// A request has arrived.
    pub fn deliver(
        &mut self,
        turn: &mut Turn,
        new_store: impl FnOnce() -> Box<dyn EntityStore>,
        delivery: Delivery<'_>,
        actions: &mut Vec<Action>,
    ) {
        let Delivery { entity_type, hash, id, message, caller, deadline, journal_rests } = delivery;
        let is_command = matches!(message, Message::Command(_) | Message::CommandIf(..));
        match &self.hold {
            Hold::Claiming { .. } | Hold::Held { .. } if is_command && let Some(rests) = journal_rests => {
                return self.refuse_at_gate(turn, caller, rests, actions);
            }
            // The journal is away: what is begun now would pile up behind it and take effect who knows when.
            Hold::Claiming { attempts: 1.., retry_at, .. } if is_command => {
                let retry_after =
                    retry_at.map_or(CLAIM_BACKOFF.min, |at| at.saturating_sub(turn.now.since_start));
                let reason = "the shard cannot be claimed".to_owned();
                let outcome = Outcome::None;
                return refuse(turn, caller, Failure::JournalFailed { reason, outcome, retry_after });
            }
            Hold::Claiming { .. } | Hold::Held { .. } => {}
            Hold::Unowned => {
                let reason = "it is not assigned to this node".to_owned();
                return refuse(turn, caller, Failure::NoOwner { reason });
            }
            Hold::Lost { reason } => {
                let reason = reason.clone();
                return refuse(turn, caller, Failure::NoOwner { reason });
            }
            Hold::Parked { .. } => {
                return refuse(turn, caller, Failure::EventsLost { outcome: Outcome::None });
            }
        }
        if is_command {
            self.pass_gate();
        }
        let at = usize::from(entity_type.0);
        if self.stores.len() <= at {
            self.stores.resize_with(at + 1, || None);
        }
        let store = self.stores[at].get_or_insert_with(new_store);
        if let Some((slot, wants)) = store.deliver(turn, hash, id, message, caller, deadline) {
            self.note((entity_type, slot), wants, actions);
        }
    }

    /// The journal has answered a claim.
    pub fn claimed(
        &mut self,
        turn: &mut Turn,
        answered: Claim,
        result: Result<(), ClaimError>,
        actions: &mut Vec<Action>,
    ) {
        let Hold::Claiming { claim, attempts, .. } = self.hold else { return };
        if claim != answered {
            return;
        }
        match result {
            Ok(()) => {
                self.learn(Known { claim, batch: 0 });
                self.doubts = false;
                self.looks_again_at = None;
                self.hold = Hold::Held { claim, next_batch: 1 };
            }
            Err(ClaimError::Fenced { held }) => {
                let words = format!("claim {claim} was fenced by {held}");
                self.lose(turn, Lost::Fenced(words), Outcome::None, actions);
            }
            Err(ClaimError::Lost { held, least }) => {
                self.park(turn, Loss { known: least, held }, Outcome::None, actions);
            }
            Err(ClaimError::Damaged(what)) => {
                self.lose(turn, Lost::Conflict(what), Outcome::None, actions);
            }
            Err(ClaimError::Usurped(usurped)) => {
                self.lose(turn, Lost::Usurped(usurped), Outcome::None, actions);
            }
            Err(ClaimError::Failed(_)) => {
                let pause = CLAIM_BACKOFF.pause(attempts, u64::from(self.id.0));
                let at = turn.now.since_start + pause;
                self.hold = Hold::Claiming { claim, attempts: attempts + 1, retry_at: Some(at) };
                actions.push(Action::Wake { at, place: None });
            }
        }
    }

    /// The journal has answered a read.
    pub fn read(
        &mut self,
        turn: &mut Turn,
        place: Place,
        life: u64,
        claim: Claim,
        page: Result<EventPage, ReadError>,
        actions: &mut Vec<Action>,
    ) {
        if !self.counts(turn, place, life, claim, actions) {
            return;
        }
        match &page {
            Err(ReadError::Fenced { held: Some(held) }) if held.claim > claim => {
                let words = format!("a read under claim {claim} was fenced by {held}");
                return self.lose(turn, Lost::Fenced(words), Outcome::Unknown, actions);
            }
            // Less than was acknowledged: of a server that was left behind, or of all that is left.
            Err(ReadError::Fenced { .. }) => self.doubts = true,
            Ok(_) | Err(ReadError::Failed(_) | ReadError::Damaged(_)) => {}
        }
        self.with(place, actions, |store, slot| store.loaded(turn, slot, page));
    }

    /// The snapshot store has answered.
    pub fn snapshot_loaded(
        &mut self,
        turn: &mut Turn,
        place: Place,
        life: u64,
        claim: Claim,
        loaded: Result<Option<Snapshot>, SnapshotError>,
        actions: &mut Vec<Action>,
    ) {
        if self.counts(turn, place, life, claim, actions) {
            self.with(place, actions, |store, slot| store.snapshot_loaded(turn, slot, loaded));
        }
    }

    /// Whether what an entity has read under a claim counts. If the shard was claimed again meanwhile, it
    /// reads again: what was read may be what the doubt was about.
    fn counts(
        &mut self,
        turn: &mut Turn,
        place: Place,
        life: u64,
        claim: Claim,
        actions: &mut Vec<Action>,
    ) -> bool {
        match self.hold {
            _ if life != self.life => false,
            Hold::Held { claim: ours, .. } if ours == claim => true,
            Hold::Held { .. } | Hold::Claiming { .. } => {
                self.with(place, actions, |store, slot| store.reload(turn, slot));
                false
            }
            Hold::Unowned | Hold::Lost { .. } | Hold::Parked { .. } => false,
        }
    }

    /// What an entity wanted done has come to something.
    pub fn called(
        &mut self,
        turn: &mut Turn,
        place: Place,
        life: u64,
        ticket: Ticket,
        called: Called,
        actions: &mut Vec<Action>,
    ) {
        if life == self.life {
            self.with(place, actions, |store, slot| store.called(turn, slot, ticket, called));
        }
    }

    /// Hands an entity what ends a call that runs for it; dropped with the incarnation, or at once if
    /// that is gone.
    pub fn guard(&mut self, place: Place, life: u64, ticket: Ticket, guard: Box<dyn Any + Send>) {
        if life == self.life
            && let Some(store) = self.stores.get_mut(usize::from(place.0.0)).and_then(Option::as_mut)
        {
            store.guard(place.1, ticket, guard);
        }
    }

    /// A moment has come for an entity that was asked for by [`Action::Wake`].
    pub fn wake(&mut self, turn: &mut Turn, place: Place, actions: &mut Vec<Action>) {
        self.with(place, actions, |store, slot| store.wake(turn, slot));
    }

    /// A moment has come for the shard itself that was asked for by [`Action::Wake`]. `journal_rests` is as in
    /// a [`Delivery`].
    pub fn wake_shard(
        &mut self,
        turn: &mut Turn,
        journal_rests: Option<Duration>,
        actions: &mut Vec<Action>,
    ) {
        self.look(turn, journal_rests, actions);
        let Hold::Claiming { claim, retry_at, .. } = &mut self.hold else { return };
        if retry_at.is_none_or(|at| at > turn.now.since_start) {
            return;
        }
        *retry_at = match journal_rests {
            Some(rests) if !rests.is_zero() => Some(gate::moment(self.id, turn, rests)),
            _ => None,
        };
        actions.push(match *retry_at {
            Some(at) => Action::Wake { at, place: None },
            None => Action::Claim { claim: *claim, least: self.known },
        });
    }

    /// Whether [`flush`](Self::flush) would find something to do.
    pub fn wants_flush(&self) -> bool {
        self.is_held() && (!self.loads.is_empty() || self.wants_to_write() || self.wants_to_be_sure())
    }

    /// A batch in flight will say whether something was lost.
    fn wants_to_be_sure(&self) -> bool {
        self.doubts && self.in_flight.is_none()
    }

    /// Sends off what can be: reads, and the next batch if none is in flight. `journal_rests` is as in a
    /// [`Delivery`].
    pub fn flush(&mut self, turn: &mut Turn, journal_rests: Option<Duration>, actions: &mut Vec<Action>) {
        let Hold::Held { claim, .. } = self.hold else { return };
        if self.wants_to_be_sure() {
            self.doubts = false;
            return self.begin_claim(claim.again(), actions);
        }
        if self.wants_to_write() {
            match journal_rests {
                None => self.write_batch(turn, actions),
                Some(rests) => drop(self.look_again(turn, rests, actions)),
            }
        }
        // Under the claim that holds, no more than this was acknowledged.
        let known = self.known.filter(|known| known.claim == claim).unwrap_or(Known { claim, batch: 0 });
        for place in std::mem::take(&mut self.loads) {
            let Some(store) = self.stores[usize::from(place.0.0)].as_mut() else { continue };
            let (shard, life) = (self.id, self.life);
            match store.begin_load(turn, place.1) {
                None => {}
                Some(Load::Snapshot { persistence_id, criteria }) => {
                    actions.push(Action::LoadSnapshot { place, life, known, persistence_id, criteria });
                }
                Some(Load::Events { persistence_id, from, to, max_events, max_bytes }) => {
                    let known = Some(known);
                    let read = ReadEvents { shard, persistence_id, from, to, max_events, max_bytes, known };
                    actions.push(Action::Read { place, life, read });
                }
            }
        }
    }

    /// Looks after part of the entities: deadlines, and those untouched since `idle_before` (seconds).
    /// Returns how many were dropped.
    pub fn sweep(&mut self, turn: &mut Turn, idle_before: u32, parts: u32) -> usize {
        let stores = self.stores.iter_mut().flatten();
        stores
            .map(|store| {
                let budget = (store.len() as u32).div_ceil(parts).max(8);
                store.sweep(turn, idle_before, budget)
            })
            .sum()
    }

    /// Drops an idle entity that was not used for long, approximately. `false` if there is none.
    pub fn evict(&mut self) -> bool {
        self.stores.iter_mut().flatten().any(|store| store.evict())
    }

    /// Drops all entities and the hold; whoever waits is told.
    pub fn unload(&mut self, turn: &mut Turn, failure: &dyn Fn(Outcome) -> Failure) {
        self.life += 1;
        self.hold = Hold::Unowned;
        self.in_flight = None;
        self.again.clear();
        self.dirty.clear();
        self.loads.clear();
        self.doubts = false;
        self.looks_again_at = None;
        for store in self.stores.iter_mut().flatten() {
            store.unload(turn, failure);
        }
        self.stores.clear();
    }

    fn lose(&mut self, turn: &mut Turn, lost: Lost, outcome: Outcome, actions: &mut Vec<Action>) {
        let reason = lost.words();
        self.unload(turn, &|in_flight| Failure::ShardLost {
            outcome: if in_flight == Outcome::None { Outcome::None } else { outcome },
        });
        self.hold = Hold::Lost { reason };
        actions.push(Action::Lost(lost));
    }

    fn begin_claim(&mut self, claim: Claim, actions: &mut Vec<Action>) {
        self.last_claim = Some(claim);
        self.hold = Hold::Claiming { claim, attempts: 0, retry_at: None };
        actions.push(Action::Claim { claim, least: self.known });
    }

    fn with(
        &mut self,
        place: Place,
        actions: &mut Vec<Action>,
        f: impl FnOnce(&mut dyn EntityStore, Slot) -> Wants,
    ) {
        let store = self.stores.get_mut(usize::from(place.0.0)).and_then(Option::as_mut);
        if let Some(store) = store {
            let wants = f(store.as_mut(), place.1);
            self.note(place, wants, actions);
        }
    }

    fn note(&mut self, place: Place, wants: Wants, actions: &mut Vec<Action>) {
        if wants.write && self.dirty.back() != Some(&place) {
            self.dirty.push_back(place);
        }
        if wants.load {
            self.loads.push(place);
        }
        if let Some(at) = wants.wake_at {
            actions.push(Action::Wake { at, place: Some(place) });
        }
        if wants.calls
            && let Some(store) = self.stores[usize::from(place.0.0)].as_mut()
        {
            let life = self.life;
            let calls = store.take_calls(place.1);
            actions.extend(calls.into_iter().map(|calling| Action::Call { place, life, calling }));
        }
    }
}

fn refuse(turn: &mut Turn, caller: Option<Caller>, failure: Failure) {
    turn.answers.extend(caller.map(|caller| (caller, Answer::failed(failure))));
}

#[cfg(test)]
mod tests;
