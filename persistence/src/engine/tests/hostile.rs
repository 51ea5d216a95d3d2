//! What a hostile reader of the engine broke, and must not break again.

use super::stage::{Scribe, Script, Stage, said, say, say_async, settings, with_past};
use crate::SequenceNr;
use crate::engine::{Body, Call, EntityStore, Message};
use crate::envelope::BaseRecord;
use crate::model::{
    Caller, Context, Format, Outcome, PersistentActor, Recover, RecoveryContext, StashOverflow, TypeOptions,
};
use prost::Message as _;
use std::time::Duration;

fn saves(stage: &Stage<Scribe>) -> Vec<String> {
    stage
        .calls
        .iter()
        .filter_map(|c| match &c.call {
            Call::Save { snapshot, .. } => {
                Some(format!("{}:{}", snapshot.sequence_nr, String::from_utf8_lossy(&snapshot.payload)))
            }
            _ => None,
        })
        .collect()
}

#[test]
fn partial_state_is_not_snapshotted() {
    let mut stage = with_past("young", &["a", "b", "c", "d"]);
    stage.ask(1, |_, ctx| say(ctx, "e"));
    stage.recover();
    stage.settle();
    stage.ask(2, |this, ctx| {
        let s = this.said.clone();
        ctx.save_snapshot(&s);
        ctx.reply("x".into())
    });
    assert_eq!(saves(&stage), Vec::<String>::new());
}

#[test]
fn without_snapshots_partial() {
    let mut stage = with_past("plain", &[]);
    let record = BaseRecord {
        rests_on_snapshot: true,
        epoch: 1 << 40 | 1,
        session: 1,
        batch: 1,
        ..BaseRecord::default()
    }
    .encode_to_vec();
    stage.base = (SequenceNr(5), record.into());
    stage.ask(2, |this, ctx| {
        let s = this.said.clone();
        ctx.save_snapshot(&s);
        ctx.reply("x".into())
    });
    stage.recover();
    assert_eq!(saves(&stage), Vec::<String>::new());
}

#[test]
fn a_full_stash_can_be_opened() {
    let mut stage = Stage::ready();
    for n in 0..40 {
        stage.ask(n, |_, ctx| ctx.stash(Script(Box::new(|_, ctx| ctx.reply("late".into())))));
    }
    stage.ask(99, |_, ctx| {
        ctx.unstash_all();
        ctx.reply("opened".into())
    });
    stage.read_state(100);
    let heard = stage.heard();
    assert!(heard.contains(&"99: opened".to_owned()));
}

#[test]
fn a_command_whose_event_is_stored_is_not_told_none() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| say_async(ctx, "a"));
    stage.flush();
    stage.ask(2, |_, ctx| {
        ctx.defer_async(|_, _| {});
        say_async(ctx, "b")
    });
    stage.ask(3, |_, _| panic!("fainted"));
    stage.settle();
    let heard = stage.heard();
    assert!(stage.journal.len() < 2 || !heard.iter().any(|h| h.starts_with("2: failed (None)")), "{heard:?}");
}

#[test]
fn if_match_sees_events_on_their_way() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| say_async(ctx, "a"));
    let caller = Caller::new(stage.log.clone(), 2, Format::Local);
    stage.send(
        Message::CommandIf(
            Body::Local(Box::new(Script(Box::new(|_, ctx| say_async(ctx, "b"))))),
            SequenceNr(0),
        ),
        caller,
        None,
    );
    stage.settle();
    let heard = stage.heard();
    assert!(!heard.contains(&"2: b @2".to_owned()), "expected 0 and wrote 2: {heard:?}");
}

#[test]
fn save_then_stop_saves() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| say(ctx, "a"));
    stage.settle();
    stage.ask(2, |this, ctx| {
        let s = this.said.clone();
        ctx.save_snapshot(&s);
        ctx.stop()
    });
    assert_eq!(saves(&stage).len(), 1);
}

#[test]
fn wakes_do_not_pile_up() {
    let mut stage = Stage::ready();
    stage.ask(1, |_, ctx| ctx.start_timer("far", Duration::from_secs(3600), "far".into()));
    stage.wants.wake_at.take().expect("far");
    let mut far = 0;
    for n in 0..100 {
        stage.ask(n, |_, ctx| ctx.start_timer("near", Duration::from_millis(10), "near".into()));
        stage.wait();
        far += u32::from(stage.wants.wake_at.take().is_some());
    }
    assert!(far <= 1, "{far} wakes for one far timer");
}

