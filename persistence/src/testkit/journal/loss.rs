//! Losses: a journal that holds less than somebody knows of says so, and changes nothing.

use std::sync::Arc;

use crate::journal::{Claim, ClaimError, Epoch, Journal, Known, Token, Usurped, WriteError};
use crate::testkit::owner::append;
use crate::testkit::{Owner, fresh_claim, fresh_shard, fresh_writer};

/// An owner of a fresh entity that has written two batches, and a higher claim of the same process.
async fn two_batches(journal: &Arc<dyn Journal>) -> (Owner, crate::PersistenceId, Claim) {
    let (mut owner, id) = Owner::of_fresh_entity(journal).await;
    for number in 1..=2 {
        owner.append(&id, number, 1).await.expect("written");
    }
    (owner, id, fresh_claim())
}

fn held(owner: &Owner) -> Token {
    Token { claim: owner.claim, batch: owner.batch, writer: owner.writer }
}

/// By a batch, by a session, by an epoch; with any of them the shard stays with whoever holds it.
pub async fn a_claim_that_knows_of_more_than_there_is_is_refused_and_changes_nothing(
    journal: Arc<dyn Journal>,
) {
    let (mut owner, id, higher) = two_batches(&journal).await;
    for least in [
        Known { batch: 3, ..owner.known() },
        Known { batch: u64::MAX, ..owner.known() },
        Known { claim: owner.claim.again(), batch: 0 },
        Known::claimed_at(Epoch(owner.claim.epoch.0 + 1)),
        // A double would not tell this epoch from the one that is held.
        Known::claimed_at(Epoch(u64::MAX)),
    ] {
        for claim in [owner.claim.again(), higher] {
            let refused = journal.claim(owner.shard, claim, owner.writer, Some(least)).await;
            assert_eq!(refused, Err(ClaimError::Lost { held: Some(held(&owner)), least }), "claim {claim}");
        }
    }
    owner.append(&id, 3, 1).await.expect("still the owner");
    owner.expect_all(&id, 1..=3, 3).await;
}

/// Of exactly that, or of less.
pub async fn a_claim_that_knows_of_what_is_there_takes_the_shard(journal: Arc<dyn Journal>) {
    let (mut owner, id, _) = two_batches(&journal).await;
    let first = owner.known();
    let less = Known { claim: Claim { session: 0, ..first.claim }, batch: u64::MAX };
    for least in [first, Known { batch: 0, ..first }, Known::claimed_at(first.claim.epoch), less] {
        let next = Owner { claim: owner.claim.again(), batch: 0, journal: journal.clone(), ..owner };
        journal.claim(next.shard, next.claim, next.writer, Some(least)).await.expect("taken");
        owner = next;
    }
    owner.append(&id, 3, 1).await.expect("the new claim holds the shard");
    let claim = fresh_claim();
    journal.claim(owner.shard, claim, fresh_writer(), Some(owner.known())).await.expect("the next owner");
    assert!(matches!(owner.append(&id, 4, 1).await, Err(WriteError::Fenced { .. })));
}

/// A claim that knows of nothing may take the shard then.
pub async fn a_claim_that_knows_of_something_is_refused_where_nothing_is(journal: Arc<dyn Journal>) {
    let (shard, writer, claim) = (fresh_shard(), fresh_writer(), fresh_claim());
    for least in [Known::claimed_at(Epoch(0)), Known { claim, batch: 0 }, Known { claim, batch: 7 }] {
        let refused = journal.claim(shard, claim.again(), writer, Some(least)).await;
        assert_eq!(refused, Err(ClaimError::Lost { held: None, least }));
    }
    journal.claim(shard, claim, writer, None).await.expect("nobody was here");
}

/// The answer was lost, and it comes again with the same knowledge.
pub async fn a_repeated_claim_that_knows_of_something_is_acknowledged(journal: Arc<dyn Journal>) {
    let (owner, id, _) = two_batches(&journal).await;
    let mut next = Owner { claim: owner.claim.again(), batch: 0, journal: journal.clone(), ..owner };
    for _ in 0..3 {
        journal.claim(next.shard, next.claim, next.writer, Some(owner.known())).await.expect("taken");
    }
    next.append(&id, 3, 1).await.expect("written");
    let late = journal.claim(next.shard, next.claim, next.writer, Some(owner.known())).await;
    assert_eq!(late, Err(ClaimError::Fenced { held: held(&next) }));
}

/// Whoever is deposed learns that, and two owners of one journal must stop, whatever they know of.
pub async fn a_newer_owner_and_a_second_one_come_before_a_loss(journal: Arc<dyn Journal>) {
    let (owner, id, higher) = two_batches(&journal).await;
    let least = Some(Known { batch: 9, ..owner.known() });
    let usurped = journal.claim(owner.shard, owner.claim.again(), fresh_writer(), least).await;
    assert_eq!(usurped, Err(ClaimError::Usurped(Usurped::Incarnation(owner.claim.epoch))));
    journal.claim(owner.shard, higher, owner.writer, None).await.expect("taken");
    let newer = Token { claim: higher, batch: 0, writer: owner.writer };
    let fenced = journal.claim(owner.shard, owner.claim.again(), owner.writer, least).await;
    assert_eq!(fenced, Err(ClaimError::Fenced { held: newer }));
    let batch = crate::journal::Batch { number: 9, ..owner.next_batch(vec![append(&id, 3, 1)]) };
    assert_eq!(journal.write(batch).await, Err(WriteError::Fenced { held: newer, sent_again: false }));
}

/// Only an older one is, or an older session of it. Nothing is stored.
pub async fn a_batch_whose_claim_is_not_there_finds_a_loss(journal: Arc<dyn Journal>) {
    let (mut owner, id, higher) = two_batches(&journal).await;
    for claim in [owner.claim.again(), higher] {
        let forgotten = Owner { claim, batch: 0, journal: journal.clone(), ..owner };
        let refused = journal.write(forgotten.next_batch(vec![append(&id, 3, 1)])).await;
        assert_eq!(refused, Err(WriteError::Lost { held: Some(held(&owner)), sent_again: false }));
    }
    owner.append(&id, 3, 1).await.expect("still the owner");
    owner.expect_all(&id, 1..=3, 3).await;
}
