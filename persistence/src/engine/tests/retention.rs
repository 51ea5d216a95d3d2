//! Snapshots that are taken by themselves: when, of what, and what may be deleted because of them.

use std::num::NonZeroU64;

use prost::Message as _;
use serde::{Deserialize, Serialize};

use super::stage::{Scribe, Stage, said, settings};
use crate::codec::Event;
use crate::engine::{Called, Report};
use crate::envelope::BaseRecord;
use crate::journal::StoreError;
use crate::model::{
    Effect, EventSourced, EventSourcedActor, Outcome, PersistentActor, Retention, TypeOptions,
};
use crate::{EntityId, EntityType};

/// Counts. Its state cannot be encoded at 13, and panics over that at 14.
#[derive(Deserialize)]
struct Tally {
    count: u64,
}

impl Serialize for Tally {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shape {
            count: u64,
        }
        assert_ne!(self.count, 14, "fourteen");
        if self.count == 13 {
            return Err(serde::ser::Error::custom("thirteen"));
        }
        Shape { count: self.count }.serialize(serializer)
    }
}

#[derive(Serialize, Deserialize)]
struct One;

impl Event for One {
    fn name(&self) -> &'static str {
        "one"
    }
}

impl EventSourced for Tally {
    const TYPE: EntityType = EntityType::new("tally");
    type Command = usize;
    type Event = One;
    type Reply = String;
    type Rejection = String;

    fn new(_: &EntityId) -> Self {
        Self { count: 0 }
    }
    fn handle(&self, by: usize) -> Effect<Self> {
        Effect::persist_all((0..by).map(|_| One)).then_reply(|tally: &Self| tally.count.to_string())
    }
    fn apply(&mut self, One: &One) {
        self.count += 1;
    }
}

type Tallies = Stage<EventSourcedActor<Tally>>;

fn every<A: PersistentActor>(events: u64) -> TypeOptions<A> {
    let retention = Retention { snapshot_every: NonZeroU64::new(events), ..Retention::NONE };
    TypeOptions { retention, ..TypeOptions::default() }
}

fn deleting<A: PersistentActor>(events: u64) -> TypeOptions<A> {
    let retention = Retention { delete_events: true, ..every::<A>(events).retention };
    TypeOptions { retention, ..TypeOptions::default() }
}

fn tally(options: &TypeOptions<EventSourcedActor<Tally>>) -> Tallies {
    let mut stage = Tallies::of("x", options, settings());
    stage.command(0, 0);
    stage.recover();
    assert_eq!(stage.heard(), ["0: 0"]);
    stage
}

/// Stores events in one write.
fn add(stage: &mut Tallies, by: usize) {
    stage.command(1, by);
    stage.settle();
    stage.heard();
}

fn counts(stage: &Tallies) -> Vec<(u64, String)> {
    let text = |payload: &bytes::Bytes| String::from_utf8_lossy(payload).into_owned();
    stage.snapshots.iter().map(|snapshot| (snapshot.sequence_nr.0, text(&snapshot.payload))).collect()
}

#[test]
fn a_snapshot_is_due_when_the_way_between_two_events_passes_a_multiple() {
    let retention = Retention { keep_snapshots: 9, ..every(3).retention };
    let mut stage = tally(&TypeOptions { retention, ..TypeOptions::default() });
    for (by, due) in [(2, false), (2, true), (1, false), (1, true), (9, true), (1, false)] {
        add(&mut stage, by);
        assert_eq!(!stage.calls.is_empty(), due);
        stage.serve();
    }
    let counted = [4, 6, 15].map(|count| (count, format!("{{\"count\":{count}}}")));
    assert_eq!(counts(&stage), counted, "of the state after the whole command");
}

#[test]
fn a_snapshot_holds_what_was_decided_and_is_saved_when_that_is_stored() {
    let mut stage = tally(&every(3));
    stage.command(1, 3);
    stage.flush();
    stage.command(2, 1);
    assert!(stage.calls.is_empty(), "nothing is stored yet");
    stage.stored();
    stage.serve();
    assert_eq!(counts(&stage), [(3, "{\"count\":3}".to_owned())], "although the state is four");
    assert_eq!(stage.snapshots[0].batch, stage.journal[2].batch);
    stage.settle();
    assert_eq!(stage.heard(), ["1: 3 @3", "2: 4 @4"]);
}

