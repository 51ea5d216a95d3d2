//! Futures of entities on the real runtime.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use abide_persistence::model::{Failure, Outcome};
use abide_persistence::runtime::{MemoryJournal, MemorySnapshots};
use abide_sharding::{EntityOptions, Region, Stores};
use tokio::sync::oneshot;

use crate::stage::*;

fn region() -> Region {
    start(clerks(EntityOptions::default()), Arc::new(MemoryJournal::new()), 1, config())
}

/// Says that it is gone.
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn flag() -> (Gone, impl Fn() -> bool) {
    let flag = Arc::new(AtomicBool::new(false));
    (Gone(Arc::clone(&flag)), move || flag.load(Ordering::Acquire))
}

/// Pipes what a channel brings into a line that is stored.
fn pipe_line(line: oneshot::Receiver<String>) -> Code<0> {
    Code::new(move |_, ctx| {
        ctx.pipe_to_self(line, |line| Clerk::say(line.expect("it is sent")));
    })
}

#[tokio::test]
async fn while_a_future_runs_commands_go_on_and_its_result_comes_in_its_turn() {
    let region = region();
    let entity = clerk(&region, "a");
    let slow = async {
        tokio::time::sleep(Duration::from_millis(40)).await;
        "slow".to_owned()
    };
    entity
        .run(move |_, ctx| {
            ctx.pipe_to_self(slow, Clerk::say);
            ctx.pipe_to_self(async { "quick".to_owned() }, Clerk::say);
        })
        .await;
    assert_eq!(entity.get(Clerk::say("meanwhile")).await.last().unwrap(), "meanwhile");
    let all = tokio::time::timeout(LONG, async {
        loop {
            let lines = entity.get(Clerk::show()).await;
            if lines.len() == 3 {
                return lines;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    let all = all.await.expect("all of them");
    assert_eq!(all.last().unwrap(), "slow");
    region.stop().await;
}

#[tokio::test]
async fn a_future_that_panics_restarts_its_entity_and_no_other() {
    let region = region();
    let (entity, other) = (clerk(&region, "a"), clerk(&region, "b"));
    entity.get(Clerk::say("one")).await;
    other.run(|this, _| this.seen.push("not restarted".to_owned())).await;
    let (go, gone) = oneshot::channel::<()>();
    entity
        .run(move |this, ctx| {
            this.lines.push("never stored".to_owned());
            let failing = async move {
                gone.await.expect("it is sent");
                panic!("in the future")
            };
            ctx.pipe_to_self(failing, |()| Clerk::say("never"));
        })
        .await;
    assert_eq!(entity.get(Clerk::show()).await, ["one", "never stored"]);
    go.send(()).unwrap();
    let restarted = tokio::time::timeout(LONG, async {
        while entity.get(Clerk::show()).await.len() > 1 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    restarted.await.expect("it restarts");
    assert_eq!(entity.get(Clerk::say("two")).await, ["one", "two"]);
    assert!(other.get(Clerk::seen()).await.contains(&"not restarted".to_owned()));
}

#[tokio::test]
async fn a_future_of_an_earlier_incarnation_ends_with_it_and_brings_nothing() {
    let region = region();
    let entity = clerk(&region, "a");
    entity.get(Clerk::say("one")).await;
    let (mut first, line) = oneshot::channel();
    entity.run(move |this, ctx| pipe(this, ctx, line)).await;
    let failure = entity.fail(Clerk::panic("on purpose")).await;
    assert_eq!(failure, Failure::Panicked { what: "on purpose".to_owned(), outcome: Outcome::None });
    // The next incarnation waits for one, too: the results must not be mixed up.
    let (second, line) = oneshot::channel();
    entity.run(move |this, ctx| pipe(this, ctx, line)).await;
    tokio::time::timeout(LONG, first.closed()).await.expect("the future has ended");
    assert_eq!(entity.get(Clerk::show()).await, ["one"]);
    second.send("of the second".to_owned()).expect("the future is still there");
    entity.until_seen("the second", |seen| seen.contains(&"of the second".to_owned())).await;
    assert_eq!(entity.get(Clerk::show()).await, ["one", "of the second"]);
}

fn pipe(
    _: &mut Clerk<0>,
    ctx: &mut abide_persistence::model::Context<'_, Clerk<0>>,
    line: oneshot::Receiver<String>,
) {
    ctx.pipe_to_self(line, |line| {
        Code::new(move |_, ctx| {
            ctx.persist(Said(line.expect("it is sent")), |this, Said(line), _| {
                this.lines.push(line.clone());
                this.seen.push(line.clone());
            });
        })
    });
}

#[tokio::test]
async fn a_region_that_stops_ends_the_futures_of_its_entities() {
    let region = region();
    let (guard, is_gone) = flag();
    clerk(&region, "a")
        .run(move |_, ctx| {
            let forever = async move {
                let _guard = guard;
                pending::<()>().await;
            };
            ctx.pipe_to_self(forever, |()| Clerk::say("never"));
        })
        .await;
    // It is under way.
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!is_gone());
    tokio::time::timeout(Duration::from_secs(5), region.stop()).await.expect("it waits for no future");
    until("the future is dropped, though the region is still there", is_gone).await;
    assert_eq!(clerk(&region, "a").fail(Clerk::show()).await, Failure::ShuttingDown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_without_a_runtime_may_send_what_makes_an_entity_wait() {
    let journal = Arc::new(MemoryJournal::new());
    let snapshots = Arc::new(MemorySnapshots::new());
    let stores = Stores::default().with_journal("events", journal).with_snapshots("snapshots", snapshots);
    let region = start(clerks(EntityOptions::default()), stores, 1, config());
    let (warm, cold) = (clerk(&region, "warm"), clerk(&region, "cold"));
    warm.get(Clerk::show()).await;
    let sender = std::thread::spawn({
        let (warm, cold) = (warm.clone(), cold.clone());
        move || {
            for entity in [warm, cold] {
                let (line, piped) = oneshot::channel();
                entity.tell(Clerk::say("first"));
                entity.tell(pipe_line(piped));
                entity.tell(Code::new(|this, ctx| {
                    ctx.save_snapshot(&this.lines);
                    ctx.start_timer("t", Duration::from_millis(1), Clerk::say("timed"));
                    let sleeps = tokio::time::sleep;
                    ctx.pipe_to_self(async move { sleeps(Duration::from_millis(1)).await }, |()| {
                        Clerk::say("slept")
                    });
                }));
                line.send("piped".to_owned()).expect("the future is there, or will be");
            }
        }
    });
    sender.join().expect("it needs no runtime");
    for entity in [warm, cold] {
        entity.until_seen("a snapshot", |seen| seen.iter().any(|what| what.starts_with("saved"))).await;
        let all = tokio::time::timeout(LONG, async {
            while entity.get(Clerk::show()).await.len() < 4 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        all.await.expect("all that it waited for");
        let mut lines = entity.get(Clerk::show()).await;
        assert_eq!(lines[0], "first");
        lines.sort();
        assert_eq!(lines, ["first", "piped", "slept", "timed"]);
    }
}

#[tokio::test]
async fn the_shard_that_is_lost_drops_what_its_entities_wait_for() {
    let region = region();
    let entity = clerk(&region, "a");
    let (line, piped) = oneshot::channel();
    entity.run(move |this, ctx| pipe(this, ctx, piped)).await;
    region.assign(config().shards.all(), abide_persistence::journal::Epoch::new(1, 2));
    assert_eq!(entity.get(Clerk::show()).await, lines([]));
    let _ = line.send("of an earlier life".to_owned());
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(entity.get(Clerk::show()).await, lines([]));
}
