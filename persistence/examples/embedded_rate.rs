//! How many acknowledged events a second the embedded store takes, beside the bare engine in the same run.
//!
//! Each commit of the engine holds 256 events of 200 bytes and is synced. The store has as many in flight,
//! spread over more or fewer shards, each of which sends its next batch when the last one is acknowledged;
//! how many then share a commit is printed with the rate.
//!
//! Run: `cargo run --release --example embedded_rate -- <directory on a real disk>`

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use abide_persistence::journal::{Batch, Claim, Epoch, Journal, Write, Writer};
use abide_persistence::runtime::{EmbeddedOptions, EmbeddedStore};
use abide_persistence::testkit::event;
use abide_persistence::{EntityId, EntityType, PersistenceId, SequenceNr, ShardId};
use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use futures_util::future::join_all;

const TIME: Duration = Duration::from_secs(6);
const WRITER: Writer = Writer { cluster: 1, incarnation: 1 };

fn main() {
    let dir = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let dir = tempfile::tempdir_in(dir).expect("a directory");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for round in 0..3 {
        println!("engine: {:.0} events/s, 256 a commit", engine(&dir.path().join(format!("engine-{round}"))));
        for (shards, each) in [(256, 1), (16, 16), (4, 64), (2, 256)] {
            let dir = dir.path().join(format!("{shards}-{each}-{round}"));
            let (rate, group) = runtime.block_on(store(&dir, shards, each));
            println!("{shards} shards x {each}: {rate:.0} events/s, {group:.0} a commit");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this program measures time")]
fn now() -> Instant {
    Instant::now()
}

fn per_second(events: u64, start: Instant) -> f64 {
    events as f64 / start.elapsed().as_secs_f64()
}

fn engine(dir: &Path) -> f64 {
    let db = Database::builder(dir).cache_size(128 << 20).open().expect("opens");
    let options = || KeyspaceCreateOptions::default().max_memtable_size(32 << 20);
    let events = db.keyspace("events", options).expect("a keyspace");
    let payload = [b'.'; 180];
    let (start, mut written) = (now(), 0_u64);
    while start.elapsed() < TIME {
        let mut batch = db.batch().durability(Some(PersistMode::SyncAll));
        for _ in 0..256 {
            let (entity, number) = (written % 1_000, written / 1_000 + 1);
            let mut key = format!("counter|entity-{entity:08}\0").into_bytes();
            key.extend_from_slice(&number.to_be_bytes());
            batch.insert(&events, key, event(number, &payload).as_ref());
            written += 1;
        }
        batch.commit().expect("commits");
    }
    per_second(written, start)
}

async fn store(dir: &Path, shards: u32, each: u64) -> (f64, f64) {
    let store = EmbeddedStore::open(dir, EmbeddedOptions::default()).expect("opens");
    let claim = Claim { epoch: Epoch::new(1, 1), session: 1 };
    let claims = (0..shards).map(|shard| store.claim(ShardId(shard), claim, WRITER, None));
    join_all(claims).await.into_iter().for_each(|claimed| claimed.expect("taken"));
    let start = now();
    let owners = (0..shards).map(|shard| owner(&store, ShardId(shard), claim, each, start));
    let written: u64 = join_all(owners).await.into_iter().sum();
    let rate = per_second(written, start);
    store.close().await;
    let mark = std::fs::read(dir.join("acknowledged")).expect("a mark");
    let commits = u64::from_le_bytes(*mark.first_chunk().expect("a number"));
    (rate, written as f64 / commits as f64)
}

async fn owner(store: &EmbeddedStore, shard: ShardId, claim: Claim, each: u64, start: Instant) -> u64 {
    let ids: Vec<PersistenceId> = (0..64)
        .map(|n| EntityId::new(&format!("entity-{shard}-{n:04}")).expect("an id"))
        .map(|id| PersistenceId::new(EntityType::new("counter"), id))
        .collect();
    let payload = [b'.'; 180];
    let (mut written, mut batches) = (0, 0);
    while start.elapsed() < TIME {
        let append = |n: u64| {
            let at = written + n;
            let number = at / ids.len() as u64 + 1;
            Write::Append {
                persistence_id: ids[(at % ids.len() as u64) as usize].clone(),
                first: SequenceNr(number),
                events: vec![event(number, &payload)],
            }
        };
        let writes = Arc::new((0..each).map(append).collect());
        batches += 1;
        store.write(Batch { shard, claim, number: batches, writer: WRITER, writes }).await.expect("written");
        written += each;
    }
    written
}
