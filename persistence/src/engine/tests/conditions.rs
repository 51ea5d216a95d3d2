//! Commands with a condition: handled only after the event that they name.

use super::stage::{Stage, Sum, say, say_async, script};
use crate::model::{EventSourcedActor, Outcome};

fn sum() -> Stage<EventSourcedActor<Sum>> {
    let mut stage = Stage::unborn("x");
    stage.command(0, 1);
    stage.recover();
    stage.settle();
    assert_eq!(stage.heard(), ["0: 1 @1"]);
    stage
}

#[test]
fn a_condition_that_holds_lets_the_command_be_handled() {
    let mut stage = sum();
    stage.command_if(1, 5, 1);
    stage.settle();
    assert_eq!(stage.heard(), ["1: 6 @2"]);
}

#[test]
fn a_condition_that_does_not_hold_leaves_everything_as_it_was() {
    let mut stage = sum();
    stage.command_if(1, 5, 0);
    stage.command_if(2, 5, 2);
    assert_eq!(
        stage.heard(),
        [
            "1: failed (None): the entity's last event is 1, the command expected 0 @1",
            "2: failed (None): the entity's last event is 1, the command expected 2 @1",
        ]
    );
    assert!(!stage.wants.write && stage.is_idle());
}

#[test]
fn a_condition_is_compared_with_what_is_decided_and_told_when_that_is_stored() {
    let mut stage = sum();
    stage.command(1, 5);
    stage.flush();
    stage.command_if(2, 100, 1);
    stage.command_if(3, 2, 2);
    stage.command_if(4, 100, 2);
    assert_eq!(stage.heard(), [""; 0], "the refusal says what may not be true yet");
    stage.stored();
    assert_eq!(
        stage.heard(),
        ["1: 6 @2", "2: failed (None): the entity's last event is 2, the command expected 1 @2"]
    );
    stage.settle();
    assert_eq!(
        stage.heard(),
        ["3: 8 @3", "4: failed (None): the entity's last event is 3, the command expected 2 @3"]
    );
}

#[test]
fn a_refusal_that_rests_on_a_write_that_failed_is_not_told() {
    let mut stage = sum();
    stage.command(1, 5);
    stage.flush();
    stage.command_if(2, 100, 1);
    stage.failed(Outcome::Unknown);
    assert_eq!(
        stage.heard(),
        [
            "1: failed (Unknown): the journal failed: disk on fire",
            "2: failed (None): the journal failed: disk on fire",
        ]
    );
}

#[test]
fn of_many_with_the_same_condition_one_is_handled() {
    let mut stage = sum();
    for tag in 1..=5 {
        stage.command_if(tag, 1, 1);
    }
    stage.settle();
    let heard = stage.heard();
    assert_eq!(heard[0], "1: 2 @2");
    assert!(heard[1..].iter().all(|answer| answer.contains("is 2, the command expected 1")), "{heard:?}");
    assert_eq!(stage.journal.len(), 2);
}

#[test]
fn a_condition_waits_for_recovery_and_meets_what_was_recovered() {
    let mut stage = sum();
    stage.command_if(1, 1, 1);
    stage.flush();
    stage.failed(Outcome::None);
    stage.heard();
    stage.command_if(2, 1, 2);
    stage.command_if(3, 1, 1);
    stage.wait();
    stage.recover();
    stage.settle();
    let refused = "2: failed (None): the entity's last event is 1, the command expected 2 @1";
    assert_eq!(stage.heard(), [refused, "3: 2 @2"]);
}

#[test]
fn a_persistent_actor_compares_with_the_last_event_that_is_on_its_way() {
    let mut stage = Stage::ready();
    stage.dictate(&["a"]);
    stage.tell(|_, ctx| say(ctx, "b"));
    stage.command_if(1, script(|_, ctx| say(ctx, "c")), 1);
    stage.command_if(2, script(|_, ctx| say(ctx, "c")), 2);
    stage.settle();
    let refused = "1: failed (None): the entity's last event is 2, the command expected 1 @2";
    assert_eq!(stage.heard(), ["b @2", refused, "2: c @3"]);
    stage.tell(|_, ctx| say_async(ctx, "d"));
    stage.command_if(3, script(|_, ctx| ctx.reply("three".to_owned())), 3);
    stage.settle();
    stage.command_if(4, script(|_, ctx| ctx.reply("four".to_owned())), 4);
    let refused = "3: failed (None): the entity's last event is 4, the command expected 3 @3";
    assert_eq!(stage.heard(), ["d @4", refused, "4: four @4"]);
}
