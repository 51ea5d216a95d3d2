//! Other makes of server, other rights.

use std::sync::Arc;
use std::time::Duration;

use abide_chaos_tests::redis::{Ground, Server};
use abide_persistence::journal::Journal;
use abide_persistence::runtime::redis::{Dial, Setup, acl};
use abide_persistence::testkit;

use crate::connecting::{open, options};
use crate::keeps_every_promise;

/// There `WAIT` counts only what its own connection has propagated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_valkey_cluster_keeps_every_promise() {
    if !Server::Valkey.is_here() {
        eprintln!("SKIPPED: no Valkey here, so the newer rule of WAIT is not tried; `make tools` says why");
        return;
    }
    let ground = Ground::cluster(3, 1).server(Server::Valkey).start().await.unwrap();
    keeps_every_promise(open(options(&ground)).await).await;
}

/// Redis 7.0 does not know `WAITAOF`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disks_are_waited_for_where_the_server_can() {
    if !Server::Valkey.is_here() {
        eprintln!("SKIPPED: no Valkey here, so WAITAOF is not tried; `make tools` says why");
        return;
    }
    let plan = Ground::single().replicas(1).server(Server::Valkey).set("appendfsync", "always");
    let ground = plan.start().await.unwrap();
    let mut synced = options(&ground);
    synced.0.wait_aof = true;
    synced.0.wait_timeout = Duration::from_secs(3);
    // A replica tells how far its disk is once a second, so a few cases have to do.
    let journal: Arc<dyn Journal> = Arc::new(open(synced).await);
    testkit::journal::writing::a_batch_of_many_entities_is_stored_whole(Arc::clone(&journal)).await;
    testkit::journal::fencing::a_deposed_owner_cannot_append(Arc::clone(&journal)).await;
    let calls: String = ground.primary().await.unwrap().ask(&["INFO", "commandstats"]).await.unwrap();
    assert!(calls.contains("cmdstat_waitaof"), "{calls}");
    assert!(!calls.contains("cmdstat_wait:"), "{calls}");
}

/// The rule that `abide redis acl` prints is enough, and names nothing that would be too much.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_smallest_access_rule_is_enough() {
    let mut plan = Ground::cluster(3, 1);
    plan = plan.set("user", &format!("journal >secret {}", acl::rule("abide", false)));
    let ground = plan.start().await.unwrap();
    let urls =
        ground.urls().iter().map(|url| url.replacen("redis://", "redis://journal:secret@", 1)).collect();
    let dial = Dial::new(&Setup { urls, ..Setup::default() }).unwrap();
    let mut restricted = options(&ground);
    restricted.0.connector = Arc::new(dial);
    keeps_every_promise(open(restricted).await).await;
}
