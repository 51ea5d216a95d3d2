//! The figure of `docs/performance.md` that is counted and not timed: what recovering one long entity takes
//! at its peak, in bytes that are allocated, above what was in use before.
//!
//! ```sh
//! cargo bench -p abide --bench peak
//! ```
//!
//! A program of its own, because it counts every allocation.

#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, reason = "a benchmark")]

mod common;

use std::path::Path;
use std::sync::Arc;

use abide::persistence::journal::{Journal, ReadEvents};
use abide::persistence::model::PersistentActor;
use abide::persistence::runtime::{EmbeddedOptions, EmbeddedStore};
use abide::persistence::{EntityId, PersistenceId, SequenceNr, ShardCount};
use abide::sharding::{EntityRef, Region};
use common::{Line, LineCommand, SHARDS, all_held, directory, many, region_of, runtime};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Small, so that what grows is not the cache; large enough for the indexes of the tables.
const CACHE: u64 = 8 << 20;
/// The engine's cache also remembers the last 10 000 blocks that it has dropped, whatever its size. So it is
/// filled first, from a stream that nobody recovers.
const FILLING: (&str, usize) = ("filling", 200_000);
const LENGTHS: [(&str, usize); 3] = [("short", 10_000), ("long", 100_000), ("longest", 1_000_000)];
const BAR: f64 = 1.5;

fn main() {
    let at = directory("peak");
    let runtime = runtime();
    runtime.block_on(write(&at));
    let peaks = LENGTHS.map(|(id, events)| {
        // A process would have opened the store once; a store that was written to holds what it wrote.
        let generation = 2 + LENGTHS.iter().position(|(other, _)| *other == id).unwrap() as u32;
        runtime.block_on(peak(&at, generation, id, many(events)))
    });
    for ((_, events), peak) in LENGTHS.into_iter().zip(peaks) {
        println!(
            "recovering one entity with {events:>9} events of 200 bytes takes {peak:>9} bytes at its peak"
        );
    }
    let ratio = peaks[1] as f64 / peaks[0] as f64;
    let met = if ratio <= BAR { "met" } else { "NOT MET" };
    println!("    100 000 events against 10 000: {ratio:.2} (bar {BAR}, {met})");
    let _ = std::fs::remove_dir_all(&at);
}

fn open(at: &Path) -> EmbeddedStore {
    EmbeddedStore::open(at, EmbeddedOptions { cache_bytes: CACHE, ..EmbeddedOptions::default() }).unwrap()
}

fn line(region: &Region, id: &str) -> EntityRef<Line> {
    region.entity(EntityId::new(id).unwrap()).unwrap()
}

async fn write(at: &Path) {
    let store = open(at);
    let region = region_of(1, Arc::new(store.clone()));
    for (id, events) in LENGTHS.into_iter().chain([FILLING]) {
        let (line, events) = (line(&region, id), many(events));
        for start in (0..events).step_by(500) {
            let texts = (start..events.min(start + 500)).map(|n| format!("{n:0200}"));
            line.ask(LineCommand::StoreMany(texts.collect())).await.unwrap();
        }
    }
    region.stop().await;
    store.close().await;
}

/// What one recovery takes in a store that was just opened.
async fn peak(at: &Path, generation: u32, id: &str, events: usize) -> usize {
    let store = open(at);
    let region = region_of(generation, Arc::new(store.clone()));
    all_held(&region).await;
    fill_cache(&store).await;
    assert_eq!(line(&region, "nobody").ask(LineCommand::Count).await.unwrap(), 0);

    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    assert_eq!(line(&region, id).ask(LineCommand::Count).await.unwrap(), events as u64);
    let peak = MEMORY.peak_usage() - before;

    region.stop().await;
    store.close().await;
    peak
}

async fn fill_cache(store: &EmbeddedStore) {
    let id = PersistenceId::new(Line::TYPE, EntityId::new(FILLING.0).unwrap());
    let shard = id.hash().shard(ShardCount::new(SHARDS).unwrap());
    let mut next = 1;
    loop {
        let (persistence_id, from, to) = (id.clone(), SequenceNr(next), SequenceNr(u64::MAX));
        let (max_events, max_bytes) = (100, usize::MAX);
        let read = ReadEvents { shard, persistence_id, from, to, max_events, max_bytes, known: None };
        let page = store.read(read).await.unwrap();
        next += page.events.len() as u64;
        if next > page.last.0 {
            return;
        }
    }
}
