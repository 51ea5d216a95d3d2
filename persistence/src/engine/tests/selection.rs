//! Recovering from less than everything.

use super::stage::{Scribe, Stage, say};
use crate::SequenceNr;
use crate::engine::{EntityStore, Load, Report};
use crate::model::TypeOptions;

const PARTIAL: &str = "the entity recovered only part of its events, so its state is not what they add up to";

/// Five events, and snapshots of the first and of the third.
fn past() -> Stage<Scribe> {
    let mut stage = Stage::ready();
    for text in ["a", "b", "c", "d", "e"] {
        stage.dictate(&[text]);
        if text == "a" || text == "c" {
            stage.tell(|this, ctx| {
                let marked: Vec<_> = this.said.iter().map(|said| said.to_uppercase()).collect();
                ctx.save_snapshot(&marked);
            });
            stage.serve();
            stage.heard();
        }
    }
    assert_eq!((stage.events(), stage.saved()), (vec![1, 2, 3, 4, 5], vec![1, 3]));
    stage
}

fn recovered_as(id: &str) -> Stage<Scribe> {
    let mut stage = past().reborn(id, &TypeOptions::default());
    stage.show(1);
    stage.recover();
    stage
}

#[test]
fn by_default_it_is_the_newest_snapshot_and_all_events_after_it() {
    assert_eq!(recovered_as("x").heard(), ["1: A,B,C,d,e @5"]);
}

#[test]
fn each_choice_recovers_what_it_says_and_numbers_go_on_after_the_last_event() {
    for (id, shown) in [
        ("plain", "1: a,b,c,d,e @5"),
        ("young", "1: A,b @5"),
        ("brief", "1: A,B,C,d,e @5"),
        ("amnesic", "1:  @5"),
    ] {
        let mut stage = recovered_as(id);
        assert_eq!(stage.heard(), [shown], "{id}");
        stage.tell(|_, ctx| say(ctx, "f"));
        assert_eq!(stage.settle(), [["f@6"]], "{id}");
    }
}

#[test]
fn a_limit_counts_replayed_events_over_pages_and_not_the_snapshots_own() {
    let mut stage = past().reborn("brief", &TypeOptions::default());
    stage.snapshots.retain(|snapshot| snapshot.sequence_nr.0 == 1);
    stage.show(1);
    stage.recover();
    assert_eq!(stage.heard(), ["1: A,b,c,d @5"]);
    let mut stage = past().reborn("brief", &TypeOptions::default());
    stage.snapshots.clear();
    stage.show(1);
    stage.recover();
    assert_eq!(stage.heard(), ["1: a,b,c @5"]);
}

#[test]
fn what_is_asked_of_the_stores_is_no_more_than_is_meant() {
    let begin = |id: &str| {
        let mut stage = past().reborn(id, &TypeOptions::default());
        stage.show(1);
        let slot = stage.slot();
        stage.cells.begin_load(&mut stage.turn, slot)
    };
    match begin("young") {
        Some(Load::Snapshot { criteria, .. }) => assert_eq!(criteria.max_sequence_nr, SequenceNr(2)),
        other => panic!("{other:?}"),
    }
    match begin("plain") {
        Some(Load::Events { from, max_events, .. }) => assert_eq!((from, max_events), (SequenceNr(1), 2)),
        other => panic!("{other:?}"),
    }
    match begin("amnesic") {
        Some(Load::Events { max_events, .. }) => assert_eq!(max_events, 0),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_state_that_is_not_all_of_its_events_cannot_be_saved_ever() {
    for id in ["young", "amnesic"] {
        let mut stage = recovered_as(id);
        stage.heard();
        for number in 5..8 {
            stage.tell(|this, ctx| ctx.save_snapshot(&this.said));
            stage.heard();
            assert!(stage.calls.is_empty(), "{id} at {number}");
            let told =
                format!("SnapshotNotSaved {{ sequence_nr: SequenceNr({number}), reason: \"{PARTIAL}\" }}");
            assert_eq!(stage.told(), [told], "{id}");
            // An event of a known batch does not make the state whole.
            stage.dictate(&["more"]);
        }
    }
}

#[test]
fn nor_can_one_whose_first_events_are_in_a_snapshot_that_was_not_used() {
    for id in ["amnesic", "plain"] {
        let mut stage = Stage::ready();
        stage.dictate(&["a", "b"]);
        stage.tell(|this, ctx| ctx.save_snapshot(&this.said));
        stage.serve();
        stage.tell(|_, ctx| ctx.delete_events(SequenceNr(2)));
        stage.settle();
        let mut stage = stage.reborn(id, &TypeOptions::default());
        stage.show(1);
        stage.recover();
        assert_eq!(stage.heard(), ["1:  @2"], "{id}");
        for _ in 0..2 {
            stage.tell(|this, ctx| ctx.save_snapshot(&this.said));
            assert!(stage.calls.is_empty(), "{id}: it would take the place of the good one");
            stage.dictate(&["c"]);
        }
    }
}

#[test]
fn a_whole_state_can_be_saved_whatever_way_it_was_recovered() {
    let mut stage = recovered_as("plain");
    stage.tell(|this, ctx| ctx.save_snapshot(&this.said));
    stage.serve();
    assert_eq!(stage.saved(), [1, 3, 5]);
}

#[test]
fn partial_recoveries_take_no_snapshots_by_themselves() {
    let retention = crate::model::Retention {
        snapshot_every: std::num::NonZeroU64::new(1),
        ..crate::model::Retention::NONE
    };
    let options = TypeOptions { retention, ..TypeOptions::default() };
    let mut stage = past().reborn("amnesic", &options);
    stage.show(1);
    stage.recover();
    stage.dictate(&["f"]);
    assert!(stage.calls.is_empty() && stage.told().is_empty());
}

#[test]
fn an_entity_that_begins_again_whole_may_be_saved_again() {
    let mut stage = recovered_as("amnesic");
    stage.heard();
    // All there is to recover is nothing, once nothing is left out.
    stage.journal.clear();
    stage.base = (SequenceNr::ZERO, bytes::Bytes::new());
    stage.tell(|_, _| panic!("oh"));
    stage.recover();
    stage.dictate(&["first"]);
    stage.tell(|this, ctx| ctx.save_snapshot(&this.said));
    assert_eq!(stage.calls.len(), 1);
}

#[test]
fn a_choice_that_panics_parks_the_entity_and_is_told() {
    let mut stage = Stage::<Scribe>::unborn("lost");
    stage.ask(1, |_, _| {});
    stage.wants.load = false;
    let slot = stage.slot();
    assert!(stage.cells.begin_load(&mut stage.turn, slot).is_none());
    assert_eq!(stage.cells.parked_count(), 1);
    assert!(
        matches!(&stage.turn.reports[..], [Report::Parked { reason, .. }] if reason == "no idea where to begin")
    );
    stage.ask(2, |_, _| {});
    let parked = |tag| format!("{tag}: failed (None): the entity is parked: no idea where to begin");
    assert_eq!(stage.heard(), [parked(1), parked(2)]);
    stage.release(3);
    assert!(stage.wants.load && stage.cells.parked_count() == 0, "an operator lets it try again");
    assert!(stage.cells.begin_load(&mut stage.turn, slot).is_none());
    assert_eq!(stage.cells.parked_count(), 1);
}
