//! Reading a long stream in pages takes no more memory than reading a short one. A program of its own,
//! because it counts every allocation.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::sync::Arc;

use abide_persistence::PersistenceId;
use abide_persistence::SequenceNr;
use abide_persistence::journal::{Journal, ReadEvents, Write};
use abide_persistence::runtime::{EmbeddedOptions, EmbeddedStore, Faulty, MemoryJournal};
use abide_persistence::testkit::{Owner, event};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const EVENTS: u64 = 100_000;
const PAGE_EVENTS: usize = 500;
const PAGE_BYTES: usize = 128 << 10;
/// What reading may take at most: some pages, and the block cache below. A whole stream is 25 MB.
const BOUND: usize = 4 << 20;
const CACHE: u64 = 1 << 20;

/// What reading all events takes at its peak, above what was in use before.
async fn peak_of_reading(owner: &Owner, id: &PersistenceId, max_events: usize, max_bytes: usize) -> usize {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let mut next = 1;
    loop {
        let read = ReadEvents { max_bytes, ..owner.window(id, next, u64::MAX, max_events) };
        let page = owner.journal.read(read).await.expect("a page");
        assert!(page.events.len() <= max_events);
        next += page.events.len() as u64;
        if next > page.last.0 {
            break;
        }
    }
    assert_eq!(next, EVENTS + 1);
    MEMORY.peak_usage().saturating_sub(before)
}

async fn write_all(journal: &Arc<dyn Journal>) -> (Owner, PersistenceId) {
    let (mut owner, id) = Owner::of_fresh_entity(journal).await;
    let mut written = 0;
    while written < EVENTS {
        let events = (written + 1..=written + 500).map(|number| event(number, &[7; 200])).collect();
        let first = SequenceNr(written + 1);
        owner.write(vec![Write::Append { persistence_id: id.clone(), first, events }]).await.unwrap();
        written += 500;
    }
    (owner, id)
}

async fn check(name: &str, owner: &Owner, id: &PersistenceId) {
    let by_number = peak_of_reading(owner, id, PAGE_EVENTS, usize::MAX).await;
    let by_bytes = peak_of_reading(owner, id, usize::MAX, PAGE_BYTES).await;
    println!(
        "{name}: {by_number} bytes at most in pages of {PAGE_EVENTS} events, {by_bytes} in pages of {PAGE_BYTES} bytes"
    );
    assert!(by_number < BOUND, "{name}: {by_number} bytes for pages of {PAGE_EVENTS} events");
    assert!(by_bytes < BOUND, "{name}: {by_bytes} bytes for pages of {PAGE_BYTES} bytes");
}

#[tokio::test]
async fn a_long_stream_is_read_in_pages_with_flat_memory() {
    let memory: Arc<dyn Journal> = Arc::new(Faulty::new(Arc::new(MemoryJournal::new())));
    let (owner, id) = write_all(&memory).await;
    check("memory", &owner, &id).await;
    drop((memory, owner));

    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let options = EmbeddedOptions { cache_bytes: CACHE, ..EmbeddedOptions::default() };
        EmbeddedStore::open(dir.path(), options).unwrap()
    };
    let store = open();
    let (owner, id) = write_all(&(Arc::new(store.clone()) as Arc<dyn Journal>)).await;
    check("embedded", &owner, &id).await;
    // Does the measure see what it should? In one page the whole stream is in memory.
    let whole = peak_of_reading(&owner, &id, usize::MAX, usize::MAX).await;
    assert!(whole > 20 << 20, "{whole} bytes for the whole stream at once");
    store.close().await;
    drop((store, owner));

    let store = open();
    let owner = Owner::of(&(Arc::new(store.clone()) as Arc<dyn Journal>), &id).await;
    check("embedded, after a restart", &owner, &id).await;
    store.close().await;
}
