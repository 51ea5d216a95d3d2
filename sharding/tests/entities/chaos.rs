//! Everything at once: entities that do all they may, stores that fail in every way, owners that change.
//! What was acknowledged is there once and in order; what was said to have had no effect is not there.

use std::collections::HashMap;
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use abide_persistence::SequenceNr;
use abide_persistence::journal::{Epoch, Journal};
use abide_persistence::model::{Context, Failure, Outcome};
use abide_persistence::runtime::{Call, Fault, FaultControl, Faulty, MemoryJournal, MemorySnapshots};
use abide_sharding::{AskError, EntityOptions, Region, RegionConfig, Registry, Stores};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::stage::*;

const ENTITIES: usize = 50;
const SENDERS: usize = 10;
const COMMANDS: usize = 150;

/// What became of the lines of one command.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Stored,
    NotStored,
    Unknown,
}

struct Sent {
    entity: usize,
    lines: Vec<String>,
    fate: Fate,
}

fn registry() -> Registry {
    let every = NonZeroU64::new(7).unwrap();
    clerks(EntityOptions::default().snapshot_every(every).keep_snapshots(2).delete_events())
}

fn unsettle(faults: &FaultControl) {
    for (fault, often) in [
        (Fault::Refused, 0.02),
        (Fault::RequestLost, 0.02),
        (Fault::AnswerLost, 0.03),
        (Fault::Rejected, 0.01),
        (Fault::Delay(Duration::from_millis(3)), 0.1),
    ] {
        faults.sometimes(often, Call::Write, fault);
    }
    for call in [Call::Claim, Call::Read, Call::SaveSnapshot, Call::LoadSnapshot, Call::DeleteSnapshots] {
        faults.sometimes(0.05, call, Fault::Refused);
        faults.sometimes(0.05, call, Fault::AnswerLost);
        faults.sometimes(0.1, call, Fault::Delay(Duration::from_millis(2)));
    }
}

/// Stores lines one after the other, and answers with the last of them.
fn say_nested(mut lines: Vec<String>, ctx: &mut Context<'_, Clerk<0>>) {
    let line = lines.remove(0);
    ctx.persist(Said(line), move |this, Said(line), ctx| {
        this.lines.push(line.clone());
        if lines.is_empty() {
            ctx.reply(Vec::new());
        } else {
            say_nested(lines, ctx);
        }
    });
}

fn say_async(lines: Vec<String>, ctx: &mut Context<'_, Clerk<0>>) {
    for line in lines {
        ctx.persist_async(Said(line), |this, Said(line), _| this.lines.push(line.clone()));
    }
    ctx.defer_async(|_, ctx| ctx.reply(Vec::new()));
}

