//! Which snapshots a recovery believes, and what it does when it believes none.

use std::time::Duration;

use bytes::Bytes;

use super::stage::{FAILED_RECOVERIES, Scribe, Stage, Sum, settings};
use crate::SequenceNr;
use crate::engine::{EntityStore, Load, Report};
use crate::journal::{SnapshotCriteria, SnapshotError, StoreError};
use crate::model::{EventSourcedActor, TypeOptions};

/// Events `1..=to`, and a snapshot after each; events up to `deleted` are gone.
fn past(to: usize, deleted: u64) -> Stage<Scribe> {
    let mut stage = Stage::ready();
    for text in ["a", "b", "c", "d", "e"].into_iter().take(to) {
        stage.dictate(&[text]);
        stage.tell(|this, ctx| {
            let marked: Vec<_> = this.said.iter().map(|said| said.to_uppercase()).collect();
            ctx.save_snapshot(&marked);
        });
        stage.serve();
        stage.heard();
    }
    stage.tell(move |_, ctx| ctx.delete_events(SequenceNr(deleted)));
    stage.settle();
    stage.reborn("x", &TypeOptions::default())
}

fn shown(stage: &mut Stage<Scribe>) -> String {
    stage.show(1);
    stage.recover();
    let heard = stage.heard();
    assert_eq!(heard.len(), 1, "{heard:?}");
    heard[0].clone()
}

