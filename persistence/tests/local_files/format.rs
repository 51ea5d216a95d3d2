//! Which files there are, and that nothing else is taken for one.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use abide_persistence::envelope::StoredSnapshot;
use abide_persistence::journal::{SnapshotCriteria, SnapshotError, SnapshotStore};
use abide_persistence::runtime::LocalFiles;
use abide_persistence::testkit::{fresh_id, snapshot};
use abide_persistence::{EntityId, EntityType, PersistenceId, SequenceNr};

use crate::{SHARD, file, load, load_up_to, names, save};

fn id() -> PersistenceId {
    PersistenceId::new(EntityType::new("account"), EntityId::new("ärger|7").unwrap())
}

/// Frozen: the path, and what lies there.
#[tokio::test]
async fn a_snapshot_of_format_1_is_read_and_written() {
    let fixture =
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/snapshot-v1.bin")).unwrap();
    let path = "258/65f8c0e40be23910d3789481821e5359/00000000000000004242";
    let written = tempfile::tempdir().unwrap();
    {
        let store = LocalFiles::open(written.path()).unwrap();
        let meant = StoredSnapshot::open(fixture.clone().into(), &id(), SequenceNr(4_242)).unwrap();
        save(&store, &id(), meant.clone()).await.unwrap();
        assert_eq!(file(written.path(), &id(), 4_242), written.path().join(path));
        assert!(fs::read(written.path().join(path)).unwrap() == fixture, "it is written as it was");

        let read = tempfile::tempdir().unwrap();
        fs::write(read.path().join("abide-snapshots"), "abide-snapshots format 1\n").unwrap();
        fs::create_dir_all(read.path().join(path).parent().unwrap()).unwrap();
        fs::write(read.path().join(path), &fixture).unwrap();
        let store = LocalFiles::open(read.path()).unwrap();
        assert_eq!(load(&store, &id()).await, Ok(Some(meant)), "it is read as it was meant");
    }
    assert_eq!(names(written.path()), ["258", "abide-snapshots", "unfinished"]);
    assert_eq!(
        fs::read_to_string(written.path().join("abide-snapshots")).unwrap(),
        "abide-snapshots format 1\n"
    );
}

#[tokio::test]
async fn nothing_is_left_of_an_entity_whose_snapshots_are_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalFiles::open(dir.path()).unwrap();
    let (id, other) = (fresh_id(None), fresh_id(None));
    for id in [&id, &other] {
        for number in 1..=3 {
            save(&store, id, snapshot(number, number, b"state")).await.unwrap();
        }
    }
    assert_eq!(names(&dir.path().join("258")).len(), 2);
    store.delete(SHARD, id.clone(), SnapshotCriteria::ANY).await.unwrap();
    assert_eq!(names(&dir.path().join("258")).len(), 1);
    assert_eq!(names(&dir.path().join("unfinished")), [""; 0]);
    assert_eq!(load(&store, &other).await.unwrap(), Some(snapshot(3, 3, b"state")));
}

/// What others put beside the snapshots is neither read nor removed.
#[tokio::test]
async fn files_with_other_names_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalFiles::open(dir.path()).unwrap();
    let id = fresh_id(None);
    save(&store, &id, snapshot(7, 7, b"state")).await.unwrap();
    let folder = file(dir.path(), &id, 7).parent().unwrap().to_owned();
    let others = [
        "notes.txt",
        "8",
        "00000000000000000008.bak",
        "+0000000000000000008",
        "99999999999999999999",
        ".nfs01",
        "0000000000000000000８",
    ];
    for other in others {
        fs::write(folder.join(other), "not a snapshot").unwrap();
    }
    assert_eq!(load(&store, &id).await.unwrap(), Some(snapshot(7, 7, b"state")));
    store.delete(SHARD, id.clone(), SnapshotCriteria::ANY).await.unwrap();
    assert_eq!(load(&store, &id).await, Ok(None));
    assert_eq!(names(&folder).len(), others.len());
    save(&store, &id, snapshot(9, 9, b"state")).await.unwrap();
    assert_eq!(load(&store, &id).await.unwrap(), Some(snapshot(9, 9, b"state")));
}

