//! The Redis store keeps the promises of the testkit, on every deployment there is; and those that only a broken
//! network, a hung process or a foreign hand can put to the test.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

#[path = "../common/mod.rs"]
mod common;
mod connecting;
mod doubt;
mod dump;
mod emptied;
mod fence;
mod fixture;
mod foreign;
mod late;
mod left_behind;
#[path = "../load/mod.rs"]
#[allow(dead_code, unused_imports, reason = "these servers are not replaced")]
mod load;
mod makes;
mod one_trip;
mod queues;
mod refusals;
mod replicas;
mod sentinels;
mod talk;
mod timelines;

use std::sync::Arc;

use abide_chaos_tests::redis::Ground;
use abide_persistence::journal::{Journal, SnapshotStore};
use abide_persistence::runtime::redis::RedisStore;
use abide_persistence::testkit;

use connecting::{open, options};

pub(crate) async fn keeps_every_promise(store: RedisStore) {
    let journal: Arc<dyn Journal> = Arc::new(store.clone());
    testkit::journal::run_all(|| std::future::ready(journal.clone())).await;
    let snapshots: Arc<dyn SnapshotStore> = Arc::new(store.clone());
    testkit::snapshots::run_all(|| std::future::ready(snapshots.clone())).await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_server_keeps_every_promise() {
    let ground = Ground::single().start().await.unwrap();
    keeps_every_promise(open(options(&ground).alone()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_keeps_every_promise() {
    let ground = Ground::cluster(3, 1).start().await.unwrap();
    keeps_every_promise(open(options(&ground)).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_behind_sentinel_keeps_every_promise() {
    let ground = Ground::sentinel().start().await.unwrap();
    keeps_every_promise(open(options(&ground)).await).await;
}