#[test]
fn deleting_beyond_the_snapshot_does_not_park() {
    let mut stage = Stage::ready();
    for text in ["a", "b"] {
        stage.ask(1, move |_, ctx| say(ctx, text));
        stage.settle();
    }
    stage.ask(2, |this, ctx| {
        let s = this.said.clone();
        ctx.save_snapshot(&s)
    });
    stage.serve();
    for text in ["c", "d"] {
        stage.ask(1, move |_, ctx| say(ctx, text));
        stage.settle();
    }
    stage.ask(3, |_, ctx| ctx.delete_events(SequenceNr(3)));
    stage.settle();
    stage.heard();
    assert!(stage.is_idle());
    stage.ask(4, |this, ctx| ctx.reply(this.said.join(",")));
    stage.recover();
    assert_eq!(stage.cells.parked_count(), 0);
}

struct Bomb;
impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("dropped")
        }
    }
}

#[test]
fn a_destructor_stays_inside() {
    let mut stage = Stage::ready();
    let bomb = Bomb;
    stage.ask(1, move |_, ctx| {
        ctx.persist(said("a"), move |_, _, _| {
            let _b = &bomb;
        })
    });
    stage.flush();
    let r = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| stage.failed(Outcome::Unknown)));
    assert!(r.is_ok(), "escaped");
}

pub(super) struct Nasty;
impl serde::Serialize for Nasty {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("in serialize")
    }
}
#[derive(serde::Serialize, serde::Deserialize)]
struct Ev;
impl crate::codec::Event for Ev {
    fn name(&self) -> &'static str {
        "ev"
    }
}
struct N(u8);
impl PersistentActor for N {
    const TYPE: crate::EntityType = crate::EntityType::new("n");
    type Command = u8;
    type Event = Ev;
    type Reply = Nasty;
    type Rejection = ();
    type State = u8;
    type Message = ();
    fn new(_: &crate::EntityId) -> Self {
        Self(0)
    }
    fn state(&self) -> &u8 {
        &self.0
    }
    fn receive_command(&mut self, _: u8, _: &mut Context<'_, Self>) {}
    fn receive_recover(&mut self, _: Recover<Self>, _: &mut RecoveryContext<'_, Self>) {}
    fn overflow_reply() -> Option<Nasty> {
        Some(Nasty)
    }
}
#[test]
fn an_overflow_reply_stays_inside() {
    let options = TypeOptions {
        stash_capacity: Some(1),
        stash_overflow: Some(StashOverflow::Reply),
        ..TypeOptions::default()
    };
    let mut stage = Stage::<N>::of("x", &options, settings());
    stage.json(1, "1");
    let r = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| stage.json(2, "1")));
    assert!(r.is_ok(), "escaped");
}

#[test]
fn a_crash_loop_pauses() {
    let mut stage = Stage::ready();
    let mut pauses = 0;
    for n in 0..20 {
        stage.ask(n, |_, _| panic!("again"));
        if stage.wants.wake_at.is_some() {
            pauses += 1;
            stage.wait();
        }
        stage.recover();
    }
    assert!(pauses > 0, "20 restarts, no pause");
}

#[test]
fn the_second_snapshot_stays() {
    // events 1..2 deleted, snapshots 2 and 4: deleting snapshots must leave both
    let mut stage = Stage::ready();
    for text in ["a", "b"] {
        stage.ask(1, move |_, ctx| say(ctx, text));
        stage.settle();
    }
    stage.ask(2, |this, ctx| {
        let s = this.said.clone();
        ctx.save_snapshot(&s)
    });
    stage.serve();
    stage.ask(3, |_, ctx| ctx.delete_events(SequenceNr(2)));
    stage.settle();
    for text in ["c", "d"] {
        stage.ask(1, move |_, ctx| say(ctx, text));
        stage.settle();
    }
    stage.ask(2, |this, ctx| {
        let s = this.said.clone();
        ctx.save_snapshot(&s)
    });
    stage.serve();
    stage.ask(5, |_, ctx| ctx.delete_snapshots(crate::journal::SnapshotCriteria::ANY));
    stage.serve();
    assert_eq!(stage.snapshots.len(), 2);
}