fn unusable(stage: &Stage<Scribe>) -> Vec<String> {
    match &stage.turn.reports[..] {
        [Report::SnapshotUnusable { reasons, .. }] => reasons.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_snapshot_is_believed_if_the_journal_knows_its_last_event_by_its_token() {
    let mut stage = past(3, 0);
    assert_eq!(shown(&mut stage), "1: A,B,C @3");
    assert!(stage.turn.reports.is_empty());
    assert_eq!(shown(&mut past(3, 2)), "1: A,B,C @3");
    assert_eq!(shown(&mut past(3, 3)), "1: A,B,C @3");
}

#[test]
fn a_snapshot_of_another_writing_of_its_event_gives_way_to_the_one_before() {
    let mut stage = past(3, 0);
    stage.snapshots[2].batch += 1;
    assert_eq!(shown(&mut stage), "1: A,B,c @3");
    let reasons = unusable(&stage);
    assert!(
        reasons.len() == 1
            && reasons[0].starts_with(
                "the snapshot that ends with event 3 is of no use: it contains an event that was written under"
            ),
        "{reasons:?}"
    );
    let mut stage = past(3, 0);
    stage.snapshots[2].claim.session += 1;
    assert_eq!(shown(&mut stage), "1: A,B,c @3", "the claim is part of the token");
}

#[test]
fn when_all_are_of_no_use_the_events_alone_are_if_they_are_there() {
    let mut stage = past(3, 0);
    for snapshot in &mut stage.snapshots {
        snapshot.payload = Bytes::from_static(b"{");
    }
    assert_eq!(shown(&mut stage), "1: a,b,c @3");
    assert_eq!(unusable(&stage).len(), 3, "each is named");
}

#[test]
fn a_snapshot_whose_event_was_deleted_is_believed_only_if_the_record_says_its_token() {
    // The newest snapshot was the third when the events went, so of the second's event nothing is known.
    let mut stage = past(3, 2);
    stage.snapshots.remove(2);
    let answer = shown(&mut stage);
    assert!(answer.contains("the journal does not say under which token that event was written"), "{answer}");
    // Had the events gone up to one less, it would do.
    let mut stage = past(3, 1);
    stage.snapshots.remove(2);
    assert_eq!(shown(&mut stage), "1: A,B,c @3");
}

#[test]
fn a_snapshot_that_was_not_what_the_events_went_for_is_not_believed_blindly() {
    let mut stage = past(3, 2);
    stage.snapshots.remove(2);
    stage.snapshots[1].batch += 1;
    let answer = shown(&mut stage);
    assert!(
        answer.starts_with("1: failed (None): the entity is parked: events up to 2 were deleted"),
        "{answer}"
    );
    assert!(
        answer.contains("ends with event 2 is of no use")
            && answer.contains("ends with event 1 is of no use")
    );
    assert_eq!(stage.cells.parked_count(), 1);
    assert_eq!(FAILED_RECOVERIES.with_borrow(|failed| failed.len()), 1);
    assert!(matches!(&stage.turn.reports[..], [Report::Parked { .. }]));
}

#[test]
fn a_snapshot_below_deleted_events_is_of_no_use() {
    let mut stage = past(4, 3);
    stage.snapshots.truncate(2);
    let answer = shown(&mut stage);
    assert!(answer.contains("parked") && answer.contains("events up to 3 were deleted"), "{answer}");
}

#[test]
fn a_snapshot_above_the_journals_end_means_lost_events_and_parks() {
    let mut stage = past(3, 0);
    stage.journal.truncate(2);
    let answer = shown(&mut stage);
    let words = "1: failed (None): the entity is parked: a snapshot contains event 3, but the journal ends with 2: \
                 events were lost";
    assert!(answer.starts_with(words), "{answer}");
    stage.snapshots.remove(2);
    stage.release(2);
    stage.show(3);
    stage.recover();
    assert_eq!(stage.heard(), ["2: done", "3: A,B @2"], "an operator accepted the loss");
    assert_eq!(stage.cells.parked_count(), 0);
}

#[test]
fn a_snapshot_that_cannot_be_applied_leaves_nothing_behind() {
    let mut stage = past(3, 0);
    stage.snapshots[2].payload = Bytes::from_static(b"[\"half\",7]");
    stage.snapshots[1].version = 9;
    stage.snapshots[1].codec = 77;
    assert_eq!(shown(&mut stage), "1: A,b,c @3");
    let reasons = unusable(&stage);
    assert!(
        reasons[0].contains("event 3") && reasons[1].contains("event 2") && reasons[1].contains("77"),
        "{reasons:?}"
    );
    stage.ask(4, |_, ctx| ctx.reply(ctx.snapshot_sequence_nr().to_string()));
    assert_eq!(stage.heard(), ["4: 1 @3"]);
}

#[test]
fn a_store_that_says_damaged_leads_to_the_one_before() {
    let mut stage = past(3, 0);
    stage.show(1);
    stage.wants.load = false;
    let slot = stage.slot();
    let first = stage.cells.begin_load(&mut stage.turn, slot);
    assert!(matches!(first, Some(Load::Snapshot { criteria, .. }) if criteria == SnapshotCriteria::ANY));
    let damaged = SnapshotError::Damaged { sequence_nr: SequenceNr(3), reason: "checksum".to_owned() };
    stage.feed_snapshot(Err(damaged));
    stage.wants.load = false;
    let second = stage.cells.begin_load(&mut stage.turn, slot);
    assert!(
        matches!(second, Some(Load::Snapshot { criteria, .. }) if criteria.max_sequence_nr == SequenceNr(2))
    );
    let damaged = SnapshotError::Damaged { sequence_nr: SequenceNr::ZERO, reason: "checksum".to_owned() };
    stage.feed_snapshot(Err(damaged));
    stage.recover();
    assert_eq!(stage.heard(), ["1: a,b,c @3"], "there is none below nothing");
    assert_eq!(unusable(&stage).len(), 2);
}

#[test]
fn a_store_that_does_not_answer_is_asked_again_later() {
    let mut stage = past(3, 0);
    stage.show(1);
    for pause in [200, 400] {
        stage.wants.load = false;
        let slot = stage.slot();
        assert!(stage.cells.begin_load(&mut stage.turn, slot).is_some());
        stage.feed_snapshot(Err(SnapshotError::Failed(StoreError::new("no answer"))));
        assert!(!stage.wants.load);
        assert_eq!(stage.wait(), Duration::from_millis(pause));
    }
    assert_eq!(
        FAILED_RECOVERIES.with_borrow(|failed| failed.clone()),
        [("no answer".to_owned(), None), ("no answer".to_owned(), None)]
    );
    assert!(stage.turn.reports.iter().all(|report| matches!(report, Report::RecoveryFailed { .. })));
    stage.recover();
    assert_eq!(stage.heard(), ["1: A,B,C @3"]);
}

#[test]
fn behaviours_of_events_before_a_snapshot_are_not_those_after_it() {
    let mut stage = Stage::ready();
    stage.dictate(&["closed", "opened", "c"]);
    stage.tell(|this, ctx| ctx.save_snapshot(&this.said));
    stage.serve();
    stage.heard();
    let mut stage = stage.reborn("x", &TypeOptions::default());
    assert_eq!(shown(&mut stage), "1: closed,opened,c @3");
}

#[test]
fn what_was_wrong_is_told_for_the_recovery_that_met_it_only() {
    let mut stage = past(2, 0);
    stage.snapshots[1].batch += 1;
    shown(&mut stage);
    assert_eq!(unusable(&stage).len(), 1);
    stage.snapshots.remove(1);
    stage.tell(|_, _| panic!("oh"));
    stage.heard();
    stage.turn.reports.clear();
    assert_eq!(shown(&mut stage), "1: A,b @2");
    assert!(stage.turn.reports.is_empty());
}

#[test]
fn an_answer_that_nobody_waits_for_changes_nothing() {
    let mut stage = past(2, 0);
    shown(&mut stage);
    stage.feed_snapshot(Err(SnapshotError::Failed(StoreError::new("late"))));
    stage.feed_snapshot(Ok(None));
    stage.feed(Ok(crate::journal::EventPage::default()));
    assert!(!stage.wants.load && stage.wants.wake_at.is_none());
    stage.show(2);
    assert_eq!(stage.heard(), ["2: A,B @2"]);
}

type Sums = Stage<EventSourcedActor<Sum>>;

fn saving() -> TypeOptions<EventSourcedActor<Sum>> {
    let retention = crate::model::Retention {
        snapshot_every: std::num::NonZeroU64::new(2),
        ..crate::model::Retention::NONE
    };
    TypeOptions { retention, ..TypeOptions::default() }
}

#[test]
fn a_type_that_takes_none_is_spared_the_look_until_the_journal_says_that_events_are_gone() {
    let mut stage = Sums::of("x", &saving(), settings());
    stage.command(0, 1);
    stage.recover();
    stage.settle();
    stage.command(0, 2);
    stage.settle();
    stage.serve();
    assert_eq!(stage.saved(), [2]);
    let looks = |stage: &Sums, options: &TypeOptions<_>| {
        let mut stage = stage.reborn("x", options);
        stage.command(1, 0);
        let slot = stage.slot();
        let first = stage.cells.begin_load(&mut stage.turn, slot);
        matches!(first, Some(Load::Snapshot { .. }))
    };
    assert!(looks(&stage, &saving()) && !looks(&stage, &TypeOptions::default()));
    // It had retention once, and its events are gone.
    stage.journal.clear();
    let record = crate::envelope::BaseRecord {
        epoch: stage.snapshots[0].claim.epoch.0,
        session: stage.snapshots[0].claim.session,
        batch: stage.snapshots[0].batch,
        rests_on_snapshot: true,
        ..Default::default()
    };
    stage.base = (SequenceNr(2), prost::Message::encode_to_vec(&record).into());
    let mut later = stage.reborn("x", &TypeOptions::default());
    later.command(1, 0);
    later.recover();
    assert_eq!(later.heard(), ["1: 3 @2"]);
    let mut without = Sums::on("x", &TypeOptions::default(), settings(), false);
    without.base.clone_from(&stage.base);
    without.command(1, 0);
    without.recover();
    let parked = "1: failed (None): the entity is parked: events up to 2 were deleted because a snapshot contains \
                  what they said, but none was found";
    assert_eq!(without.heard(), [parked]);
}

/// Bytes of an entity of which nothing is unfinished.
#[test]
fn an_idle_entity_is_small() {
    let bytes = crate::engine::cells::cell_bytes::<EventSourcedActor<Sum>>();
    assert!(bytes <= 88, "{bytes} bytes");
}
