//! How an entity ends: in order, with all that it has begun, and without losing who waits.

use std::time::Duration;

use super::stage::{Scribe, Stage, say, say_async, script};
use crate::engine::EntityStore;
use crate::model::{Failure, Outcome};

fn incarnation(stage: &mut Stage<Scribe>, tag: u64) {
    stage.ask(tag, |this, ctx| {
        this.signals.push(String::new());
        ctx.reply(format!("{} since it began, {} said", this.signals.len(), this.said.len()));
    });
}

#[test]
fn an_entity_that_stops_with_nothing_left_leaves_memory() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| ctx.stop());
    assert_eq!(stage.heard(), ["1: done"]);
    assert!(stage.wants.gone && stage.cells.is_empty());
    incarnation(&mut stage, 2);
    stage.recover();
    assert_eq!(stage.heard(), ["2: 1 since it began, 0 said"]);
}

#[test]
fn what_waited_before_a_stop_is_handled_first_and_what_comes_later_by_the_next_one() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| {
        ctx.persist(super::stage::said("a"), |this, said, ctx| {
            this.said.push(said.0.clone());
            ctx.stop();
        });
    });
    incarnation(&mut stage, 2);
    stage.ask(3, |_, ctx| say(ctx, "b"));
    stage.flush();
    stage.stored();
    assert_eq!(stage.heard(), ["1: done @1", "2: 1 since it began, 1 said @1"]);
    incarnation(&mut stage, 4);
    assert_eq!(stage.settle(), [["b@2"]]);
    assert_eq!(stage.heard(), ["3: b @2"], "the stop came after it, and before the fourth");
    stage.recover();
    assert_eq!(stage.heard(), ["4: 1 since it began, 2 said @2"]);
}

#[test]
fn a_stop_waits_for_what_is_being_written_and_its_handlers() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| {
        ctx.stop();
        say_async(ctx, "a");
        ctx.defer_async(|_, ctx| ctx.reply("never: answered".to_owned()));
    });
    stage.flush();
    incarnation(&mut stage, 2);
    assert!(!stage.wants.gone && stage.heard().is_empty());
    stage.stored();
    assert_eq!(stage.heard(), ["1: a @1"]);
    assert!(stage.wants.load, "somebody waits, so it comes back");
    stage.recover();
    assert_eq!(stage.heard(), ["2: 1 since it began, 1 said @1"]);
}

#[test]
fn what_handlers_persist_while_it_stops_is_stored_too() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| {
        ctx.stop();
        ctx.persist_async(super::stage::said("outer"), |_, _, ctx| say(ctx, "inner"));
    });
    assert_eq!(stage.settle(), [["outer@1"], ["inner@2"]]);
    assert_eq!(stage.heard(), ["inner @2"]);
    assert!(stage.wants.gone && stage.cells.is_empty());
}

#[test]
fn a_write_that_fails_while_it_stops_is_told_and_who_waits_is_served_after_the_pause() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| {
        say_async(ctx, "a");
        ctx.stop();
    });
    stage.flush();
    incarnation(&mut stage, 2);
    stage.failed(Outcome::Unknown);
    assert_eq!(stage.heard(), ["1: failed (Unknown): the journal failed: disk on fire"]);
    assert_eq!(stage.wait(), Duration::from_millis(200));
    stage.recover();
    assert_eq!(stage.heard(), ["2: 1 since it began, 0 said"]);
}

#[test]
fn a_panic_while_it_stops_restarts_it() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| {
        ctx.persist_async(super::stage::said("a"), |_, _, _| panic!("oh"));
        ctx.stop();
    });
    incarnation(&mut stage, 2);
    stage.settle();
    stage.recover();
    assert_eq!(
        stage.heard(),
        ["1: failed (Unknown): the entity's code panicked: oh", "2: 1 since it began, 1 said @1"]
    );
}

#[test]
fn stopping_twice_stops_one_incarnation() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| {
        ctx.stop();
        ctx.stop();
    });
    assert!(stage.wants.gone);
    incarnation(&mut stage, 1);
    stage.recover();
    incarnation(&mut stage, 2);
    assert_eq!(stage.heard(), ["done", "1: 1 since it began, 0 said", "2: 2 since it began, 0 said"]);
}

#[test]
fn commands_that_were_put_aside_are_handled_by_the_next_incarnation() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| ctx.stash(script(|_, ctx| ctx.reply("one".to_owned()))));
    stage.ask(2, |_, ctx| ctx.stop());
    assert!(stage.wants.load && !stage.wants.gone);
    stage.recover();
    assert_eq!(stage.heard(), ["2: done", "1: one"]);
}