#[test]
fn a_write_that_fails_saves_nothing() {
    let mut stage = tally(&every(3));
    stage.command(1, 3);
    stage.flush();
    stage.failed(Outcome::None);
    stage.wait();
    stage.recover();
    assert!(stage.calls.is_empty() && stage.snapshots.is_empty());
}

#[test]
fn one_snapshot_is_on_its_way_at_a_time() {
    let mut stage = tally(&every(2));
    for _ in 0..5 {
        stage.command(1, 2);
    }
    stage.settle();
    assert_eq!(stage.calling(), ["Save { sequence_nr: SequenceNr(2), read_back: false, .. }"]);
    add(&mut stage, 2);
    assert_eq!(stage.calls.len(), 1);
    stage.serve();
    add(&mut stage, 1);
    assert!(stage.calls.is_empty(), "it is not made up for before the next is due");
    add(&mut stage, 3);
    assert_eq!(stage.calling(), ["Save { sequence_nr: SequenceNr(16), read_back: false, .. }"]);
}

#[test]
fn a_state_that_cannot_be_encoded_costs_the_snapshot_and_nothing_else() {
    for (by, words) in [(13, "thirteen"), (14, "fourteen")] {
        let mut stage = tally(&every(10));
        stage.command(1, by);
        stage.settle();
        assert_eq!(stage.heard(), [format!("1: {by} @{by}")]);
        let reports = format!("{:?}", stage.turn.reports);
        assert!(matches!(stage.turn.reports[..], [Report::Unhandled { .. }]), "{reports}");
        assert!(reports.contains("SnapshotNotSaved") && reports.contains(words), "{reports}");
        add(&mut stage, 10);
        stage.serve();
        assert_eq!(stage.saved(), [by as u64 + 10]);
    }
}

#[test]
fn a_state_that_cannot_be_encoded_does_not_stop_a_recovery() {
    let mut stage = tally(&every(10));
    add(&mut stage, 14);
    let mut stage = stage.reborn("x", &every(10));
    stage.command(1, 1);
    stage.recover();
    stage.settle();
    assert_eq!(stage.heard(), ["1: 15 @15"]);
    assert!(matches!(stage.turn.reports[..], [Report::Unhandled { .. }]), "{:?}", stage.turn.reports);
}

#[test]
fn a_snapshot_that_is_missing_is_taken_after_recovery() {
    let mut stage = tally(&every(3));
    add(&mut stage, 4);
    let mut stage = stage.reborn("x", &every(3));
    stage.command(1, 0);
    stage.recover();
    stage.serve();
    assert_eq!((stage.saved(), stage.heard()), (vec![4], vec!["1: 4 @4".to_owned()]));
    let mut stage = stage.reborn("x", &every(3));
    stage.command(1, 0);
    stage.recover();
    assert!(stage.calls.is_empty(), "the newest one will do");
}

#[test]
fn a_save_that_failed_is_tried_again_when_the_next_is_due() {
    let mut stage = tally(&deleting(2));
    add(&mut stage, 2);
    stage.answer_call(Called::Saved(Err(StoreError::new("no room"))));
    add(&mut stage, 2);
    stage.serve();
    add(&mut stage, 2);
    stage.serve();
    assert_eq!(stage.saved(), [4, 6]);
    stage.settle();
    assert_eq!(stage.events(), [3, 4, 5, 6], "four and six contain them");
}

#[test]
fn what_two_snapshots_contain_is_deleted_once_the_newer_is_stored() {
    let mut stage = tally(&deleting(2));
    for saved in [2, 4] {
        add(&mut stage, 2);
        assert_eq!(
            stage.calling(),
            [format!("Save {{ sequence_nr: SequenceNr({saved}), read_back: true, .. }}")]
        );
        stage.serve();
        assert!(!stage.wants.write && stage.calls.is_empty());
    }
    add(&mut stage, 2);
    assert!(!stage.wants.write && stage.calls.len() == 1, "the third is not stored yet");
    stage.serve();
    assert_eq!(stage.settle(), [["-2"]]);
    stage.serve();
    assert_eq!((stage.events(), stage.saved()), (vec![3, 4, 5, 6], vec![4, 6]));
    let record = BaseRecord::decode(stage.base.1.clone()).expect("a record");
    assert!(record.rests_on_snapshot);
    let mut stage = stage.reborn("x", &deleting(2));
    stage.command(1, 0);
    stage.recover();
    assert_eq!(stage.heard(), ["1: 6 @6"]);
}

