//! Timers and receive time-outs: when their messages come, how many, and when they do not.

use std::time::Duration;

use super::stage::{Scribe, Stage, said, say};
use crate::engine::{EntityStore, Report};
use crate::model::Outcome;

const SECOND: Duration = Duration::from_secs(1);

fn tick(stage: &mut Stage<Scribe>, period: Duration) {
    let mut count = 0;
    stage.tell(move |_, ctx| {
        ctx.start_periodic_timer("tick", period, move || {
            count += 1;
            format!("tick {count}")
        });
    });
    assert_eq!(stage.heard().pop().map(|last| last.starts_with("done")), Some(true));
}

/// Time passes, and the shard wakes the entity then.
fn after(stage: &mut Stage<Scribe>, pause: Duration) {
    stage.turn.now.since_start += pause;
    stage.wants.wake_at = None;
    let slot = stage.slot();
    stage.wake(slot);
}

fn start(stage: &mut Stage<Scribe>, key: &'static str, delay: Duration) {
    stage.tell(move |_, ctx| ctx.start_timer(key, delay, key.to_owned()));
    stage.heard();
}

#[test]
fn a_single_timer_comes_once_and_at_its_time() {
    let mut stage = Stage::ready();
    start(&mut stage, "a", 3 * SECOND);
    assert!(!stage.is_idle(), "an entity with a timer stays");
    assert_eq!(stage.wait(), 3 * SECOND);
    assert_eq!(stage.told(), ["a"]);
    assert_eq!(stage.wants.wake_at, None);
    assert!(stage.is_idle());
}

#[test]
fn timers_of_several_keys_come_in_the_order_of_their_times() {
    let mut stage = Stage::ready();
    for (key, delay) in [("c", 3), ("a", 1), ("b", 2), ("b too", 2)] {
        start(&mut stage, key, delay * SECOND);
    }
    assert_eq!(stage.asked, [103 * SECOND, 101 * SECOND], "only an earlier moment is asked for");
    assert_eq!(stage.wait(), SECOND);
    assert_eq!(stage.told(), ["a"]);
    after(&mut stage, 10 * SECOND);
    assert_eq!(stage.told(), ["b", "b too", "c"]);
    assert!(stage.is_idle());
}

#[test]
fn setting_and_cancelling_again_and_again_asks_to_be_woken_once() {
    let mut stage = Stage::ready();
    for _ in 0..50 {
        start(&mut stage, "deadline", 60 * SECOND);
        stage.tell(|_, ctx| assert!(ctx.cancel_timer("deadline")));
    }
    assert_eq!(stage.asked.len(), 1, "each would wait in the shard for a minute");
    stage.heard();
    assert_eq!(stage.wait(), 60 * SECOND);
    assert_eq!((stage.told(), stage.wants.wake_at), (vec![], None));
}

#[test]
fn a_later_timer_is_asked_for_when_the_earlier_moment_has_come() {
    let mut stage = Stage::ready();
    start(&mut stage, "a", 5 * SECOND);
    start(&mut stage, "a", 9 * SECOND);
    assert_eq!(stage.wait(), 5 * SECOND);
    assert_eq!(stage.told(), [""; 0]);
    assert_eq!(stage.wait(), 4 * SECOND);
    assert_eq!(stage.told(), ["a"]);
}

#[test]
fn being_woken_too_early_or_for_nothing_changes_nothing() {
    let mut stage = Stage::ready();
    after(&mut stage, SECOND);
    start(&mut stage, "a", 5 * SECOND);
    let asked = stage.wants.wake_at;
    after(&mut stage, SECOND);
    assert_eq!(stage.told(), [""; 0]);
    stage.wants.wake_at = asked;
    assert_eq!(stage.wait(), 4 * SECOND);
    assert_eq!(stage.told(), ["a"]);
}

#[test]
fn a_periodic_timer_comes_again_and_again() {
    let mut stage = Stage::ready();
    tick(&mut stage, SECOND);
    for _ in 0..3 {
        assert_eq!(stage.wait(), SECOND);
    }
    assert_eq!(stage.told(), ["tick 1", "tick 2", "tick 3"]);
    assert!(!stage.is_idle());
    stage.tell(|_, ctx| assert!(ctx.is_timer_active("tick") && ctx.cancel_timer("tick")));
    stage.tell(|_, ctx| assert!(!ctx.is_timer_active("tick") && !ctx.cancel_timer("tick")));
    assert!(stage.is_idle(), "{:?}", stage.heard());
}

