//! The shard's batches: one in flight, the next gathers meanwhile, and what follows from each outcome.
//!
//! Written: its entities go on. Rejected: the entities that are named fail, what the others wrote is numbered
//! anew. Not written, or unknown: every unfinished write fails. After these three the shard is claimed again,
//! which settles every copy that may still be on its way. Fenced: the shard is lost. Less is there than was
//! acknowledged, or something else than was written: it is parked.

use std::sync::Arc;

use abide_persistence::engine::{BatchBuilder, Turn, WriteFailure};
use abide_persistence::envelope::StoredEvent;
use abide_persistence::journal::{Batch, Claim, EventToken, Known, Write, WriteError};
use abide_persistence::model::Outcome;

use super::parking::{Loss, ParkedFor};
use super::{Action, Hold, Lost, Place, Shard};

#[derive(Debug)]
pub(super) struct InFlight {
    claim: Claim,
    number: u64,
    /// Whose writes they are: one for each, in the order of the batch.
    places: Vec<Place>,
    writes: Arc<Vec<Write>>,
}

impl Shard {
    /// The journal has answered a batch.
    pub fn written(
        &mut self,
        turn: &mut Turn,
        claim: Claim,
        number: u64,
        result: Result<(), WriteError>,
        actions: &mut Vec<Action>,
    ) {
        let Some(batch) = self.in_flight.take_if(|batch| (batch.claim, batch.number) == (claim, number))
        else {
            return;
        };
        let error = match result {
            Ok(()) => {
                self.learn(Known { claim, batch: number });
                let token = EventToken { claim, batch: number };
                let mut places = batch.places;
                places.dedup();
                for place in places {
                    self.with(place, actions, |store, slot| store.written(turn, slot, token));
                }
                return;
            }
            Err(error) => error,
        };
        let outcome = if error.nothing_stored() { Outcome::None } else { Outcome::Unknown };
        match error {
            WriteError::Fenced { held, .. } => {
                let words = format!("batch {number} of claim {claim} was fenced by {held}");
                self.lose(turn, Lost::Fenced(words), outcome, actions);
            }
            WriteError::Lost { held, .. } => {
                let known = Known { claim, batch: number - 1 };
                self.park(turn, ParkedFor::Loss(Loss { known, held }), outcome, actions);
            }
            WriteError::Damaged(words) => {
                self.park(turn, ParkedFor::Damage(words), outcome, actions);
            }
            // No owner writes behind the back of another, so it is the stream that was changed. Whoever claimed
            // again would take what is there for all that was stored.
            WriteError::Conflict { .. } => {
                self.park(turn, ParkedFor::Damage(error.to_string()), outcome, actions);
            }
            WriteError::Rejected { writes, reason } => {
                self.begin_claim(claim.again(), actions);
                let failure = WriteFailure { outcome, reason };
                // An entity fails whole, with what else it had in the batch. A store that names nobody would
                // be asked the same for ever.
                let mut named: Vec<Place> =
                    writes.iter().filter_map(|at| batch.places.get(*at).copied()).collect();
                if named.is_empty() {
                    named.clone_from(&batch.places);
                }
                named.sort_unstable();
                named.dedup();
                for (place, write) in batch.places.iter().zip(batch.writes.iter()) {
                    if named.binary_search(place).is_err() {
                        self.again.push((*place, write.clone()));
                    }
                }
                for place in named {
                    self.with(place, actions, |store, slot| store.failed(turn, slot, &failure));
                }
            }
            WriteError::NotWritten(reason) | WriteError::Unknown(reason) => {
                self.begin_claim(claim.again(), actions);
                let failure = WriteFailure { outcome, reason: reason.to_string() };
                // Everything unfinished fails, the queued writes too: their callers have waited long
                // enough, and the queue starts empty under the new claim.
                let mut places = batch.places;
                places.extend(self.again.drain(..).map(|(place, _)| place));
                places.extend(self.dirty.drain(..));
                places.sort_unstable();
                places.dedup();
                for place in places {
                    self.with(place, actions, |store, slot| store.failed(turn, slot, &failure));
                }
            }
        }
    }

    /// Whether there is a batch to be sent.
    pub(super) fn wants_to_write(&self) -> bool {
        self.in_flight.is_none()
            && self.looks_again_at.is_none()
            && !(self.dirty.is_empty() && self.again.is_empty())
    }

    /// Sends the next batch.
    pub(super) fn write_batch(&mut self, turn: &Turn, actions: &mut Vec<Action>) {
        let Hold::Held { claim, ref mut next_batch } = self.hold else { return };
        let number = *next_batch;
        let limits = self.limits;
        let mut builder = BatchBuilder::new(claim, number, turn.now, limits);
        let mut places = Vec::new();
        let mut writes = Vec::new();
        for (place, write) in self.again.drain(..) {
            places.push(place);
            writes.push(renumbered(write, claim, number));
        }
        let before = places.len();
        while !builder.is_full() {
            let Some(place) = self.dirty.pop_front() else { break };
            // An entity of which an older write goes first gets the next batch.
            if places[..before].contains(&place) {
                self.dirty.push_back(place);
                break;
            }
            let Some(store) = self.stores[usize::from(place.0.0)].as_mut() else { continue };
            let taken = builder.writes();
            let more = store.collect(place.1, &mut builder);
            places.extend(std::iter::repeat_n(place, builder.writes() - taken));
            if more {
                self.dirty.push_front(place);
            }
        }
        writes.extend(builder.finish());
        if !writes.is_empty() {
            *next_batch += 1;
            let writes = Arc::new(writes);
            self.in_flight = Some(InFlight { claim, number, places, writes: Arc::clone(&writes) });
            let (shard, writer) = (self.id, self.writer);
            actions.push(Action::Write(Batch { shard, claim, number, writer, writes }));
        }
    }
}

/// The same events under a new number: their envelopes name the token that they are written under.
fn renumbered(write: Write, claim: Claim, batch: u64) -> Write {
    match write {
        Write::Append { persistence_id, first, events } => {
            let events = events.into_iter().map(|bytes| match StoredEvent::from_bytes(bytes.clone()) {
                Ok(event) => {
                    StoredEvent { epoch: claim.epoch.0, session: claim.session, batch, ..event }.to_bytes()
                }
                Err(_) => bytes,
            });
            Write::Append { persistence_id, first, events: events.collect() }
        }
        delete @ Write::DeleteTo { .. } => delete,
    }
}
