//! A talk that networks and crashes break: every write ends as written or not, never twice, and is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use abide_chaos_tests::proxy::{Fault, Proxies, Request, Weather};
use abide_chaos_tests::redis::Ground;
use abide_persistence::journal::WriteError;
use abide_persistence::testkit::Owner;

use crate::connecting::{Options, options};
use crate::load::{End, Load, verify};
use crate::talk::{append, is_batch};

/// What a talk is broken by.
const FAULTS: [Fault; 5] = [
    Fault::LoseRequest,
    Fault::LoseReply,
    Fault::SilenceReplies,
    Fault::Duplicate,
    Fault::Refuse("TRYAGAIN later"),
];
/// One request in so many.
const ONE_IN: u64 = 60;
/// Writes of each shard.
const WRITES: u64 = 60;

/// Calls give up early, and nobody is left alone for long.
fn impatient(options: Options) -> Options {
    let mut options = options.calls_within(Duration::from_secs(3));
    options.0.reset_timeout = Duration::from_millis(300);
    options.0.key_prefix = "load".to_owned();
    options
}

/// Breaks some of what is sent, by dice that fall the same each time; counts how often.
fn dice(seed: u64, thrown: Arc<[AtomicU64; FAULTS.len()]>) -> impl FnMut(&Request) -> Fault + Send + 'static {
    let mut state = seed;
    move |request| {
        if !request.is("EVALSHA") && !request.is("WAIT") && !request.is("ROLE") {
            return Fault::None;
        }
        // Knuth's; its upper bits are good enough for this.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let fault = ((state >> 33) % (ONE_IN * FAULTS.len() as u64)) as usize;
        let Some(chosen) = FAULTS.get(fault) else { return Fault::None };
        thrown[fault].fetch_add(1, Ordering::Relaxed);
        *chosen
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_talk_full_of_faults_every_write_is_stored_once_or_not_at_all() {
    let ground = Ground::cluster(3, 1).start().await.unwrap();
    let proxies = Arc::new(Proxies::before(&ground).await.unwrap());
    let thrown = Arc::new(FAULTS.map(|_| AtomicU64::new(0)));
    for (seed, proxy) in proxies.iter().enumerate() {
        proxy.set_rule(dice(seed as u64, Arc::clone(&thrown)));
    }
    let journal = impatient(options(&ground).through(&proxies)).journal().await;
    let load = Load::start(&journal, "load", 12);
    load.until_each_wrote(WRITES).await.unwrap();
    let shards = load.shards.clone();
    let ends = load.stop().await;
    assert!(ends.iter().all(|(_, end)| *end == End::Stopped), "{ends:?}");
    let findings = verify(&ground, &shards).await.unwrap();
    assert!(findings.lost == 0 && findings.broken.is_empty(), "{findings:?}");
    let thrown: Vec<u64> = thrown.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    assert!(thrown.iter().all(|count| *count > 0), "each fault happened: {thrown:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_a_black_hole_every_caller_is_answered_and_nothing_is_stored_twice() {
    let ground = Ground::cluster(3, 1).start().await.unwrap();
    let proxies = Arc::new(Proxies::before(&ground).await.unwrap());
    let journal = impatient(options(&ground).through(&proxies)).journal().await;
    let load = Load::start(&journal, "load", 12);
    let slow = Duration::from_millis(15);
    let hole = Duration::from_secs(5);
    for weather in
        [Weather::Slow { requests: slow, replies: slow }, Weather::Silent, Weather::Fair, Weather::Cut]
    {
        load.until_each_wrote(10).await.unwrap();
        for proxy in proxies.iter() {
            proxy.set_weather(weather);
        }
        if matches!(weather, Weather::Silent | Weather::Cut) {
            // Longer than any call may take, so that some are given up while nothing comes through.
            tokio::time::sleep(hole).await;
            for proxy in proxies.iter() {
                proxy.set_weather(Weather::Fair);
            }
        }
    }
    load.until_each_wrote(10).await.unwrap();
    let shards = load.shards.clone();
    let ends = load.stop().await;
    assert!(ends.iter().all(|(_, end)| *end == End::Stopped), "{ends:?}");
    let findings = verify(&ground, &shards).await.unwrap();
    assert!(findings.lost == 0 && findings.broken.is_empty(), "{findings:?}");
}

/// It is stored, nobody heard of it, and then a newer owner came: the answer must not say that nothing is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_ran_unheard_is_never_told_as_not_stored() {
    let ground = Ground::single().start().await.unwrap();
    let proxies = Arc::new(Proxies::before(&ground).await.unwrap());
    let proxy = proxies.of(&ground.nodes()[0]).unwrap();
    let limit = Duration::from_secs(3);
    let journal = options(&ground).alone().through(&proxies).calls_within(limit).journal().await;
    let direct = options(&ground).alone().journal().await;
    for silence in [Fault::LoseReply, Fault::SilenceReplies] {
        // Sent again, and refused for so long that it is given up.
        let (owner, id) = Owner::of_fresh_entity(&journal).await;
        let heard = proxy.trap(is_batch(owner.shard), silence);
        let flight = tokio::spawn(journal.write(owner.next_batch(vec![append(&id, 1, 1)])));
        let mut heard = heard;
        heard.sprung().await.unwrap();
        let is_batch_of_it = is_batch(owner.shard);
        proxy.set_rule(
            move |request| {
                if is_batch_of_it(request) { Fault::Refuse("LOADING it loads") } else { Fault::None }
            },
        );
        let told = flight.await.unwrap();
        assert!(matches!(told, Err(WriteError::Unknown(_))), "{silence:?}: {told:?}");
        proxy.clear_rule();
        owner.again().await.expect_all(&id, [1], 1).await;

        // Sent again, and fenced.
        let (owner, id) = Owner::of_fresh_entity(&journal).await;
        let mut heard = proxy.trap(is_batch(owner.shard), silence);
        let mut held = proxy.trap(is_batch(owner.shard), Fault::Hold);
        let flight = tokio::spawn(journal.write(owner.next_batch(vec![append(&id, 1, 1)])));
        heard.sprung().await.unwrap();
        held.sprung().await.unwrap();
        let newer = Owner::of(&direct, &id).await;
        newer.expect_all(&id, [1], 1).await;
        held.release();
        let told = flight.await.unwrap();
        let is_open = |told: &WriteError| matches!(told, WriteError::Fenced { .. }) && !told.nothing_stored();
        assert!(told.as_ref().is_err_and(is_open), "{silence:?}: {told:?}");
    }
}