#[test]
fn a_period_of_nothing_leaves_time_for_others() {
    let mut stage = Stage::ready();
    tick(&mut stage, Duration::ZERO);
    assert!(stage.wait() > Duration::ZERO);
    assert_eq!(stage.told(), ["tick 1"]);
}

#[test]
fn a_slow_entity_meets_one_message_of_a_periodic_timer_not_a_pile() {
    let mut stage = Stage::ready();
    tick(&mut stage, SECOND);
    stage.tell(|_, ctx| say(ctx, "busy"));
    for _ in 0..5 {
        after(&mut stage, SECOND);
    }
    assert_eq!(stage.heard(), [""; 0], "the entity holds back what comes");
    stage.settle();
    assert_eq!(stage.heard(), ["busy @1"]);
    assert_eq!(stage.told(), ["tick 1"]);
    assert_eq!(stage.wait(), SECOND, "the next comes a period after it was handled");
    assert_eq!(stage.told(), ["tick 2"]);
}

#[test]
fn a_cancelled_timer_does_not_come_even_if_its_message_waits() {
    let mut stage = Stage::ready();
    start(&mut stage, "a", SECOND);
    start(&mut stage, "b", SECOND);
    stage.tell(|_, ctx| {
        ctx.persist(said("busy"), |_, _, ctx| {
            assert!(ctx.is_timer_active("a"), "its message waits");
            assert!(ctx.cancel_timer("a"));
            // The second one's message waits too, and gives way to the new one.
            ctx.start_timer("b", SECOND, "b anew".to_owned());
        });
    });
    stage.wait();
    stage.settle();
    stage.heard();
    assert_eq!(stage.told(), [""; 0]);
    assert_eq!(stage.wait(), SECOND);
    assert_eq!(stage.told(), ["b anew"]);
}

#[test]
fn a_timers_message_keeps_its_place_among_commands() {
    let mut stage = Stage::ready();
    start(&mut stage, "timer", SECOND);
    stage.tell(|_, ctx| say(ctx, "busy"));
    stage.tell(|this, _| this.signals.push("before".to_owned()));
    after(&mut stage, SECOND);
    stage.tell(|this, _| this.signals.push("behind".to_owned()));
    stage.settle();
    stage.heard();
    assert_eq!(stage.told(), ["before", "timer", "behind"]);
}

#[test]
fn what_is_put_aside_does_not_hold_up_a_timer() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| ctx.stash(super::stage::script(|_, ctx| ctx.reply("late".to_owned()))));
    start(&mut stage, "a", SECOND);
    stage.wait();
    assert_eq!(stage.told(), ["a"]);
}

#[test]
fn a_timers_message_may_persist_and_holds_back_commands_then() {
    let mut stage = Stage::ready();
    start(&mut stage, "say", SECOND);
    stage.wait();
    stage.show(1);
    assert_eq!(stage.heard(), [""; 0]);
    assert_eq!(stage.settle(), [["to myself@1"]]);
    assert_eq!(stage.heard(), ["1: to myself @1"]);
}

#[test]
fn timers_end_with_the_incarnation_also_those_whose_message_waits() {
    for write_fails in [false, true] {
        let mut stage = Stage::ready();
        start(&mut stage, "waiting", SECOND);
        start(&mut stage, "set", 5 * SECOND);
        stage.tell(move |_, ctx| {
            ctx.persist(said("busy"), move |_, _, _| panic!("oh"));
        });
        stage.flush();
        after(&mut stage, SECOND);
        if write_fails {
            stage.failed(Outcome::None);
            stage.wait();
        } else {
            stage.stored();
        }
        stage.recover();
        stage.heard();
        after(&mut stage, 10 * SECOND);
        assert_eq!(stage.told(), [""; 0]);
        assert!(stage.is_idle());
    }
}

