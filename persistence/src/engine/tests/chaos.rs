//! Everything at once, in orders that nobody thought of: whatever happens, every caller gets one answer, the
//! state is what was stored, and nothing is left behind.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::Duration;

use super::stage::{Scribe, Stage, said, say, say_async, script, settings};
use crate::engine::{Call, Called, Calling, EntityStore};
use crate::journal::{SnapshotCriteria, SnapshotError, StoreError};
use crate::model::{Outcome, Retention, TypeOptions};

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

struct Play {
    stage: Stage<Scribe>,
    dice: Dice,
    tags: u64,
    /// How often each caller was answered.
    answers: BTreeMap<u64, Vec<String>>,
    offered: Vec<String>,
    stored: Vec<String>,
}

impl Play {
    fn new(seed: u64, options: &TypeOptions<Scribe>) -> Self {
        Self {
            stage: Stage::of("x", options, settings()),
            dice: Dice(seed),
            tags: 0,
            answers: BTreeMap::new(),
            offered: Vec::new(),
            stored: Vec::new(),
        }
    }

    fn listen(&mut self) {
        for answer in self.stage.heard() {
            let (tag, words) = answer.split_once(": ").expect("an answer to a caller");
            self.answers.entry(tag.parse().expect("a tag")).or_default().push(words.to_owned());
        }
    }

    fn ask(&mut self) {
        self.tags += 1;
        let tag = self.tags;
        let text = format!("e{tag}");
        let stage = &mut self.stage;
        match self.dice.roll(16) {
            0 | 1 => stage.ask(tag, move |_, ctx| say(ctx, text)),
            2 | 3 => stage.ask(tag, move |_, ctx| say_async(ctx, text)),
            4 => stage.ask(tag, move |_, ctx| {
                ctx.persist_all(vec![said(text.clone()), said(text + "+")], |this, event, ctx| {
                    this.said.push(event.0.clone());
                    if event.0.ends_with('+') {
                        ctx.reply("both".to_owned());
                    }
                });
            }),
            5 => stage.ask(tag, move |_, ctx| {
                say_async(ctx, text);
                ctx.defer(|_, _| {});
            }),
            6 | 7 => stage.ask(tag, |_, ctx| ctx.stash(script(|_, ctx| ctx.reply("again".to_owned())))),
            8 => stage.ask(tag, |_, ctx| ctx.unstash_all()),
            9 => stage.ask(tag, move |_, ctx| {
                say_async(ctx, text);
                panic!("oh");
            }),
            10 => stage.ask(tag, |_, ctx| ctx.stop()),
            11 => stage.ask(tag, move |_, ctx| {
                say_async(ctx, text);
                ctx.passivate();
            }),
            12 => stage.ask(tag, |_, ctx| {
                ctx.pipe_to_self(std::future::ready(()), |()| "say".to_owned());
            }),
            13 => stage.ask(tag, |this, ctx| {
                ctx.save_snapshot(&this.said);
                ctx.load_snapshot(SnapshotCriteria::ANY, |_, _, ctx| ctx.unstash_all());
                ctx.delete_snapshots(SnapshotCriteria::ANY);
            }),
            14 => stage.ask(tag, |_, ctx| {
                ctx.start_timer("t", Duration::from_secs(1), "say".to_owned());
                ctx.set_receive_timeout(Some(Duration::from_secs(2)));
            }),
            _ => stage.command_if(tag, script(move |_, ctx| say(ctx, text)), self.stored.len() as u64),
        }
    }

    /// Answers one call, not the oldest, well or not.
    fn answer_one(&mut self, well: bool) {
        if self.stage.calls.is_empty() {
            return;
        }
        let at = self.dice.roll(self.stage.calls.len() as u64) as usize;
        let one = self.stage.calls.remove(at);
        let rest = std::mem::take(&mut self.stage.calls);
        if well {
            self.stage.calls = vec![one];
            self.stage.serve();
        } else {
            let Calling { ticket, call, .. } = one;
            let cause = StoreError::new("out of order");
            let called = match call {
                Call::Save { .. } => Called::Saved(Err(cause)),
                Call::Load(_) => Called::Loaded(Err(SnapshotError::Failed(cause))),
                Call::Delete(_) => Called::Deleted(Err(cause)),
                Call::Run(_) => Called::Ran(Err("it broke".to_owned())),
            };
            self.stage.called(ticket, called);
        }
        self.stage.calls.extend(rest);
    }

