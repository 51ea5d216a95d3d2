//! Recovery: order, pages, what stops it, and what waits meanwhile.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;

use super::stage::{Scribe, Stage, say, with_past};
use crate::SequenceNr;
use crate::engine::EntityStore;
use crate::envelope::{BaseRecord, StoredEvent};
use crate::journal::{EventPage, ReadError, StoreError};
use crate::model::Outcome;

fn show(stage: &mut Stage<Scribe>, tag: u64) {
    stage.ask(tag, |this, ctx| ctx.reply(this.said.join(",")));
}

#[test]
fn requests_wait_for_the_last_page_and_keep_their_order() {
    let mut stage = with_past("x", &["a", "b", "c", "d", "e"]);
    stage.ask(1, |_, ctx| say(ctx, "f"));
    show(&mut stage, 2);
    stage.page();
    stage.page();
    assert_eq!(stage.heard(), Vec::<String>::new());
    stage.page();
    assert_eq!(stage.flush(), ["f@6"]);
    stage.stored();
    assert_eq!(stage.heard(), ["1: f @6", "2: a,b,c,d,e,f @6"]);
}

#[test]
fn recovery_completed_comes_before_what_waited_and_may_persist() {
    let mut stage = with_past("greeter", &["a"]);
    show(&mut stage, 1);
    stage.recover();
    assert_eq!(stage.heard(), Vec::<String>::new(), "its persist holds back commands like any other");
    stage.settle();
    assert_eq!(stage.heard(), ["1: a,hello @2"]);
}

#[test]
fn a_panic_on_waking_is_tried_again_later() {
    let mut stage = with_past("faint", &["a"]);
    show(&mut stage, 1);
    stage.recover();
    assert_eq!(stage.wait(), Duration::from_millis(200));
    stage.recover();
    assert_eq!(stage.wait(), Duration::from_millis(400));
    assert_eq!(stage.heard(), Vec::<String>::new());
}

#[test]
fn an_event_that_cannot_be_decoded_parks_the_entity_and_is_named() {
    let mut stage = with_past("x", &["a", "b"]);
    stage.journal[1].payload = Bytes::from_static(b"{");
    stage.journal[1].version = 3;
    show(&mut stage, 1);
    stage.recover();
    show(&mut stage, 2);
    let heard = stage.heard();
    let parked = "failed (None): the entity is parked: event 2 (\"said\" version 3) cannot be decoded: ";
    assert!(heard.len() == 2 && heard.iter().all(|answer| answer[3..].starts_with(parked)), "{heard:?}");
    assert_eq!(stage.cells.parked_count(), 1);
    assert!(!stage.is_idle(), "it stays visible");
}

#[test]
fn an_unknown_codec_parks_and_says_which() {
    let mut stage = with_past("x", &["a"]);
    stage.journal[0].codec = 77;
    show(&mut stage, 1);
    stage.recover();
    let heard = stage.heard();
    assert!(heard[0].contains("77"), "{heard:?}");
}

#[test]
fn an_event_that_cannot_be_applied_parks_the_entity() {
    let mut stage = with_past("x", &["a", "poison", "c"]);
    show(&mut stage, 1);
    stage.recover();
    assert_eq!(
        stage.heard(),
        [
            "1: failed (None): the entity is parked: event 2 (\"said\" version 1) cannot be applied: it does not go down"
        ]
    );
}

#[test]
fn a_decoder_that_panics_parks_the_entity_and_nobody_else() {
    let mut stage = with_past("x", &["a", "explosive"]);
    show(&mut stage, 1);
    stage.recover();
    let parked =
        "1: failed (None): the entity is parked: event 2 (\"said\" version 1) cannot be decoded: it went off";
    assert_eq!(stage.heard(), [parked]);
}

#[test]
fn a_gap_parks_instead_of_being_skipped() {
    let mut stage = with_past("x", &["a", "b", "c"]);
    stage.journal.remove(1);
    show(&mut stage, 1);
    stage.recover();
    assert!(stage.heard()[0].contains("event 2 is missing, the journal goes on with 3"));
    let mut stage = with_past("y", &["a", "b"]);
    show(&mut stage, 1);
    stage.begin_load();
    stage.feed(Ok(EventPage { last: SequenceNr(2), ..EventPage::default() }));
    assert!(stage.heard()[0].contains("events after 0 are missing, the stream ends with 2"));
}

