//! What others do for an entity: futures, snapshots; and what becomes of results that come late.

use super::stage::{Scribe, Stage, say, say_async};
use crate::engine::{Called, EntityStore, Report};
use crate::journal::{SnapshotCriteria, SnapshotError, StoreError};
use crate::model::{Context, Outcome, TypeOptions};

fn pipe(ctx: &mut Context<'_, Scribe>, word: &'static str) {
    ctx.pipe_to_self(std::future::ready(word), |word| word.to_owned());
}

fn save(stage: &mut Stage<Scribe>) {
    stage.tell(|this, ctx| ctx.save_snapshot(&this.said));
    stage.heard();
}

#[test]
fn what_a_future_comes_to_is_a_message_in_its_turn() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| pipe(ctx, "result"));
    assert_eq!(stage.heard(), ["1: done"]);
    assert!(!stage.is_idle(), "the result would be lost");
    stage.tell(|_, ctx| say(ctx, "busy"));
    stage.tell(|this, _| this.signals.push("before".to_owned()));
    stage.serve();
    stage.settle();
    stage.heard();
    assert_eq!(stage.told(), ["before", "result"]);
    assert!(stage.is_idle());
}

#[test]
fn a_message_may_persist_and_holds_back_commands() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| pipe(ctx, "say"));
    stage.serve();
    stage.show(1);
    assert_eq!(stage.heard(), ["done"]);
    assert_eq!(stage.settle(), [["to myself@1"]]);
    assert_eq!(stage.heard(), ["1: to myself @1"]);
}

#[test]
fn results_of_an_incarnation_that_ended_are_dropped() {
    for how in 0..3 {
        let mut stage = Stage::ready();
        stage.tell(|this, ctx| {
            pipe(ctx, "old");
            ctx.save_snapshot(&this.said);
            ctx.load_snapshot(SnapshotCriteria::ANY, |this, _, _| this.signals.push("old".to_owned()));
            ctx.delete_snapshots(SnapshotCriteria::ANY);
        });
        stage.heard();
        match how {
            0 => stage.tell(|_, _| panic!("oh")),
            1 => {
                stage.tell(|_, ctx| say(ctx, "a"));
                stage.flush();
                stage.failed(Outcome::None);
                stage.wait();
            }
            _ => {
                stage.tell(|_, ctx| ctx.stop());
                stage.tell(|_, _| {});
            }
        }
        stage.recover();
        stage.tell(|_, ctx| pipe(ctx, "new"));
        stage.serve();
        stage.heard();
        assert_eq!(stage.told(), ["new"], "{how}");
        assert!(stage.is_idle(), "{how}");
    }
}

#[test]
fn a_result_does_not_reach_another_entity_in_the_same_place() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| {
        pipe(ctx, "for the first");
        ctx.stop();
    });
    assert!(stage.cells.is_empty());
    let calls = std::mem::take(&mut stage.calls);
    let slot = stage.slot();
    // One that awaits something under the same number.
    stage.tell(|_, ctx| pipe(ctx, "for the second"));
    stage.recover();
    assert_eq!(stage.slot(), slot);
    let own = std::mem::replace(&mut stage.calls, calls);
    stage.serve();
    stage.heard();
    assert_eq!(stage.told(), [""; 0]);
    stage.calls = own;
    stage.serve();
    assert_eq!(stage.told(), ["for the second"]);
}

#[test]
fn results_that_come_while_the_entity_cannot_use_them_are_dropped() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| {
        pipe(ctx, "late");
        say_async(ctx, "a");
    });
    stage.flush();
    stage.tell(|_, _| panic!("oh"));
    stage.serve();
    assert!(!stage.wants.load, "a batch is in flight");
    stage.stored();
    stage.tell(|_, ctx| pipe(ctx, "too early to be asked"));
    stage.serve();
    stage.recover();
    stage.serve();
    stage.heard();
    assert_eq!(stage.told(), ["too early to be asked"]);
}

#[test]
fn a_panic_in_a_future_restarts_the_entity() {
    let mut stage = Stage::ready();
    stage.dictate(&["a"]);
    stage.tell(|this, ctx| {
        this.said.push("not an event".to_owned());
        pipe(ctx, "result");
    });
    stage.answer_call(Called::Ran(Err("it broke".to_owned())));
    assert!(matches!(&stage.turn.reports[..], [Report::Panicked { what, .. }] if what == "it broke"));
    stage.show(1);
    stage.recover();
    assert_eq!(stage.heard(), ["done @1", "1: a @1"]);
}

#[test]
fn a_panic_in_a_future_lets_what_is_in_flight_finish() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| {
        pipe(ctx, "result");
        say_async(ctx, "a");
    });
    stage.flush();
    stage.answer_call(Called::Ran(Err("it broke".to_owned())));
    assert!(!stage.wants.load);
    stage.stored();
    stage.show(2);
    stage.recover();
    assert_eq!(stage.heard(), ["1: failed (Unknown): the entity's code panicked: it broke", "2: a @1"]);
}

