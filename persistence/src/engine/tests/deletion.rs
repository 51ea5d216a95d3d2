//! Deleting events: up to where, in which order, and what is left of their numbers.

use prost::Message as _;

use super::stage::{Scribe, Stage, say, say_async};
use crate::SequenceNr;
use crate::envelope::BaseRecord;
use crate::model::{Context, Outcome, TypeOptions};

fn with_events(texts: &[&str]) -> Stage<Scribe> {
    let mut stage = Stage::ready();
    stage.dictate(texts);
    stage
}

fn delete(stage: &mut Stage<Scribe>, to: u64) -> Vec<String> {
    stage.tell(move |_, ctx| ctx.delete_events(SequenceNr(to)));
    stage.settle();
    stage.heard();
    stage.told()
}

fn save(stage: &mut Stage<Scribe>) {
    stage.tell(|this, ctx| ctx.save_snapshot(&this.said));
    stage.serve();
    stage.heard();
    stage.told();
}

fn record(stage: &Stage<Scribe>) -> BaseRecord {
    BaseRecord::decode(stage.base.1.clone()).expect("a record")
}

fn after_restart(stage: &mut Stage<Scribe>) -> Vec<String> {
    stage.tell(|_, _| panic!("oh"));
    stage.heard();
    stage.show(1);
    stage.recover();
    stage.heard()
}

#[test]
fn deleted_events_are_gone_after_a_restart_and_the_others_are_not() {
    let mut stage = with_events(&["a", "b", "c"]);
    assert_eq!(delete(&mut stage, 2), ["EventsDeleted { to: SequenceNr(2) }"]);
    stage.show(1);
    assert_eq!(stage.heard(), ["1: a,b,c @3"], "what it knows it knows");
    assert_eq!(after_restart(&mut stage), ["1: c @3"]);
}

#[test]
fn numbers_go_on_when_all_events_are_deleted() {
    let mut stage = with_events(&["a", "b"]);
    delete(&mut stage, 2);
    assert_eq!((stage.events(), after_restart(&mut stage)), (vec![], vec!["1:  @2".to_owned()]));
    stage.tell(|_, ctx| say(ctx, "c"));
    assert_eq!(stage.settle(), [["c@3"]]);
}

#[test]
fn nothing_is_deleted_above_the_last_event() {
    let mut stage = with_events(&["a", "b"]);
    assert_eq!(
        delete(&mut stage, 3),
        ["EventsNotDeleted { to: SequenceNr(3), reason: \"the last event is 2\" }"]
    );
    assert_eq!(delete(&mut stage, u64::MAX).len(), 1);
    assert_eq!(stage.events(), [1, 2]);
}

#[test]
fn an_event_that_is_not_yet_handled_is_not_deleted() {
    let mut stage = with_events(&["a"]);
    stage.tell(|_, ctx| {
        say_async(ctx, "b");
        ctx.delete_events(SequenceNr(2));
    });
    stage.settle();
    stage.heard();
    assert!(stage.told()[0].starts_with("EventsNotDeleted"));
    assert_eq!(stage.events(), [1, 2]);
}

#[test]
fn deleting_nothing_and_deleting_again_is_no_error() {
    let mut stage = with_events(&["a", "b"]);
    assert_eq!(delete(&mut stage, 0), ["EventsDeleted { to: SequenceNr(0) }"]);
    delete(&mut stage, 2);
    let base = stage.base.clone();
    assert_eq!(delete(&mut stage, 1), ["EventsDeleted { to: SequenceNr(1) }"]);
    assert_eq!(delete(&mut stage, 2), ["EventsDeleted { to: SequenceNr(2) }"]);
    assert_eq!(stage.base, base);
}

#[test]
fn a_deletion_keeps_its_place_among_writes() {
    let mut stage = with_events(&["a"]);
    stage.tell(|_, ctx| {
        say_async(ctx, "b");
        ctx.delete_events(SequenceNr(1));
        say_async(ctx, "c");
    });
    assert_eq!(stage.flush(), ["b@2", "c@3", "-1"]);
    stage.stored();
    assert_eq!(stage.events(), [2, 3]);
    assert_eq!(stage.heard(), ["b @2", "c @3"]);
    assert_eq!(stage.told(), ["EventsDeleted { to: SequenceNr(1) }"]);
}

