//! A primary hangs, and its breaker opens: commands of its shards are refused before their handler runs, states
//! are shown, the shards of the other primaries go on, nobody stops, and it is over by itself.

use std::time::Duration;

use abide_chaos_tests::redis::Ground;
use abide_chaos_tests::redis::view::slot_of;
use abide_persistence::model::Failure;
use abide_sharding::{AskError, Region};

use crate::connecting::{open, options};
use crate::stage::*;

const SHARDS: u32 = 24;

/// Diaries in different shards, all on this primary or all on others.
async fn diaries(ground: &Ground, region: &Region, on: &str, is_on: bool, count: usize) -> Vec<DiaryRef> {
    let config = config(SHARDS);
    let (mut found, mut shards) = (Vec::new(), Vec::new());
    for n in 0..10_000 {
        let told = diary(region, &n.to_string());
        let id = told.address().persistence_id().clone();
        let shard = id.hash().shard(config.shards);
        if found.len() == count {
            break;
        }
        if !shards.contains(&shard) {
            shards.push(shard);
            let node = ground.primary_of(slot_of(stream(config, &id).as_bytes())).await.unwrap();
            if (node.name() == on) == is_on {
                found.push(told);
            }
        }
    }
    assert_eq!(found.len(), count);
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_primary_hangs_its_commands_are_refused_unheard_and_the_others_go_on() {
    // No failover: nobody takes its place.
    let ground = Ground::cluster(3, 1).set("cluster-node-timeout", "60000").start().await.unwrap();
    let mut options = options(&ground);
    options.0.call_timeout = Duration::from_millis(300);
    options.0.max_failures = 2;
    options.0.reset_timeout = Duration::from_secs(5);
    let store = open(options).await;
    let region = start(&store, 1, config(SHARDS));
    let primary = ground.primary_of(0).await.unwrap();
    let [driver, witness] = diaries(&ground, &region, primary.name(), true, 2).await.try_into().unwrap();
    let [healthy] = diaries(&ground, &region, primary.name(), false, 1).await.try_into().unwrap();
    for told in [&driver, &witness, &healthy] {
        assert_eq!(get(told, Order::Add(1)).await.handled, 1);
    }

    primary.stop().await.unwrap();
    // Not for long: a command that comes while the shard is being claimed waits for that.
    let drive = async || driver.ask_within(Order::Add(1), Duration::from_secs(1)).await;
    let is_refused = |reply: &Result<Told, AskError<String>>| {
        matches!(reply, Err(AskError::Failed(Failure::JournalUnavailable { .. })))
    };
    until("the breaker is open", drive, is_refused).await.expect_err("it is refused");
    let refused = fail(&witness, Order::Add(1)).await;
    let Failure::JournalUnavailable { retry_after } = refused else { panic!("{refused:?}") };
    assert!(retry_after <= Duration::from_secs(6), "{retry_after:?}");
    assert_eq!(read_state(&region, &witness).await, Ok(()), "states are shown");
    assert_eq!(get(&healthy, Order::Add(1)).await.handled, 2, "the others go on");

    primary.cont().await.unwrap();
    let command = async || witness.ask_within(Order::Add(1), LONG).await;
    let after = until("it is over", command, |reply| !is_refused(reply)).await.expect("nothing else fails");
    assert_eq!(
        (after.totals, after.handled),
        (Totals::ones(2), 2),
        "what was refused never ran; nobody stopped"
    );
    let drive = async || driver.ask_within(Order::Show, LONG).await;
    until("the other shard is back, too", drive, Result::is_ok).await.expect("a reply");
    assert_eq!(get(&healthy, Order::Add(1)).await.handled, 3);
    end(region, store).await;
}
