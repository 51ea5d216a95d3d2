//! The fence: who holds a shard, and which batch is next.

use std::sync::Arc;

use crate::journal::{Batch, Claim, ClaimError, Epoch, Journal, Token, Usurped, WriteError, Writer};
use crate::testkit::owner::append;
use crate::testkit::{Owner, fresh_claim, fresh_shard, fresh_writer};

fn higher_epoch(claim: Claim) -> Claim {
    Claim { epoch: Epoch(claim.epoch.0 + 1), session: 1 }
}

/// By epoch first, then by session.
pub async fn only_a_strictly_higher_claim_takes_a_shard(journal: Arc<dyn Journal>) {
    let (shard, writer, first) = (fresh_shard(), fresh_writer(), fresh_claim());
    let claim = |claim| journal.claim(shard, claim, writer, None);
    let second = Claim { session: 9, ..first };
    let third = higher_epoch(first);
    for taken in [first, second, third] {
        claim(taken).await.expect("taken");
        for late in [Claim { session: 0, ..first }, first, second, third] {
            if late < taken {
                let fenced = ClaimError::Fenced { held: Token { claim: taken, batch: 0, writer } };
                assert_eq!(claim(late).await, Err(fenced));
            }
        }
    }
}

/// A lost answer is asked for again; but once batch 1 is stored the claim is spent.
pub async fn a_repeated_claim_is_acknowledged_until_something_is_written(journal: Arc<dyn Journal>) {
    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    owner.claim().await.expect("again");
    owner.claim().await.expect("and again");
    owner.append(&id, 1, 1).await.expect("written");
    let refused = owner.claim().await.expect_err("late");
    assert!(matches!(refused, ClaimError::Fenced { held } if held.batch == 1), "{refused}");
    owner.append(&id, 2, 1).await.expect("still the owner");
}

/// The newer owner goes on as if nothing had come.
pub async fn a_late_copy_of_a_claim_changes_nothing(journal: Arc<dyn Journal>) {
    let (old, id) = Owner::of_fresh_entity(&journal).await;
    let mut new = Owner::of(&journal, &id).await;
    new.append(&id, 1, 1).await.expect("written");
    assert!(matches!(old.claim().await, Err(ClaimError::Fenced { held }) if held.claim == new.claim));
    new.append(&id, 2, 1).await.expect("written");
    new.expect_all(&id, 1..=2, 2).await;
}

/// A data directory that is used twice.
pub async fn two_processes_at_one_epoch_are_told_apart(journal: Arc<dyn Journal>) {
    let (shard, claim) = (fresh_shard(), fresh_claim());
    journal.claim(shard, claim, fresh_writer(), None).await.expect("taken");
    let usurped = Err(ClaimError::Usurped(Usurped::Incarnation(claim.epoch)));
    assert_eq!(journal.claim(shard, claim, fresh_writer(), None).await, usurped);
    assert_eq!(journal.claim(shard, claim.again(), fresh_writer(), None).await, usurped);
}

/// Two clusters on one journal.
pub async fn two_clusters_at_one_generation_are_told_apart(journal: Arc<dyn Journal>) {
    let (shard, claim, writer) = (fresh_shard(), fresh_claim(), fresh_writer());
    journal.claim(shard, claim, writer, None).await.expect("taken");
    let other = Writer { cluster: writer.cluster + 1, ..fresh_writer() };
    let usurped = Err(ClaimError::Usurped(Usurped::Cluster(1)));
    assert_eq!(journal.claim(shard, higher_epoch(claim), other, None).await, usurped);
}

/// The cluster was formed anew elsewhere.
pub async fn an_older_generation_is_usurped(journal: Arc<dyn Journal>) {
    let (shard, writer) = (fresh_shard(), fresh_writer());
    let claim = Claim { epoch: Epoch::new(3, 1), session: 1 };
    journal.claim(shard, claim, writer, None).await.expect("taken");
    let usurped = Err(ClaimError::Usurped(Usurped::Generation { ours: 1, theirs: 3 }));
    assert_eq!(journal.claim(shard, fresh_claim(), fresh_writer(), None).await, usurped);
}

/// Whatever cluster and log index it has.
pub async fn a_newer_generation_takes_the_shard(journal: Arc<dyn Journal>) {
    let (shard, writer) = (fresh_shard(), fresh_writer());
    journal.claim(shard, fresh_claim(), writer, None).await.expect("taken");
    let highest = Claim { epoch: Epoch::new((1 << 24) - 1, 1), session: 1 };
    let other = Writer { cluster: u128::MAX, incarnation: u128::MAX };
    journal.claim(shard, highest, other, None).await.expect("taken");
    // Neighbours at the top of the range are told apart: nothing rounds.
    let next = Claim { epoch: Epoch::new((1 << 24) - 1, 2), session: 1 };
    journal.claim(shard, next, other, None).await.expect("taken");
    assert!(matches!(journal.claim(shard, highest, other, None).await, Err(ClaimError::Fenced { .. })));
}

