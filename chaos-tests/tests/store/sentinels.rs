//! Behind Sentinel, under load: a primary that dies or hangs is replaced, and nothing that was acknowledged is
//! missing.

use abide_chaos_tests::redis::{Ground, Node};

use crate::connecting::options;
use crate::load::{End, Load, verify};

async fn keeps_all_when(ground: &Ground, prefix: &str, fault: impl AsyncFn(&Node, bool)) {
    let mut options = options(ground);
    options.0.key_prefix = prefix.to_owned();
    let journal = options.journal().await;
    let load = Load::start(&journal, prefix, 12);
    load.until_each_wrote(100).await.unwrap();
    let victim = ground.primary().await.unwrap();
    fault(victim, true).await;
    ground.wait_for_other_primary(0, victim).await.unwrap();
    // At once: as long as it is away, Sentinel could elect it, and nothing is acknowledged without it.
    fault(victim, false).await;
    ground.wait_healthy().await.unwrap();
    load.until_each_wrote(20).await.unwrap();
    let shards = load.shards.clone();
    let ends = load.stop().await;
    assert!(ends.iter().all(|(_, end)| *end == End::Stopped), "{ends:?}");
    let findings = verify(ground, &shards).await.unwrap();
    assert!(findings.lost == 0 && findings.broken.is_empty(), "{findings:?}");
    journal.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_behind_sentinel_is_replaced_without_a_loss() {
    let ground = Ground::sentinel().start().await.unwrap();
    keeps_all_when(&ground, "kill", async |victim, begins| {
        if begins { victim.kill9().await } else { victim.start().await }.unwrap();
    })
    .await;
    keeps_all_when(&ground, "hang", async |victim, begins| {
        if begins { victim.stop().await } else { victim.cont().await }.unwrap();
    })
    .await;
}