/// Under the name of a snapshot, but none: told as damaged, and those below are found.
#[tokio::test]
async fn what_is_no_file_of_a_snapshot_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalFiles::open(dir.path()).unwrap();
    let id = fresh_id(None);
    save(&store, &id, snapshot(7, 7, b"state")).await.unwrap();
    let path = file(dir.path(), &id, 8);
    for how in ["a directory", "a text", "a file too large for memory"] {
        match how {
            "a directory" => fs::create_dir(&path).unwrap(),
            "a text" => fs::write(&path, "foreign").unwrap(),
            _ => fs::File::create(&path).unwrap().set_len(1 << 40).unwrap(),
        }
        let loaded = load(&store, &id).await;
        let Err(SnapshotError::Damaged { sequence_nr: SequenceNr(8), reason }) = loaded else {
            panic!("{how}: {loaded:?}");
        };
        assert!(reason.contains(path.to_str().unwrap()), "{how}: {reason}");
        assert_eq!(load_up_to(&store, &id, 7).await, Some(snapshot(7, 7, b"state")), "{how}");
        if how == "a directory" {
            fs::remove_dir(&path).unwrap();
        }
    }
    // A name that leads nowhere is an error, not an endless search.
    fs::remove_file(&path).unwrap();
    symlink("nowhere", &path).unwrap();
    assert!(matches!(load(&store, &id).await, Err(SnapshotError::Failed(_))));
}

/// By its number it goes, by its time only if that can still be read: from the first bytes, so that a
/// deletion reads no payload.
#[tokio::test]
async fn deleting_reads_no_payload() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalFiles::open(dir.path()).unwrap();
    let id = fresh_id(None);
    for number in 1..=4 {
        save(&store, &id, snapshot(number, number, b"state")).await.unwrap();
    }
    fs::File::options().write(true).open(file(dir.path(), &id, 1)).unwrap().set_len(1 << 40).unwrap();
    fs::File::options().write(true).open(file(dir.path(), &id, 2)).unwrap().set_len(1 << 40).unwrap();
    fs::write(file(dir.path(), &id, 3), "no time").unwrap();
    let early = SnapshotCriteria { max_time_ms: 1, ..SnapshotCriteria::ANY };
    store.delete(SHARD, id.clone(), early).await.unwrap();
    assert_eq!(names(file(dir.path(), &id, 1).parent().unwrap()).len(), 3, "the first went, by its time");
    let lower = SnapshotCriteria::up_to(SequenceNr(2));
    store.delete(SHARD, id.clone(), lower).await.unwrap();
    let all_times_but_one = SnapshotCriteria { min_time_ms: 1, ..SnapshotCriteria::ANY };
    store.delete(SHARD, id.clone(), all_times_but_one).await.unwrap();
    assert_eq!(names(file(dir.path(), &id, 1).parent().unwrap()), ["00000000000000000003"]);
    store.delete(SHARD, id.clone(), SnapshotCriteria::ANY).await.unwrap();
    assert_eq!(load(&store, &id).await, Ok(None));
}

/// Retention goes on while somebody loads: what is listed may be gone before it is opened.
#[tokio::test]
async fn a_load_never_misses_the_one_that_is_always_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalFiles::open(dir.path()).unwrap();
    let id = fresh_id(None);
    save(&store, &id, snapshot(1, 1, b"state")).await.unwrap();
    let (replacing, replaced) = (store.clone(), id.clone());
    let replacing = tokio::spawn(async move {
        for number in 2..=400 {
            save(&replacing, &replaced, snapshot(number, number, b"state")).await.unwrap();
            let older = SnapshotCriteria::up_to(SequenceNr(number - 1));
            replacing.delete(SHARD, replaced.clone(), older).await.unwrap();
        }
    });
    let (mut loads, mut newest) = (0, 0);
    while newest < 400 {
        let loaded = load(&store, &id).await.unwrap().expect("there always is one");
        assert!(loaded.sequence_nr.0 >= newest, "{} after {newest}", loaded.sequence_nr.0);
        newest = loaded.sequence_nr.0;
        loads += 1;
    }
    replacing.await.unwrap();
    assert!(loads > 10, "{loads} loads");
}
