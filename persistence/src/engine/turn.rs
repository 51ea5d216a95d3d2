//! What goes into the engine with every call, and what comes out.

use std::time::Duration;

use crate::codec::EncodedEvent;
use crate::envelope::StoredEvent;
use crate::ids::{PersistenceId, SequenceNr};
use crate::journal::{Claim, JournalLimits, Write};
use crate::model::{Answer, Caller, Outcome};

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
    /// Most requests that one entity holds: those that it has begun and those that wait for it.
    pub stash_capacity: usize,
    /// How a failed entity comes back.
    pub backoff: Backoff,
    /// What fits into its journal.
    pub journal: JournalLimits,
    /// Most events of one page in recovery.
    pub page_events: usize,
    /// The page ends after the event that reaches this many bytes.
    pub page_bytes: usize,
}

/// Exponential back-off with jitter.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The first pause.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
    /// Part of the pause that varies, so that many entities do not come back at one moment.
    pub jitter: f64,
}

impl Backoff {
    /// The pause before attempt `attempt` (from 0). `seed` spreads entities; the engine throws no dice.
    pub fn pause(&self, attempt: u32, seed: u64) -> Duration {
        let doubled = self.min.saturating_mul(1_u32.checked_shl(attempt.min(30)).unwrap_or(u32::MAX));
        let base = doubled.min(self.max);
        let spread = seed.wrapping_add(u64::from(attempt)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
        base + base.mul_f64(self.jitter * spread as f64 / f64::from(1 << 24))
    }
}

/// One turn of the engine: the time and the settings go in, answers and reports come out.
#[derive(Debug)]
pub struct Turn {
    /// The time.
    pub now: Now,
    /// The settings.
    pub settings: EntitySettings,
    /// Whom to answer what, in order.
    pub answers: Vec<(Caller, Answer)>,
    /// What an operator may want to know, in order.
    pub reports: Vec<Report>,
    /// How many entities came into memory.
    pub created: usize,
}

impl Turn {
    /// An empty turn.
    pub fn new(now: Now, settings: EntitySettings) -> Self {
        Self { now, settings, answers: Vec::new(), reports: Vec::new(), created: 0 }
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
