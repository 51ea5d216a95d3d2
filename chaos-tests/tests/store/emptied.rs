//! Servers that have lost everything: seen by whoever knows better, and never written over by them.

use std::sync::Arc;

use abide_chaos_tests::redis::{Ground, view::slot_of};
use abide_persistence::PersistenceId;
use abide_persistence::journal::{Claim, ClaimError, Journal, ReadError, WriteError};
use abide_persistence::testkit::{Owner, fresh_claim};

use crate::connecting::options;
use crate::talk::append;

/// What an owner is told who has been acknowledged more than is there.
async fn loss_is_seen(journal: &Arc<dyn Journal>, owner: &Owner, id: &PersistenceId, next: u64) {
    let told = journal.write(owner.next_batch(vec![append(id, next, 1)])).await;
    assert!(matches!(told, Err(WriteError::Lost { held: None, .. })), "{told:?}");
    assert_eq!(owner.read(id).await, Err(ReadError::Fenced { held: None }));
    let least = owner.known();
    let claims: [Claim; 2] = [owner.claim.again(), fresh_claim()];
    for claim in claims {
        let lost = journal.claim(owner.shard, claim, owner.writer, Some(least)).await;
        assert_eq!(lost, Err(ClaimError::Lost { held: None, least }));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flushed_server_is_seen_and_nothing_is_written_over_it() {
    let ground = Ground::single().replicas(1).start().await.unwrap();
    let journal = options(&ground).journal().await;
    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    owner.append(&id, 1, 3).await.unwrap();
    let primary = ground.primary().await.unwrap();
    primary.ask::<()>(&["FLUSHALL"]).await.unwrap();
    loss_is_seen(&journal, &owner, &id, 4).await;
    assert_eq!(primary.ask::<u64>(&["DBSIZE"]).await.unwrap(), 0, "nothing was written over the loss");

    // Somebody who knows of nothing cannot see it.
    let mut next = Owner::of(&journal, &id).await;
    next.expect_all(&id, [], 0).await;
    let told = journal.write(owner.next_batch(vec![append(&id, 4, 1)])).await;
    assert!(matches!(told, Err(WriteError::Fenced { .. })), "{told:?}");
    next.append(&id, 1, 1).await.unwrap();
    next.expect_all(&id, [1], 1).await;
}

/// It is back before anybody could be elected, without its files, and its replica follows it into nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_comes_back_empty_is_seen_and_nothing_is_written_over_it() {
    let ground = Ground::cluster(3, 1).start().await.unwrap();
    let journal = options(&ground).journal().await;
    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    owner.append(&id, 1, 3).await.unwrap();
    let slot = slot_of(format!("{{abide:{}}}", owner.shard.0).as_bytes());
    let primary = ground.primary_of(slot).await.unwrap();
    primary.kill9().await.unwrap();
    std::fs::remove_dir_all(primary.dir().join("appendonlydir")).unwrap();
    primary.start().await.unwrap();
    ground.wait_healthy().await.unwrap();
    if ground.primary_of(slot).await.unwrap() != primary {
        println!("its replica was elected after all: this machine is too slow for the case");
        return;
    }
    loss_is_seen(&journal, &owner, &id, 4).await;
    assert_eq!(primary.ask::<u64>(&["DBSIZE"]).await.unwrap(), 0, "nothing was written over the loss");
}
