//! Late copies: what was sent long ago arrives once more, with the same bytes or with others.

use std::sync::Arc;

use bytes::Bytes;

use crate::PersistenceId;
use crate::ids::SequenceNr;
use crate::journal::{Batch, ClaimError, Journal, Write, WriteError};
use crate::testkit::owner::append;
use crate::testkit::{Owner, event, fresh_claim, fresh_id};

/// A batch like this one, under the same number, with other bytes.
fn forged(batch: &Batch, id: &PersistenceId, first: u64) -> Batch {
    let events: Vec<Bytes> = vec![event(first, b"forged"), event(first + 1, b"forged")];
    let write = Write::Append { persistence_id: id.clone(), first: SequenceNr(first), events };
    Batch { writes: Arc::new(vec![write]), ..batch.clone() }
}

/// Sends each of these batches again, as it was and with other bytes that would fit at the stream's end;
/// all are fenced.
async fn all_are_fenced(journal: &Arc<dyn Journal>, batches: &[Batch], id: &PersistenceId, last: u64) {
    for batch in batches {
        for late in [batch.clone(), forged(batch, id, last + 1)] {
            let number = late.number;
            let refused = journal.write(late).await;
            assert!(matches!(refused, Err(WriteError::Fenced { .. })), "batch {number}: {refused:?}");
        }
    }
}

/// After the next batch, after a new session, after a new epoch: an old batch changes nothing.
pub async fn an_old_batch_changes_nothing_whenever_it_arrives(journal: Arc<dyn Journal>) {
    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    let mut sent = Vec::new();
    for number in 1..=4 {
        let batch = owner.next_batch(vec![append(&id, number, 1)]);
        journal.write(batch.clone()).await.expect("written");
        owner.batch += 1;
        all_are_fenced(&journal, &sent, &id, number).await;
        sent.push(batch);
    }
    owner.expect_all(&id, 1..=4, 4).await;

    let mut owner = owner.again().await;
    all_are_fenced(&journal, &sent, &id, 4).await;
    // Batch 1 of this session is another batch 1.
    owner.append(&id, 5, 1).await.expect("written");
    all_are_fenced(&journal, &sent, &id, 5).await;
    sent.push(Batch { number: 1, ..owner.next_batch(vec![append(&id, 5, 1)]) });

    let mut owner = Owner::of(&journal, &id).await;
    all_are_fenced(&journal, &sent, &id, 5).await;
    owner.append(&id, 6, 1).await.expect("written");
    all_are_fenced(&journal, &sent, &id, 6).await;
    owner.expect_all(&id, 1..=6, 6).await;
}

/// A number belongs to its bytes for ever: whatever comes under a number that is used is not stored.
pub async fn other_bytes_under_a_used_number_are_not_stored(journal: Arc<dyn Journal>) {
    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    let batch = owner.next_batch(vec![append(&id, 1, 1)]);
    journal.write(batch.clone()).await.expect("written");
    for first in [1, 2] {
        // The store may take it for a repeat or refuse it.
        let refused = journal.write(forged(&batch, &id, first)).await;
        assert!(refused.is_ok() || refused.is_err_and(|refused| refused.nothing_stored()));
    }
    owner.batch = 1;
    owner.expect_all(&id, [1], 1).await;
    owner.append(&id, 2, 1).await.expect("the next number");
    owner.expect_all(&id, 1..=2, 2).await;
}

/// Neither a deposed owner, nor an earlier session, nor a batch out of turn deletes anything.
pub async fn a_late_deletion_deletes_nothing(journal: Arc<dyn Journal>) {
    let (mut first, id) = Owner::of_fresh_entity(&journal).await;
    first.append(&id, 1, 5).await.expect("written");
    let delete = || {
        vec![Write::DeleteTo {
            persistence_id: id.clone(),
            to: SequenceNr(u64::MAX),
            record: Default::default(),
        }]
    };
    let mut late: Vec<Batch> =
        [0, 3, u64::MAX].map(|number| Batch { number, ..first.next_batch(delete()) }).into();
    let check = async |late: &[Batch], owner: &Owner| {
        for batch in late {
            let refused = journal.write(batch.clone()).await;
            // The highest number of all says that more was acknowledged than there is.
            let refused_for_good =
                matches!(refused, Err(WriteError::Fenced { .. } | WriteError::Lost { .. }));
            assert!(refused_for_good, "batch {}: {refused:?}", batch.number);
        }
        owner.expect_all(&id, 1..=5, 5).await;
    };
    check(&late, &first).await;
    late.push(first.next_batch(delete()));
    let second = first.again().await;
    check(&late, &second).await;
    late.push(second.next_batch(delete()));
    let mut third = Owner::of(&journal, &id).await;
    check(&late, &third).await;
    third.delete_to(&id, 2).await.expect("the owner may");
    third.expect_all(&id, 3..=5, 5).await;
}

/// Copies of every claim there ever was, after each newer one and after each batch.
pub async fn an_old_claim_changes_nothing_whenever_it_arrives(journal: Arc<dyn Journal>) {
    let id = fresh_id(None);
    let mut owner = Owner::of(&journal, &id).await;
    let mut claims = vec![owner.claim];
    for last in 0..6 {
        owner = if last % 2 == 0 {
            owner.again().await
        } else {
            // Drawn like all others: a shard may hold no claim that a later case could draw.
            let next = Owner { claim: fresh_claim(), batch: 0, ..owner };
            next.claim().await.expect("a higher epoch");
            next
        };
        for is_written in [false, true] {
            if is_written {
                owner.append(&id, last + 1, 1).await.expect("written");
            }
            for claim in &claims {
                let refused = journal.claim(owner.shard, *claim, owner.writer, None).await;
                let batch = u64::from(is_written);
                assert!(
                    matches!(refused, Err(ClaimError::Fenced { held }) if held.claim == owner.claim && held.batch == batch),
                    "claim {claim}: {refused:?}"
                );
            }
        }
        claims.push(owner.claim);
        owner.expect_all(&id, 1..=last + 1, last + 1).await;
    }
}
