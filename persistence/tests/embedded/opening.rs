//! What an operator is told when the directory is not as it should be.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use abide_persistence::PersistenceId;
use abide_persistence::journal::Journal;
use abide_persistence::runtime::OpenError;
use abide_persistence::testkit::Owner;

use crate::{journal, open};

#[test]
fn a_second_process_is_locked_out() {
    let dir = tempfile::tempdir().unwrap();
    let _store = open(dir.path()).unwrap();
    let refused = open(dir.path()).err().expect("locked");
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
    assert!(refused.to_string().contains("in use by another process; stop that one first"), "{refused}");
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("precious"), "data").unwrap();
    let refused = open(dir.path()).err().expect("foreign");
    assert!(matches!(&refused, OpenError::Foreign { found, .. } if found == "precious"), "{refused}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was written");
}

#[test]
fn a_directory_that_cannot_be_written_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = open(&file.join("journal")).err().expect("no directory");
    assert!(matches!(refused, OpenError::Failed { .. }), "{refused}");
    // Not even root may write here.
    let refused = open(Path::new("/proc/abide-journal")).err().expect("not writable");
    assert!(matches!(refused, OpenError::NotWritable { .. } | OpenError::Failed { .. }), "{refused}");
}

#[test]
fn a_newer_format_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("abide-journal"), "abide-journal format 2\n").unwrap();
    let refused = open(dir.path()).err().expect("newer");
    assert!(matches!(refused, OpenError::NewerFormat { found: 2, .. }), "{refused}");
    fs::write(dir.path().join("abide-journal"), "").unwrap();
    let refused = open(dir.path()).err().expect("no format");
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
}

#[test]
fn a_first_start_that_was_interrupted_is_repeated() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("abide-journal.new"), "abide-jou").unwrap();
    fs::create_dir(dir.path().join("lost+found")).unwrap();
    drop(open(dir.path()).unwrap());
    fs::remove_dir_all(dir.path().join("db")).unwrap();
    fs::remove_file(dir.path().join("acknowledged")).unwrap();
    fs::create_dir(dir.path().join("db.creating")).unwrap();
    fs::write(dir.path().join("db.creating/0.jnl"), "half").unwrap();
    open(dir.path()).unwrap();
}

#[tokio::test]
async fn a_database_that_went_missing_is_not_made_anew() {
    let (dir, _) = hundred_commits().await;
    fs::rename(dir.path().join("db/version"), dir.path().join("version")).unwrap();
    let refused = open(dir.path()).err().expect("damaged");
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
    fs::remove_dir_all(dir.path().join("db")).unwrap();
    let refused = open(dir.path()).err().expect("damaged");
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
}

/// A store of a hundred commits, closed; each holds the next event of one entity.
async fn hundred_commits() -> (tempfile::TempDir, PersistenceId) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let (mut owner, id) = Owner::of_fresh_entity(&journal(&store)).await;
    for number in 1..=99 {
        owner.append(&id, number, 1).await.unwrap();
    }
    store.close().await;
    (dir, id)
}

/// The engine's journal file, and the ends of the commits in it.
pub(crate) fn engine_journal(dir: &Path) -> (PathBuf, Vec<u8>, Vec<usize>) {
    let path = dir.join("db/0.jnl");
    let mut bytes = fs::read(&path).unwrap();
    let ends = commit_ends(&bytes);
    bytes.truncate(*ends.last().unwrap());
    (path, bytes, ends)
}

pub(crate) fn commit_ends(log: &[u8]) -> Vec<usize> {
    log.windows(4).enumerate().filter(|(_, four)| four == b"FJL\x03").map(|(at, _)| at + 4).collect()
}

fn overwrite(path: &Path, at: usize, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at as u64)).unwrap();
    file.write_all(bytes).unwrap();
}

#[tokio::test]
async fn a_torn_tail_costs_nothing_that_was_acknowledged() {
    let (dir, id) = hundred_commits().await;
    let (path, bytes, ends) = engine_journal(dir.path());
    let last = &bytes[ends[ends.len() - 2]..];
    for torn in [1, 5, 13, 20, last.len() / 2, last.len() - 1] {
        overwrite(&path, bytes.len(), &last[..torn]);
        let store = open(dir.path()).unwrap();
        Owner::of(&journal(&store), &id).await.expect_all(&id, 1..=99, 99).await;
        store.close().await;
        // That start has written a claim; the file is put back as it was, and the mark with it.
        fs::write(&path, &bytes).unwrap();
        fs::remove_file(dir.path().join("acknowledged")).unwrap();
    }
}

#[tokio::test]
async fn acknowledged_commits_that_the_engine_drops_silently_are_missed() {
    let (dir, id) = hundred_commits().await;
    let (path, bytes, ends) = engine_journal(dir.path());
    // The first byte of a commit in the middle says that a commit begins.
    let at = ends[ends.len() / 2];
    assert_eq!(bytes[at], 1);
    overwrite(&path, at, &[0x41]);
    for _ in 0..2 {
        let refused = open(dir.path()).err().expect("behind");
        let OpenError::BehindMark { acknowledged, found, .. } = refused else { panic!("{refused}") };
        assert!(acknowledged == 100 && found < 100, "{found} of {acknowledged}");
    }
    fs::remove_file(dir.path().join("acknowledged")).unwrap();
    let store = open(dir.path()).expect("the loss was accepted");
    let page = Owner::of(&journal(&store), &id).await.read(&id).await.unwrap();
    assert!(page.events.len() < 99, "{} events", page.events.len());
}

#[tokio::test]
async fn a_lost_last_commit_is_missed() {
    let (dir, _) = hundred_commits().await;
    let (path, bytes, _) = engine_journal(dir.path());
    OpenOptions::new().write(true).open(&path).unwrap().set_len(bytes.len() as u64 - 1).unwrap();
    let refused = open(dir.path()).err().expect("behind");
    assert!(matches!(refused, OpenError::BehindMark { acknowledged: 100, found: 99, .. }), "{refused}");
}

#[tokio::test]
async fn damaged_contents_are_refused() {
    let (dir, _) = hundred_commits().await;
    let (path, bytes, ends) = engine_journal(dir.path());
    let at = ends[ends.len() / 2] + 13 + 21 + 3;
    overwrite(&path, at, &[bytes[at] ^ 0xff]);
    let refused = open(dir.path()).err().expect("damaged");
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
}

#[tokio::test]
async fn a_break_in_an_older_journal_file_is_refused() {
    let (dir, _) = hundred_commits().await;
    let (path, bytes, ends) = engine_journal(dir.path());
    // As if the engine had gone on to a second file in the middle of history.
    let middle = ends[ends.len() / 2];
    fs::write(&path, &bytes[..middle]).unwrap();
    fs::write(path.with_file_name("1.jnl"), &bytes[middle..]).unwrap();
    overwrite(&path, ends[3], &[0x41]);
    let refused = open(dir.path()).err().expect("damaged");
    assert!(matches!(&refused, OpenError::Damaged { what, .. } if what.contains("0.jnl")), "{refused}");
    overwrite(&path, ends[3], &[1]);
    open(dir.path()).expect("whole again").health().await.unwrap();
}

#[tokio::test]
async fn a_mark_that_cannot_be_read_says_nothing() {
    for mark in [&b""[..], b"short", b"0123456789abcdef"] {
        let (dir, id) = hundred_commits().await;
        fs::write(dir.path().join("acknowledged"), mark).unwrap();
        let store = open(dir.path()).unwrap();
        Owner::of(&journal(&store), &id).await.expect_all(&id, 1..=99, 99).await;
    }
}
