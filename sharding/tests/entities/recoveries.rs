//! Turns to recover: at most so many at a time, in order, none of them ever lost.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use abide_persistence::journal::Epoch;
use abide_persistence::model::Failure;
use abide_persistence::runtime::{Asked, Call, FaultControl, MemoryJournal, On};
use abide_sharding::{AskError, EntityOptions, Region, RegionConfig};
use tokio::task::JoinHandle;

use crate::stage::*;

const LIMIT: usize = 3;
const MANY: usize = 100;

/// One lane, so that "in order" has a meaning.
fn limited() -> RegionConfig {
    RegionConfig {
        lanes: NonZeroUsize::new(1).unwrap(),
        max_recoveries: NonZeroUsize::new(LIMIT).unwrap(),
        ..config()
    }
}

fn name(n: usize) -> String {
    n.to_string()
}

/// A journal with many entities of so many events each.
async fn with_past(events: usize) -> MemoryJournal {
    let journal = MemoryJournal::new();
    let region = start(clerks(EntityOptions::default()), Arc::new(journal.clone()), 1, config());
    for n in 0..MANY {
        let entity = clerk(&region, &name(n));
        for event in 0..events {
            entity.get(Clerk::say(event.to_string())).await;
        }
    }
    region.stop().await;
    journal
}

/// Holds every read, and notes whose it is.
fn hold_reads(faults: &FaultControl) -> Arc<Mutex<Vec<String>>> {
    let order = Arc::<Mutex<Vec<String>>>::default();
    let noted = Arc::clone(&order);
    faults.hold(On::call(Call::Read).that(move |asked| {
        if let Asked::Read(read) = asked {
            noted.lock().unwrap().push(read.persistence_id.id.to_string());
        }
        true
    }));
    order
}

fn ask_all(region: &Region) -> Vec<JoinHandle<Vec<String>>> {
    let ask = |n| {
        let entity = clerk(region, &name(n));
        tokio::spawn(async move { entity.get(Clerk::show()).await })
    };
    (0..MANY).map(ask).collect()
}

/// Gives everything that can go on the time to do so.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

#[tokio::test]
async fn a_hundred_entities_recover_three_at_a_time_in_order_while_others_go_on() {
    let journal = with_past(5).await;
    let faults = journal.control().faults().clone();
    let region = start(clerks(EntityOptions::default()), Arc::new(journal.clone()), 2, limited());
    let awake = clerk(&region, "awake");
    awake.get(Clerk::say("one")).await;

    let order = hold_reads(&faults);
    let asked = ask_all(&region);
    faults.until_held(LIMIT).await;
    settle().await;
    assert_eq!(faults.held(), LIMIT, "the others wait for their turn");
    until("they are counted", || region.status().recoveries == MANY).await;
    assert_eq!(awake.get(Clerk::say("two")).await, ["one", "two"], "who is awake is not concerned");
    for done in 1..=MANY {
        assert!(faults.release(None));
        faults.until_held(LIMIT.min(MANY - done)).await;
        assert!(faults.held() <= LIMIT);
        if done % 20 == 0 {
            until("one after the other is done", || asked[..done].iter().all(JoinHandle::is_finished)).await;
            assert!(!asked[MANY - 1].is_finished() || done == MANY);
            awake.get(Clerk::show()).await;
        }
    }
    for asked in asked {
        assert_eq!(asked.await.unwrap(), lines(0..5));
    }
    let expected: Vec<_> = (0..MANY).map(name).collect();
    assert_eq!(*order.lock().unwrap(), expected, "first come, first served");
}

#[tokio::test]
async fn who_began_to_recover_is_not_set_back_behind_others_between_two_pages() {
    // Of three pages each.
    let journal = with_past(20).await;
    let faults = journal.control().faults().clone();
    let region = start(clerks(EntityOptions::default()), Arc::new(journal.clone()), 2, limited());
    until("all shards are held", || region.status().shards_held == 8).await;
    let order = hold_reads(&faults);
    let asked = ask_all(&region);
    faults.until_held(LIMIT).await;
    let mut reads = 0;
    while faults.release(None) {
        reads += 1;
        let left = MANY * 3 - reads;
        tokio::time::timeout(LONG, faults.until_held(LIMIT.min(left).min(1))).await.expect("it goes on");
        settle_shortly().await;
        let unfinished: HashSet<_> = {
            let order = order.lock().unwrap();
            let reads_of = |of: &str| order.iter().filter(|name| *name == of).count();
            order.iter().filter(|of| reads_of(of) < 3).cloned().collect()
        };
        assert!(unfinished.len() <= LIMIT, "begun and not finished: {unfinished:?}");
    }
    assert_eq!(reads, MANY * 3);
    for asked in asked {
        assert_eq!(asked.await.unwrap(), lines(0..20));
    }
}

