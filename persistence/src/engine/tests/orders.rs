//! The orders that the guides of persistent actors print, and what follows from them.

use super::stage::{Stage, said, say, say_async};

#[test]
fn a_persisted_event_is_handled_before_the_next_command() {
    let mut stage = Stage::ready();
    for name in ["a", "b"] {
        stage.tell(move |_, ctx| {
            ctx.reply(name.to_owned());
            say(ctx, format!("evt-{name}-1"));
            say(ctx, format!("evt-{name}-2"));
        });
    }
    assert_eq!(stage.heard(), ["a"]);
    assert_eq!(stage.flush(), ["evt-a-1@1", "evt-a-2@2"]);
    stage.stored();
    assert_eq!(stage.heard(), ["evt-a-1 @1", "evt-a-2 @2", "b @2"]);
    stage.settle();
    assert_eq!(stage.heard(), ["evt-b-1 @3", "evt-b-2 @4"]);
}

#[test]
fn commands_go_on_while_persist_async_waits() {
    let mut stage = Stage::ready();
    for name in ["a", "b"] {
        stage.tell(move |_, ctx| {
            ctx.reply(name.to_owned());
            say_async(ctx, format!("evt-{name}-1"));
            say_async(ctx, format!("evt-{name}-2"));
        });
    }
    assert_eq!(stage.heard(), ["a", "b"]);
    stage.settle();
    assert_eq!(stage.heard(), ["evt-a-1 @1", "evt-a-2 @2", "evt-b-1 @3", "evt-b-2 @4"]);
}

#[test]
fn a_deferred_handler_runs_after_all_that_came_before_it() {
    let mut stage = Stage::ready();
    for name in ["a", "b"] {
        stage.tell(move |_, ctx| {
            ctx.reply(name.to_owned());
            say_async(ctx, format!("evt-{name}-1"));
            say_async(ctx, format!("evt-{name}-2"));
            ctx.defer_async(move |_, ctx| ctx.reply(format!("evt-{name}-3")));
        });
    }
    stage.settle();
    let order =
        ["a", "b", "evt-a-1 @1", "evt-a-2 @2", "evt-a-3 @2", "evt-b-1 @3", "evt-b-2 @4", "evt-b-3 @4"];
    assert_eq!(stage.heard(), order);
    assert_eq!(stage.journal.len(), 4, "what is deferred is not stored");
}

#[test]
fn defer_holds_back_commands_and_stands_between_events() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| {
        ctx.defer(|_, ctx| ctx.reply("d1".to_owned()));
        say(ctx, "event");
        ctx.defer(|_, ctx| ctx.reply("d3".to_owned()));
        ctx.defer(|_, ctx| ctx.reply("d4".to_owned()));
    });
    stage.tell(|_, ctx| ctx.reply("next".to_owned()));
    assert_eq!(stage.heard(), ["d1"], "with nothing before it, it runs at once");
    stage.settle();
    assert_eq!(stage.heard(), ["event @1", "d3 @1", "d4 @1", "next @1"]);
}

#[test]
fn nested_persists_come_after_the_outer_ones_and_before_the_next_command() {
    let mut stage = Stage::ready();
    for name in ["a", "b"] {
        stage.tell(move |_, ctx| {
            ctx.reply(name.to_owned());
            for n in [1, 2] {
                ctx.persist(said(format!("{name}-outer-{n}")), move |_, outer, ctx| {
                    ctx.reply(outer.0.clone());
                    say(ctx, format!("{name}-inner-{n}"));
                });
            }
        });
    }
    let batches = stage.settle();
    let order = [
        "a",
        "a-outer-1 @1",
        "a-outer-2 @2",
        "a-inner-1 @3",
        "a-inner-2 @4",
        "b @4",
        "b-outer-1 @5",
        "b-outer-2 @6",
        "b-inner-1 @7",
        "b-inner-2 @8",
    ];
    assert_eq!(stage.heard(), order);
    let expected: [&[&str]; 4] = [
        &["a-outer-1@1", "a-outer-2@2"],
        &["a-inner-1@3", "a-inner-2@4"],
        &["b-outer-1@5", "b-outer-2@6"],
        &["b-inner-1@7", "b-inner-2@8"],
    ];
    assert_eq!(batches, expected, "what is persisted together is written together");
}

#[test]
fn nested_persist_async_keeps_the_order_of_calls_over_commands() {
    let mut stage = Stage::ready();
    for name in ["a", "b"] {
        stage.tell(move |_, ctx| {
            ctx.reply(name.to_owned());
            for n in [1, 2] {
                ctx.persist_async(said(format!("{name}-outer-{n}")), move |_, outer, ctx| {
                    ctx.reply(outer.0.clone());
                    say_async(ctx, format!("{name}-inner-{n}"));
                });
            }
        });
    }
    stage.settle();
    let order = [
        "a",
        "b",
        "a-outer-1 @1",
        "a-outer-2 @2",
        "b-outer-1 @3",
        "b-outer-2 @4",
        "a-inner-1 @5",
        "a-inner-2 @6",
        "b-inner-1 @7",
        "b-inner-2 @8",
    ];
    assert_eq!(stage.heard(), order);
}

#[test]
fn a_persist_nested_in_persist_async_holds_back_commands_from_then_on() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| {
        ctx.persist_async(said("outer"), |_, outer, ctx| {
            ctx.reply(outer.0.clone());
            say(ctx, "inner");
        });
    });
    stage.tell(|_, ctx| ctx.reply("before".to_owned()));
    stage.flush();
    stage.stored();
    stage.tell(|_, ctx| ctx.reply("after".to_owned()));
    assert_eq!(stage.heard(), ["before", "outer @1"]);
    stage.settle();
    assert_eq!(stage.heard(), ["inner @2", "after @2"]);
}

