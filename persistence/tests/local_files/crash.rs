//! What a crash leaves behind, by hand at every boundary and by a real process that is killed.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use abide_persistence::journal::{Snapshot, SnapshotCriteria, SnapshotStore};
use abide_persistence::runtime::LocalFiles;
use abide_persistence::testkit::{fresh_id, snapshot};
use abide_persistence::{EntityId, EntityType, PersistenceId, SequenceNr};

use crate::{SHARD, file, load, load_up_to, names, save};

/// The states between the steps of a save: folders made, file begun, file whole, file renamed.
#[tokio::test]
async fn a_crash_at_any_step_of_a_save_leaves_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let (saved, folder_only, shard_only) = (fresh_id(None), fresh_id(None), fresh_id(None));
    {
        let store = LocalFiles::open(dir.path()).unwrap();
        save(&store, &saved, snapshot(7, 7, b"state")).await.unwrap();
        save(&store, &saved, snapshot(8, 8, b"state")).await.unwrap();
    }
    let whole = fs::read(file(dir.path(), &saved, 8)).unwrap();
    for end in [0, 1, whole.len() / 2, whole.len()] {
        fs::write(dir.path().join("unfinished").join(end.to_string()), &whole[..end]).unwrap();
    }
    fs::write(dir.path().join("unfinished/probe"), "").unwrap();
    fs::create_dir(file(dir.path(), &folder_only, 1).parent().unwrap()).unwrap();
    fs::create_dir(dir.path().join("259")).unwrap();

    let store = LocalFiles::open(dir.path()).expect("opens after the crash");
    assert_eq!(names(&dir.path().join("unfinished")), [""; 0], "what was not finished is gone");
    assert_eq!(load(&store, &saved).await.unwrap(), Some(snapshot(8, 8, b"state")));
    assert_eq!(load_up_to(&store, &saved, 7).await, Some(snapshot(7, 7, b"state")));
    for id in [folder_only, shard_only] {
        assert_eq!(load(&store, &id).await.unwrap(), None);
        store.delete(SHARD, id.clone(), SnapshotCriteria::ANY).await.unwrap();
        save(&store, &id, snapshot(1, 1, b"first")).await.unwrap();
        assert_eq!(load(&store, &id).await.unwrap(), Some(snapshot(1, 1, b"first")));
    }
}

const DIR: &str = "ABIDE_SNAPSHOT_CRASH_TEST_DIR";
const ROUNDS: u64 = 6;
const ENTITIES: u64 = 6;

fn id(entity: u64) -> PersistenceId {
    PersistenceId::new(EntityType::new("crash"), EntityId::new(&entity.to_string()).unwrap())
}

/// Ever the same for a number and a time, of very different lengths.
fn state(entity: u64, number: u64, time: u64) -> Snapshot {
    snapshot(number, time, &vec![(entity + number + time) as u8; 1 + (time as usize % 7) * 30_000])
}

#[test]
fn a_snapshot_acknowledged_before_the_crash_is_there_and_whole_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut acknowledged: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for round in 1..=ROUNDS {
        for (entity, number, time) in killed_child(dir.path(), round) {
            let last = acknowledged.entry(entity).or_default();
            *last = (number, time).max(*last);
        }
        let store = LocalFiles::open(dir.path()).expect("opens after the crash");
        assert_eq!(names(&dir.path().join("unfinished")), [""; 0]);
        for (entity, acknowledged) in &acknowledged {
            let loaded =
                runtime.block_on(load(&store, &id(*entity))).expect("no damage").expect("there is one");
            let found = (loaded.sequence_nr.0, loaded.time_ms);
            assert!(found >= *acknowledged, "round {round}: {acknowledged:?} acknowledged, {found:?} found");
            assert!(loaded == state(*entity, found.0, found.1), "round {round}: it is what was saved");
        }
    }
    assert_eq!(acknowledged.len() as u64, ENTITIES);
}

/// Starts a writer on the directory, kills it in the middle, and hands back what it said was acknowledged.
fn killed_child(dir: &Path, round: u64) -> Vec<(u64, u64, u64)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::the_process_that_is_killed", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let (mut acknowledged, mut line) = (Vec::new(), String::new());
    let mut killed = false;
    while lines.read_line(&mut line).unwrap() > 0 {
        // A line without its end was cut off by the kill.
        if let Some(words) = line.strip_suffix('\n').and_then(|line| line.strip_prefix("stored ")) {
            let numbers: Vec<u64> = words.split(' ').map(|word| word.parse().unwrap()).collect();
            acknowledged.push((numbers[0], numbers[1], numbers[2]));
        }
        // Some die early, some late.
        if !killed && acknowledged.len() as u64 >= 20 + round * 23 {
            child.kill().unwrap(); // SIGKILL
            killed = true;
        }
        line.clear();
    }
    assert!(killed && !child.wait().unwrap().success(), "the child ended by itself");
    acknowledged
}

/// Saves until it is killed, each number several times, and deletes what is older. Runs only as the child of
/// the test above.
#[test]
fn the_process_that_is_killed() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let store = LocalFiles::open(dir).unwrap();
    let savers: Vec<_> = (0..ENTITIES)
        .map(|entity| {
            let store = store.clone();
            std::thread::spawn(move || save_for_ever(&store, entity))
        })
        .collect();
    for saver in savers {
        saver.join().unwrap();
    }
}

fn save_for_ever(store: &LocalFiles, entity: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let last = runtime.block_on(load(store, &id(entity))).unwrap().map_or(0, |last| last.sequence_nr.0);
    for number in last + 1.. {
        for time in number * 10..number * 10 + 4 {
            runtime.block_on(save(store, &id(entity), state(entity, number, time))).unwrap();
            // In one write, so that the parent sees all of the line or none that ends.
            let line = format!("\nstored {entity} {number} {time}\n");
            std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
        }
        let older = SnapshotCriteria::up_to(SequenceNr(number - 1));
        runtime.block_on(store.delete(SHARD, id(entity), older)).unwrap();
    }
}
