//! A crash at every boundary: after each acknowledgement, and in the middle of each write to the log.
//!
//! What is found is compared with what the store had said, change by change: what was acknowledged is there,
//! no more and no less, or the store stays shut and says why.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::path::Path;
use std::time::Duration;

use abide_persistence::journal::{Journal, ReadEvents, SnapshotCriteria, SnapshotStore, Write};
use abide_persistence::runtime::{EmbeddedStore, OpenError};
use abide_persistence::testkit::{Owner, event, snapshot};
use abide_persistence::{PersistenceId, SequenceNr};

use crate::opening::{commit_ends, engine_journal};
use crate::{journal, open};

/// What a store holds: of each entity the numbers that are deleted and used, and the end of its newest snapshot.
type Contents = BTreeMap<PersistenceId, (u64, u64, u64)>;

/// A closed store, and what it held after each commit, with the mark and a copy of the directory as they were then.
struct History {
    dir: tempfile::TempDir,
    copies: tempfile::TempDir,
    after: Vec<Contents>,
    owner: Owner,
}

impl History {
    fn copy(&self, commit: usize) -> std::path::PathBuf {
        self.copies.path().join(commit.to_string())
    }
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_dir(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// Appends, deletions, snapshots and batches of all of them, each commit alone.
async fn history() -> History {
    let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(dir.path()).unwrap();
    let (mut owner, one) = Owner::of_fresh_entity(&journal(&store)).await;
    let two = owner.fresh_id();
    // Nothing before the first commit, and the claim alone after it.
    let empty: Contents = [(one.clone(), (0, 0, 0)), (two.clone(), (0, 0, 0))].into();
    let mut after = vec![empty.clone(), empty];
    copy_dir(dir.path(), &copies.path().join("1"));
    for step in 0..14_u64 {
        let mut contents = after[after.len() - 1].clone();
        let id = if step % 3 == 2 { &two } else { &one };
        let append = |id: &PersistenceId, contents: &mut Contents, count: u64| {
            let (_, last, _) = contents.get_mut(id).unwrap();
            *last += count;
            let numbers = *last - count + 1..=*last;
            Write::Append {
                persistence_id: id.clone(),
                first: SequenceNr(*numbers.start()),
                events: numbers.map(|number| event(number, b"event")).collect(),
            }
        };
        match step % 7 {
            4 => {
                let (_, last, saved) = contents.get_mut(&one).unwrap();
                *saved = *last;
                store.save(owner.shard, one.clone(), snapshot(*last, step, b"state")).await.unwrap();
            }
            5 => {
                let (deleted_to, _, saved) = contents.get_mut(&one).unwrap();
                *deleted_to = *saved;
                owner.delete_to(&one, *saved).await.unwrap();
            }
            6 => {
                let writes = vec![append(&one, &mut contents, 2), append(&two, &mut contents, 300)];
                owner.write(writes).await.unwrap();
            }
            _ => owner.write(vec![append(id, &mut contents, 1 + step % 2)]).await.unwrap(),
        }
        after.push(contents);
        copy_dir(dir.path(), &copies.path().join((after.len() - 1).to_string()));
    }
    store.close().await;
    History { dir, copies, after, owner }
}

async fn contents(store: &EmbeddedStore, owner: &Owner, like: &Contents) -> Contents {
    let mut found = Contents::new();
    for id in like.keys() {
        let read = ReadEvents { known: None, ..owner.window(id, 1, u64::MAX, usize::MAX) };
        let page = store.read(read).await.expect("neither a gap nor damage");
        let (deleted_to, last) = (page.deleted_to.0, page.last.0);
        assert!(page.events.into_iter().eq((deleted_to + 1..=last).map(|number| event(number, b"event"))));
        let loaded = store.load(owner.shard, id.clone(), SnapshotCriteria::ANY).await.unwrap();
        let saved = loaded.map_or(0, |snapshot| snapshot.sequence_nr.0);
        found.insert(id.clone(), (deleted_to, last, saved));
    }
    found
}

#[tokio::test]
async fn what_was_acknowledged_is_in_a_copy_taken_at_once() {
    let history = history().await;
    for (commit, expected) in history.after.iter().enumerate().skip(1) {
        let dir = history.copy(commit);
        let store = open(&dir).unwrap_or_else(|refused| panic!("after commit {commit}: {refused}"));
        let found = contents(&store, &history.owner, expected).await;
        assert_eq!(found, *expected, "after commit {commit}");
        // And it goes on from there, under a higher claim.
        let owner = Owner { journal: journal(&store), ..history.owner };
        let mut owner = Owner { claim: owner.claim.again(), ..owner }.again().await;
        let (id, (_, last, _)) = expected.first_key_value().unwrap();
        owner.append(id, last + 1, 1).await.expect("written");
        store.close().await;
    }
}

/// A new store notes in its first record that all its ids are listed; nobody is told of it.
fn without_the_openings<T>(ends: &[T]) -> &[T] {
    &ends[1..]
}

/// The mark is as old as the cut allows, so all that was acknowledged is there, and nothing half.
#[tokio::test]
async fn a_log_that_ends_anywhere_holds_every_whole_commit() {
    let history = history().await;
    let (_, bytes, ends) = engine_journal(history.dir.path());
    let ends = without_the_openings(&ends);
    assert_eq!(ends.len() + 1, history.after.len(), "a record of the log for each commit");
    for commit in 1..ends.len() {
        let (end, next) = (ends[commit - 1], ends[commit]);
        let expected = &history.after[commit];
        for (n, cut) in [end, end + 1, end + 5, end + (next - end) / 2, next - 1].into_iter().enumerate() {
            // Cut off, or never written where room was made for it; with the mark of that commit, or with none.
            let dir = crashed(&history, &bytes, cut, n % 2 == 0, (n < 3).then_some(commit));
            let store =
                open(dir.path()).unwrap_or_else(|refused| panic!("cut at {cut} of {end}..{next}: {refused}"));
            let found = contents(&store, &history.owner, expected).await;
            assert_eq!(found, *expected, "cut at {cut} of {end}..{next}");
            store.close().await;
        }
    }
}

/// The mark says that more was acknowledged than the log holds.
#[tokio::test]
async fn a_log_that_ends_before_what_was_acknowledged_is_refused() {
    let history = history().await;
    let (_, bytes, ends) = engine_journal(history.dir.path());
    let ends = without_the_openings(&ends);
    for commit in 1..ends.len() {
        let (end, next) = (ends[commit - 1], ends[commit]);
        for (n, cut) in [end, end + 3, next - 1].into_iter().enumerate() {
            let dir = crashed(&history, &bytes, cut, n % 2 == 0, Some(commit + 1));
            let refused = open(dir.path()).err().expect("behind");
            let OpenError::BehindMark { acknowledged, found, .. } = refused else { panic!("{refused}") };
            assert_eq!(
                (acknowledged, found),
                (commit as u64 + 1, commit as u64),
                "cut at {cut} of {end}..{next}"
            );
        }
    }
}

/// Tables, an older log file and the newest one together: what is cut off the newest is missed by the mark, and
/// without the mark nothing but that is gone.
#[tokio::test]
async fn the_newest_of_several_log_files_is_cut_like_the_only_one() {
    const LARGE: u64 = 75;
    const LAST: u64 = LARGE + 4;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let (mut owner, id) = Owner::of_fresh_entity(&journal(&store)).await;
    let payload = vec![7; 1 << 20];
    for number in 1..=LAST {
        // The engine goes on to another file in the background, within moments.
        let moved_on = async {
            while newest_log(dir.path()).ends_with("0.jnl") {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if number > LARGE {
            tokio::time::timeout(Duration::from_secs(30), moved_on).await.expect("another log file");
        }
        let payload: &[u8] = if number <= LARGE { &payload } else { b"small" };
        let events = vec![event(number, payload)];
        let first = SequenceNr(number);
        owner.write(vec![Write::Append { persistence_id: id.clone(), first, events }]).await.unwrap();
    }
    store.close().await;

    let newest = newest_log(dir.path());
    let bytes = fs::read(&newest).unwrap();
    let ends = commit_ends(&bytes);
    assert!(ends.len() > 1, "the newest file has some of the small commits");
    let mark = fs::read(dir.path().join("acknowledged")).unwrap();
    // Backwards: each cut is made in what the one before has left.
    let mut left = LAST;
    for end in ends.iter().rev().skip(1).take(3) {
        left -= 1;
        for is_marked in [true, false] {
            OpenOptions::new().write(true).open(&newest).unwrap().set_len(*end as u64 + 7).unwrap();
            fs::write(dir.path().join("acknowledged"), &mark).unwrap();
            if is_marked {
                let refused = open(dir.path()).err().expect("behind");
                assert!(matches!(refused, OpenError::BehindMark { .. }), "{refused}");
                continue;
            }
            fs::remove_file(dir.path().join("acknowledged")).unwrap();
            let store = open(dir.path()).unwrap();
            let read = ReadEvents { known: None, ..owner.window(&id, 1, u64::MAX, usize::MAX) };
            let page = store.read(read).await.expect("neither a gap nor damage");
            assert_eq!((page.events.len() as u64, page.last.0), (left, left));
            store.close().await;
        }
    }
}

fn newest_log(dir: &Path) -> std::path::PathBuf {
    let number = |path: &Path| path.file_name()?.to_str()?.strip_suffix(".jnl")?.parse::<u64>().ok();
    let entries = fs::read_dir(dir.join("db")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| number(path).is_some()).max_by_key(|path| number(path)).unwrap()
}

/// The closed store with its log ending at `cut`, and the mark as it was after a commit.
fn crashed(
    history: &History,
    log: &[u8],
    cut: usize,
    is_cut: bool,
    mark: Option<usize>,
) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy_dir(history.dir.path(), dir.path());
    let path = dir.path().join("db/0.jnl");
    let room = fs::metadata(&path).unwrap().len();
    fs::write(&path, &log[..cut]).unwrap();
    if !is_cut {
        OpenOptions::new().write(true).open(&path).unwrap().set_len(room.max(log.len() as u64)).unwrap();
    }
    let acknowledged = dir.path().join("acknowledged");
    match mark {
        Some(commit) => drop(fs::copy(history.copy(commit).join("acknowledged"), acknowledged).unwrap()),
        None => fs::remove_file(acknowledged).unwrap(),
    }
    dir
}