/// Whoever writes was told that its claim was taken; and there is none.
pub async fn nothing_is_written_to_an_unclaimed_shard(journal: Arc<dyn Journal>) {
    let batch = Batch {
        shard: fresh_shard(),
        claim: fresh_claim(),
        number: 1,
        writer: fresh_writer(),
        writes: Arc::default(),
    };
    assert_eq!(journal.write(batch).await, Err(WriteError::Lost { held: None, sent_again: false }));
}

/// 1, 2, 3, …
pub async fn batches_run_once_and_in_order(journal: Arc<dyn Journal>) {
    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    for number in 1..=20 {
        owner.append(&id, number, 1).await.expect("written");
    }
    owner.expect_all(&id, 1..=20, 20).await;
}

/// The answer was lost, the same bytes are sent again under the same number.
pub async fn a_repeated_batch_is_acknowledged_and_not_stored_twice(journal: Arc<dyn Journal>) {
    let (owner, id) = Owner::of_fresh_entity(&journal).await;
    let batch = owner.next_batch(vec![append(&id, 1, 3)]);
    for _ in 0..3 {
        journal.write(batch.clone()).await.expect("acknowledged");
    }
    owner.expect_all(&id, 1..=3, 3).await;
    // Both copies in flight at once.
    let batch = Batch { number: 2, ..owner.next_batch(vec![append(&id, 4, 1)]) };
    let (one, two) = (journal.write(batch.clone()), journal.write(batch));
    one.await.expect("acknowledged");
    two.await.expect("acknowledged");
    owner.expect_all(&id, 1..=4, 4).await;
}

/// An earlier number is a late copy. A later one says that more was acknowledged than there is.
pub async fn a_batch_out_of_turn_is_refused(journal: Arc<dyn Journal>) {
    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    for number in 1..=3 {
        owner.append(&id, number, 1).await.expect("written");
    }
    for number in [0, 1, 2, 5, 6, u64::MAX] {
        let batch = Batch { number, ..owner.next_batch(vec![append(&id, 4, 1)]) };
        let refused = journal.write(batch).await.expect_err("out of turn");
        let held = Token { claim: owner.claim, batch: 3, writer: owner.writer };
        let expected = if number <= 3 {
            WriteError::Fenced { held, sent_again: false }
        } else {
            WriteError::Lost { held: Some(held), sent_again: false }
        };
        assert_eq!(refused, expected, "batch {number}");
    }
    owner.expect_all(&id, 1..=3, 3).await;
    owner.append(&id, 4, 1).await.expect("in turn");
}

/// Whatever number it tries; and the new owner's writes stand.
pub async fn a_deposed_owner_cannot_append(journal: Arc<dyn Journal>) {
    let (mut old, id) = Owner::of_fresh_entity(&journal).await;
    old.append(&id, 1, 1).await.expect("written");
    let mut new = Owner::of(&journal, &id).await;
    for number in [1, 2] {
        let batch = Batch { number, ..old.next_batch(vec![append(&id, 2, 1)]) };
        let refused = journal.write(batch).await.expect_err("deposed");
        assert!(matches!(&refused, WriteError::Fenced { held, .. } if held.claim == new.claim), "{refused}");
    }
    new.expect_all(&id, [1], 1).await;
    new.append(&id, 2, 1).await.expect("written");
}

/// Even if it names the claim that holds the shard.
pub async fn another_process_cannot_write_under_a_claim(journal: Arc<dyn Journal>) {
    let (owner, id) = Owner::of_fresh_entity(&journal).await;
    let thief = Owner { writer: fresh_writer(), journal: journal.clone(), ..owner };
    let refused = journal.write(thief.next_batch(vec![append(&id, 1, 1)])).await;
    assert!(matches!(refused, Err(WriteError::Fenced { .. })), "{refused:?}");
    owner.expect_all(&id, [], 0).await;
}

/// The claim settled it: stored before, or never.
pub async fn a_late_batch_of_an_earlier_session_is_fenced(journal: Arc<dyn Journal>) {
    let (first, id) = Owner::of_fresh_entity(&journal).await;
    let late = first.next_batch(vec![append(&id, 1, 1)]);
    let mut second = first.again().await;
    second.expect_all(&id, [], 0).await;
    assert!(matches!(journal.write(late.clone()).await, Err(WriteError::Fenced { .. })));
    second.append(&id, 1, 1).await.expect("written");
    assert!(matches!(journal.write(late).await, Err(WriteError::Fenced { .. })));
    second.expect_all(&id, [1], 1).await;
}
