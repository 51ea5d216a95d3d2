//! Timers in real time: their order and that they come, no exact durations.

use std::sync::Arc;
use std::time::Duration;

use abide_persistence::runtime::MemoryJournal;
use abide_sharding::{EntityOptions, Region, RegionConfig};

use crate::stage::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn note(what: &'static str) -> Code<0> {
    Code::new(move |this, _| this.seen.push(what.to_owned()))
}

fn region(config: RegionConfig) -> Region {
    start(clerks(EntityOptions::default()), Arc::new(MemoryJournal::new()), 1, config)
}

fn noted(seen: &[String]) -> Vec<&str> {
    seen.iter().map(String::as_str).filter(|what| *what != "RecoveryCompleted").collect()
}

#[tokio::test]
async fn timers_come_in_the_order_of_their_times_and_cancelled_ones_never() {
    let region = region(config());
    let entity = clerk(&region, "a");
    entity
        .run(|_, ctx| {
            ctx.start_timer("late", ms(90), note("late"));
            ctx.start_timer("early", ms(10), note("early"));
            ctx.start_timer("cancelled", ms(20), note("cancelled"));
            ctx.start_timer("replaced", ms(30), note("replaced"));
            ctx.start_timer("replaced", ms(60), note("replacing"));
            assert!(ctx.cancel_timer("cancelled"));
            assert!(ctx.is_timer_active("late") && !ctx.is_timer_active("cancelled"));
        })
        .await;
    let seen = entity.until_seen("the last timer", |seen| seen.iter().any(|what| what == "late")).await;
    assert_eq!(noted(&seen), ["early", "replacing", "late"]);
}

#[tokio::test]
async fn a_periodic_timer_comes_again_and_again_until_it_is_cancelled() {
    let region = region(config());
    let entity = clerk(&region, "a");
    entity.run(|_, ctx| ctx.start_periodic_timer("tick", ms(5), || note("tick"))).await;
    entity.until_seen("five ticks", |seen| noted(seen).len() >= 5).await;
    entity.run(|_, ctx| assert!(ctx.cancel_timer("tick"))).await;
    let then = entity.get(Clerk::seen()).await.len();
    tokio::time::sleep(ms(50)).await;
    assert_eq!(entity.get(Clerk::seen()).await.len(), then);
}

#[tokio::test]
async fn silence_is_told_and_commands_break_it() {
    let region = region(config());
    let entity = clerk(&region, "a");
    entity.run(|_, ctx| ctx.set_receive_timeout(Some(ms(400)))).await;
    for _ in 0..20 {
        tokio::time::sleep(ms(30)).await;
        let seen = entity.get(Clerk::seen()).await;
        assert!(noted(&seen).is_empty(), "it is not silent: {seen:?}");
    }
    tokio::time::sleep(ms(1000)).await;
    let seen = entity.get(Clerk::seen()).await;
    let told = noted(&seen).len();
    assert!((1..=2).contains(&told), "told once for each time of silence: {seen:?}");
    entity.run(|_, ctx| ctx.set_receive_timeout(None)).await;
    tokio::time::sleep(ms(600)).await;
    assert_eq!(noted(&entity.get(Clerk::seen()).await).len(), told, "and no more once it is ended");
}

#[tokio::test]
async fn an_entity_with_a_timer_stays_in_memory_until_it_has_come() {
    let region = region(RegionConfig { passivate_after: ms(1), ..config() });
    let (timed, idle) = (clerk(&region, "timed"), clerk(&region, "idle"));
    let (rang, hears) = tokio::sync::oneshot::channel();
    timed
        .run(move |this, ctx| {
            this.seen.push("first incarnation".to_owned());
            let ring = Code::new(move |this: &mut Clerk<0>, _: &mut _| {
                rang.send(this.seen.clone()).expect("somebody waits");
            });
            ctx.start_timer("wake", ms(3000), ring);
            // Nor does it leave when it wants to, as long as it has a timer.
            ctx.passivate();
        })
        .await;
    idle.get(Clerk::say("one")).await;
    assert_eq!(region.status().entities, 2);
    until("the idle one has left", || region.status().entities == 1).await;
    let seen = tokio::time::timeout(LONG, hears).await.expect("it rings").unwrap();
    assert!(seen.contains(&"first incarnation".to_owned()), "it was never away: {seen:?}");
    until("it has left, too", || region.status().entities == 0).await;
    assert_eq!(idle.get(Clerk::show()).await, ["one"]);
}

#[tokio::test]
async fn a_receive_timeout_lets_the_entity_ask_to_leave() {
    let region = region(config());
    let entity = clerk(&region, "a");
    entity.get(Clerk::say("one")).await;
    entity
        .run(|_, ctx| {
            ctx.set_receive_timeout(Some(ms(10)));
            ctx.start_timer("leave", ms(60), Code::new(|_, ctx| ctx.passivate()));
        })
        .await;
    until("it has left", || region.status().entities == 0).await;
    assert_eq!(entity.get(Clerk::show()).await, ["one"]);
}
