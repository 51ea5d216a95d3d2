//! Failure, rejection, panic: what is lost, what goes on, and what callers learn.

use std::time::Duration;

use super::stage::{Stage, said, say, say_async};
use crate::engine::Report;
use crate::model::Outcome;
use crate::model::TypeOptions;

#[test]
fn an_unknown_outcome_stops_the_entity_and_it_recovers_what_is_stored() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| say(ctx, "kept"));
    stage.settle();
    stage.ask(2, |_, ctx| say_async(ctx, "lost"));
    stage.flush();
    stage.ask(3, |_, ctx| say_async(ctx, "never sent"));
    stage.ask(4, |_, ctx| ctx.defer_async(|_, ctx| ctx.reply("never".to_owned())));
    assert_eq!(stage.heard(), ["1: kept @1"]);
    stage.failed(Outcome::Unknown);
    assert_eq!(
        stage.heard(),
        [
            "2: failed (Unknown): the journal failed: disk on fire",
            "3: failed (None): the journal failed: disk on fire",
            "4: failed (None): the journal failed: disk on fire",
        ]
    );
    stage.ask(5, |this, ctx| ctx.reply(this.said.join(",")));
    assert_eq!(stage.heard(), Vec::<String>::new(), "the mailbox is kept");
    assert_eq!(stage.wait(), Duration::from_millis(200));
    stage.recover();
    assert_eq!(stage.heard(), ["5: kept @1"]);
}

#[test]
fn a_failed_entity_waits_longer_each_time_until_a_write_succeeds() {
    let mut stage = Stage::ready();
    let mut pauses = Vec::new();
    for _ in 0..9 {
        stage.tell(|_, ctx| say(ctx, "a"));
        stage.flush();
        stage.failed(Outcome::None);
        pauses.push(stage.wait().as_millis());
        stage.recover();
    }
    assert_eq!(pauses, [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000]);
    stage.tell(|_, ctx| say(ctx, "a"));
    stage.settle();
    stage.tell(|_, ctx| say(ctx, "b"));
    stage.flush();
    stage.failed(Outcome::None);
    assert_eq!(stage.wait().as_millis(), 200);
}

#[test]
fn a_rejected_event_is_told_in_its_place_and_the_entity_goes_on_without_a_gap() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| say(ctx, "a"));
    stage.ask(2, |_, ctx| say(ctx, "unencodable"));
    stage.ask(3, |_, ctx| say(ctx, "b"));
    stage.ask(4, |this, ctx| ctx.reply(this.said.join(",")));
    stage.settle();
    assert_eq!(
        stage.heard(),
        [
            "1: a @1",
            "2: failed (None): the event cannot be stored: this cannot be said",
            "3: b @2",
            "4: a,rejected unencodable: this cannot be said,b @2",
        ]
    );
    assert_eq!(stage.journal.iter().map(|event| event.sequence_nr).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn an_event_or_a_group_too_large_for_the_journal_is_rejected_whole() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| say(ctx, "x".repeat(99)));
    stage.ask(2, |_, ctx| {
        ctx.persist_all(vec![said("x".repeat(90)), said("y".repeat(90))], |_, _, _| {});
    });
    stage.ask(3, |_, ctx| {
        ctx.persist_all(vec![said("fine"), said("unencodable")], |_, _, _| {});
    });
    assert_eq!(
        stage.heard(),
        [
            "1: failed (None): the event cannot be stored: event \"said\" has 101 bytes, the journal takes 100",
            "2: failed (None): the event cannot be stored: 2 events have 184 bytes together, the journal takes 150",
            "3: failed (None): the event cannot be stored: this cannot be said",
        ]
    );
    assert!(!stage.wants.write && stage.is_idle());
}

#[test]
fn a_panic_in_a_command_is_caught_and_the_entity_restarts_from_what_is_stored() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| say(ctx, "a"));
    stage.settle();
    stage.ask(2, |this, _| {
        this.said.push("not an event".to_owned());
        panic!("oh");
    });
    stage.ask(3, |this, ctx| ctx.reply(this.said.join(",")));
    stage.recover();
    assert_eq!(stage.heard(), ["1: a @1", "2: failed (None): the entity's code panicked: oh", "3: a @1"]);
}

