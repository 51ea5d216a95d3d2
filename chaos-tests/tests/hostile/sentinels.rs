//! What Sentinels say while a failover is under way.

use std::time::Duration;

use abide_chaos_tests::redis::Ground;
use abide_chaos_tests::redis::config::MASTER_NAME;
use abide_chaos_tests::wait::until;
use abide_persistence::journal::Journal;
use abide_persistence::runtime::redis::connector::Address;
use anyhow::ensure;

use crate::connecting::{open, options};

/// The Sentinel that leads the failover lists the old primary until all replicas follow the new one, and one
/// of them hangs.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_sentinel_leads_to_the_new_primary_as_soon_as_it_knows_it() {
    let ground = Ground::sentinel().start().await.unwrap();
    let [old, _, hangs] = ground.nodes() else { unreachable!("three servers") };
    let mut stores = Vec::new();
    for sentinel in ground.sentinels() {
        let mut one = options(&ground);
        one.0.seeds = vec![Address::new(sentinel.address().ip().to_string(), sentinel.address().port())];
        one.0.call_timeout = Duration::from_secs(4);
        one.0.topology_check = Duration::from_millis(200);
        stores.push(open(one).await);
    }
    hangs.stop().await.unwrap();
    old.kill9().await.unwrap();
    for (sentinel, store) in ground.sentinels().iter().zip(&stores) {
        until("a new primary", Duration::from_secs(30), || async {
            let (_, port): (String, u16) =
                sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME]).await?;
            ensure!(port != old.address().port() && port != hangs.address().port(), "still at {port}");
            Ok(())
        })
        .await
        .unwrap();
        let found = store.meta().await;
        assert!(found.is_ok(), "{} knows the new primary: {found:?}", sentinel.name());
    }
    hangs.cont().await.unwrap();
}
