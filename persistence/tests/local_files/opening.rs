//! Which directories are opened, and what is said of those that are not.

use std::fs;

use abide_persistence::runtime::{LocalFiles, LocalFilesError};
use abide_persistence::testkit::{fresh_id, snapshot};

use crate::small_disk::SmallDisk;
use crate::{load, names, save};

fn refused(dir: &std::path::Path) -> (LocalFilesError, String) {
    let refused = LocalFiles::open(dir).err().expect("refused");
    let text = refused.to_string();
    assert!(text.starts_with(dir.to_str().unwrap()), "the path is named: {text}");
    (refused, text)
}

#[tokio::test]
async fn a_missing_directory_is_created_in_one_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (store, id) = (LocalFiles::open(dir.path().join("snapshots")).unwrap(), fresh_id(None));
    save(&store, &id, snapshot(1, 1, b"state")).await.unwrap();
    drop(store);
    let store = LocalFiles::open(dir.path().join("snapshots")).expect("opens again");
    assert_eq!(load(&store, &id).await.unwrap(), Some(snapshot(1, 1, b"state")));
}

#[test]
fn a_missing_parent_is_told_and_not_created() {
    let dir = tempfile::tempdir().unwrap();
    let (refused, text) = refused(&dir.path().join("not-mounted/snapshots"));
    assert!(matches!(refused, LocalFilesError::NoParent { .. }), "{text}");
    assert_eq!(names(dir.path()), [""; 0]);
}

#[test]
fn a_file_is_no_directory() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "x").unwrap();
    for path in ["file", "file/below"] {
        let (refused, text) = refused(&dir.path().join(path));
        assert!(matches!(refused, LocalFilesError::NotADirectory { .. }), "{text}");
    }
}

#[test]
fn a_directory_of_something_else_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.tex"), "x").unwrap();
    let (refused, text) = refused(dir.path());
    assert!(matches!(refused, LocalFilesError::Foreign { .. }) && text.contains("thesis.tex"), "{text}");
    assert_eq!(names(dir.path()), ["thesis.tex"]);
}

#[test]
fn a_fresh_volume_is_empty_enough() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("lost+found")).unwrap();
    LocalFiles::open(dir.path()).expect("opened");
}

#[test]
fn another_format_and_another_text_are_told() {
    let dir = tempfile::tempdir().unwrap();
    drop(LocalFiles::open(dir.path()).unwrap());
    let marker = dir.path().join("abide-snapshots");
    fs::write(&marker, "abide-snapshots format 2\n").unwrap();
    let (newer, text) = refused(dir.path());
    assert!(matches!(newer, LocalFilesError::NewerFormat { found: 2, .. }), "{text}");
    for other in
        ["abide-snapshots format 0\n", "abide-snapshots format", "\u{fffd}", "abide-journal format 1\n"]
    {
        fs::write(&marker, other).unwrap();
        let (damaged, text) = refused(dir.path());
        assert!(matches!(damaged, LocalFilesError::Damaged { .. }), "{text}");
    }
    // A crash right after it was created: nothing was stored yet.
    fs::write(&marker, "").unwrap();
    drop(LocalFiles::open(dir.path()).expect("opened"));
    assert_eq!(fs::read_to_string(&marker).unwrap(), "abide-snapshots format 1\n");
}

#[tokio::test]
async fn one_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let (store, id) = (LocalFiles::open(dir.path()).unwrap(), fresh_id(None));
    let (locked, text) = refused(dir.path());
    assert!(matches!(locked, LocalFilesError::Locked { .. }), "{text}");
    let clone = store.clone();
    drop(store);
    refused(dir.path());
    let unanswered: Vec<_> = (1..=20).map(|n| crate::save(&clone, &id, snapshot(n, n, b"state"))).collect();
    for saved in unanswered {
        saved.await.unwrap();
    }
    drop(clone);
    let store = LocalFiles::open(dir.path()).expect("the last handle lets go of it");
    assert_eq!(load(&store, &id).await.unwrap(), Some(snapshot(20, 20, b"state")));
}

#[tokio::test]
async fn what_was_queued_is_done_before_the_directory_is_let_go_of() {
    use abide_persistence::journal::SnapshotStore;
    let dir = tempfile::tempdir().unwrap();
    let (store, id) = (LocalFiles::open(dir.path()).unwrap(), fresh_id(None));
    let unanswered: Vec<_> =
        (1..=20).map(|n| store.save(crate::SHARD, id.clone(), snapshot(n, n, b"state"))).collect();
    drop(store);
    let store = LocalFiles::open(dir.path()).expect("the directory is free");
    for saved in unanswered {
        assert_eq!(saved.await, Ok(()));
    }
    assert_eq!(load(&store, &id).await.unwrap(), Some(snapshot(20, 20, b"state")));
}

#[tokio::test]
async fn a_read_only_disk_is_told() {
    let Some(disk) = SmallDisk::mount("8m") else {
        println!("skipped: mounting a tmpfs is not permitted here");
        return;
    };
    let dir = disk.dir.path().join("snapshots");
    drop(LocalFiles::open(&dir).unwrap());
    disk.remount("ro");
    for dir in [dir, disk.dir.path().join("another")] {
        let (refused, text) = refused(&dir);
        assert!(matches!(refused, LocalFilesError::NotWritable { .. }), "{text}");
        assert!(text.contains("check owner, mode and mount"), "{text}");
    }
}