#[test]
fn a_deletion_in_flight_keeps_the_entity_and_waits_for_its_batch() {
    let mut stage = with_events(&["a"]);
    stage.tell(|_, ctx| ctx.delete_events(SequenceNr(1)));
    assert!(!stage.is_idle());
    assert_eq!(stage.flush(), ["-1"]);
    assert!(!stage.is_idle());
    stage.show(1);
    assert_eq!(stage.heard(), ["done @1", "1: a @1"], "it holds back nobody");
    stage.stored();
    assert_eq!(stage.told(), ["EventsDeleted { to: SequenceNr(1) }"]);
    assert!(stage.is_idle());
}

#[test]
fn a_deletion_that_fails_restarts_the_entity() {
    let mut stage = with_events(&["a", "b"]);
    stage.tell(|_, ctx| ctx.delete_events(SequenceNr(1)));
    stage.flush();
    stage.ask(1, |_, ctx| say(ctx, "never sent"));
    stage.heard();
    stage.failed(Outcome::Unknown);
    assert_eq!(stage.heard(), ["1: failed (None): the journal failed: disk on fire"]);
    stage.wait();
    stage.show(2);
    stage.recover();
    assert_eq!(stage.heard(), ["2: a,b @2"]);
    assert_eq!(stage.told(), [""; 0], "nobody knows what became of it");
}

#[test]
fn a_stop_waits_for_a_deletion() {
    let mut stage = with_events(&["a"]);
    stage.tell(|_, ctx| {
        ctx.delete_events(SequenceNr(1));
        ctx.stop();
    });
    assert!(!stage.wants.gone);
    stage.settle();
    assert!(stage.wants.gone && stage.events().is_empty());
}

#[test]
fn what_is_left_says_whether_a_snapshot_contains_what_went() {
    let mut stage = with_events(&["a", "b", "c"]);
    delete(&mut stage, 1);
    assert!(!record(&stage).rests_on_snapshot);
    save(&mut stage);
    stage.dictate(&["d"]);
    delete(&mut stage, 3);
    let last = stage.snapshots[0].token();
    let base = record(&stage);
    assert!(base.rests_on_snapshot);
    assert_eq!((base.epoch, base.session, base.batch), (last.claim.epoch.0, last.claim.session, last.batch));
    delete(&mut stage, 4);
    assert!(!record(&stage).rests_on_snapshot, "the snapshot ends before it");
}

#[test]
fn a_snapshot_is_enough_when_all_its_events_are_deleted() {
    let mut stage = with_events(&["a", "b"]);
    save(&mut stage);
    delete(&mut stage, 2);
    assert_eq!(after_restart(&mut stage), ["1: a,b @2"]);
    stage.dictate(&["c"]);
    assert_eq!(after_restart(&mut stage), ["1: a,b,c @3"]);
    let mut stage = with_events(&["a", "b", "c"]);
    save(&mut stage);
    delete(&mut stage, 2);
    assert_eq!(after_restart(&mut stage), ["1: a,b,c @3"]);
}

#[test]
fn a_snapshot_may_be_saved_after_events_were_deleted_for_good() {
    let mut stage = with_events(&["a", "b"]);
    delete(&mut stage, 2);
    assert_eq!(after_restart(&mut stage), ["1:  @2"]);
    save(&mut stage);
    assert_eq!(stage.saved(), [2], "the record says under which token the last one was written");
    stage.dictate(&["c"]);
    assert_eq!(after_restart(&mut stage), ["1: c @3"]);
}

#[test]
fn a_snapshot_names_the_batch_of_its_last_event_not_of_a_later_deletion() {
    let mut stage = with_events(&["a", "b"]);
    delete(&mut stage, 1);
    save(&mut stage);
    assert_eq!(stage.snapshots[0].token(), stage.journal[0].token());
    assert_eq!(after_restart(&mut stage), ["1: a,b @2"]);
    assert!(stage.turn.reports.iter().all(|report| matches!(report, crate::engine::Report::Panicked { .. })));
}

#[test]
fn the_record_of_an_event_of_no_known_token_says_none() {
    let mut stage = with_events(&["a", "b", "c"]);
    delete(&mut stage, 1);
    let base = record(&stage);
    assert_eq!((base.epoch, base.session, base.batch), (0, 0, 0));
}

#[test]
fn deleting_in_a_handler_may_take_the_event_itself() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| {
        ctx.persist(super::stage::said("a"), |this, said, ctx: &mut Context<'_, Scribe>| {
            this.said.push(said.0.clone());
            ctx.delete_events(ctx.last_sequence_nr());
        });
    });
    assert_eq!(stage.settle(), [["a@1"], ["-1"]]);
    assert!(stage.events().is_empty());
    let mut stage = stage.reborn("x", &TypeOptions::default());
    stage.tell(|_, ctx| say(ctx, "b"));
    stage.recover();
    assert_eq!(stage.settle(), [["b@2"]]);
}