/// A command with the lines that it stores if it succeeds.
fn command(dice: &mut StdRng, mut line: impl FnMut() -> String) -> (Vec<String>, Code<0>) {
    let mut some = |most: usize, dice: &mut StdRng| -> Vec<String> {
        (0..dice.random_range(1..=most)).map(|_| line()).collect()
    };
    let nothing = |code| (Vec::new(), code);
    match dice.random_range(0..100) {
        0..25 => {
            let lines = some(3, dice);
            (lines.clone(), Code::new(|_, ctx| say_nested(lines, ctx)))
        }
        25..50 => {
            let lines = some(3, dice);
            (lines.clone(), Code::new(|_, ctx| say_async(lines, ctx)))
        }
        50..62 => {
            let lines = some(4, dice);
            let events = lines.iter().cloned().map(Said).collect();
            let say = Code::new(|_, ctx| {
                ctx.persist_all(events, |this: &mut Clerk<0>, Said(line), _| this.lines.push(line.clone()));
                ctx.defer(|_, ctx| ctx.reply(Vec::new()));
            });
            (lines, say)
        }
        62..68 => {
            // Aside for a while; whatever happens meanwhile, it comes back.
            let lines = some(2, dice);
            let said = lines.clone();
            let stash = Code::new(|_, ctx| {
                ctx.stash(Code::new(|_, ctx| say_async(said, ctx)));
                ctx.start_timer("unstash", Duration::from_millis(2), Code::new(|_, ctx| ctx.unstash_all()));
            });
            (lines, stash)
        }
        68..74 => {
            // Stored by a message to itself; the caller is answered at once and knows nothing of it.
            let pause = Duration::from_millis(dice.random_range(0..3));
            nothing(Code::new(move |_, ctx| {
                ctx.pipe_to_self(tokio::time::sleep(pause), |()| Code::new(|_, _| {}));
                ctx.reply(Vec::new());
            }))
        }
        74..79 => nothing(Code::new(|this, ctx| {
            ctx.save_snapshot(&this.lines);
            ctx.reply(Vec::new());
        })),
        79..83 => nothing(Code::new(|_, ctx| {
            // Only what the newest snapshot contains, less one: two of them may be needed.
            let to = ctx.snapshot_sequence_nr().0.saturating_sub(20);
            ctx.delete_events(SequenceNr(to));
            ctx.reply(Vec::new());
        })),
        83..87 => nothing(Code::new(|_, ctx| {
            ctx.stop();
            ctx.reply(Vec::new());
        })),
        87..91 => nothing(Code::new(|_, ctx| {
            ctx.passivate();
            ctx.reply(Vec::new());
        })),
        91..94 => nothing(Clerk::panic("on purpose, in a command")),
        94..97 => {
            // Stored, but its handler panics: the caller hears that something may have happened.
            let lines = some(1, dice);
            let said = Said(lines[0].clone());
            let say = Code::new(|_: &mut Clerk<0>, ctx: &mut Context<'_, Clerk<0>>| {
                ctx.persist(said, |_, _, _| panic!("on purpose, in a handler"));
            });
            (lines, say)
        }
        _ => {
            let lines = some(1, dice);
            let said = Said(lines[0].clone());
            let say = Code::new(|_: &mut Clerk<0>, ctx: &mut Context<'_, Clerk<0>>| {
                ctx.persist(said, |_, _, _| {});
                panic!("on purpose, after an event");
            });
            (lines, say)
        }
    }
}

