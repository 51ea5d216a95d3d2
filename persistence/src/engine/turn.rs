//! What goes into the engine with every call, and what comes out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::running::Running;
use crate::codec::EncodedEvent;
use crate::envelope::StoredEvent;
use crate::ids::{PersistenceId, SequenceNr};
use crate::journal::{Claim, JournalLimits, Write};
use crate::model::{Answer, Caller, Outcome, Signal, StashOverflow};

/// The time, as told from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Since some fixed moment of this process; never goes back.
    pub since_start: Duration,
    /// Milliseconds since 1970 by the wall clock; may jump.
    pub wall_ms: u64,
}

impl Now {
    /// The tick in which an entity was last touched: seconds, so that it fits beside the entity.
    pub(crate) fn tick(self) -> u32 {
        u32::try_from(self.since_start.as_secs()).unwrap_or(u32::MAX)
    }
}

/// What holds for the entities of one type on one journal.
#[derive(Clone, Copy, Debug)]
pub struct EntitySettings {
    /// Most requests that one entity holds: those that it has begun, those that wait for it, those that it
    /// has put aside, and results that it awaits. A command that can be handled at once needs no room beside
    /// those that were put aside.
    pub stash_capacity: usize,
    /// What happens to those beyond.
    pub stash_overflow: StashOverflow,
    /// How a failed entity comes back.
    pub backoff: Backoff,
    /// What fits into its journal.
    pub journal: JournalLimits,
    /// Most events of one page in recovery.
    pub page_events: usize,
    /// The page ends after the event that reaches this many bytes.
    pub page_bytes: usize,
}

impl Default for EntitySettings {
    fn default() -> Self {
        Self {
            stash_capacity: 4096,
            stash_overflow: StashOverflow::Fail,
            backoff: Backoff {
                min: Duration::from_millis(200),
                max: Duration::from_secs(30),
                factor: 2.0,
                jitter: 0.2,
            },
            journal: JournalLimits {
                max_event_bytes: 1 << 20,
                max_atomic_bytes: 4 << 20,
                batch_events: 512,
                batch_bytes: 1 << 20,
            },
            page_events: 1000,
            page_bytes: 1 << 20,
        }
    }
}

/// Exponential back-off with jitter.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The first pause.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
    /// How much longer each pause is than the one before.
    pub factor: f64,
    /// Part of the pause that varies, so that many entities do not come back at one moment.
    pub jitter: f64,
}

impl Backoff {
    /// What is wrong with it, with the remedy.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<(), String> {
        if self.min > self.max {
            return Err(format!(
                "the back-off begins with {:?}, above its longest pause of {:?}",
                self.min, self.max
            ));
        }
        if !(self.factor.is_finite() && self.factor >= 1.0) {
            return Err(format!("the back-off's factor is {}: it is at least 1", self.factor));
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return Err(format!("the back-off's jitter is {}: it is from 0 to 1", self.jitter));
        }
        Ok(())
    }

    /// The pause before attempt `attempt` (from 0). `seed` spreads entities; the engine throws no dice.
    pub fn pause(&self, attempt: u32, seed: u64) -> Duration {
        let grown = self.min.as_secs_f64() * self.factor.powi(i32::try_from(attempt).unwrap_or(i32::MAX));
        // A float that overflows is infinite, and the longest pause is shorter than that.
        let base = if grown < self.max.as_secs_f64() { Duration::from_secs_f64(grown) } else { self.max };
        let spread = seed.wrapping_add(u64::from(attempt)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
        base + base.mul_f64(self.jitter * spread as f64 / f64::from(1 << 24))
    }
}

/// One turn of the engine: the time and the settings go in, answers and reports come out.
#[derive(Debug)]
pub struct Turn {
    /// The time.
    pub now: Now,
    /// Whom to answer what, in order.
    pub answers: Vec<(Caller, Answer)>,
    /// What an operator may want to know, in order.
    pub reports: Vec<Report>,
    /// How many entities came into memory.
    pub created: usize,
    /// Whose code runs, for whoever watches over it.
    pub running: Arc<Running>,
    /// How many incarnations had something that needs one to be told from the next.
    incarnations: u64,
}

impl Turn {
    /// An empty turn.
    pub fn new(now: Now) -> Self {
        Self {
            now,
            answers: Vec::new(),
            reports: Vec::new(),
            created: 0,
            running: Arc::default(),
            incarnations: 0,
        }
    }

    pub(crate) fn next_incarnation(&mut self) -> u64 {
        self.incarnations += 1;
        self.incarnations
    }
}

