//! Owners on threads of their own fight for one entity, over stores that lose requests and answers. Whatever was
//! acknowledged is there, once, in its place; whatever is there was sent.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use abide_persistence::journal::{Journal, Write};
use abide_persistence::runtime::{
    Call, EmbeddedOptions, EmbeddedStore, Fault, FaultControl, Faulty, MemoryJournal, On,
};
use abide_persistence::testkit::{Owner, SHARDS, event, fresh_claim, fresh_id, fresh_writer};
use abide_persistence::{PersistenceId, SequenceNr, ShardCount};
use bytes::Bytes;

const THREADS: u64 = 4;
const BATCHES: u64 = 40;

/// What a thread was told.
#[derive(Default)]
struct Told {
    acknowledged: Vec<(u64, Bytes)>,
    in_doubt: BTreeSet<Bytes>,
}

/// Claims, reads, writes until somebody else takes over, and begins again.
async fn fight(mut owner: Owner, id: PersistenceId, thread: u64) -> Told {
    let mut told = Told::default();
    let mut sent = 0;
    'claim: while sent < BATCHES {
        // Leaves the one who won some time to write; each a different one, so that they do not stay in step.
        tokio::time::sleep(Duration::from_millis(2 + 3 * thread)).await;
        owner = Owner { claim: fresh_claim(), writer: fresh_writer(), batch: 0, ..owner };
        if owner.claim().await.is_err() {
            continue;
        }
        let Ok(page) = owner.read(&id).await else { continue };
        let mut last = page.last.0;
        for _ in 0..5 {
            sent += 1;
            last += 1;
            let bytes = event(last, format!("{thread}-{sent}").as_bytes());
            let first = SequenceNr(last);
            let write = Write::Append { persistence_id: id.clone(), first, events: vec![bytes.clone()] };
            match owner.write(vec![write]).await {
                Ok(()) => told.acknowledged.push((last, bytes)),
                Err(refused) if refused.nothing_stored() => continue 'claim,
                Err(_) => {
                    told.in_doubt.insert(bytes);
                    continue 'claim;
                }
            }
        }
    }
    told
}

fn run(name: &str, plain: Arc<dyn Journal>, seed: u64) {
    let faults = FaultControl::new(seed);
    for fault in [Fault::AnswerLost, Fault::RequestLost, Fault::Refused] {
        faults.sometimes(0.1, On::any(), fault);
    }
    let journal: Arc<dyn Journal> = Arc::new(Faulty::controlled(plain.clone(), faults.clone()));
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let id = fresh_id(None);
    let shard = id.hash().shard(ShardCount::new(SHARDS).expect("in range"));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (journal, id) = (journal.clone(), id.clone());
            std::thread::spawn(move || {
                runtime().block_on(async {
                    let owner =
                        Owner { journal, shard, claim: fresh_claim(), writer: fresh_writer(), batch: 0 };
                    fight(owner, id, thread).await
                })
            })
        })
        .collect();
    let told: Vec<Told> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();

    let stored = runtime().block_on(async {
        let page = Owner::of(&plain, &id).await.read(&id).await.expect("a page");
        assert_eq!(page.last.0, page.events.len() as u64, "{name}: no gap");
        page.events
    });
    let once: BTreeSet<&Bytes> = stored.iter().collect();
    assert_eq!(once.len(), stored.len(), "{name}: nothing is there twice");
    let mut acknowledged = BTreeSet::new();
    for (number, bytes) in told.iter().flat_map(|told| &told.acknowledged) {
        assert_eq!(&stored[*number as usize - 1], bytes, "{name}: event {number} was acknowledged");
        acknowledged.insert(bytes);
    }
    let in_doubt: BTreeSet<&Bytes> = told.iter().flat_map(|told| &told.in_doubt).collect();
    assert!(
        once.iter().all(|bytes| acknowledged.contains(*bytes) || in_doubt.contains(*bytes)),
        "{name}: never sent"
    );
    assert!(faults.injected(Call::Write, Fault::AnswerLost) > 0, "{name}: answers were lost");
    assert!(acknowledged.len() > 10, "{name}: {} were acknowledged", acknowledged.len());
}

#[test]
fn owners_that_race_over_a_failing_memory_journal_lose_and_double_nothing() {
    for seed in 0..8 {
        run("memory", Arc::new(MemoryJournal::new()), seed);
    }
}

#[test]
fn owners_that_race_over_a_failing_embedded_store_lose_and_double_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = EmbeddedStore::open(dir.path(), EmbeddedOptions::default()).expect("opens");
    for seed in 0..5 {
        run("embedded", Arc::new(store.clone()), seed);
    }
}