#[test]
fn timers_and_results_end_with_the_stop() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| ctx.start_timer("a", Duration::from_secs(1), "timer".to_owned()));
    stage.tell(|_, ctx| {
        ctx.pipe_to_self(std::future::ready(()), |()| "result".to_owned());
        say_async(ctx, "a");
        ctx.stop();
    });
    stage.flush();
    stage.tell(|_, _| {});
    stage.stored();
    stage.recover();
    stage.serve();
    stage.wait();
    stage.heard();
    assert_eq!(stage.told(), [""; 0]);
}

#[test]
fn results_and_wake_ups_that_come_while_it_stops_change_nothing() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| ctx.start_timer("a", Duration::from_secs(1), "say".to_owned()));
    stage.heard();
    stage.tell(|_, ctx| {
        ctx.pipe_to_self(std::future::ready(()), |()| "say".to_owned());
        say_async(ctx, "a");
        ctx.stop();
    });
    stage.flush();
    stage.serve();
    stage.wait();
    stage.stored();
    assert!(stage.wants.gone && !stage.wants.write && stage.cells.is_empty());
    assert_eq!(stage.heard(), ["a @1"]);
}

#[test]
fn a_snapshot_asked_for_before_a_stop_is_saved_all_the_same() {
    for somebody_waits in [false, true] {
        let mut stage = Stage::ready();
        stage.dictate(&["a", "b"]);
        stage.tell(|this, ctx| {
            ctx.save_snapshot(&this.said);
            ctx.stop();
            if this.said.len() > 9 {
                say(ctx, "never");
            }
        });
        if somebody_waits {
            stage.tell(|_, _| {});
        }
        assert_eq!(stage.calling().len(), 1, "what an entity asked for is done");
        stage.serve();
        assert_eq!(stage.saved(), [2]);
        stage.recover();
        stage.heard();
        stage.show(1);
        stage.recover();
        assert_eq!(stage.heard(), ["1: a,b @2"]);
    }
}

#[test]
fn an_entity_that_waits_for_its_calls_to_be_taken_comes_back_if_somebody_asks() {
    use crate::engine::{Body, Message};
    use crate::model::{Caller, Format, ReplySink};
    struct Nobody;
    impl ReplySink for Nobody {
        fn deliver(&self, _: u64, _: crate::model::Answer) {}
    }
    let mut stage = Stage::ready();
    stage.dictate(&["a"]);
    let deliver = |stage: &mut Stage<Scribe>, play: super::stage::Script| {
        let id = crate::EntityId::new("x").expect("a good id");
        let hash = crate::PersistenceId::new(crate::EntityType::new("scribe"), id.clone()).hash();
        let caller = Caller::new(std::sync::Arc::new(Nobody), 1, Format::Local);
        let message = Message::Command(Body::Local(Box::new(play)));
        stage.cells.deliver(&mut stage.turn, hash, &id, message, Some(caller), None).expect("a place")
    };
    let (slot, wants) = deliver(
        &mut stage,
        script(|this, ctx| {
            ctx.save_snapshot(&this.said);
            ctx.stop();
        }),
    );
    assert!(wants.calls && !wants.gone, "{wants:?}");
    let (again, wants) = deliver(&mut stage, script(|_, _| {}));
    assert!(again == slot && wants.calls && wants.load, "{wants:?}");
    stage.calls = stage.cells.take_calls(slot);
    stage.wants = wants;
    stage.serve();
    stage.recover();
    assert_eq!((stage.saved(), stage.cells.len()), (vec![1], 1));
    stage.turn.answers.clear();
    stage.show(2);
    assert_eq!(stage.heard(), ["2: a @1"]);
}

#[test]
fn an_entity_that_nobody_needs_leaves_when_it_is_told_to() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| ctx.passivate());
    assert!(stage.wants.gone && stage.cells.is_empty());
    assert_eq!(stage.heard(), ["1: done"]);
}

#[test]
fn leaving_waits_for_what_is_being_written() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| {
        say_async(ctx, "a");
        ctx.passivate();
    });
    stage.flush();
    assert!(!stage.wants.gone);
    stage.stored();
    assert_eq!(stage.heard(), ["a @1"]);
    assert!(stage.wants.gone && stage.cells.is_empty());
}