#[test]
fn a_save_that_fails_deletes_nothing() {
    let mut stage = tally(&deleting(1));
    for _ in 0..3 {
        add(&mut stage, 1);
        stage.serve();
        stage.settle();
        stage.serve();
    }
    let before = (stage.events(), stage.saved());
    for _ in 0..5 {
        add(&mut stage, 1);
        stage.answer_call(Called::Saved(Err(StoreError::new("no room"))));
        assert!(!stage.wants.write && stage.calls.is_empty());
    }
    assert_eq!(stage.events()[..before.0.len()], before.0);
    assert_eq!(stage.saved(), before.1);
}

#[test]
fn after_failed_saves_events_stay_that_only_the_newest_snapshot_contains() {
    let mut stage = tally(&deleting(2));
    add(&mut stage, 2);
    stage.serve();
    for _ in 0..4 {
        add(&mut stage, 2);
        stage.answer_call(Called::Saved(Err(StoreError::new("no room"))));
    }
    add(&mut stage, 2);
    stage.serve();
    stage.settle();
    stage.serve();
    assert_eq!(stage.saved(), [2, 12], "should the newer be damaged, the older must do");
    assert_eq!(stage.events(), (3..=12).collect::<Vec<_>>());
    stage.snapshots[1].batch += 1;
    let mut stage = stage.reborn("x", &deleting(2));
    stage.command(1, 0);
    stage.recover();
    assert_eq!(stage.heard(), ["1: 12 @12"]);
}

#[test]
fn a_single_snapshot_deletes_nothing_however_late_it_is() {
    let mut stage = tally(&deleting(2));
    for _ in 0..5 {
        add(&mut stage, 2);
        stage.answer_call(Called::Saved(Err(StoreError::new("no room"))));
    }
    add(&mut stage, 2);
    stage.serve();
    assert!(!stage.wants.write && stage.calls.is_empty(), "were it damaged, nothing would be left");
}

#[test]
fn each_life_deletes_what_the_one_before_left() {
    let options = deleting(2);
    let mut stage = tally(&options);
    for _ in 0..6 {
        add(&mut stage, 2);
        stage.serve();
        stage.settle();
        stage.serve();
        stage.settle();
        stage = stage.reborn("x", &options);
        stage.command(1, 0);
        stage.recover();
        stage.heard();
    }
    assert_eq!((stage.events(), stage.saved()), (vec![9, 10, 11, 12], vec![10, 12]));
}

#[test]
fn snapshots_are_kept_as_many_as_the_type_says() {
    for kept in 1..=3 {
        let retention = Retention { keep_snapshots: kept, ..every(2).retention };
        let mut stage = tally(&TypeOptions { retention, ..TypeOptions::default() });
        for _ in 0..6 {
            add(&mut stage, 2);
            stage.serve();
            assert!(!stage.wants.write, "events are not deleted");
            stage.serve();
        }
        let newest = [8, 10, 12];
        assert_eq!(stage.saved(), newest[3 - kept as usize..]);
    }
}

#[test]
fn a_deletion_that_comes_too_late_leaves_a_whole_entity() {
    let options = deleting(2);
    let mut stage = tally(&options);
    for _ in 0..3 {
        add(&mut stage, 2);
        stage.serve();
    }
    // The events were to go; the node went first, and the snapshots went on their own.
    assert!(stage.wants.write);
    stage.serve();
    let mut stage = stage.reborn("x", &options);
    stage.command(1, 0);
    stage.recover();
    assert_eq!((stage.heard(), stage.events().len()), (vec!["1: 6 @6".to_owned()], 6));
}

#[test]
fn a_type_may_say_itself_when_a_snapshot_is_due() {
    let retention = Retention {
        snapshot_when: Some(|tally: &Tally, _: &One, number| {
            assert_eq!(tally.count, number.0, "it sees the state after the event");
            number.0 == 2
        }),
        ..Retention::NONE
    };
    let mut stage = tally(&TypeOptions { retention, ..TypeOptions::default() });
    add(&mut stage, 1);
    assert!(stage.calls.is_empty());
    add(&mut stage, 2);
    stage.serve();
    assert_eq!(stage.saved(), [3], "after the whole command");
    assert!(stage.calls.is_empty() && !stage.wants.write, "it deletes nothing");
}