#[test]
fn a_future_that_ends_during_recovery_of_the_same_place_is_ignored() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| pipe(ctx, "faint"));
    stage.tell(|_, _| panic!("oh"));
    stage.begin_load();
    stage.serve();
    stage.feed(Ok(crate::journal::EventPage::default()));
    assert_eq!(stage.turn.reports.len(), 1, "the panic of the command alone");
}

#[test]
fn a_saved_snapshot_is_told_and_its_number_known() {
    let mut stage = Stage::ready();
    stage.dictate(&["a", "b"]);
    save(&mut stage);
    assert_eq!(stage.calling(), ["Save { sequence_nr: SequenceNr(2), read_back: false, .. }"]);
    stage.ask(1, |_, ctx| ctx.reply(ctx.snapshot_sequence_nr().to_string()));
    stage.serve();
    stage.ask(2, |_, ctx| ctx.reply(ctx.snapshot_sequence_nr().to_string()));
    assert_eq!(stage.heard(), ["1: 0 @2", "2: 2 @2"]);
    assert_eq!(stage.told(), ["SnapshotSaved { sequence_nr: SequenceNr(2), time_ms: 1000 }"]);
    let token = stage.snapshots[0].token();
    assert_eq!((token.claim, token.batch), (stage.journal[1].claim(), stage.journal[1].batch));
}

#[test]
fn a_snapshot_names_the_batch_of_its_last_event_not_of_one_in_flight() {
    let mut stage = Stage::ready();
    stage.dictate(&["a"]);
    stage.tell(|_, ctx| say_async(ctx, "b"));
    stage.flush();
    save(&mut stage);
    stage.serve();
    stage.stored();
    stage.heard();
    assert_eq!(stage.snapshots[0].batch, stage.journal[0].batch);
    save(&mut stage);
    stage.serve();
    assert_eq!((stage.saved(), stage.snapshots[1].batch), (vec![1, 2], stage.journal[1].batch));
}

#[test]
fn a_snapshot_of_nothing_is_saved_and_used() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| ctx.save_snapshot(&vec!["from nothing".to_owned()]));
    stage.serve();
    stage.dictate(&["a"]);
    stage.tell(|_, _| panic!("oh"));
    stage.heard();
    stage.show(1);
    stage.recover();
    assert_eq!(stage.heard(), ["1: from nothing,a @1"]);
}

#[test]
fn a_snapshot_that_is_not_saved_is_told_and_stops_nobody() {
    let mut stage = Stage::ready();
    stage.dictate(&["a"]);
    for _ in 0..1000 {
        save(&mut stage);
        stage.answer_call(Called::Saved(Err(StoreError::new("no room"))));
        let told = "SnapshotNotSaved { sequence_nr: SequenceNr(1), reason: \"no room\" }";
        assert_eq!(stage.told(), [told]);
        assert!(stage.turn.reports.is_empty());
    }
    assert!(stage.is_idle(), "nothing of them is left");
}

#[test]
fn a_failure_that_the_entity_does_not_care_for_is_a_warning_and_a_success_is_not() {
    let mut stage = Stage::<Scribe>::unborn("deaf");
    stage.tell(|_, ctx| say(ctx, "a"));
    stage.recover();
    stage.settle();
    save(&mut stage);
    stage.serve();
    assert!(stage.turn.reports.is_empty());
    save(&mut stage);
    stage.answer_call(Called::Saved(Err(StoreError::new("no room"))));
    stage.tell(|_, ctx| ctx.delete_snapshots(SnapshotCriteria::up_to(crate::SequenceNr(0))));
    stage.heard();
    stage.tell(|_, ctx| ctx.delete_events(crate::SequenceNr(7)));
    for call in std::mem::take(&mut stage.calls) {
        stage.called(call.ticket, Called::Deleted(Err(StoreError::new("no way"))));
    }
    let unhandled = stage.turn.reports.iter().map(|report| match report {
        Report::Unhandled { id, signal } => format!("{id}: {signal:?}"),
        other => format!("{other:?}"),
    });
    let unhandled: Vec<_> = unhandled.collect();
    assert_eq!(unhandled.len(), 3, "{unhandled:?}");
    assert!(unhandled[0].starts_with("scribe|deaf: SnapshotNotSaved"), "{unhandled:?}");
    assert!(unhandled[1].contains("EventsNotDeleted") && unhandled[2].contains("SnapshotsNotDeleted"));
}

#[test]
fn a_type_without_a_snapshot_store_says_what_to_set() {
    let mut stage = Stage::<Scribe>::on("x", &TypeOptions::default(), super::stage::settings(), false);
    stage.dictate(&["a"]);
    stage.recover();
    stage.settle();
    save(&mut stage);
    assert!(stage.calls.is_empty());
    let told = "SnapshotNotSaved { sequence_nr: SequenceNr(1), reason: \"this type has no snapshot store: \
                set [snapshot] store\" }";
    assert_eq!(stage.told(), [told]);
}

