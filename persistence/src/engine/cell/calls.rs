//! What an entity lets others do for it, and what it makes of the results: snapshots, futures.

use std::any::Any;

use super::Cell;
use crate::engine::extras::{Awaited, Call, Called, Calling, Ticket};
use crate::engine::kind::{Kind, Shared};
use crate::engine::panics::caught;
use crate::engine::queue::Work;
use crate::engine::request::Incoming;
use crate::engine::turn::{Turn, Wants};
use crate::ids::SequenceNr;
use crate::journal::{EventToken, Snapshot, SnapshotCriteria, SnapshotError};
use crate::model::{
    EncodedState, EventRef, Loaded, Outcome, PersistentActor, Sender, Signal, base_record, encode_state, save,
};

impl<A: PersistentActor> Cell<A> {
    /// The calls that it wants made.
    pub(crate) fn take_calls(&mut self) -> Vec<Calling> {
        let persistence_id = self.persistence_id();
        let calls = self.work.as_mut().map(|work| work.take_calls()).unwrap_or_default();
        calls
            .into_iter()
            .map(|(ticket, call)| Calling { ticket, persistence_id: persistence_id.clone(), call })
            .collect()
    }

    /// Keeps what ends a call, as long as its result is awaited.
    pub(crate) fn guard(&mut self, ticket: Ticket, guard: Box<dyn Any + Send>) {
        if let Some(extras) = self.extras() {
            extras.guard(ticket, guard);
        }
    }

    /// A call has come to something.
    pub(crate) fn called(
        &mut self,
        turn: &mut Turn,
        shared: &mut Shared<A>,
        ticket: Ticket,
        called: Called,
    ) -> Wants {
        if !self.is_running() {
            return self.wants();
        }
        let awaited = self.extras().and_then(|extras| extras.called(ticket));
        match (awaited, called) {
            (Some(Awaited::Saved { sequence_nr, token, time_ms, retained }), Called::Saved(result)) => {
                let signal = match result {
                    Ok(()) => {
                        self.saved(turn, shared, EventRef { sequence_nr, token }, retained);
                        Signal::SnapshotSaved { sequence_nr, time_ms }
                    }
                    Err(cause) => Signal::SnapshotNotSaved { sequence_nr, reason: cause.to_string() },
                };
                self.enqueue(Incoming::signal(signal));
            }
            (Some(Awaited::Deleted(criteria)), Called::Deleted(result)) => {
                self.enqueue(Incoming::signal(match result {
                    Ok(()) => Signal::SnapshotsDeleted { criteria },
                    Err(cause) => Signal::SnapshotsNotDeleted { criteria, reason: cause.to_string() },
                }));
            }
            (Some(Awaited::Loaded(handler)), Called::Loaded(loaded)) => {
                let loaded =
                    loaded.and_then(|found| found.map(|found| decode(&shared.kind, &found)).transpose());
                self.enqueue(Incoming::Run(Box::new(move |actor, ctx| handler(actor, loaded, ctx))));
            }
            (Some(Awaited::Ran { .. }), Called::Ran(Ok(message))) => {
                if let Ok(message) = message.downcast() {
                    self.enqueue(Incoming::Message(*message));
                }
            }
            (Some(Awaited::Ran { .. }), Called::Ran(Err(what))) => {
                self.panicked(turn, Sender::Nobody, what, Outcome::None);
            }
            // Of an earlier incarnation.
            _ => {}
        }
        self.advance(turn, shared);
        self.settle(shared)
    }

    fn enqueue(&mut self, incoming: Incoming<A>) {
        self.work.get_or_insert_default().enqueue(incoming);
    }

    /// Saves a state that contains exactly the events up to the last one handled.
    pub(super) fn save(&mut self, turn: &mut Turn, shared: &Shared<A>, state: EncodedState) {
        let at = EventRef { sequence_nr: self.sequence_nr, token: self.token };
        save(&mut self.work, &shared.kind, turn, at, state, true);
    }

    /// Takes a snapshot by itself, if the way here from an event passes a multiple or the type says so.
    pub(super) fn snapshot_if_due(
        &mut self,
        turn: &mut Turn,
        shared: &Shared<A>,
        before: SequenceNr,
        says_so: Result<bool, String>,
    ) {
        let retention = &shared.kind.retention;
        if !shared.kind.has_snapshots || !retention.takes_snapshots() || !self.is_running() {
            return;
        }
        if self.token == EventToken::NONE || self.work.as_deref().is_some_and(Work::is_saving) {
            return;
        }
        let sequence_nr = self.sequence_nr;
        let state = match says_so {
            Ok(says_so) if says_so || retention.is_due(before, sequence_nr) => {
                encode_state(&shared.kind, || self.actor.state())
            }
            Ok(_) => return,
            Err(reason) => Err(reason),
        };
        match state {
            Ok(state) => self.save(turn, shared, state),
            Err(reason) => {
                self.enqueue(Incoming::signal(Signal::SnapshotNotSaved { sequence_nr, reason }));
            }
        }
    }

    /// Whether the type wants a snapshot of the state after this event. A panic in that costs the snapshot,
    /// not the entity.
    pub(super) fn wants_snapshot(&self, shared: &Shared<A>, event: &A::Event) -> Result<bool, String> {
        let is_due = shared.kind.retention.snapshot_when.filter(|_| self.is_running());
        let Some(is_due) = is_due else { return Ok(false) };
        caught(|| is_due(self.actor.state(), event, self.sequence_nr))
    }

    /// A snapshot is stored: what it replaces may go.
    fn saved(&mut self, turn: &mut Turn, shared: &Shared<A>, saved: EventRef, retained: bool) {
        let before = self.snapshot.as_deref().copied();
        if before.is_none_or(|before| before.sequence_nr <= saved.sequence_nr) {
            self.snapshot = Some(Box::new(saved));
        }
        let retention = &shared.kind.retention;
        let Some(before) = before.filter(|_| retained && retention.snapshot_every.is_some()) else { return };
        let obsolete = retention.obsolete(saved.sequence_nr);
        if obsolete == SequenceNr::ZERO {
            return;
        }
        let work = self.work.get_or_insert_default();
        if retention.delete_events {
            // Only what two snapshots contain that are surely there: this one and the one before.
            let to = obsolete.min(before.sequence_nr);
            let kept = if to == before.sequence_nr { before } else { saved };
            let last = EventRef { sequence_nr: self.sequence_nr, token: self.token };
            work.delete(to, base_record(to, Some(kept), last));
        }
        let below = if retention.keep_snapshots > 1 {
            obsolete.min(SequenceNr(before.sequence_nr.0.saturating_sub(1)))
        } else {
            obsolete
        };
        let criteria = SnapshotCriteria::up_to(below);
        work.call(turn, Call::Delete(criteria), Awaited::Deleted(criteria));
    }
}

fn decode<A: PersistentActor>(kind: &Kind<A>, found: &Snapshot) -> Result<Loaded<A>, SnapshotError> {
    let sequence_nr = found.sequence_nr;
    let state = kind.decode_state(found).map_err(|reason| SnapshotError::Damaged { sequence_nr, reason })?;
    Ok(Loaded { sequence_nr, time_ms: found.time_ms, state })
}