#[test]
fn what_was_persisted_before_a_panic_stays_persisted() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| {
        say(ctx, "kept");
        panic!("too late");
    });
    assert_eq!(stage.heard(), ["1: failed (Unknown): the entity's code panicked: too late"]);
    stage.ask(2, |this, ctx| ctx.reply(this.said.join(",")));
    stage.settle();
    stage.recover();
    assert_eq!(stage.heard(), ["2: kept @1"]);
}

#[test]
fn a_panic_in_a_handler_restarts_the_entity_with_its_event() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| {
        ctx.persist_all_async(vec![said("a"), said("b"), said("c")], |this, event, _| {
            assert!(event.0 != "b", "b is too much");
            this.said.push(event.0.clone());
        });
    });
    stage.ask(2, |_, ctx| say_async(ctx, "d"));
    stage.settle();
    stage.ask(3, |this, ctx| ctx.reply(this.said.join(",")));
    stage.recover();
    assert_eq!(
        stage.heard(),
        [
            "1: failed (Unknown): the entity's code panicked: b is too much",
            "2: failed (Unknown): the entity's code panicked: b is too much",
            "3: a,b,c,d @4",
        ]
    );
}

#[test]
fn a_panic_while_a_batch_is_in_flight_waits_for_it() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| say_async(ctx, "a"));
    stage.flush();
    stage.ask(2, |_, _| panic!("oh"));
    assert!(!stage.wants.load, "what is in flight would be recovered or not, as chance has it");
    stage.stored();
    assert!(stage.wants.load);
    stage.ask(3, |this, ctx| ctx.reply(this.said.join(",")));
    stage.recover();
    assert_eq!(stage.heard().last().map(String::as_str), Some("3: a @1"));
}

#[test]
fn a_constructor_that_panics_answers_and_leaves_nothing() {
    let mut stage: Stage<super::stage::Scribe> = Stage::unborn("unborn");
    stage.ask(1, |_, _| {});
    assert_eq!(stage.heard(), ["1: failed (None): the entity's code panicked: it will not be"]);
    assert!(!stage.is_idle(), "there is no entity");
}

#[test]
fn a_full_stash_refuses_and_the_others_are_served() {
    let mut stage = Stage::ready_with(TypeOptions { stash_capacity: Some(4), ..TypeOptions::default() });
    stage.tell(|_, ctx| say(ctx, "busy"));
    for tag in 1..=6 {
        stage.ask(tag, |_, ctx| ctx.reply("served".to_owned()));
    }
    let refused = |tag| format!("{tag}: failed (None): this entity already holds 4 waiting requests");
    assert_eq!(stage.heard(), [refused(4), refused(5), refused(6)], "the one at work counts too");
    stage.settle();
    assert_eq!(stage.heard(), ["busy @1", "1: served @1", "2: served @1", "3: served @1"]);
}

#[test]
fn what_is_past_its_deadline_is_not_handled() {
    let mut stage = Stage::ready();
    let now = stage.turn.now.since_start;
    stage.ask_until(1, now, |_, ctx| say(ctx, "too late"));
    stage.tell(|_, ctx| say(ctx, "busy"));
    stage.ask_until(2, now + Duration::from_secs(1), |_, ctx| say(ctx, "too late"));
    stage.ask_until(3, now + Duration::from_secs(9), |_, ctx| ctx.reply("in time".to_owned()));
    stage.turn.now.since_start += Duration::from_secs(2);
    stage.settle();
    assert_eq!(
        stage.heard(),
        [
            "1: failed (None): the deadline passed before the request was handled",
            "busy @1",
            "2: failed (None): the deadline passed before the request was handled",
            "3: in time @1",
        ]
    );
}

#[test]
fn a_body_that_is_no_command_is_answered_without_touching_the_entity() {
    let mut stage: Stage<super::stage::Scribe> = Stage::unborn("x");
    stage.json(1, "{\"type\":\"x\"}");
    assert_eq!(
        stage.heard(),
        ["1: failed (None): not a command of this type: scripts come from tests only (at .)"]
    );
    assert!(!stage.wants.load, "nothing is read for it");
}

#[test]
fn unloading_answers_everybody_with_what_is_known() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| say(ctx, "in flight"));
    stage.flush();
    stage.ask(2, |_, ctx| say(ctx, "stashed"));
    use crate::engine::EntityStore;
    stage.cells.unload(&mut stage.turn, &|outcome| crate::model::Failure::ShardLost { outcome });
    for (caller, answer) in stage.turn.answers.drain(..) {
        caller.answer(answer);
    }
    assert_eq!(
        stage.heard(),
        [
            "1: failed (Unknown): the shard has another owner now",
            "2: failed (None): the shard has another owner now"
        ]
    );
}

