//! A disk that fills up, and steps that fail. The first needs a file system of its own, so it runs only where
//! mounting is allowed.

use abide_persistence::SequenceNr;
use std::fs;

use abide_persistence::journal::{Snapshot, SnapshotCriteria, SnapshotError, SnapshotStore};
use abide_persistence::runtime::LocalFiles;
use abide_persistence::testkit::{fresh_id, snapshot};

use crate::small_disk::SmallDisk;
use crate::{SHARD, file, load, names, save};

#[tokio::test]
async fn a_full_disk_fails_that_save_and_hurts_nothing_else() {
    let Some(disk) = SmallDisk::mount("8m") else {
        println!("skipped: mounting a tmpfs is not permitted here");
        return;
    };
    let dir = disk.dir.path().join("snapshots");
    let store = LocalFiles::open(&dir).unwrap();
    let id = fresh_id(None);
    let large = |number: u64| snapshot(number, number, &vec![number as u8; 3_000_000]);
    save(&store, &id, large(1)).await.unwrap();
    save(&store, &id, large(2)).await.unwrap();
    let refused = save(&store, &id, large(3)).await.expect_err("no room");
    assert!(refused.0.contains("No space left") && refused.0.contains("could not be written"), "{refused}");
    assert!(load(&store, &id).await.unwrap() == Some(large(2)), "the one before is there");
    assert_eq!(names(&dir.join("unfinished")), [""; 0], "and gives back the room that it took");

    // The same number: the old one stays until the new one is whole.
    let other = snapshot(2, 99, &vec![9; 3_000_000]);
    save(&store, &id, other.clone()).await.expect_err("no room for both");
    assert!(load(&store, &id).await.unwrap() == Some(large(2)));

    // It goes on by itself once there is room.
    store.delete(SHARD, id.clone(), SnapshotCriteria::exactly(SequenceNr(1))).await.unwrap();
    save(&store, &id, other.clone()).await.unwrap();
    assert!(load(&store, &id).await.unwrap() == Some(other));
    assert_eq!(names(file(&dir, &id, 2).parent().unwrap()).len(), 1);
}

/// Whichever step fails: that call is told why, what was there stays, and nothing has to be started anew.
#[tokio::test]
async fn a_step_that_fails_is_told_and_leaves_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalFiles::open(dir.path()).unwrap();
    let id = fresh_id(None);
    let (old, new) = (snapshot(1, 1, b"old"), snapshot(2, 2, b"new"));
    save(&store, &id, old.clone()).await.unwrap();
    let folder = file(dir.path(), &id, 1).parent().unwrap().to_owned();

    let unfinished = dir.path().join("unfinished");
    fs::remove_dir(&unfinished).unwrap();
    let refused = save(&store, &id, new.clone()).await.expect_err("nowhere to write");
    assert!(refused.0.contains("00000000000000000002 could not be written"), "{refused}");
    fs::create_dir(&unfinished).unwrap();

    let in_the_way = file(dir.path(), &id, 2);
    fs::create_dir(&in_the_way).unwrap();
    let refused = save(&store, &id, new.clone()).await.expect_err("cannot be renamed");
    assert!(refused.0.contains("could not be written"), "{refused}");
    assert_eq!(names(&unfinished), [""; 0], "nothing is left of it");
    let exactly = SnapshotCriteria::exactly(SequenceNr(2));
    let refused = store.delete(SHARD, id.clone(), exactly).await.expect_err("cannot be removed");
    assert!(refused.0.contains("could not be deleted"), "{refused}");
    fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(load(&store, &id).await.unwrap(), Some(old.clone()));

    let moved = dir.path().join("moved");
    fs::rename(&folder, &moved).unwrap();
    fs::write(&folder, "in the way").unwrap();
    let refused = save(&store, &id, new.clone()).await.expect_err("no folder");
    assert!(refused.0.contains("could not be written"), "{refused}");
    let refused = load(&store, &id).await.expect_err("not a folder");
    assert!(
        matches!(&refused, SnapshotError::Failed(cause) if cause.0.contains("could not be listed")),
        "{refused}"
    );
    store.delete(SHARD, id.clone(), SnapshotCriteria::ANY).await.expect_err("not a folder");
    fs::remove_file(&folder).unwrap();
    fs::rename(&moved, &folder).unwrap();

    assert_eq!(load(&store, &id).await.unwrap(), Some(old));
    save(&store, &id, new.clone()).await.unwrap();
    assert_eq!(load(&store, &id).await.unwrap(), Some(new));
}

/// The disk is not mounted any more: nothing is created in its place.
#[tokio::test]
async fn a_directory_that_is_gone_is_not_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snapshots");
    let store = LocalFiles::open(&path).unwrap();
    fs::remove_dir_all(&path).unwrap();
    save(&store, &fresh_id(None), snapshot(1, 1, b"state")).await.expect_err("nowhere to write");
    assert_eq!(names(dir.path()), [""; 0]);
}

#[tokio::test]
async fn what_is_larger_than_the_store_takes_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalFiles::open(dir.path()).unwrap();
    let id = fresh_id(None);
    let too_large = Snapshot { payload: vec![0; (256 << 20) + 1].into(), ..snapshot(1, 1, b"") };
    let refused = save(&store, &id, too_large).await.expect_err("too large");
    assert!(refused.0.contains("more than the store takes"), "{refused}");
    assert_eq!(load(&store, &id).await.unwrap(), None);
    save(&store, &id, snapshot(1, 1, b"state")).await.unwrap();
}