fn scribe_when(is_due: crate::model::SnapshotWhen<Scribe>) -> Stage<Scribe> {
    let retention = Retention { snapshot_when: Some(is_due), ..Retention::NONE };
    Stage::ready_with(TypeOptions { retention, ..TypeOptions::default() })
}

#[test]
fn every_event_of_a_group_may_make_a_snapshot_due() {
    let mut stage = scribe_when(|said, event, _| {
        assert_eq!(said.last(), Some(&event.0));
        event.0 == "b"
    });
    stage.tell(|_, ctx| {
        ctx.persist_all(vec![said("a"), said("b"), said("c")], |this, event, _| {
            this.said.push(event.0.clone())
        });
    });
    stage.settle();
    stage.serve();
    assert_eq!(stage.saved(), [3], "at the end of the whole effect");
}

#[test]
fn a_panic_over_whether_a_snapshot_is_due_costs_the_snapshot_alone() {
    let mut stage = scribe_when(|_, _, number| {
        assert_ne!(number.0, 1, "undecided");
        true
    });
    stage.dictate(&["a"]);
    let told = stage.told();
    assert!(
        told.len() == 1 && told[0].contains("SnapshotNotSaved") && told[0].contains("undecided"),
        "{told:?}"
    );
    stage.dictate(&["b"]);
    stage.serve();
    assert_eq!((stage.saved(), stage.events()), (vec![2], vec![1, 2]));
    let retention = Retention::<EventSourcedActor<Tally>> {
        snapshot_when: Some(|_, _, _| panic!("undecided")),
        ..Retention::NONE
    };
    let mut stage = tally(&TypeOptions { retention, ..TypeOptions::default() });
    stage.command(1, 2);
    stage.settle();
    assert_eq!(stage.heard(), ["1: 2 @2"]);
    assert!(matches!(stage.turn.reports[..], [Report::Unhandled { .. }]), "{:?}", stage.turn.reports);
}

#[test]
fn an_actor_is_saved_after_its_handler_and_not_after_one_that_panicked() {
    let mut stage = Stage::ready_with(every(2));
    stage.dictate(&["a"]);
    assert!(stage.calls.is_empty());
    stage.dictate(&["b"]);
    stage.serve();
    assert_eq!((stage.saved(), &*stage.snapshots[0].payload), (vec![2], &b"[\"a\",\"b\"]"[..]));
    stage.told();
    stage.dictate(&["c"]);
    stage.tell(|_, ctx| ctx.persist(said("d"), |_, _, _| panic!("oh")));
    stage.settle();
    assert!(stage.calls.is_empty(), "its state is not what the events add up to");
    stage.recover();
    stage.serve();
    assert_eq!(
        (stage.saved(), &*stage.snapshots[1].payload),
        (vec![2, 4], &b"[\"a\",\"b\",\"c\",\"d\"]"[..])
    );
}

#[test]
fn a_snapshot_that_was_asked_for_counts_as_confirmed_only_if_it_was_read_back() {
    let mut stage = Stage::ready_with(deleting(10));
    stage.dictate(&["a"]);
    stage.tell(|this, ctx| ctx.save_snapshot(&this.said));
    assert_eq!(stage.calling(), ["Save { sequence_nr: SequenceNr(1), read_back: true, .. }"]);
}

#[test]
fn an_entity_without_a_store_takes_none() {
    let mut stage = Tallies::on("x", &every(1), settings(), false);
    stage.command(1, 3);
    stage.recover();
    stage.settle();
    assert_eq!(stage.heard(), ["1: 3 @3"]);
    assert!(stage.calls.is_empty() && stage.turn.reports.is_empty());
}

#[test]
fn a_retention_that_cannot_hold_is_refused_with_the_remedy() {
    let base =
        Retention::<Scribe> { snapshot_every: NonZeroU64::new(2), delete_events: true, ..Retention::NONE };
    assert_eq!(base.check(), Ok(()));
    for (wrong, words) in [
        (Retention { keep_snapshots: 0, ..base }, "keep_snapshots is 0"),
        (Retention { keep_snapshots: 1, ..base }, "delete_events needs keep_snapshots of at least 2"),
        (Retention { snapshot_every: None, ..base }, "delete_events needs snapshot_every"),
    ] {
        assert!(wrong.check().is_err_and(|reason| reason.starts_with(words)));
    }
}
