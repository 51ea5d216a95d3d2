//! How often a recovery asks the server.

use std::collections::BTreeMap;

use abide_chaos_tests::redis::{Ground, Node};

use crate::connecting::{open, options};
use crate::stage::*;

/// How often each command was called since [`forget`].
async fn calls(node: &Node) -> BTreeMap<String, u64> {
    let stats: String = node.ask(&["INFO", "commandstats"]).await.unwrap();
    let calls = stats.lines().filter_map(|line| {
        let (command, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((command.to_owned(), rest.split(',').next()?.parse().ok()?))
    });
    calls.collect()
}

async fn forget(node: &Node) {
    node.ask::<()>(&["CONFIG", "RESETSTAT"]).await.unwrap();
}

/// A diary with a snapshot and so many events behind it, about to recover in a region of its own.
async fn recovers(behind: u64) -> (Told, BTreeMap<String, u64>) {
    let ground = Ground::single().start().await.unwrap();
    let store = open(options(&ground).alone()).await;
    let region = start(&store, 1, config(1));
    let told = diary(&region, "a");
    get(&told, Order::Add(1)).await;
    get(&told, Order::Save).await;
    let saved = async || get(&told, Order::Show).await.saved;
    until("the snapshot is stored", saved, |saved| *saved == [1]).await;
    for _ in 0..behind {
        get(&told, Order::Add(1)).await;
    }
    region.stop().await;

    let node = server(&ground, "").await;
    let region = start(&store, 2, config(1));
    let held = async || region.status().shards_held;
    until("the shard is held", held, |held| *held == 1).await;
    forget(node).await;
    let after = get(&diary(&region, "a"), Order::Show).await;
    let calls = calls(node).await;
    end(region, store).await;
    (after, calls)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_and_a_short_tail_come_in_one_round_trip() {
    let (told, calls) = recovers(20).await;
    assert_eq!((told.totals, told.from_snapshot, told.replayed), (Totals::ones(21), 1, 20));
    let of = |command: &str| calls.get(command).copied().unwrap_or_default();
    assert_eq!((of("get"), of("llen"), of("lrange"), of("hkeys")), (1, 1, 1, 1), "{calls:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_tail_comes_in_pages() {
    let (told, calls) = recovers(200).await;
    assert_eq!((told.totals, told.from_snapshot, told.replayed), (Totals::ones(201), 1, 200));
    let pages = calls.get("lrange").copied().unwrap_or_default();
    assert!(pages >= 200 / 50, "{calls:?}");
    assert_eq!(calls.get("hkeys"), Some(&1), "the snapshot comes once: {calls:?}");
}
