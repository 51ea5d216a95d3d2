//! Commands that an entity puts aside: their order, their senders, and that none is lost.

use super::stage::{Script, Stage, said, say, say_async, script, settings};
use crate::engine::{EntityStore, Report};
use crate::model::{Failure, Outcome, TypeOptions};

/// A command that puts itself aside, and answers with a word once it is handled again.
fn aside(word: &'static str) -> Script {
    script(move |_, ctx| ctx.stash(script(move |_, ctx| ctx.reply(word.to_owned()))))
}

fn with_capacity(capacity: usize) -> Stage<super::stage::Scribe> {
    Stage::ready_with(TypeOptions { stash_capacity: Some(capacity), ..TypeOptions::default() })
}

#[test]
fn what_was_put_aside_comes_before_all_that_waits_in_its_order_and_with_its_sender() {
    let mut stage = Stage::ready();
    stage.command(1, aside("one"));
    stage.command(2, aside("two"));
    stage.tell(|_, ctx| ctx.persist(said("open"), |_, _, ctx| ctx.unstash_all()));
    stage.ask(3, |_, ctx| ctx.reply("three".to_owned()));
    assert_eq!(stage.heard(), [""; 0]);
    assert!(!stage.is_idle());
    stage.settle();
    assert_eq!(stage.heard(), ["done @1", "1: one @1", "2: two @1", "3: three @1"]);
    assert!(stage.is_idle(), "nothing is left of the stash");
}

#[test]
fn each_named_stash_is_emptied_by_its_own_name_only() {
    let mut stage = Stage::ready();
    for (tag, name) in [(1, "red"), (2, "blue"), (3, "red"), (4, "")] {
        stage.ask(tag, move |_, ctx| {
            ctx.stash_in(name, script(move |_, ctx| ctx.reply(name.to_owned())));
        });
    }
    stage.tell(|_, ctx| ctx.unstash_all_from("green"));
    assert_eq!(stage.heard(), ["done"], "there is none of that name");
    stage.tell(|_, ctx| ctx.unstash_all_from("red"));
    assert_eq!(stage.heard(), ["done", "1: red", "3: red"]);
    stage.tell(|_, ctx| ctx.unstash_all());
    assert_eq!(stage.heard(), ["done", "4: "]);
    stage.tell(|_, ctx| ctx.unstash_all_from("blue"));
    assert_eq!(stage.heard(), ["done", "2: blue"]);
}

#[test]
fn a_command_may_put_itself_aside_again_and_keeps_its_place() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| ctx.stash(aside("one")));
    stage.command(2, aside("two"));
    stage.tell(|_, ctx| ctx.unstash_all());
    assert_eq!(stage.heard(), ["done", "2: two"], "the first is aside once more");
    stage.tell(|_, ctx| ctx.unstash_all());
    assert_eq!(stage.heard(), ["done", "1: one"]);
}

#[test]
fn unstashing_in_a_command_that_persists_waits_for_its_handler() {
    let mut stage = Stage::ready();
    stage.command(1, aside("one"));
    stage.tell(|_, ctx| {
        ctx.unstash_all();
        say(ctx, "first");
    });
    assert_eq!(stage.heard(), [""; 0]);
    stage.settle();
    assert_eq!(stage.heard(), ["first @1", "1: one @1"]);
}

#[test]
fn unstashed_commands_go_on_beside_events_that_hold_back_nobody() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| ctx.stash(script(|_, ctx| say_async(ctx, "stashed"))));
    stage.tell(|_, ctx| {
        say_async(ctx, "first");
        ctx.unstash_all();
    });
    stage.tell(|_, ctx| say_async(ctx, "third"));
    assert_eq!(stage.flush(), ["first@1", "stashed@2", "third@3"]);
    stage.stored();
    assert_eq!(stage.heard(), ["first @1", "1: stashed @2", "third @3"]);
}

#[test]
fn a_stash_in_the_handler_of_an_event_is_an_error_of_the_entity() {
    for many in [false, true] {
        let mut stage = Stage::ready();
        stage.ask(1, move |_, ctx| {
            let put_aside = |ctx: &mut crate::model::Context<'_, super::stage::Scribe>| {
                ctx.stash_in("late", script(|_, ctx| ctx.reply("never".to_owned())));
            };
            if many {
                ctx.persist_all_async(vec![said("a"), said("b")], move |_, _, ctx| put_aside(ctx));
            } else {
                ctx.persist(said("a"), move |_, _, ctx| put_aside(ctx));
            }
        });
        stage.settle();
        let told = "1: failed (Unknown): the entity's code panicked: a command cannot be stashed in the \
                    handler of its event: it was handled";
        assert_eq!(stage.heard(), [told]);
        assert!(matches!(stage.turn.reports[..], [Report::Panicked { .. }]), "{:?}", stage.turn.reports);
        stage.show(2);
        stage.recover();
        assert_eq!(stage.heard(), [if many { "2: a,b @2" } else { "2: a @1" }]);
    }
}

#[test]
fn a_deferred_handler_is_no_event_and_may_put_aside() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| {
        ctx.defer(|_, ctx| ctx.stash(script(|_, ctx| ctx.reply("later".to_owned()))));
    });
    assert_eq!(stage.heard(), [""; 0]);
    stage.tell(|_, ctx| ctx.unstash_all());
    assert_eq!(stage.heard(), ["done", "1: later"]);
}

