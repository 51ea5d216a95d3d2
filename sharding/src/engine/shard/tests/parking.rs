//! What a shard does once its journal has lost events of it, or holds what it did not write.

use super::*;

const WORDS: &str = "the journal has lost events of the entity's shard";

fn known(session: u32, batch: u64) -> Known {
    Known { claim: claim(5, session), batch }
}

fn held(session: u32, batch: u64) -> Option<Token> {
    Some(Token { claim: claim(5, session), batch, writer: US })
}

/// The one claim that is wanted; besides, entities may want to be woken.
fn wanted(stage: &mut Stage) -> (Claim, Option<Known>) {
    let mut actions = stage.flush();
    actions.retain(|action| !matches!(action, Action::Wake { place: Some(_), .. }));
    match actions[..] {
        [Action::Claim { claim, least }] => (claim, least),
        _ => panic!("wanted a claim, not {actions:?}"),
    }
}

fn lost(stage: &Stage) -> Option<Loss> {
    stage.shard.parked_for().and_then(ParkedFor::loss)
}

/// Held, one batch written, and then in doubt: it claims again.
fn in_doubt() -> Stage {
    let mut stage = Stage::held(&["a", "b"]);
    for (by, result) in [(1, Ok(())), (2, Err(unknown()))] {
        stage.ask("a", by);
        let batch = stage.batch();
        stage.written(&batch, result);
    }
    stage.heard();
    stage
}

/// In doubt, and the claim has found less than was acknowledged.
fn parked() -> Stage {
    let mut stage = in_doubt();
    stage.flush();
    stage.claimed(claim(5, 2), Err(ClaimError::Lost { held: None, least: known(1, 1) }));
    stage
}

#[test]
fn every_claim_says_what_was_acknowledged_before() {
    let mut stage = Stage::new();
    stage.assign(5);
    assert_eq!(wanted(&mut stage), (claim(5, 1), None), "of a shard that it never held it knows nothing");

    let mut stage = in_doubt();
    assert_eq!(wanted(&mut stage), (claim(5, 2), Some(known(1, 1))), "not what is in doubt");
    stage.claimed(claim(5, 2), Err(ClaimError::Failed(StoreError::new("no answer"))));
    let Some(Action::Wake { at, place: None }) = stage.flush().pop() else { panic!("another try") };
    stage.turn.now.since_start = at;
    stage.wake();
    assert_eq!(wanted(&mut stage), (claim(5, 2), Some(known(1, 1))));
    stage.claimed(claim(5, 2), Ok(()));
    stage.assign(6);
    assert_eq!(wanted(&mut stage), (claim(6, 1), Some(known(2, 0))), "a claim is acknowledged, too");
}

#[test]
fn what_was_acknowledged_is_known_after_another_owner_had_the_shard() {
    let mut stage = Stage::held(&["a"]);
    stage.ask("a", 1);
    let batch = stage.batch();
    stage.written(&batch, Ok(()));
    stage.ask("a", 2);
    let batch = stage.batch();
    stage.written(&batch, Err(WriteError::Fenced { held: NEWER, sent_again: false }));
    stage.flush();
    stage.assign(10);
    assert_eq!(wanted(&mut stage), (claim(10, 1), Some(known(1, 1))));
}

