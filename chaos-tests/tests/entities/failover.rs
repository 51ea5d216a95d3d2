//! A primary dies under commands: clients wait, and nothing else happens to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use abide_chaos_tests::redis::Ground;
use abide_chaos_tests::redis::view::slot_of;

use crate::connecting::{open, options};
use crate::stage::*;

const ENTITIES: u64 = 24;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_is_killed_under_commands_and_every_one_is_answered_with_its_reply() {
    let ground = Ground::cluster(3, 2).start().await.unwrap();
    let store = open(options(&ground)).await;
    let config = config(24);
    let region = start(&store, 1, config);
    let done = Arc::new(AtomicBool::new(false));
    let answered = Arc::new((0..ENTITIES).map(|_| AtomicU64::new(0)).collect::<Vec<_>>());
    let writers: Vec<_> = (0..ENTITIES)
        .map(|n| {
            let (entity, done, answered) = (tally(&region, &n.to_string()), done.clone(), answered.clone());
            tokio::spawn(async move {
                while !done.load(Ordering::Acquire) {
                    let reply = entity.ask_within(Order::Add(1), DEADLINE).await;
                    let count = answered[n as usize].fetch_add(1, Ordering::AcqRel) + 1;
                    assert_eq!(reply.ok(), Some(Totals::ones(count)), "entity {n}");
                }
            })
        })
        .collect();
    let counts = async || answered.iter().map(|count| count.load(Ordering::Acquire)).collect::<Vec<_>>();
    until("all are under way", counts, |counts| counts.iter().all(|count| *count > 20)).await;

    let first = tally(&region, "0");
    let slot = slot_of(stream(config, first.address().persistence_id()).as_bytes());
    let old = ground.primary_of(slot).await.unwrap();
    old.kill9().await.unwrap();
    ground.wait_for_other_primary(slot, old).await.unwrap();
    let then = counts().await;
    let go_on = |counts: &Vec<u64>| counts.iter().zip(&then).all(|(now, then)| *now > then + 20);
    until("all go on", counts, go_on).await;
    done.store(true, Ordering::Release);
    for writer in writers {
        writer.await.expect("all were answered with their reply");
    }
    region.stop().await;

    let region = start(&store, 2, config);
    for (n, count) in answered.iter().enumerate() {
        let count = count.load(Ordering::Acquire);
        assert_eq!(get(&tally(&region, &n.to_string()), Order::Show).await, Totals::ones(count));
    }
    end(region, store).await;
}
