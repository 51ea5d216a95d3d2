//! A primary that was replaced and does not know it: nothing is taken, acknowledged, decided or called lost there.

use std::time::Duration;

use abide_chaos_tests::redis::Ground;
use abide_persistence::journal::{ClaimError, ReadError, WriteError};
use abide_persistence::testkit::Owner;

use crate::connecting::options;
use crate::talk::append;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_counts_at_a_primary_that_was_left_behind() {
    let ground = Ground::single().replicas(2).start().await.unwrap();
    let old = ground.primary().await.unwrap();
    let [new, replica] = ground.replicas_of(old).await.unwrap()[..] else { panic!("two replicas") };
    let limit = Duration::from_secs(2);
    let behind = options(&ground).of(old).calls_within(limit).journal().await;
    let (mut older, id) = Owner::of_fresh_entity(&behind).await;
    older.append(&id, 1, 3).await.unwrap();

    new.ask::<()>(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
    let (ip, port) = (new.address().ip().to_string(), new.address().port().to_string());
    replica.ask::<()>(&["REPLICAOF", &ip, &port]).await.unwrap();
    let ahead = options(&ground).of(new).journal().await;
    let mut newer = Owner::of(&ahead, &id).await;
    newer.expect_all(&id, 1..=3, 3).await;
    newer.append(&id, 4, 2).await.unwrap();

    // The newer owner's deciding read goes to the wrong server: the claim is not there.
    let read = behind.read(newer.window(&id, 1, u64::MAX, 100)).await;
    assert!(
        matches!(&read, Err(ReadError::Fenced { held: Some(held) }) if held.claim == older.claim),
        "{read:?}"
    );

    // So do a batch and a claim of hers, who know of more than is there: that is no loss.
    let batch = newer.next_batch(vec![append(&id, 6, 1)]);
    let next = newer.claim.again();
    let claim = behind.claim(newer.shard, next, newer.writer, Some(newer.known()));
    let (batch, claim) = tokio::join!(behind.write(batch), claim);
    assert!(matches!(batch, Err(WriteError::Unknown(_) | WriteError::NotWritten(_))), "{batch:?}");
    assert!(matches!(claim, Err(ClaimError::Failed(_))), "{claim:?}");

    // What the older owner does there runs on the old server, and is not acknowledged.
    let batch = older.append(&id, 4, 1).await;
    assert!(matches!(batch, Err(WriteError::Unknown(_))), "{batch:?}");
    let again = Owner { journal: behind.clone(), claim: older.claim.again(), batch: 0, ..older };
    let claim = again.claim().await;
    assert!(matches!(claim, Err(ClaimError::Failed(_))), "{claim:?}");

    old.ask::<()>(&["REPLICAOF", &ip, &port]).await.unwrap();
    ground.wait_healthy().await.unwrap();
    newer.expect_all(&id, 1..=5, 5).await;
    newer.append(&id, 6, 1).await.unwrap();
    newer.expect_all(&id, 1..=6, 6).await;
}
