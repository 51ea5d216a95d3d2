//! A real process, killed in the middle of its writes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use abide_persistence::journal::{Batch, Claim, Epoch, Journal, ReadEvents, Write, Writer};
use abide_persistence::testkit::event;
use abide_persistence::{EntityId, EntityType, PersistenceId, SequenceNr, ShardId};

use crate::open;

const DIR: &str = "ABIDE_CRASH_TEST_DIR";
const ROUND: &str = "ABIDE_CRASH_TEST_ROUND";
const ROUNDS: u64 = 10;
const SHARDS: u32 = 8;

fn id(shard: u32) -> PersistenceId {
    PersistenceId::new(EntityType::new("crash"), EntityId::new(&shard.to_string()).unwrap())
}

fn whole(shard: u32) -> ReadEvents {
    ReadEvents {
        shard: ShardId(shard),
        persistence_id: id(shard),
        from: SequenceNr(1),
        to: SequenceNr(u64::MAX),
        max_events: usize::MAX,
        max_bytes: usize::MAX,
        known: None,
    }
}

#[test]
fn a_write_acknowledged_before_the_crash_is_there_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut acknowledged: BTreeMap<u32, u64> = BTreeMap::new();
    for round in 1..=ROUNDS {
        for (shard, number) in killed_child(dir.path(), round) {
            let last = acknowledged.entry(shard).or_default();
            *last = number.max(*last);
        }
        let store = open(dir.path()).expect("opens after the crash");
        for (shard, acknowledged) in &acknowledged {
            let page = runtime.block_on(store.read(whole(*shard))).expect("no gap, no damage");
            let last = page.last.0;
            assert!(
                last >= *acknowledged,
                "round {round}: {acknowledged} were acknowledged, {last} are there"
            );
            let expected = (1..=last).map(|number| event(number, &[shard.to_le_bytes()[0]; 100]));
            assert!(
                page.events.into_iter().eq(expected),
                "round {round}: the events are those that were written"
            );
        }
    }
    assert_eq!(acknowledged.len(), SHARDS as usize);
}

/// Starts a writer on the directory, kills it in the middle, and hands back what it said was acknowledged.
fn killed_child(dir: &Path, round: u64) -> Vec<(u32, u64)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::the_process_that_is_killed", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let (mut acknowledged, mut line) = (Vec::new(), String::new());
    let mut killed = false;
    while lines.read_line(&mut line).unwrap() > 0 {
        // A line without its end was cut off by the kill.
        let words = line.strip_suffix('\n').and_then(|line| line.strip_prefix("stored ")?.split_once(' '));
        if let Some((shard, number)) = words {
            acknowledged.push((shard.parse().unwrap(), number.parse().unwrap()));
        }
        // Some die early, some late.
        if !killed && acknowledged.len() as u64 >= 100 + round * 97 {
            child.kill().unwrap(); // SIGKILL
            killed = true;
        }
        line.clear();
    }
    assert!(killed && !child.wait().unwrap().success(), "the child ended by itself");
    acknowledged
}

/// Writes until it is killed. Runs only as the child of the test above.
#[test]
fn the_process_that_is_killed() {
    let (Ok(dir), Ok(round)) = (std::env::var(DIR), std::env::var(ROUND)) else { return };
    let store = open(Path::new(&dir)).unwrap();
    let writers: Vec<_> = (0..SHARDS)
        .map(|shard| {
            let (store, epoch) = (store.clone(), Epoch::new(1, round.parse().unwrap()));
            std::thread::spawn(move || write_for_ever(store, shard, Claim { epoch, session: 1 }))
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
}

fn write_for_ever(store: impl Journal, shard: u32, claim: Claim) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let writer = Writer { cluster: 1, incarnation: u128::from(claim.epoch.0) };
    runtime.block_on(store.claim(ShardId(shard), claim, writer, None)).unwrap();
    let mut last = runtime.block_on(store.read(ReadEvents { max_events: 0, ..whole(shard) })).unwrap().last.0;
    for number in 1.. {
        let write = Write::Append {
            persistence_id: id(shard),
            first: SequenceNr(last + 1),
            events: (1..=3).map(|n| event(last + n, &[shard.to_le_bytes()[0]; 100])).collect(),
        };
        let batch = Batch { shard: ShardId(shard), claim, number, writer, writes: Arc::new(vec![write]) };
        runtime.block_on(store.write(batch)).unwrap();
        last += 3;
        // In one write, so that the parent sees all of the line or none that ends.
        std::io::stdout().lock().write_all(format!("\nstored {shard} {last}\n").as_bytes()).unwrap();
    }
}
