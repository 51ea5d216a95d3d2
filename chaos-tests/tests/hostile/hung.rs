//! A server that hangs at the wrong moment holds up its own calls for as long as they may take, and no others.

use std::sync::Arc;
use std::time::Duration;

use abide_chaos_tests::proxy::{Fault, Proxies};
use abide_chaos_tests::redis::Ground;
use abide_persistence::journal::{SnapshotCriteria, SnapshotStore};
use abide_persistence::testkit::{fresh_id, fresh_shard};

use crate::common::Proxied;
use crate::connecting::{open, options};

/// The server has forgotten its scripts, and hangs when it is told them again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_while_it_is_told_the_scripts_leaves_no_queue_unserved() {
    let ground = Ground::single().start().await.unwrap();
    let proxies = Arc::new(Proxies::before(&ground).await.unwrap());
    let mut through = options(&ground).alone();
    through.0.connector = Arc::new(Proxied { proxies: Arc::clone(&proxies), inner: through.0.connector });
    through.0.call_timeout = Duration::from_secs(3);
    let store = open(through).await;
    let load = || store.load(fresh_shard(), fresh_id(None), SnapshotCriteria::ANY);
    load().await.unwrap();

    let node = &ground.nodes()[0];
    node.ask::<()>(&["SCRIPT", "FLUSH"]).await.unwrap();
    let proxy = proxies.of(node).unwrap();
    let mut hang = proxy.trap(|request| request.is("SCRIPT"), Fault::SilenceReplies);
    let unlucky = tokio::spawn(load());
    hang.sprung().await.unwrap();

    let limit = Duration::from_secs(10);
    let later = tokio::time::timeout(limit, load()).await;
    assert!(later.is_ok(), "nobody serves the queue");
    tokio::time::timeout(limit, unlucky).await.unwrap().unwrap().ok();
}