#[test]
fn a_claim_that_finds_a_loss_parks_the_shard_until_an_operator_accepts_it() {
    let mut stage = parked();
    let loss = Loss { known: known(1, 1), held: None };
    assert!(
        matches!(stage.flush()[..], [Action::Parked(ParkedFor::Loss(told))] if told == loss),
        "told once"
    );
    assert_eq!(lost(&stage), Some(loss));
    assert_eq!(stage.shard.entities(), 0);
    assert!(!stage.shard.is_assigned() && !stage.shard.is_lost());
    stage.ask("a", 1);
    stage.deliver("b", Message::ReadState);
    assert_eq!(stage.heard(), vec![format!("None: {WORDS}"); 2]);
    stage.turn.now.since_start += Duration::from_secs(3600);
    stage.wake();
    stage.assign(5);
    assert!(stage.flush().is_empty(), "it does not come back by itself");

    assert_eq!(stage.shard.accept_loss(&mut stage.actions), Some(loss));
    assert_eq!(wanted(&mut stage), (claim(5, 3), None), "as if nothing were known");
    stage.claimed(claim(5, 3), Err(ClaimError::Failed(StoreError::new("no answer"))));
    let Some(Action::Wake { at, place: None }) = stage.flush().pop() else { panic!("another try") };
    stage.turn.now.since_start = at;
    stage.wake();
    assert_eq!(wanted(&mut stage), (claim(5, 3), None), "accepted once and for all");
    stage.claimed(claim(5, 3), Ok(()));
    assert!(stage.shard.is_held());
    assert_eq!(stage.shard.accept_loss(&mut stage.actions), None, "nothing is lost any more");
    stage.assign(6);
    assert_eq!(wanted(&mut stage), (claim(6, 1), Some(known(3, 0))), "from here on it is known again");
}

#[test]
fn a_new_assignment_finds_the_same_loss() {
    let mut stage = parked();
    stage.flush();
    stage.assign(6);
    assert_eq!(wanted(&mut stage), (claim(6, 1), Some(known(1, 1))));
    let least = known(1, 1);
    stage.claimed(claim(6, 1), Err(ClaimError::Lost { held: held(1, 0), least }));
    assert_eq!(lost(&stage), Some(Loss { known: least, held: held(1, 0) }));
}

#[test]
fn a_batch_that_finds_a_loss_parks_the_shard_and_its_callers_learn_the_outcome() {
    for (sent_again, outcome) in [(false, "None"), (true, "Unknown")] {
        let mut stage = Stage::held(&["a", "b"]);
        stage.ask("a", 1);
        let first = stage.batch();
        stage.written(&first, Ok(()));
        stage.heard();
        stage.ask("a", 2);
        let second = stage.batch();
        stage.ask("b", 10);
        stage.written(&second, Err(WriteError::Lost { held: held(1, 0), sent_again }));
        let mut heard = stage.heard();
        heard.sort();
        assert_eq!(heard, [format!("None: {WORDS}"), format!("{outcome}: {WORDS}")], "b's was never sent");
        let loss = Loss { known: known(1, 1), held: held(1, 0) };
        assert!(matches!(stage.flush()[..], [Action::Parked(ParkedFor::Loss(told))] if told == loss));
    }
}

#[test]
fn a_read_that_finds_less_leaves_it_to_a_claim_once_no_batch_is_in_flight() {
    let mut stage = Stage::held(&["a"]);
    stage.ask("b", 0);
    let (place, life, _) = stage.reads().remove(0);
    stage.ask("a", 1);
    let batch = stage.batch();
    let fenced = Err(ReadError::Fenced { held: None });
    stage.shard.read(&mut stage.turn, place, life, claim(5, 1), fenced, &mut stage.actions);
    let actions = stage.flush();
    assert!(matches!(actions[..], [Action::Wake { .. }]), "a claim would fence the batch: {actions:?}");
    stage.written(&batch, Ok(()));
    assert_eq!(stage.heard(), ["1"]);
    assert_eq!(wanted(&mut stage), (claim(5, 2), Some(known(1, 1))));
    stage.claimed(claim(5, 2), Err(ClaimError::Lost { held: None, least: known(1, 1) }));
    assert!(lost(&stage).is_some());
    assert_eq!(stage.heard(), [format!("None: {WORDS}")]);
}

