//! Behaviours: from when on they hold, and what ends them.

use super::stage::{Scribe, Script, Stage, said, say, say_async, script};
use crate::model::Context;

fn curt(_: &mut Scribe, _: Script, ctx: &mut Context<'_, Scribe>) {
    ctx.reply("curt".to_owned());
}

fn open_again(this: &mut Scribe, Script(play): Script, ctx: &mut Context<'_, Scribe>) {
    ctx.switch_back();
    play(this, ctx);
}

fn hello(stage: &mut Stage<Scribe>, tag: u64) {
    stage.ask(tag, |_, ctx| ctx.reply("hello".to_owned()));
}

#[test]
fn a_switch_holds_from_the_next_command_on() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| {
        ctx.switch_to(Scribe::closed);
        ctx.reply("closing".to_owned());
    });
    hello(&mut stage, 2);
    assert_eq!(stage.heard(), ["1: closing", "2: closed"]);
    stage.read_state(3);
    assert_eq!(stage.heard(), ["3: []"], "a reader is no command");
}

#[test]
fn behaviours_are_a_stack() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| {
        ctx.switch_to(open_again);
        ctx.switch_to(open_again);
    });
    stage.ask(1, |_, ctx| {
        ctx.switch_to(curt);
        ctx.reply("first".to_owned());
    });
    hello(&mut stage, 2);
    assert_eq!(stage.heard(), ["done", "1: first", "2: curt"]);
}

#[test]
fn returning_from_the_last_behaviour_leads_to_the_first_and_no_further() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| ctx.switch_to(open_again));
    hello(&mut stage, 1);
    stage.tell(|_, ctx| {
        ctx.switch_back();
        ctx.switch_back();
    });
    hello(&mut stage, 2);
    assert_eq!(stage.heard(), ["done", "1: hello", "done", "2: hello"]);
    assert!(stage.is_idle());
}

#[test]
fn a_switch_in_a_handler_holds_from_its_event_on_wherever_it_stands() {
    for first in [true, false] {
        let mut stage = Stage::ready();
        stage.tell(move |_, ctx| {
            let close = |ctx: &mut Context<'_, Scribe>| {
                ctx.persist(said("close"), |_, _, ctx| ctx.switch_to(Scribe::closed));
            };
            if first {
                close(ctx);
            }
            say(ctx, "beside");
            if !first {
                close(ctx);
            }
        });
        hello(&mut stage, 1);
        stage.settle();
        let beside = if first { "beside @2" } else { "beside @1" };
        assert_eq!(stage.heard(), [beside, "1: closed @2"]);
    }
}

#[test]
fn commands_that_overtake_an_event_meet_the_behaviour_before_it() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| {
        ctx.persist_async(said("close"), |_, _, ctx| {
            ctx.switch_to(Scribe::closed);
            ctx.reply("is closed".to_owned());
        });
    });
    hello(&mut stage, 1);
    stage.settle();
    hello(&mut stage, 2);
    assert_eq!(stage.heard(), ["1: hello", "is closed @1", "2: closed @1"]);
}

#[test]
fn a_restart_returns_to_the_first_behaviour() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| ctx.switch_to(open_again));
    stage.ask(1, |_, ctx| {
        ctx.switch_to(Scribe::closed);
        panic!("oh");
    });
    hello(&mut stage, 2);
    stage.recover();
    assert_eq!(stage.heard(), ["done", "1: failed (None): the entity's code panicked: oh", "2: hello"]);
}

#[test]
fn a_past_that_switched_is_recovered_with_its_behaviour() {
    let mut stage = Stage::ready();
    stage.dictate(&["a", "closed"]);
    stage.tell(|_, _| panic!("oh"));
    stage.heard();
    hello(&mut stage, 1);
    stage.recover();
    assert_eq!(stage.heard(), ["1: closed @2"]);
    let mut stage = Stage::ready();
    stage.dictate(&["a", "closed", "closed", "opened", "opened", "opened"]);
    stage.tell(|_, _| panic!("oh"));
    stage.heard();
    hello(&mut stage, 1);
    stage.recover();
    assert_eq!(stage.heard(), ["1: hello @6"]);
}

#[test]
fn a_recovery_that_begins_anew_forgets_what_it_had_switched_to() {
    let mut stage = Stage::ready();
    stage.dictate(&["closed", "opened", "b"]);
    stage.tell(|_, _| panic!("oh"));
    stage.heard();
    hello(&mut stage, 1);
    stage.begin_load();
    let page = crate::journal::EventPage {
        events: vec![stage.journal[0].to_bytes()],
        last: crate::SequenceNr(3),
        ..Default::default()
    };
    stage.feed(Ok(page));
    stage.begin_load();
    let wants = {
        use crate::engine::EntityStore;
        let slot = stage.slot();
        stage.cells.reload(&mut stage.turn, slot)
    };
    stage.wants = wants;
    stage.journal.truncate(1);
    stage.journal[0].payload = bytes::Bytes::from_static(b"\"plain\"");
    stage.recover();
    assert_eq!(stage.heard(), ["1: hello @1"]);
}

#[test]
fn conditions_and_unstashed_commands_meet_the_behaviour_of_their_turn() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| {
        ctx.stash(script(|_, ctx| ctx.reply("never".to_owned())));
        ctx.switch_to(Scribe::closed);
        ctx.unstash_all();
    });
    stage.command_if(2, script(|_, ctx| ctx.reply("never".to_owned())), 0);
    assert_eq!(stage.heard(), ["1: closed", "2: closed"]);
}

#[test]
fn a_message_to_itself_meets_no_behaviour() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| {
        ctx.switch_to(open_again);
        ctx.pipe_to_self(std::future::ready(()), |()| "say".to_owned());
    });
    stage.serve();
    assert_eq!(stage.flush(), ["to myself@1"]);
    stage.stored();
    stage.ask(1, |_, ctx| say_async(ctx, "open"));
    stage.settle();
    assert_eq!(stage.heard(), ["done", "1: open @2"]);
}