#[test]
fn an_entity_stays_if_something_comes_before_it_has_left() {
    let mut stage = Stage::ready();
    stage.tell(|this, ctx| {
        this.signals.push("the same".to_owned());
        say_async(ctx, "a");
        ctx.passivate();
    });
    stage.flush();
    stage.ask(1, |_, ctx| ctx.reply("still here".to_owned()));
    assert_eq!(stage.heard(), ["1: still here"]);
    stage.stored();
    assert!(!stage.wants.gone);
    assert_eq!(stage.heard(), ["a @1"]);
    assert_eq!(stage.told(), ["the same"]);
}

#[test]
fn an_entity_stays_if_somebody_waits_when_its_turn_to_leave_comes() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| {
        ctx.passivate();
        say(ctx, "a");
    });
    stage.ask(1, |_, ctx| ctx.reply("came later".to_owned()));
    stage.settle();
    assert!(!stage.wants.gone && !stage.wants.load);
    assert_eq!(stage.heard(), ["a @1", "1: came later @1"]);
}

#[test]
fn an_entity_stays_for_its_timers_its_results_and_what_it_has_put_aside() {
    let needs: [fn(&mut crate::model::Context<'_, Scribe>); 3] = [
        |ctx| ctx.start_timer("a", Duration::from_secs(1), "a".to_owned()),
        |ctx| ctx.pipe_to_self(std::future::ready(()), |()| "a".to_owned()),
        |ctx| ctx.stash(script(|_, _| {})),
    ];
    for need in needs {
        for early in [true, false] {
            let mut stage = Stage::ready();
            stage.tell(move |_, ctx| {
                if early {
                    need(ctx);
                }
                ctx.persist_async(super::stage::said("a"), move |_, _, ctx| {
                    if !early {
                        need(ctx);
                    }
                });
                ctx.passivate();
            });
            stage.settle();
            assert!(!stage.wants.gone && stage.cells.len() == 1);
        }
    }
}

#[test]
fn a_silence_is_still_told_to_an_entity_that_was_about_to_leave() {
    let mut stage = Stage::ready();
    stage.tell(|_, ctx| ctx.set_receive_timeout(Some(Duration::from_secs(1))));
    stage.tell(|_, ctx| {
        say_async(ctx, "a");
        ctx.passivate();
    });
    stage.flush();
    stage.wait();
    stage.stored();
    assert!(!stage.wants.gone);
    stage.heard();
    assert_eq!(stage.told(), ["ReceiveTimeout"]);
}

#[test]
fn losing_the_shard_while_it_stops_answers_everybody() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| {
        say_async(ctx, "a");
        ctx.stop();
    });
    stage.flush();
    incarnation(&mut stage, 2);
    stage.cells.unload(&mut stage.turn, &|outcome| Failure::ShardLost { outcome });
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

#[derive(serde::Serialize, serde::Deserialize)]
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "it went off");
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Nothing;

impl crate::codec::Event for Nothing {
    fn name(&self) -> &'static str {
        "nothing"
    }
}

impl crate::model::EventSourced for Bomb {
    const TYPE: crate::EntityType = crate::EntityType::new("bomb");
    type Command = ();
    type Event = Nothing;
    type Reply = String;
    type Rejection = String;

    fn new(_: &crate::EntityId) -> Self {
        Self
    }
    fn handle(&self, (): ()) -> crate::model::Effect<Self> {
        crate::model::Effect::persist(Nothing).then_nothing()
    }
    fn apply(&mut self, _: &Nothing) {}
}

#[test]
fn an_entity_that_panics_when_it_is_dropped_does_not_stop_its_shard() {
    let mut stage = Stage::<crate::model::EventSourcedActor<Bomb>>::unborn("x");
    stage.command(1, ());
    stage.recover();
    stage.command(2, ());
    stage.flush();
    stage.cells.unload(&mut stage.turn, &|outcome| Failure::ShardLost { outcome });
    assert_eq!(stage.turn.answers.len(), 2);
    for (caller, answer) in stage.turn.answers.drain(..) {
        caller.answer(answer);
    }
    let lost = |tag| format!("{tag}: failed (Unknown): the shard has another owner now");
    assert_eq!(stage.heard(), [lost(1), lost(2)]);
    stage.command(3, ());
    stage.recover();
    stage.settle();
    assert_eq!(stage.heard(), ["3: done @1"]);
    assert!(stage.is_idle(), "nor when it leaves by itself");
}