/// Something that happened to an entity, for logs and counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// Its code panicked; it restarts.
    Panicked {
        /// Which entity.
        id: PersistenceId,
        /// What the panic said.
        what: String,
    },
    /// It cannot be recovered and waits for an operator.
    Parked {
        /// Which entity.
        id: PersistenceId,
        /// What stands in the way.
        reason: String,
    },
    /// Its events could not be read; it tries again.
    RecoveryFailed {
        /// Which entity.
        id: PersistenceId,
        /// What the journal said.
        reason: String,
        /// When it tries again.
        retry_in: Duration,
    },
    /// A write was not acknowledged; the entity recovers.
    PersistFailed {
        /// Which entity.
        id: PersistenceId,
        /// The first event concerned.
        sequence_nr: SequenceNr,
        /// What the journal said.
        reason: String,
    },
    /// An event was refused before it was written; the entity goes on.
    EventRejected {
        /// Which entity.
        id: PersistenceId,
        /// Why.
        reason: String,
    },
    /// A snapshot could not be used; an older one or the events took its place.
    SnapshotUnusable {
        /// Which entity.
        id: PersistenceId,
        /// What was wrong, one for each snapshot.
        reasons: Vec<String>,
    },
    /// A signal that the entity did not care for.
    Unhandled {
        /// Which entity.
        id: PersistenceId,
        /// What it was told.
        signal: Signal,
    },
    /// A command for which the entity had no room.
    DeadLetter {
        /// Which entity.
        id: PersistenceId,
    },
    /// The entity answered more than once, or nobody.
    ReplyWithoutCaller {
        /// Which entity.
        id: PersistenceId,
    },
}

/// What an entity needs next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// It has events to write.
    pub write: bool,
    /// It has events to read.
    pub load: bool,
    /// It wants to be woken then.
    pub wake_at: Option<Duration>,
    /// It wants calls to be made.
    pub calls: bool,
    /// It has left memory.
    pub gone: bool,
}

/// A write that was not acknowledged, as the entity sees it.
#[derive(Clone, Debug)]
pub struct WriteFailure {
    /// What is known of the events that were in flight. Those still queued were surely not stored.
    pub outcome: Outcome,
    /// What the journal said.
    pub reason: String,
}

/// Gathers the writes of many entities into one numbered batch.
#[derive(Debug)]
pub struct BatchBuilder {
    claim: Claim,
    number: u64,
    time_ms: u64,
    limits: JournalLimits,
    writes: Vec<Write>,
    events: usize,
    bytes: usize,
}

impl BatchBuilder {
    /// An empty batch with its number.
    pub fn new(claim: Claim, number: u64, now: Now, limits: JournalLimits) -> Self {
        Self { claim, number, time_ms: now.wall_ms, limits, writes: Vec::new(), events: 0, bytes: 0 }
    }

    /// Whether what comes now should wait for the next batch.
    pub fn is_full(&self) -> bool {
        self.events >= self.limits.batch_events || self.bytes >= self.limits.batch_bytes
    }

    /// How many writes were added; those of one entity that follow each other count as one.
    pub fn writes(&self) -> usize {
        self.writes.len()
    }

    /// The writes, in order.
    pub fn finish(self) -> Vec<Write> {
        self.writes
    }

    /// Adds a deletion.
    pub(crate) fn delete(&mut self, id: &PersistenceId, to: SequenceNr, record: Bytes) {
        self.writes.push(Write::DeleteTo { persistence_id: id.clone(), to, record });
    }

    /// Closes the envelopes of one atomic write and adds it.
    pub(crate) fn append(&mut self, id: &PersistenceId, first: SequenceNr, events: Vec<EncodedEvent>) {
        let mut sequence_nr = first;
        let closed = events.into_iter().map(|event| {
            self.events += 1;
            self.bytes += event.payload.len();
            let stored = StoredEvent {
                sequence_nr: sequence_nr.0,
                payload: event.payload,
                codec: event.codec,
                name: event.name.to_owned(),
                version: event.version,
                time_ms: self.time_ms,
                epoch: self.claim.epoch.0,
                session: self.claim.session,
                batch: self.number,
                ..StoredEvent::default()
            };
            sequence_nr = sequence_nr.next();
            stored.to_bytes()
        });
        let events = closed.collect();
        // Writes of one entity that follow each other are one append: one look at its stream's end.
        if let Some(Write::Append { persistence_id, events: earlier, .. }) = self.writes.last_mut()
            && persistence_id == id
        {
            earlier.extend::<Vec<_>>(events);
        } else {
            self.writes.push(Write::Append { persistence_id: id.clone(), first, events });
        }
    }
}