#[test]
fn events_deleted_for_a_snapshot_that_is_gone_park() {
    let mut stage = with_past("x", &["a"]);
    show(&mut stage, 1);
    stage.begin_load();
    let record = BaseRecord { rests_on_snapshot: true, ..BaseRecord::default() }.encode_to_vec().into();
    let (deleted_to, last) = (SequenceNr(5), SequenceNr(5));
    stage.feed(Ok(EventPage { deleted_to, record, last, ..EventPage::default() }));
    let parked = "events up to 5 were deleted because a snapshot contains what they said, but none was found";
    assert!(stage.heard()[0].contains(parked));
}

#[test]
fn events_deleted_for_good_leave_an_entity_that_goes_on_after_them() {
    let mut stage = with_past("x", &[]);
    stage.base = (SequenceNr(5), Bytes::new());
    stage.ask(1, |_, ctx| say(ctx, "on"));
    stage.recover();
    assert_eq!(stage.settle(), [["on@6"]]);
    assert_eq!(stage.heard(), ["1: on @6"]);
}

#[test]
fn events_that_cannot_be_read_now_are_read_again_later() {
    let mut stage = with_past("x", &["a", "b", "c"]);
    show(&mut stage, 1);
    stage.page();
    stage.begin_load();
    stage.feed(Err(ReadError::Failed(StoreError::new("no answer"))));
    assert_eq!(stage.wait(), Duration::from_millis(200));
    stage.recover();
    assert_eq!(stage.heard(), ["1: a,b,c @3"], "from the start, each event once");
}

#[test]
fn what_was_read_under_an_older_claim_is_read_again() {
    let mut stage = with_past("x", &["a", "b", "c"]);
    show(&mut stage, 1);
    stage.page();
    stage.begin_load();
    let wants = stage.cells.reload(&mut stage.turn, crate::engine::Slot(0));
    assert!(wants.load);
    stage.wants = wants;
    stage.recover();
    assert_eq!(stage.heard(), ["1: a,b,c @3"]);
}

#[test]
fn an_idle_entity_is_dropped_and_comes_back_as_it_was() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| say(ctx, "a"));
    stage.settle();
    stage.turn.now.since_start += Duration::from_secs(60);
    assert_eq!(stage.cells.sweep(&mut stage.turn, 100, 10), 0, "touched at 100 s");
    assert_eq!(stage.cells.sweep(&mut stage.turn, 101, 10), 1);
    assert!(stage.cells.is_empty());
    show(&mut stage, 2);
    stage.recover();
    assert_eq!(stage.heard(), ["1: a @1", "2: a @1"]);
}

#[test]
fn deadlines_of_waiting_requests_are_kept_by_the_sweep() {
    let mut stage = with_past("x", &[]);
    let now = stage.turn.now.since_start;
    stage.ask_until(1, now + Duration::from_secs(1), |_, _| {});
    stage.ask_until(2, now + Duration::from_secs(9), |_, _| {});
    stage.turn.now.since_start += Duration::from_secs(2);
    assert_eq!(stage.cells.sweep(&mut stage.turn, 0, 10), 0);
    for (caller, answer) in stage.turn.answers.drain(..) {
        caller.answer(answer);
    }
    assert_eq!(stage.heard(), ["1: failed (None): the deadline passed before the request was handled"]);
}

#[test]
fn a_failure_is_followed_by_the_journals_truth_not_by_memory() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| say(ctx, "maybe"));
    stage.flush();
    // The batch was stored although nobody said so.
    let stored = StoredEvent {
        sequence_nr: 1,
        payload: Bytes::from_static(b"\"maybe\""),
        codec: crate::codec::JSON,
        name: "said".to_owned(),
        version: 1,
        ..StoredEvent::default()
    };
    stage.failed(Outcome::Unknown);
    stage.journal.push(stored);
    show(&mut stage, 2);
    stage.wait();
    stage.recover();
    assert_eq!(stage.heard(), ["1: failed (Unknown): the journal failed: disk on fire", "2: maybe @1"]);
}