#[test]
fn three_levels_of_nesting_unwind_level_by_level() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| {
        for n in [1, 2] {
            ctx.persist(said(format!("l1-{n}")), move |_, event, ctx| {
                ctx.reply(event.0.clone());
                ctx.persist(said(format!("l2-{n}")), move |_, event, ctx| {
                    ctx.reply(event.0.clone());
                    say(ctx, format!("l3-{n}"));
                });
            });
        }
    });
    stage.settle();
    assert_eq!(stage.heard(), ["l1-1 @1", "l1-2 @2", "l2-1 @3", "l2-2 @4", "l3-1 @5", "l3-2 @6"]);
}

#[test]
fn persist_all_runs_its_handler_for_each_event_before_anything_else() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| {
        ctx.persist_all(vec![said("x-1"), said("x-2")], |this, event, ctx| {
            this.said.push(event.0.clone());
            ctx.reply(event.0.clone());
            say(ctx, format!("after {}", event.0));
        });
        say(ctx, "x-3");
    });
    stage.tell(|_, ctx| ctx.reply("next".to_owned()));
    assert_eq!(stage.flush(), ["x-1@1", "x-2@2", "x-3@3"]);
    stage.stored();
    assert_eq!(stage.heard(), ["x-1 @1", "x-2 @2", "x-3 @3"]);
    stage.settle();
    assert_eq!(stage.heard(), ["after x-1 @4", "after x-2 @5", "next @5"]);
}

#[test]
fn persist_all_of_nothing_runs_no_handler_and_holds_back_nobody() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| {
        ctx.persist_all(vec![], |_, _, ctx| ctx.reply("never".to_owned()));
        ctx.persist_all_async(vec![], |_, _, ctx| ctx.reply("never".to_owned()));
        ctx.reply("a".to_owned());
    });
    stage.tell(|_, ctx| ctx.reply("b".to_owned()));
    assert_eq!(stage.heard(), ["a", "b"]);
    assert!(!stage.wants.write && stage.is_idle());
}

#[test]
fn persist_mixed_with_persist_async_holds_back_commands_until_it_is_handled() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| {
        say_async(ctx, "async");
        say(ctx, "sync");
        say_async(ctx, "async too");
    });
    stage.tell(|_, ctx| ctx.reply("next".to_owned()));
    assert_eq!(stage.heard(), Vec::<String>::new());
    stage.settle();
    assert_eq!(stage.heard(), ["async @1", "sync @2", "async too @3", "next @3"]);
}

#[test]
fn one_batch_is_in_flight_and_the_rest_gathers_behind_it() {
    let mut stage = Stage::ready();
    for n in 1..=30 {
        stage.tell(move |_, ctx| say_async(ctx, format!("e{n}")));
        if n == 1 {
            assert_eq!(stage.flush(), ["e1@1"]);
        }
    }
    stage.stored();
    assert_eq!(stage.flush().len(), 29);
    stage.stored();
    assert_eq!(stage.heard().len(), 30);
}

#[test]
fn every_handler_sees_the_sender_of_its_own_command() {
    let mut stage = Stage::ready();
    for tag in [1, 2] {
        stage.ask(tag, move |_, ctx| {
            ctx.persist_async(said(format!("{tag}")), move |_, _, ctx| {
                ctx.persist_async(said(format!("{tag} nested")), |_, event, ctx| ctx.reply(event.0.clone()));
            });
        });
    }
    stage.settle();
    assert_eq!(stage.heard(), ["1: 1 nested @3", "2: 2 nested @4"]);
}

#[test]
fn the_first_reply_answers_and_later_ones_are_reported() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| {
        ctx.reply("first".to_owned());
        ctx.reply("second".to_owned());
        say(ctx, "third");
    });
    stage.settle();
    assert_eq!(stage.heard(), ["1: first"]);
    assert_eq!(stage.turn.reports.len(), 2);
}

#[test]
fn a_command_that_ends_without_a_reply_is_done_after_its_last_handler() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| {
        ctx.persist(said("a"), |_, _, ctx| ctx.persist(said("b"), |_, _, _| {}));
    });
    stage.flush();
    stage.stored();
    assert_eq!(stage.heard(), Vec::<String>::new());
    stage.settle();
    assert_eq!(stage.heard(), ["1: done @2"]);
}

#[test]
fn a_kept_sender_is_answered_later_and_a_dropped_one_shows() {
    let mut stage = Stage::ready();
    stage.ask(1, |this, ctx| this.kept = Some(ctx.sender()));
    assert_eq!(stage.heard(), Vec::<String>::new());
    stage.ask(2, |this, ctx| {
        let kept = this.kept.take().expect("kept before");
        ctx.reply_to(kept, "late".to_owned());
        ctx.reply("now".to_owned());
    });
    assert_eq!(stage.heard(), ["1: late", "2: now"]);
    stage.ask(3, |this, ctx| this.kept = Some(ctx.sender()));
    stage.ask(4, |this, _| drop(this.kept.take()));
    assert_eq!(stage.heard(), ["3: failed (Unknown): the request was dropped without an answer", "4: done"]);
}

#[test]
fn an_entity_at_rest_holds_nothing_but_itself() {
    let mut stage = Stage::ready();
    assert!(stage.is_idle());
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| say(ctx, "a"));
    assert!(!stage.is_idle(), "not while a write is queued");
    stage.flush();
    assert!(!stage.is_idle(), "nor in flight");
    stage.stored();
    assert!(stage.is_idle());
}