#[test]
fn a_snapshot_is_loaded_beside_the_state_and_handed_over_in_its_turn() {
    let mut stage = Stage::ready();
    stage.dictate(&["a"]);
    save(&mut stage);
    stage.serve();
    stage.dictate(&["b"]);
    for criteria in [SnapshotCriteria::ANY, SnapshotCriteria::exactly(crate::SequenceNr(9))] {
        stage.tell(move |_, ctx| {
            ctx.load_snapshot(criteria, |this, loaded, ctx| {
                let loaded =
                    loaded.expect("the store answers").map(|loaded| (loaded.sequence_nr.0, loaded.state));
                this.signals.push(format!("{loaded:?} beside {}", this.said.join(",")));
                say(ctx, "seen");
            });
        });
        stage.serve();
        stage.settle();
        stage.heard();
    }
    assert_eq!(stage.told()[1..], ["Some((1, [\"a\"])) beside a,b", "None beside a,b,seen"]);
}

#[test]
fn a_snapshot_that_cannot_be_loaded_or_read_is_an_error_for_the_handler() {
    let mut stage = Stage::ready();
    stage.dictate(&["a"]);
    save(&mut stage);
    stage.serve();
    stage.told();
    let snapshot = stage.snapshots[0].clone();
    let garbled = crate::journal::Snapshot { payload: bytes::Bytes::from_static(b"{"), ..snapshot };
    let bodies = [Ok(Some(garbled)), Err(SnapshotError::Failed(StoreError::new("no answer")))];
    for loaded in bodies {
        stage.tell(|_, ctx| {
            ctx.load_snapshot(SnapshotCriteria::ANY, |this, loaded, _| {
                this.signals.push(loaded.expect_err("it is of no use").to_string());
            });
        });
        stage.answer_call(Called::Loaded(loaded));
        stage.heard();
    }
    let told = stage.told();
    assert!(told[0].starts_with("the snapshot that ends with event 1 is damaged: "), "{told:?}");
    assert_eq!(told[1..], ["no answer"]);
}

#[test]
fn the_newest_snapshot_is_never_deleted() {
    let mut stage = Stage::ready();
    for text in ["a", "b", "c"] {
        stage.dictate(&[text]);
        save(&mut stage);
        stage.serve();
        stage.told();
    }
    let delete = |stage: &mut Stage<Scribe>, criteria: SnapshotCriteria| {
        stage.tell(move |_, ctx| ctx.delete_snapshots(criteria));
        stage.serve();
        stage.heard();
        (stage.told(), stage.saved())
    };
    let (told, saved) = delete(&mut stage, SnapshotCriteria::exactly(crate::SequenceNr(3)));
    assert!(told[0].starts_with("SnapshotsNotDeleted") && told[0].contains("the newest snapshot is kept"));
    assert_eq!(saved, [1, 2, 3]);
    let (told, saved) = delete(&mut stage, SnapshotCriteria::exactly(crate::SequenceNr(1)));
    assert!(told[0].starts_with("SnapshotsDeleted"));
    assert_eq!(saved, [2, 3]);
    let (told, saved) = delete(&mut stage, SnapshotCriteria::ANY);
    assert!(told[0].starts_with("SnapshotsDeleted"));
    assert_eq!(saved, [3]);
}

#[test]
fn a_deletion_does_not_meet_a_snapshot_that_is_on_its_way() {
    let mut stage = Stage::ready();
    stage.dictate(&["a"]);
    save(&mut stage);
    stage.tell(|_, ctx| ctx.delete_snapshots(SnapshotCriteria::ANY));
    stage.serve();
    assert_eq!(stage.saved(), [1], "events may be deleted because of it");
    let mut stage = Stage::ready();
    stage.dictate(&["a"]);
    stage.tell(|_, ctx| ctx.delete_snapshots(SnapshotCriteria::ANY));
    let late = std::mem::take(&mut stage.calls);
    save(&mut stage);
    stage.serve();
    stage.calls = late;
    stage.serve();
    assert_eq!(stage.saved(), [1], "whichever the store does first");
}

#[test]
fn a_snapshot_is_saved_even_if_the_entity_panics_right_after() {
    let mut stage = Stage::ready();
    stage.dictate(&["a"]);
    stage.tell(|this, ctx| {
        ctx.save_snapshot(&this.said);
        panic!("oh");
    });
    stage.serve();
    assert_eq!(stage.saved(), [1]);
}

#[test]
fn a_result_of_another_kind_than_was_asked_for_is_dropped() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| pipe(ctx, "result"));
    stage.answer_call(Called::Saved(Ok(())));
    stage.heard();
    assert_eq!(stage.told(), [""; 0]);
    assert!(stage.is_idle());
}

#[test]
fn calls_do_not_outlive_the_shard() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| pipe(ctx, "result"));
    stage.cells.unload(&mut stage.turn, &|outcome| crate::model::Failure::ShardLost { outcome });
    stage.serve();
    assert!(stage.cells.is_empty());
}

#[test]
fn a_second_panic_while_the_first_is_let_finish_is_of_no_interest() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| {
        pipe(ctx, "result");
        say_async(ctx, "a");
    });
    stage.flush();
    stage.tell(|_, _| panic!("oh"));
    stage.answer_call(Called::Ran(Err("it broke".to_owned())));
    assert!(matches!(&stage.turn.reports[..], [Report::Panicked { what, .. }] if what == "oh"));
}
