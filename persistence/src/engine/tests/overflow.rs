//! More than an entity may hold: who is turned away, how, and what the entity learns.

use super::stage::{OVERFLOW_REPLY, Scribe, Stage, say, say_async};
use crate::engine::Report;
use crate::model::{StashOverflow, TypeOptions};

fn full(overflow: StashOverflow) -> Stage<Scribe> {
    let options =
        TypeOptions { stash_capacity: Some(2), stash_overflow: Some(overflow), ..TypeOptions::default() };
    let mut stage = Stage::ready_with(options);
    stage.tell(|_, ctx| say(ctx, "busy"));
    stage.ask(1, |_, ctx| ctx.reply("one".to_owned()));
    stage
}

fn one_more(stage: &mut Stage<Scribe>, tag: u64) {
    stage.ask(tag, |_, ctx| ctx.reply("never".to_owned()));
}

const BUSY: &str = "2: failed (None): this entity already holds 2 waiting requests";

#[test]
fn by_default_the_caller_learns_that_the_entity_is_busy() {
    let mut stage = full(StashOverflow::Fail);
    one_more(&mut stage, 2);
    assert_eq!((stage.heard(), stage.turn.reports.len()), (vec![BUSY.to_owned()], 0));
}

#[test]
fn what_is_dropped_is_reported_and_its_caller_is_not_left_waiting() {
    let mut stage = full(StashOverflow::Drop);
    one_more(&mut stage, 2);
    assert_eq!(stage.heard(), [BUSY]);
    assert!(matches!(&stage.turn.reports[..], [Report::DeadLetter { id }] if id.to_string() == "scribe|x"));
}

#[test]
fn the_type_may_answer_for_the_entity() {
    let mut stage = full(StashOverflow::Reply);
    one_more(&mut stage, 2);
    assert_eq!(stage.heard(), ["2: come back later"]);
    OVERFLOW_REPLY.set(Ok(None));
    one_more(&mut stage, 2);
    assert_eq!(stage.heard(), [BUSY]);
    stage.settle();
    assert_eq!(stage.heard(), ["busy @1", "1: one @1"]);
}

#[test]
fn a_type_that_panics_over_its_answer_is_reported_and_stops_nobody() {
    let mut stage = full(StashOverflow::Reply);
    OVERFLOW_REPLY.set(Err(()));
    one_more(&mut stage, 2);
    assert_eq!(stage.heard(), [BUSY]);
    assert!(
        matches!(&stage.turn.reports[..], [Report::Panicked { what, .. }] if what.contains("no reply comes to mind")),
        "{:?}",
        stage.turn.reports
    );
    stage.settle();
    assert_eq!(stage.heard(), ["busy @1", "1: one @1"]);
}

#[test]
fn the_entity_is_told_once_how_many_were_turned_away_and_again_the_next_time() {
    let mut stage = full(StashOverflow::Fail);
    for tag in 2..=5 {
        one_more(&mut stage, tag);
    }
    stage.settle();
    stage.heard();
    assert_eq!(stage.told(), ["StashOverflowed { capacity: 2, lost: 4 }"]);
    stage.tell(|_, ctx| say(ctx, "busy"));
    stage.tell(|_, _| {});
    one_more(&mut stage, 6);
    stage.settle();
    stage.heard();
    assert_eq!(stage.told(), ["StashOverflowed { capacity: 2, lost: 1 }"]);
    assert!(stage.is_idle());
}

#[test]
fn an_entity_that_does_not_care_leaves_a_warning() {
    let options = TypeOptions { stash_capacity: Some(1), ..TypeOptions::default() };
    let mut stage = Stage::<Scribe>::of("deaf", &options, super::stage::settings());
    stage.tell(|_, ctx| say(ctx, "busy"));
    one_more(&mut stage, 1);
    stage.recover();
    stage.settle();
    assert!(
        matches!(&stage.turn.reports[..], [Report::Unhandled { signal, .. }] if signal.is_failure()),
        "{:?}",
        stage.turn.reports
    );
}

#[test]
fn what_is_turned_away_while_events_are_written_is_told_after_them() {
    let options = TypeOptions { stash_capacity: Some(2), ..TypeOptions::default() };
    let mut stage = Stage::ready_with(options);
    for tag in 1..=3 {
        stage.ask(tag, |_, ctx| say_async(ctx, "slow"));
    }
    assert_eq!(stage.heard(), ["3: failed (None): this entity already holds 2 waiting requests"]);
    stage.settle();
    stage.heard();
    assert_eq!(stage.told(), ["StashOverflowed { capacity: 2, lost: 1 }"]);
}

#[test]
fn results_that_are_awaited_count_and_free_their_place_when_they_come() {
    let options = TypeOptions { stash_capacity: Some(2), ..TypeOptions::default() };
    let mut stage = Stage::ready_with(options);
    for tag in 1..=3 {
        stage.ask(tag, |_, ctx| ctx.pipe_to_self(std::future::ready(()), |()| "result".to_owned()));
    }
    assert_eq!(
        stage.heard(),
        ["1: done", "2: done", "3: failed (None): this entity already holds 2 waiting requests"]
    );
    stage.serve();
    let overflowed = "StashOverflowed { capacity: 2, lost: 1 }";
    assert_eq!(stage.told(), [overflowed, "result", "result"]);
    assert!(stage.is_idle());
}

#[test]
fn a_recovering_entity_turns_away_what_is_too_much_and_hears_of_it_afterwards() {
    let options = TypeOptions { stash_capacity: Some(2), ..TypeOptions::default() };
    let mut stage = Stage::<Scribe>::of("x", &options, super::stage::settings());
    for tag in 1..=4 {
        stage.ask(tag, |_, _| {});
    }
    stage.recover();
    let refused = |tag| format!("{tag}: failed (None): this entity already holds 2 waiting requests");
    assert_eq!(stage.heard(), [&refused(3), &refused(4), "1: done", "2: done"]);
    assert_eq!(stage.told(), ["StashOverflowed { capacity: 2, lost: 2 }"]);
}