#[test]
fn after_a_panic_what_was_put_aside_is_handled_before_what_waits_the_oldest_stash_first() {
    let mut stage = Stage::ready();
    for (tag, name) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
        let word = script(move |_, ctx| ctx.reply(name.to_owned()));
        stage.ask(tag, move |_, ctx| ctx.stash_in(name, word));
    }
    stage.tell(|_, ctx| ctx.unstash_all_from("a"));
    assert_eq!(stage.heard(), ["done", "1: a"]);
    stage.ask(5, |_, _| panic!("oh"));
    stage.ask(6, |_, ctx| ctx.reply("came later".to_owned()));
    assert_eq!(stage.heard(), ["5: failed (None): the entity's code panicked: oh"]);
    stage.recover();
    assert_eq!(stage.heard(), ["2: b", "3: c", "4: d", "6: came later"]);
}

#[test]
fn after_a_failed_write_what_was_put_aside_is_still_there() {
    let mut stage = Stage::ready();
    stage.command(1, aside("one"));
    stage.tell(|_, ctx| say(ctx, "a"));
    stage.flush();
    stage.ask(2, |_, ctx| ctx.reply("two".to_owned()));
    stage.failed(Outcome::None);
    stage.heard();
    stage.wait();
    stage.recover();
    assert_eq!(stage.heard(), ["1: one", "2: two"]);
}

#[test]
fn losing_the_shard_answers_what_was_put_aside() {
    let mut stage = Stage::ready();
    stage.command(1, aside("one"));
    stage.cells.unload(&mut stage.turn, &|outcome| Failure::ShardLost { outcome });
    for (caller, answer) in stage.turn.answers.drain(..) {
        caller.answer(answer);
    }
    assert_eq!(stage.heard(), ["1: failed (None): the shard has another owner now"]);
}

#[test]
fn a_full_stash_does_not_lock_out_the_command_that_opens_it() {
    let mut stage = with_capacity(2);
    stage.command(1, aside("one"));
    stage.command(2, aside("two"));
    stage.ask(3, |_, ctx| ctx.reply("still here".to_owned()));
    assert_eq!(stage.heard(), ["3: still here"]);
    stage.tell(|_, ctx| ctx.unstash_all());
    assert_eq!(stage.heard(), ["done", "1: one", "2: two"]);
}

#[test]
fn a_command_too_many_for_the_stash_is_turned_away_and_the_entity_is_told_once() {
    let mut stage = with_capacity(2);
    stage.command(1, aside("one"));
    stage.command(2, aside("two"));
    for tag in [3, 4] {
        stage.command(tag, aside("never"));
        let refused = format!("{tag}: failed (None): this entity already holds 2 waiting requests");
        assert_eq!(stage.heard(), [refused]);
    }
    let told = "StashOverflowed { capacity: 2, lost: 1 }";
    assert_eq!(stage.told(), [told, told], "it was free to hear of each");
}

#[test]
fn what_is_put_aside_counts_while_others_wait() {
    let mut stage = with_capacity(3);
    stage.command(1, aside("one"));
    stage.tell(|_, ctx| ctx.persist(said("open"), |_, _, ctx| ctx.unstash_all()));
    stage.ask(2, |_, ctx| ctx.reply("two".to_owned()));
    stage.ask(3, |_, ctx| ctx.reply("three".to_owned()));
    assert_eq!(stage.heard(), ["3: failed (None): this entity already holds 3 waiting requests"]);
    stage.settle();
    assert_eq!(stage.heard(), ["done @1", "1: one @1", "2: two @1"]);
    assert_eq!(stage.told(), ["StashOverflowed { capacity: 3, lost: 1 }"]);
}

#[test]
fn a_condition_holds_when_the_command_is_handled_not_when_it_is_put_aside() {
    let mut stage = Stage::ready();
    stage.command_if(1, aside("stale"), 0);
    stage.command_if(2, aside("stale too"), 0);
    stage.tell(|_, ctx| ctx.unstash_all());
    assert_eq!(stage.heard(), ["done", "1: stale", "2: stale too"]);
    stage.command_if(3, script(|_, ctx| ctx.stash(aside("stale"))), 0);
    stage.tell(|_, ctx| ctx.unstash_all());
    stage.dictate(&["moved on"]);
    stage.tell(|_, ctx| ctx.unstash_all());
    let refused = "3: failed (None): the entity's last event is 1, the command expected 0 @1";
    assert_eq!(stage.heard(), ["done @1", refused]);
}

#[test]
fn a_stash_without_a_sender_works_for_messages_too() {
    let mut stage = Stage::<super::stage::Scribe>::of("x", &TypeOptions::default(), settings());
    stage.tell(|_, ctx| {
        ctx.pipe_to_self(std::future::ready(()), |()| "unstash".to_owned());
        ctx.stash(script(|this, _| this.said.push("heard".to_owned())));
        ctx.unstash_all();
    });
    stage.recover();
    assert_eq!(stage.heard(), ["done"]);
    stage.serve();
    assert_eq!(stage.told(), ["unstash"]);
}
