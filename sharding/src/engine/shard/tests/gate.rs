//! While the journal refuses writes nothing is begun, nobody stops, and a claim finds out when it is over.

use super::*;

const WORDS: &str = "the journal does not answer, and is left alone for a while";

fn secs(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

/// Comes to the moment at which the shard wants to look again; nothing else may be wanted before.
fn come_to_the_moment(stage: &mut Stage) {
    let actions = stage.flush();
    let [Action::Wake { at, place: None }] = actions[..] else { panic!("wants to look again: {actions:?}") };
    let pause = at - stage.turn.now.since_start;
    let rests = stage.journal_rests.expect("it rests");
    assert!(pause >= rests && pause <= rests + Duration::from_millis(500), "{pause:?}");
    stage.turn.now.since_start = at;
}

fn refused(stage: &mut Stage) -> bool {
    stage.ask("a", 1);
    stage.heard() == [format!("None: {WORDS}")]
}

#[test]
fn commands_are_refused_before_they_run_and_states_are_shown() {
    let mut stage = Stage::held(&["a"]);
    stage.journal_rests = secs(30);
    assert!(refused(&mut stage) && refused(&mut stage));
    stage.deliver("a", Message::ReadState);
    let shown = stage.heard();
    assert!(matches!(&shown[..], [state] if state.starts_with("Value(Json(0")), "{shown:?}");
    assert_eq!(stage.shard.entities(), 1);
    come_to_the_moment(&mut stage);
    stage.journal_rests = None;
    stage.wake();
    assert!(stage.flush().is_empty(), "somebody else has found out");
    stage.ask("a", 0);
    assert_eq!(stage.heard(), ["0"], "none of them ran");
}

#[test]
fn when_the_pause_is_over_a_claim_finds_out_and_commands_wait_for_that() {
    let mut stage = Stage::held(&["a"]);
    stage.journal_rests = secs(30);
    assert!(refused(&mut stage));
    come_to_the_moment(&mut stage);
    stage.journal_rests = secs(0);
    assert!(refused(&mut stage), "a command is no way to find out");
    stage.wake();
    assert_eq!(stage.claims(), [claim(5, 2)]);
    stage.journal_rests = secs(1);
    assert!(refused(&mut stage), "nobody knows yet");
    stage.claimed(claim(5, 2), Ok(()));
    stage.journal_rests = None;
    stage.ask("a", 1);
    let batch = stage.batch();
    assert_eq!((batch.claim, contents(&batch)), (claim(5, 2), vec![("a".to_owned(), 1, 1)]));
    stage.written(&batch, Ok(()));
    assert_eq!(stage.heard(), ["1"]);
}

#[test]
fn what_was_begun_before_is_held_back_and_written_afterwards() {
    let mut stage = Stage::held(&["a", "b"]);
    stage.ask("a", 1);
    let first = stage.batch();
    stage.ask("b", 10);
    stage.journal_rests = secs(5);
    assert!(stage.flush().is_empty(), "a batch is in flight");
    stage.written(&first, Ok(()));
    assert_eq!(stage.heard(), ["1"], "what was in flight has its own outcome");
    come_to_the_moment(&mut stage);
    stage.wake();
    come_to_the_moment(&mut stage);
    stage.journal_rests = secs(0);
    stage.wake();
    assert_eq!(stage.claims(), [claim(5, 2)], "the batch itself is no way to find out");
    stage.claimed(claim(5, 2), Ok(()));
    stage.journal_rests = None;
    let batch = stage.batch();
    assert_eq!(contents(&batch), [("b".to_owned(), 1, 1)]);
    stage.written(&batch, Ok(()));
    assert_eq!(stage.heard(), ["10"]);
}

#[test]
fn a_claim_that_comes_second_is_sent_again_and_nobody_stops() {
    let mut stage = Stage::held(&["a", "b"]);
    stage.ask("a", 1);
    let first = stage.batch();
    stage.ask("b", 10);
    stage.journal_rests = secs(0);
    stage.written(&first, Ok(()));
    stage.heard();
    come_to_the_moment(&mut stage);
    stage.wake();
    assert_eq!(stage.claims(), [claim(5, 2)]);
    stage.claimed(claim(5, 2), Err(ClaimError::Failed(StoreError::new("the breaker is open"))));
    let Some(Action::Wake { at, place: None }) = stage.flush().pop() else { panic!("another try") };
    stage.turn.now.since_start = at;
    stage.journal_rests = secs(20);
    stage.wake();
    come_to_the_moment(&mut stage);
    stage.journal_rests = None;
    stage.wake();
    assert_eq!(stage.claims(), [claim(5, 2)], "it did not knock meanwhile");
    stage.claimed(claim(5, 2), Ok(()));
    assert_eq!(contents(&stage.batch()), [("b".to_owned(), 1, 1)], "b was there all the while");
}

#[test]
fn a_command_that_is_let_in_takes_what_was_held_back_along() {
    let mut stage = Stage::held(&["a", "b"]);
    stage.ask("a", 1);
    let first = stage.batch();
    stage.ask("a", 2);
    stage.journal_rests = secs(30);
    stage.written(&first, Ok(()));
    assert!(matches!(stage.flush()[..], [Action::Wake { .. }]));
    stage.journal_rests = None;
    stage.ask("b", 10);
    assert_eq!(contents(&stage.batch()), [("a".to_owned(), 2, 1), ("b".to_owned(), 1, 1)]);
}

#[test]
fn a_batch_in_flight_finds_out_by_itself() {
    let mut stage = Stage::held(&["a"]);
    stage.ask("a", 1);
    let batch = stage.batch();
    stage.journal_rests = secs(30);
    assert!(refused(&mut stage));
    come_to_the_moment(&mut stage);
    stage.journal_rests = secs(0);
    stage.wake();
    assert!(stage.flush().is_empty(), "a claim would fence it");
    stage.written(&batch, Err(unknown()));
    assert_eq!(stage.claims(), [claim(5, 2)]);
}
