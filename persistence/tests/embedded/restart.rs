//! What a store that was closed, or dropped, still knows.

use abide_persistence::SequenceNr;
use abide_persistence::journal::{
    Batch, ClaimError, Journal, SnapshotCriteria, SnapshotStore, StoreError, WriteError,
};
use abide_persistence::testkit::{Owner, snapshot};

use crate::{journal, open};

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let (mut owner, id) = Owner::of_fresh_entity(&journal(&store)).await;
    owner.append(&id, 1, 5).await.unwrap();
    owner.delete_to(&id, 2).await.unwrap();
    store.save(owner.shard, id.clone(), snapshot(3, 7, b"state")).await.unwrap();
    store.close().await;

    let store = open(dir.path()).unwrap();
    let mut next = Owner::of(&journal(&store), &id).await;
    next.expect_all(&id, 3..=5, 5).await;
    next.append(&id, 5, 1).await.expect_err("a used number");
    next.append(&id, 6, 1).await.unwrap();
    let loaded = store.load(next.shard, id.clone(), SnapshotCriteria::ANY).await.unwrap();
    assert_eq!(loaded, Some(snapshot(3, 7, b"state")));
}

/// Batches are counted in memory only, so nothing of an earlier process may look like a repeat.
#[tokio::test]
async fn after_a_restart_only_a_higher_claim_opens_a_shard() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let (mut owner, id) = Owner::of_fresh_entity(&journal(&store)).await;
    owner.append(&id, 1, 1).await.unwrap();
    let late = owner.next_batch(Vec::new());
    store.close().await;

    let store = open(dir.path()).unwrap();
    for number in [0, 1, 2, u64::MAX - 1] {
        let refused = store.write(Batch { number, ..late.clone() }).await;
        assert!(matches!(refused, Err(WriteError::Fenced { .. })), "batch {number}: {refused:?}");
    }
    let repeated = store.claim(owner.shard, owner.claim, owner.writer, None).await;
    assert!(
        matches!(repeated, Err(ClaimError::Fenced { held }) if held.claim == owner.claim),
        "{repeated:?}"
    );
    let owner = Owner { journal: journal(&store), ..owner };
    let mut again = owner.again().await;
    again.append(&id, 2, 1).await.unwrap();
    again.expect_all(&id, 1..=2, 2).await;
}

#[tokio::test]
async fn a_closed_store_says_so_and_lets_go_of_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let (owner, id) = Owner::of_fresh_entity(&journal(&store)).await;
    let last = store.write(owner.next_batch(Vec::new()));
    store.close().await;
    assert_eq!(last.await, Ok(()), "what was queued before is still done");

    let closed = StoreError("the store is closed".to_owned());
    assert_eq!(store.write(owner.next_batch(Vec::new())).await, Err(WriteError::NotWritten(closed.clone())));
    assert_eq!(
        store.claim(owner.shard, owner.claim, owner.writer, None).await,
        Err(ClaimError::Failed(closed.clone()))
    );
    assert_eq!(store.health().await, Err(closed));
    owner.read(&id).await.expect_err("closed");
    store.close().await;
    open(dir.path()).expect("the directory is free");
}

#[tokio::test]
async fn dropping_the_last_handle_closes_the_store() {
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=3 {
        let store = open(dir.path()).expect("the directory is free");
        let id = abide_persistence::testkit::fresh_id(None);
        let mut owner = Owner::of(&journal(&store), &id).await;
        owner.append(&id, 1, round).await.unwrap();
        let unanswered = store.write(owner.next_batch(Vec::new()));
        drop((store, owner));
        assert_eq!(unanswered.await, Ok(()), "what was queued is still done");
    }
}

/// Ten megabytes a round, so that memtables are flushed and journal files are left behind.
#[tokio::test]
async fn tables_and_journals_together_hold_everything() {
    let dir = tempfile::tempdir().unwrap();
    let id = abide_persistence::testkit::fresh_id(None);
    let large = vec![7; 1 << 20];
    let mut written = 0;
    for _ in 0..4 {
        let store = open(dir.path()).unwrap();
        let mut owner = Owner::of(&journal(&store), &id).await;
        for _ in 0..25 {
            written += 1;
            let write = abide_persistence::journal::Write::Append {
                persistence_id: id.clone(),
                first: SequenceNr(written),
                events: vec![abide_persistence::testkit::event(written, &large)],
            };
            owner.write(vec![write]).await.unwrap();
        }
        let page = owner.read(&id).await.unwrap();
        assert_eq!((page.events.len() as u64, page.last), (written, SequenceNr(written)));
        store.close().await;
    }
}
