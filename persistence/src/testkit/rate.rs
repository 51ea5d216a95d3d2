//! How fast a journal is. Prints, and asserts nothing about speed: that is for whoever reads it, on their machine.
//!
//! Entities that are written in parallel lie in shards of their own, so that each has a batch in flight.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::fresh::{event, fresh_claim, fresh_id, fresh_shard, fresh_writer};
use super::owner::Owner;
use crate::ids::{PersistenceId, SequenceNr};
use crate::journal::{Journal, ReadEvents, Write};

/// Entities that are written at the same time.
const PARALLEL: [u64; 5] = [10, 25, 50, 100, 200];
/// Events of one batch.
const BATCH: u64 = 100;
/// Events of one page.
const PAGE: usize = 500;
const PAYLOAD: [u8; 100] = [b'.'; 100];

/// How fast one thing was.
#[derive(Clone, Debug, PartialEq)]
pub struct Rate {
    /// What was done.
    pub what: String,
    /// How many events were acknowledged or read.
    pub events: u64,
    /// How long it took, from the first call to the last answer.
    pub time: Duration,
}

impl Rate {
    /// Events in a second; 0 if no time passed.
    pub fn per_second(&self) -> f64 {
        let seconds = self.time.as_secs_f64();
        if seconds > 0.0 { self.events as f64 / seconds } else { 0.0 }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, events, time } = self;
        write!(f, "{what:<32} {:>12.0} events/s ({events} events in {time:.2?})", self.per_second())
    }
}

/// Measures a journal with at least so many events for each line, and prints the lines under its name.
pub async fn run(name: &str, journal: &Arc<dyn Journal>, events: u64) -> Vec<Rate> {
    let mut rates = Vec::new();
    let mut note = |rate: Rate| {
        println!("{name}: {rate}");
        rates.push(rate);
    };
    let mut entity = Entity::new(journal).await;
    note(timed("persist one at a time", async || entity.write(events, 1).await).await);
    let mut entity = Entity::new(journal).await;
    note(timed(&format!("persist {BATCH} in a batch"), async || entity.write(events, BATCH).await).await);
    for entities in PARALLEL {
        let mut parallel = Vec::new();
        for _ in 0..entities {
            parallel.push(Entity::new(journal).await);
        }
        let what = format!("persist, {entities} entities in parallel");
        note(timed(&what, async || write_in_parallel(&mut parallel, events).await).await);
    }
    note(timed("replay", async || entity.replay().await).await);
    rates
}

async fn timed(what: &str, act: impl AsyncFnOnce() -> u64) -> Rate {
    let start = Instant::now();
    let events = act().await;
    Rate { what: what.to_owned(), events, time: start.elapsed() }
}

/// An entity in a shard of its own.
struct Entity {
    owner: Owner,
    id: PersistenceId,
    last: u64,
}

impl Entity {
    async fn new(journal: &Arc<dyn Journal>) -> Self {
        let owner = Owner {
            journal: journal.clone(),
            shard: fresh_shard(),
            claim: fresh_claim(),
            writer: fresh_writer(),
            batch: 0,
        };
        owner.claim().await.expect("a shard that nobody holds");
        Self { owner, id: fresh_id(None), last: 0 }
    }

    fn next(&mut self, count: u64) -> Vec<Write> {
        let first = SequenceNr(self.last + 1);
        let events = (0..count).map(|n| event(first.0 + n, &PAYLOAD)).collect();
        self.last += count;
        vec![Write::Append { persistence_id: self.id.clone(), first, events }]
    }

    async fn write(&mut self, events: u64, batch: u64) -> u64 {
        while self.last < events {
            let writes = self.next(batch);
            self.owner.write(writes).await.expect("written");
        }
        self.last
    }

    async fn replay(&self) -> u64 {
        let mut read = 0;
        while read < self.last {
            let window = self.owner.window(&self.id, read + 1, u64::MAX, PAGE);
            let page =
                self.owner.journal.read(ReadEvents { max_bytes: 1 << 20, ..window }).await.expect("a page");
            assert!(!page.events.is_empty(), "event {} is missing", read + 1);
            read += page.events.len() as u64;
        }
        read
    }
}

/// Every entity has one event in flight; the next follow when all are acknowledged.
async fn write_in_parallel(entities: &mut [Entity], events: u64) -> u64 {
    let mut written = 0;
    while written < events {
        let flights: Vec<_> = entities
            .iter_mut()
            .map(|entity| {
                let writes = entity.next(1);
                let batch = entity.owner.next_batch(writes);
                entity.owner.batch += 1;
                entity.owner.journal.write(batch)
            })
            .collect();
        for flight in flights {
            flight.await.expect("written");
            written += 1;
        }
    }
    written
}