    fn write(&mut self, outcome: Option<Outcome>) {
        if self.stage.in_flight {
            match outcome {
                None => {
                    self.stage.stored();
                    self.stored.append(&mut self.offered);
                }
                Some(outcome) => {
                    self.stage.failed(outcome);
                    self.offered.clear();
                }
            }
        } else if self.stage.wants.write {
            let batch = self.stage.flush();
            let events = batch.iter().filter_map(|write| write.split_once('@'));
            self.offered = events.map(|(text, _)| text.to_owned()).collect();
        }
    }

    fn step(&mut self) {
        match self.dice.roll(20) {
            0..=7 => self.ask(),
            8..=11 => self.write(None),
            12 => self.write(Some(if self.dice.0 & 1 == 0 { Outcome::None } else { Outcome::Unknown })),
            13 | 14 => self.answer_one(true),
            15 => self.answer_one(false),
            16 | 17 if self.stage.wants.load => drop(self.stage.step()),
            18 if self.stage.wants.wake_at.is_some() => drop(self.stage.wait()),
            19 => drop(self.stage.is_idle()),
            _ => {}
        }
        self.listen();
    }

    /// Lets everything come to its end.
    fn finish(&mut self) {
        for round in 0.. {
            assert!(round < 1000, "it does not come to rest");
            self.stage.recover();
            while self.stage.in_flight || self.stage.wants.write {
                self.write(None);
            }
            self.stage.serve();
            self.listen();
            let busy = self.stage.wants.load || self.stage.wants.write || !self.stage.calls.is_empty();
            if !busy && self.stage.wants.wake_at.is_some() && round < 30 {
                self.stage.wait();
            } else if !busy {
                break;
            }
        }
    }
}

fn play(seed: u64, options: &TypeOptions<Scribe>) {
    let mut play = Play::new(seed, options);
    for _ in 0..150 {
        play.step();
        assert!(play.stage.cells.parked_count() == 0, "seed {seed}: {:?}", play.stage.turn.reports);
    }
    play.finish();
    for tag in [u64::MAX - 2, u64::MAX - 1] {
        // The first lets out what was put aside, the second sees what came of it.
        play.stage.ask(tag, |this, ctx| {
            ctx.unstash_all();
            ctx.cancel_timer("t");
            ctx.set_receive_timeout(None);
            ctx.reply(this.said.join(","));
        });
        play.finish();
    }
    for tag in 1..=play.tags {
        let answers = play.answers.get(&tag).map_or(0, Vec::len);
        assert_eq!(answers, 1, "seed {seed}: caller {tag} got {:?}", play.answers.get(&tag));
    }
    let forgotten = play.answers.iter().find(|(_, answers)| answers[0].contains("without an answer"));
    assert_eq!(forgotten, None, "seed {seed}");
    let shown = &play.answers[&(u64::MAX - 1)][0];
    let stored = play.stored.join(",");
    let words = if stored.is_empty() { String::new() } else { format!("{stored} @{}", play.stored.len()) };
    assert_eq!(*shown, words, "seed {seed}");
    let (at, reports) = (play.stage.wants.wake_at, &play.stage.turn.reports);
    assert!(play.stage.cells.is_empty() || play.stage.cells.evict(), "seed {seed}: {at:?} {reports:?}");
    // And all of it comes back.
    let mut later = play.stage.reborn("x", options);
    later.ask(1, |this, ctx| ctx.reply(this.said.join(",")));
    later.recover();
    assert_eq!(later.heard(), [format!("1: {words}")], "seed {seed}");
}

#[test]
fn whatever_happens_each_caller_is_answered_once_and_the_state_is_what_is_stored() {
    let retention = Retention { snapshot_every: NonZeroU64::new(3), delete_events: true, ..Retention::NONE };
    for options in [TypeOptions::default(), TypeOptions { retention, ..TypeOptions::default() }] {
        for seed in 0..150 {
            play(seed, &options);
        }
    }
}