async fn settle_shortly() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_waits_too_long_for_a_turn_is_told_so_and_tries_again() {
    let journal = with_past(1).await;
    let faults = journal.control().faults().clone();
    let config = RegionConfig { recovery_permit_timeout: Duration::from_millis(60), ..limited() };
    let region = start(clerks(EntityOptions::default()), Arc::new(journal.clone()), 2, config);
    until("all shards are held", || region.status().shards_held == 8).await;
    hold_reads(&faults);
    let blocking: Vec<_> = ["holds-1", "holds-2", "holds-3"].map(|of| clerk(&region, of)).into();
    let asked: Vec<_> = blocking
        .into_iter()
        .map(|entity| tokio::spawn(async move { entity.get(Clerk::show()).await }))
        .collect();
    faults.until_held(LIMIT).await;

    let waits = clerk(&region, "waits-for-its-turn");
    let patient = tokio::spawn({
        let waits = waits.clone();
        async move { waits.get(Clerk::show()).await }
    });
    let hurried = waits.ask_within(Clerk::show(), Duration::from_millis(30)).await;
    assert_eq!(hurried, Err(AskError::Failed(Failure::Expired)), "its code has surely not run");
    let told = || failed_recoveries("waits-for-its-turn");
    until("it is told, again and again", || told().len() >= 2).await;
    assert!(
        told().iter().all(|cause| cause.ends_with("no turn to recover came within 60ms")),
        "{:?}",
        told()
    );
    assert!(!patient.is_finished());
    faults.clear();
    assert_eq!(patient.await.unwrap(), lines([]));
    for asked in asked {
        asked.await.unwrap();
    }
}

#[tokio::test]
async fn turns_are_not_lost_when_who_waits_for_them_goes_away() {
    let journal = with_past(1).await;
    let faults = journal.control().faults().clone();
    let region = start(clerks(EntityOptions::default()), Arc::new(journal.clone()), 2, limited());
    for epoch in 2..8 {
        until("all shards are held", || region.status().shards_held == 8).await;
        hold_reads(&faults);
        let asked: Vec<_> = (0..MANY)
            .map(|n| {
                let entity = clerk(&region, &name(n));
                tokio::spawn(async move { entity.ask_within(Clerk::show(), LONG).await })
            })
            .collect();
        faults.until_held(LIMIT).await;
        until("all others wait", || region.status().recoveries == MANY).await;
        // All entities go while three of them read and the others wait.
        region.assign(region.shards().all(), Epoch::new(2, epoch));
        settle().await;
        for asked in asked {
            let asked = asked.await.unwrap();
            assert!(matches!(asked, Err(AskError::Failed(Failure::ShardLost { .. }))), "{asked:?}");
        }
        faults.clear();
        until("those that are gone have given their turns back", || region.status().recoveries == 0).await;
    }
    until("all shards are held", || region.status().shards_held == 8).await;
    // Who is gone wants no turn: only those of the new life count, and all turns are there.
    hold_reads(&faults);
    let asked = ask_all(&region);
    faults.until_held(LIMIT).await;
    settle().await;
    assert_eq!(faults.held(), LIMIT, "no turn was lost and none was made");
    faults.clear();
    for asked in asked {
        assert_eq!(asked.await.unwrap(), lines(0..1));
    }
    until("nobody recovers any more", || region.status().recoveries == 0).await;
}

#[tokio::test]
async fn a_read_that_makes_no_progress_fails_and_is_tried_again() {
    let journal = with_past(1).await;
    let faults = journal.control().faults().clone();
    let config = RegionConfig { recovery_event_timeout: Duration::from_millis(60), ..limited() };
    let region = start(clerks(EntityOptions::default()), Arc::new(journal.clone()), 2, config);
    faults.hold(On::call(Call::Read).of(persistence_id("hangs-in-a-read")));
    let hangs = clerk(&region, "hangs-in-a-read");
    let asked = tokio::spawn(async move { hangs.get(Clerk::show()).await });
    let told = || failed_recoveries("hangs-in-a-read");
    until("it is told, again and again", || told().len() >= 2).await;
    assert!(told().iter().all(|cause| cause.ends_with("no events came within 60ms")), "{:?}", told());
    assert!(!asked.is_finished());
    assert_eq!(clerk(&region, "0").get(Clerk::show()).await, lines(0..1), "others are not concerned");
    faults.clear();
    assert_eq!(asked.await.unwrap(), lines([]));
}
