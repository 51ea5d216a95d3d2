//! How much a store holds in hand while its server is away.

use std::time::Duration;

use abide_chaos_tests::redis::Ground;
use abide_persistence::journal::{Journal, Pending};
use abide_persistence::testkit::{fresh_claim, fresh_shard, fresh_writer};
use futures_util::FutureExt;

use crate::connecting::{open, options};

/// Between two tries a call lies in no queue, and is in hand all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_calls_are_in_hand_than_a_queue_may_hold() {
    let ground = Ground::single().start().await.unwrap();
    let mut short = options(&ground).alone();
    short.0.max_queue = 4;
    short.0.max_failures = u32::MAX;
    let journal = open(short).await;
    ground.nodes()[0].kill9().await.unwrap();

    let mut calls = Vec::new();
    for _ in 0..50 {
        let claim = || journal.claim(fresh_shard(), fresh_claim(), fresh_writer(), None);
        calls.extend(std::iter::repeat_with(claim).take(4));
        // Calls come over time, as they do.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // So many answers at once are more than the runtime lets a task have in one go.
    let is_waiting = |call: &mut Pending<_>| tokio::task::unconstrained(call).now_or_never().is_none();
    let in_hand = calls.iter_mut().map(is_waiting).filter(|is_waiting| *is_waiting);
    let in_hand = in_hand.count();
    assert!(in_hand <= 4, "{in_hand} calls are in hand; the queue takes 4");
}