async fn sender(region: Region, seed: u64, number: usize) -> Vec<Sent> {
    let mut dice = StdRng::seed_from_u64(seed * 1000 + number as u64);
    let mut counts = [0; ENTITIES];
    let mut sent = Vec::new();
    for _ in 0..COMMANDS {
        let entity = dice.random_range(0..ENTITIES);
        let (lines, code) = command(&mut dice, || {
            counts[entity] += 1;
            format!("{number}:{}", counts[entity])
        });
        let fate = match clerk(&region, &entity.to_string()).ask(code).await {
            Ok(_) => Fate::Stored,
            Err(AskError::Failed(failure)) => {
                assert!(!matches!(failure, Failure::Parked { .. } | Failure::Abandoned), "{failure:?}");
                match failure.outcome() {
                    Outcome::None => Fate::NotStored,
                    Outcome::Unknown => Fate::Unknown,
                }
            }
            other => panic!("no command ends with {other:?}"),
        };
        sent.push(Sent { entity, lines, fate });
        if dice.random_bool(0.2) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    sent
}

fn check(sent: &[(usize, Sent)], entity: usize, stored: &[String]) {
    let mut places = HashMap::new();
    for (place, line) in stored.iter().enumerate() {
        assert_eq!(places.insert(line.as_str(), place), None, "{line} of {entity} is there twice");
    }
    let mut last = HashMap::new();
    for (sender, Sent { lines, fate, .. }) in sent.iter().filter(|(_, sent)| sent.entity == entity) {
        let there: Vec<_> = lines.iter().filter_map(|line| places.remove(line.as_str())).collect();
        match fate {
            Fate::Stored => assert_eq!(there.len(), lines.len(), "{lines:?} of {entity} were acknowledged"),
            Fate::NotStored => assert!(there.is_empty(), "{lines:?} of {entity} were said not to be stored"),
            Fate::Unknown => {}
        }
        for place in there {
            let before = last.insert(*sender, place);
            assert!(before.is_none_or(|before| before < place), "{lines:?} of {entity} are out of order");
        }
    }
    assert!(places.is_empty(), "nobody said {places:?} to {entity}");
}

async fn chaos(seed: u64) {
    let faults = FaultControl::new(seed);
    let journal: Arc<dyn Journal> =
        Arc::new(Faulty::controlled(Arc::new(MemoryJournal::new()), faults.clone()));
    let snapshots = Arc::new(Faulty::controlled(Arc::new(MemorySnapshots::new()), faults.clone()));
    let stores = || {
        Stores::default()
            .with_journal("events", Arc::clone(&journal))
            .with_snapshots("snapshots", snapshots.clone())
    };
    let config = RegionConfig {
        max_active_entities: NonZeroUsize::new(40),
        max_recoveries: NonZeroUsize::new(3).unwrap(),
        ..config()
    };
    let region = start(registry(), stores(), 1, config);
    unsettle(&faults);
    let ended = Arc::new(AtomicBool::new(false));
    let owner = tokio::spawn({
        let (region, ended) = (region.clone(), Arc::clone(&ended));
        async move {
            let mut index = 1;
            while !ended.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(25)).await;
                index += 1;
                // Half of the shards, in turn.
                let some = region.shards().all().filter(|shard| (u64::from(shard.0) + index) % 2 == 0);
                region.assign(some, Epoch::new(1, index));
            }
        }
    });
    let senders: Vec<_> =
        (0..SENDERS).map(|number| tokio::spawn(sender(region.clone(), seed, number))).collect();
    let mut sent = Vec::new();
    for (number, sender) in senders.into_iter().enumerate() {
        let of_one = tokio::time::timeout(LONG * 2, sender).await.expect("everybody is answered").unwrap();
        sent.extend(of_one.into_iter().map(|sent| (number, sent)));
    }
    ended.store(true, Ordering::Relaxed);
    owner.await.unwrap();
    faults.clear();
    assert!(faults.injected_in_all() > 100, "{} faults are no chaos", faults.injected_in_all());
    let acknowledged = sent.iter().filter(|(_, sent)| sent.fate == Fate::Stored).count();
    assert!(acknowledged > sent.len() / 4, "{acknowledged} of {} are no test", sent.len());

    let show = |region: &Region, entity: usize| {
        let entity = clerk(region, &entity.to_string());
        async move {
            // The shard may be waiting for its next claim.
            let asked = tokio::time::timeout(LONG, async {
                loop {
                    if let Ok(lines) = entity.ask_within(Clerk::show(), LONG).await {
                        return lines;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
            asked.await.expect("it recovers")
        }
    };
    let mut live = Vec::new();
    for entity in 0..ENTITIES {
        live.push(show(&region, entity).await);
        check(&sent, entity, &live[entity]);
    }
    region.stop().await;
    let next = start(registry(), stores(), 2, config);
    for (entity, live) in live.iter().enumerate() {
        assert_eq!(&show(&next, entity).await, live, "{entity} comes back as it was");
    }
    next.stop().await;
}

#[test]
fn whatever_goes_wrong_what_was_acknowledged_is_there_once_and_in_order() {
    // Of panics only those that fail the test are worth a line.
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !info.payload_as_str().is_some_and(|what| what.starts_with("on purpose")) {
            print(info);
        }
    }));
    let seeds = match std::env::var("ABIDE_TEST_SEED") {
        Ok(seed) => vec![seed.parse().expect("a number")],
        Err(_) => (1..=5).collect(),
    };
    for seed in seeds {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let ran = std::panic::catch_unwind(|| runtime.block_on(chaos(seed)));
        assert!(ran.is_ok(), "it fails with ABIDE_TEST_SEED={seed}");
    }
}