#[test]
fn a_panic_over_a_timers_message_restarts_the_entity() {
    let mut stage = Stage::ready();
    stage.dictate(&["a"]);
    start(&mut stage, "faint", SECOND);
    stage.wait();
    assert!(
        matches!(&stage.turn.reports[..], [Report::Panicked { what, .. }] if what == "fainted on a message")
    );
    stage.show(1);
    stage.recover();
    assert_eq!(stage.heard(), ["1: a @1"]);
}

#[test]
fn a_panic_in_the_maker_of_a_message_is_the_entitys() {
    let mut stage = Stage::ready();
    stage.dictate(&["a"]);
    stage.tell(|_, ctx| ctx.start_periodic_timer("bad", SECOND, || panic!("no words")));
    stage.heard();
    stage.wait();
    assert!(matches!(&stage.turn.reports[..], [Report::Panicked { what, .. }] if what == "no words"));
    assert!(stage.wants.load);
    stage.show(1);
    stage.recover();
    assert_eq!(stage.heard(), ["1: a @1"]);
    assert!(stage.is_idle(), "the timer is gone with the incarnation");
}

#[test]
fn an_entity_with_a_timer_is_not_swept() {
    let mut stage = Stage::ready();
    start(&mut stage, "a", 100 * SECOND);
    stage.turn.now.since_start += 50 * SECOND;
    assert_eq!(stage.cells.sweep(&mut stage.turn, 140, 10), 0);
    stage.turn.now.since_start += 50 * SECOND;
    let slot = stage.slot();
    stage.wake(slot);
    assert_eq!(stage.told(), ["a"]);
}

#[test]
fn silence_is_told_each_time_it_has_lasted() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| ctx.set_receive_timeout(Some(3 * SECOND)));
    stage.heard();
    assert_eq!(stage.wait(), 3 * SECOND);
    assert_eq!(stage.wait(), 3 * SECOND);
    assert_eq!(stage.told(), ["ReceiveTimeout", "ReceiveTimeout"]);
}

#[test]
fn whatever_is_received_begins_the_silence_anew_but_a_reader_does_not() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| {
        ctx.set_receive_timeout(Some(10 * SECOND));
        ctx.start_timer("message", 4 * SECOND, "message".to_owned());
    });
    stage.heard();
    assert_eq!(stage.wait(), 4 * SECOND);
    assert_eq!(stage.wants.wake_at, Some(114 * SECOND), "a message counts");
    stage.turn.now.since_start += 5 * SECOND;
    stage.tell(|_, _| {});
    stage.turn.now.since_start += 3 * SECOND;
    stage.read_state(1);
    stage.heard();
    assert_eq!(stage.wait(), 2 * SECOND, "what was asked for before");
    assert_eq!(stage.wants.wake_at, Some(119 * SECOND), "a command counts, a reader does not");
    assert_eq!(stage.wait(), 5 * SECOND);
    assert_eq!(stage.told(), ["message", "ReceiveTimeout"]);
}

#[test]
fn no_silence_is_told_when_something_waited_meanwhile() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| {
        ctx.set_receive_timeout(Some(SECOND));
        say(ctx, "busy");
    });
    stage.tell(|_, _| {});
    after(&mut stage, 2 * SECOND);
    stage.settle();
    assert_eq!(stage.heard(), ["busy @1", "done @1"]);
    assert_eq!(stage.told(), [""; 0]);
    assert_eq!(stage.wait(), SECOND);
    assert_eq!(stage.told(), ["ReceiveTimeout"]);
}

#[test]
fn a_receive_timeout_can_be_ended_and_keeps_nobody_in_memory() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| ctx.set_receive_timeout(Some(SECOND)));
    stage.tell(|_, ctx| ctx.set_receive_timeout(None));
    stage.heard();
    stage.wait();
    assert_eq!((stage.told(), stage.wants.wake_at), (vec![], None));
    stage.tell(|_, ctx| ctx.set_receive_timeout(Some(SECOND)));
    assert!(stage.is_idle());
    stage.heard();
    let slot = stage.slot();
    stage.wake(slot);
}

#[test]
fn timers_may_begin_when_the_past_is_recovered() {
    let mut stage = Stage::<Scribe>::unborn("punctual");
    stage.tell(|_, _| {});
    stage.recover();
    stage.heard();
    assert_eq!(stage.wait(), SECOND);
    assert_eq!(stage.told(), ["set on waking"]);
}
