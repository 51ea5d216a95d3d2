//! Unknown outcomes: a batch, a claim or a deletion whose answer never came. The next claim settles it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::PersistenceId;
use crate::ids::SequenceNr;
use crate::journal::{ClaimError, Journal, Write, WriteError};
use crate::runtime::{Call, Fault, FaultControl, Faulty};
use crate::testkit::owner::append;
use crate::testkit::{Owner, fresh_id};

fn with_faults(journal: &Arc<dyn Journal>, seed: u64) -> (Arc<dyn Journal>, FaultControl) {
    let control = FaultControl::new(seed);
    (Arc::new(Faulty::controlled(journal.clone(), control.clone())), control)
}

/// Over many batches, some lost on their way and some on the way back: each is there whole or not at all, and
/// no stream has a gap or an event twice.
pub async fn a_batch_in_doubt_is_stored_whole_or_not_at_all_once_the_shard_is_claimed_again(
    journal: Arc<dyn Journal>,
) {
    const ENTITIES: usize = 4;
    for seed in 1..=3 {
        let (faulty, faults) = with_faults(&journal, seed);
        let (mut owner, id) = Owner::of_fresh_entity(&faulty).await;
        let mut ids = vec![id];
        ids.resize_with(ENTITIES, || owner.fresh_id());
        for fault in [Fault::AnswerLost, Fault::RequestLost, Fault::Refused] {
            faults.sometimes(0.2, Call::Write, fault);
        }
        let mut found_stored = 0;
        let mut ends: BTreeMap<&PersistenceId, u64> = ids.iter().map(|id| (id, 0)).collect();
        for round in 0..60 {
            // Two entities a batch, one of them with two writes.
            let (one, two) = (&ids[round % ENTITIES], &ids[(round + 1) % ENTITIES]);
            let writes = vec![
                append(one, ends[one] + 1, 2),
                append(two, ends[two] + 1, 1),
                append(one, ends[one] + 3, 1),
            ];
            let is_stored = match owner.write(writes).await {
                Ok(()) => true,
                Err(failed) => {
                    owner = owner.again().await;
                    let last = owner.read(one).await.expect("a page").last.0;
                    let is_stored = last == ends[one] + 3;
                    assert!(is_stored || last == ends[one], "of three events {} are there", last - ends[one]);
                    assert!(!(is_stored && failed.nothing_stored()), "{failed}, and yet it is there");
                    found_stored += u64::from(is_stored);
                    is_stored
                }
            };
            for (id, count) in [(one, 3), (two, 1)] {
                let end = ends.get_mut(id).expect("one of them");
                *end += if is_stored { count } else { 0 };
                owner.expect_all(id, 1..=*end, *end).await;
            }
        }
        let lost = |fault| faults.injected(Call::Write, fault);
        assert!(lost(Fault::AnswerLost) > 0 && lost(Fault::RequestLost) > 0, "both happened");
        assert_eq!(found_stored, lost(Fault::AnswerLost), "only the answer was lost, so the batch is there");
        for (id, end) in ends {
            Owner::of(&journal, id).await.expect_all(id, 1..=end, end).await;
        }
    }
}

/// The very same bytes under the very same number are acknowledged, and are there once.
pub async fn a_batch_in_doubt_that_is_sent_again_is_stored_once(journal: Arc<dyn Journal>) {
    let (faulty, faults) = with_faults(&journal, 0);
    for fault in [Fault::AnswerLost, Fault::RequestLost] {
        let (mut owner, id) = Owner::of_fresh_entity(&faulty).await;
        let batch = owner.next_batch(vec![append(&id, 1, 3)]);
        faults.next(3, Call::Write, fault);
        for _ in 0..3 {
            faulty.write(batch.clone()).await.expect_err("lost");
        }
        faulty.write(batch).await.expect("acknowledged");
        owner.batch = 1;
        owner.append(&id, 4, 1).await.expect("the next number");
        owner.expect_all(&id, 1..=4, 4).await;
    }
}

/// It is taken or not; sent again, it is.
pub async fn a_claim_in_doubt_is_sent_again(journal: Arc<dyn Journal>) {
    let (faulty, faults) = with_faults(&journal, 0);
    let (mut owner, id) = Owner::of_fresh_entity(&faulty).await;
    owner.append(&id, 1, 1).await.expect("written");
    for fault in [Fault::AnswerLost, Fault::RequestLost] {
        let mut again = Owner { claim: owner.claim.again(), batch: 0, journal: faulty.clone(), ..owner };
        faults.next(1, Call::Claim, fault);
        let lost = again.claim().await;
        assert!(matches!(lost, Err(ClaimError::Failed(_))), "{lost:?}");
        again.claim().await.expect("sent again");
        let last = again.read(&id).await.expect("a page").last.0;
        again.append(&id, last + 1, 1).await.expect("written");
        assert!(matches!(owner.append(&id, last + 2, 1).await, Err(WriteError::Fenced { .. })));
        owner = again;
    }
    owner.expect_all(&id, 1..=3, 3).await;
}

/// Events are deleted or not, and repeating the deletion does no harm.
pub async fn a_deletion_in_doubt_is_done_or_not(journal: Arc<dyn Journal>) {
    let (faulty, faults) = with_faults(&journal, 0);
    for (fault, deleted_to) in [(Fault::AnswerLost, 3), (Fault::RequestLost, 0)] {
        let (mut owner, id) = Owner::of_fresh_entity(&faulty).await;
        owner.append(&id, 1, 5).await.expect("written");
        faults.next(1, Call::Write, fault);
        let delete =
            || Write::DeleteTo { persistence_id: id.clone(), to: SequenceNr(3), record: Default::default() };
        let lost = owner.write(vec![delete(), append(&id, 6, 1)]).await;
        assert!(matches!(lost, Err(WriteError::Unknown(_))), "{lost:?}");
        let mut owner = owner.again().await;
        let page = owner.read(&id).await.expect("a page");
        assert_eq!(page.deleted_to, SequenceNr(deleted_to), "{fault:?}");
        assert_eq!(
            page.last,
            SequenceNr(if deleted_to == 3 { 6 } else { 5 }),
            "with the append or without both"
        );
        let last = page.last.0;
        owner.write(vec![delete(), append(&id, last + 1, 1)]).await.expect("written");
        owner.expect_all(&id, 4..=last + 1, last + 1).await;
    }
}

/// It comes after the claim that gave it up, and finds the door shut; whoever wrote it reads no trace of it.
pub async fn a_batch_that_a_claim_overtakes_is_never_stored(journal: Arc<dyn Journal>) {
    let (faulty, faults) = with_faults(&journal, 0);
    let id = fresh_id(None);
    for is_new_epoch in [false, true] {
        let owner = Owner::of(&faulty, &id).await;
        let last = owner.read(&id).await.expect("a page").last.0;
        faults.next(1, Call::Write, Fault::Hang);
        let late = faulty.write(owner.next_batch(vec![append(&id, last + 1, 2)]));
        faults.until_held(1).await;
        let mut next = if is_new_epoch { Owner::of(&faulty, &id).await } else { owner.again().await };
        next.expect_all(&id, 1..=last, last).await;
        faults.release_all();
        assert!(matches!(late.await, Err(WriteError::Fenced { held, .. }) if held.claim == next.claim));
        next.append(&id, last + 1, 1).await.expect("written");
        next.expect_all(&id, 1..=last + 1, last + 1).await;
    }
}
