//! The memory journal can be broken on purpose, and its clones are connections to one store.

use std::sync::Arc;

use abide_persistence::journal::{ClaimError, Journal, ReadError, WriteError};
use abide_persistence::runtime::{Call, Fault, MemoryJournal};
use abide_persistence::testkit::Owner;

fn shared(journal: &MemoryJournal) -> Arc<dyn Journal> {
    Arc::new(journal.clone())
}

#[tokio::test]
async fn a_lost_answer_has_written_and_a_lost_request_has_not() {
    let journal = MemoryJournal::new();
    let control = journal.control();
    let (mut owner, id) = Owner::of_fresh_entity(&shared(&journal)).await;
    for (fault, stored) in [(Fault::AnswerLost, 1), (Fault::RequestLost, 1), (Fault::Refused, 1)] {
        control.fail_next(Call::Write, fault);
        let first = control.events(&id).len() as u64 + 1;
        let refused = owner.append(&id, first, 1).await.expect_err("failed on purpose");
        assert_eq!(
            matches!(refused, WriteError::Unknown(_)),
            fault != Fault::Refused,
            "{fault:?}: {refused}"
        );
        assert_eq!(control.events(&id).len(), stored, "{fault:?}");
        owner = owner.again().await;
    }
}

#[tokio::test]
async fn a_batch_in_flight_is_fenced_by_a_claim_that_overtakes_it() {
    let journal = MemoryJournal::new();
    let control = journal.control();
    let (old, id) = Owner::of_fresh_entity(&shared(&journal)).await;
    control.hold_writes();
    let in_flight = journal.write(old.next_batch(vec![]));
    control.until_held(1).await;
    let mut new = Owner::of(&shared(&journal), &id).await;
    control.release_writes();
    assert!(matches!(in_flight.await, Err(WriteError::Fenced { held, .. }) if held.claim == new.claim));
    new.append(&id, 1, 1).await.expect("held no more");
    assert_eq!(control.token(new.shard).map(|token| token.batch), Some(1));
}

#[tokio::test]
async fn a_held_batch_may_be_lost_either_way() {
    let journal = MemoryJournal::new();
    let control = journal.control();
    control.hold_writes();
    for fault in [Fault::AnswerLost, Fault::RequestLost] {
        let (owner, _) = Owner::of_fresh_entity(&shared(&journal)).await;
        let in_flight = journal.write(owner.next_batch(vec![]));
        assert_eq!(control.held_writes(), 1);
        assert!(control.release_write(Some(fault)));
        assert!(matches!(in_flight.await, Err(WriteError::Unknown(_))));
        let written = control.token(owner.shard).map(|token| token.batch);
        assert_eq!(written, Some(u64::from(fault == Fault::AnswerLost)));
    }
}

#[tokio::test]
async fn an_outage_refuses_everything_until_it_ends() {
    let journal = MemoryJournal::new();
    let control = journal.control();
    let (mut owner, id) = Owner::of_fresh_entity(&shared(&journal)).await;
    control.set_down(Some("the plug is out"));
    assert!(matches!(owner.append(&id, 1, 1).await, Err(WriteError::NotWritten(_))));
    assert!(matches!(owner.claim().await, Err(ClaimError::Failed(_))));
    assert!(matches!(owner.read(&id).await, Err(ReadError::Failed(_))));
    assert_eq!(journal.health().await.expect_err("down").0, "the plug is out");
    control.set_down(None);
    owner.append(&id, 1, 1).await.expect("written");
}

#[tokio::test]
async fn closing_one_connection_leaves_the_other_open() {
    let (one, two) = {
        let journal = MemoryJournal::new();
        (journal.clone(), journal)
    };
    let (mut owner, id) = Owner::of_fresh_entity(&shared(&one)).await;
    owner.append(&id, 1, 1).await.expect("written");
    one.close().await;
    one.health().await.expect_err("closed");
    Owner::of(&shared(&two), &id).await.expect_all(&id, [1], 1).await;
}