#[test]
fn failures_are_reported_for_the_operator() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| say(ctx, "a"));
    stage.flush();
    stage.failed(Outcome::None);
    stage.tell(|_, _| panic!("oh"));
    stage.wait();
    stage.recover();
    let kinds: Vec<_> = stage.turn.reports.iter().map(std::mem::discriminant).collect();
    let id =
        crate::PersistenceId::new(crate::EntityType::new("scribe"), crate::EntityId::new("x").expect("good"));
    let expected = [
        Report::PersistFailed { id: id.clone(), sequence_nr: crate::SequenceNr(1), reason: String::new() },
        Report::Panicked { id, what: String::new() },
    ];
    assert_eq!(kinds, expected.iter().map(std::mem::discriminant).collect::<Vec<_>>());
}

#[test]
fn a_rejection_beside_a_stored_event_does_not_say_that_nothing_happened() {
    for stored_first in [true, false] {
        let mut stage = Stage::ready();
        stage.ask(1, move |_, ctx| {
            let silent = |ctx: &mut crate::model::Context<'_, super::stage::Scribe>| {
                ctx.persist(said("stored"), |_, _, _| {});
            };
            if stored_first {
                silent(ctx);
            }
            say(ctx, "unencodable");
            if !stored_first {
                silent(ctx);
            }
        });
        stage.settle();
        assert_eq!(stage.heard(), ["1: failed (Unknown): the event cannot be stored: this cannot be said"]);
        assert_eq!(stage.journal.len(), 1);
    }
}

#[test]
fn a_failure_after_a_stored_event_of_the_same_command_is_unknown() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| {
        ctx.persist(said("stored"), |_, _, ctx| say(ctx, "nested"));
    });
    stage.flush();
    stage.stored();
    stage.flush();
    stage.failed(Outcome::None);
    assert_eq!(stage.heard(), ["1: failed (Unknown): the journal failed: disk on fire"]);
}

#[test]
fn what_an_entity_has_begun_counts_against_its_bound() {
    let mut stage = Stage::ready_with(TypeOptions { stash_capacity: Some(4), ..TypeOptions::default() });
    for tag in 1..=6 {
        stage.ask(tag, |_, ctx| say_async(ctx, "slow disk"));
    }
    let refused = |tag| format!("{tag}: failed (None): this entity already holds 4 waiting requests");
    assert_eq!(stage.heard(), [refused(5), refused(6)]);
}

#[test]
fn an_entity_that_failed_once_can_still_leave() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| say(ctx, "a"));
    stage.flush();
    stage.failed(Outcome::None);
    assert!(!stage.is_idle(), "it waits to come back");
    stage.wait();
    stage.recover();
    assert!(stage.is_idle());
}

#[test]
fn a_failure_that_is_told_to_an_innocent_entity_changes_nothing() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| say(ctx, "a"));
    stage.settle();
    stage.heard();
    stage.tell(|_, ctx| ctx.defer(|_, ctx| ctx.reply("still here".to_owned())));
    stage.failed(Outcome::Unknown);
    assert!(stage.turn.reports.is_empty() && stage.wants.wake_at.is_none());
    assert_eq!(stage.heard(), ["still here @1"]);
}

#[test]
fn hooks_that_panic_are_reported_and_change_nothing() {
    use super::stage::FAILING_HOOKS;
    FAILING_HOOKS.set(true);
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| say(ctx, "a"));
    stage.flush();
    stage.failed(Outcome::None);
    assert_eq!(stage.heard(), ["1: failed (None): the journal failed: disk on fire"]);
    let reports = std::mem::take(&mut stage.turn.reports);
    assert!(
        matches!(&reports[..], [Report::Panicked { what, .. }, Report::PersistFailed { .. }] if what.contains("hook")),
        "{reports:?}"
    );
    stage.wait();
    stage.begin_load();
    stage.feed(Err(crate::journal::ReadError::Damaged("torn".to_owned())));
    let reports = &stage.turn.reports;
    assert!(
        matches!(&reports[..], [Report::Panicked { .. }, Report::Parked { reason, .. }] if reason == "torn"),
        "{reports:?}"
    );
}