#[test]
fn what_was_lost_may_be_back_when_the_shard_is_released_and_else_is_found_again() {
    let mut stage = parked();
    stage.flush();
    let cause = ParkedFor::Loss(Loss { known: known(1, 1), held: None });
    assert_eq!(stage.shard.release(&mut stage.actions), Some(cause.clone()));
    assert_eq!(stage.shard.release(&mut stage.actions), None, "once");
    assert_eq!(wanted(&mut stage), (claim(5, 3), Some(known(1, 1))), "with all that is known");
    stage.claimed(claim(5, 3), Err(ClaimError::Lost { held: None, least: known(1, 1) }));
    stage.flush();
    assert_eq!(stage.shard.parked_for(), Some(&cause));
    stage.shard.release(&mut stage.actions);
    stage.flush();
    stage.claimed(claim(5, 4), Ok(()));
    assert!(stage.shard.is_held());
}

const DAMAGED: &str = "the journal is damaged in the entity's shard";

/// What finds another thing in the journal than was written, with what its caller is told.
fn damages(stage: &Stage, batch: &Batch) -> [(WriteError, &'static str, ParkedFor); 2] {
    assert!(stage.shard.is_writing());
    let persistence_id = batch.writes[0].persistence_id().clone();
    let words = format!("conflict: {persistence_id} ends at 9, the write begins at 1");
    let conflict = WriteError::Conflict { persistence_id, first: SequenceNr(1), found: SequenceNr(9) };
    [
        (WriteError::Damaged("a hash".to_owned()), "Unknown", ParkedFor::Damage("a hash".to_owned())),
        (conflict, "None", ParkedFor::Damage(words)),
    ]
}

#[test]
fn a_batch_that_finds_what_was_not_written_parks_the_shard_until_it_is_released() {
    for at in 0..2 {
        let mut stage = Stage::held(&["a", "b"]);
        stage.ask("a", 1);
        let batch = stage.batch();
        stage.ask("b", 10);
        let (error, outcome, cause) = damages(&stage, &batch)[at].clone();
        stage.written(&batch, Err(error));
        let mut heard = stage.heard();
        heard.sort();
        assert_eq!(heard, [format!("None: {DAMAGED}"), format!("{outcome}: {DAMAGED}")]);
        assert!(matches!(&stage.flush()[..], [Action::Parked(told)] if *told == cause), "told once");
        assert_eq!(stage.shard.entities(), 0);
        assert!(!stage.shard.is_assigned() && !stage.shard.is_lost());
        stage.ask("a", 1);
        stage.deliver("b", Message::ReadState);
        assert_eq!(stage.heard(), vec![format!("None: {DAMAGED}"); 2]);
        stage.turn.now.since_start += Duration::from_secs(3600);
        stage.wake();
        stage.assign(5);
        assert!(stage.flush().is_empty(), "it does not come back by itself");
        assert_eq!(stage.shard.accept_loss(&mut stage.actions), None, "nothing is lost");
        assert!(stage.flush().is_empty());

        assert_eq!(stage.shard.release(&mut stage.actions), Some(cause));
        assert_eq!(wanted(&mut stage), (claim(5, 2), Some(known(1, 0))));
        stage.claimed(claim(5, 2), Ok(()));
        assert!(stage.shard.is_held());
    }
}

#[test]
fn a_claim_that_finds_what_was_not_written_parks_the_shard() {
    let mut stage = in_doubt();
    stage.flush();
    let damaged = || Err(ClaimError::Damaged("the fence holds a list".to_owned()));
    let cause = ParkedFor::Damage("the fence holds a list".to_owned());
    stage.claimed(claim(5, 2), damaged());
    assert!(matches!(&stage.flush()[..], [Action::Parked(told)] if *told == cause));
    stage.shard.release(&mut stage.actions);
    assert_eq!(wanted(&mut stage), (claim(5, 3), Some(known(1, 1))));
    stage.claimed(claim(5, 3), damaged());
    assert!(matches!(&stage.flush()[..], [Action::Parked(told)] if *told == cause), "and told again");
    stage.assign(6);
    assert_eq!(wanted(&mut stage), (claim(6, 1), Some(known(1, 1))), "a new assignment looks again, too");
}
