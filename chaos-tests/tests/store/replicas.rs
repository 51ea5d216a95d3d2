//! Acknowledged means that the replicas have it, also where the write itself was done by an earlier sending.

use std::sync::Arc;
use std::time::Duration;

use abide_chaos_tests::proxy::{Fault, Proxies};
use abide_chaos_tests::redis::{Ground, Server};
use abide_persistence::journal::{ClaimError, WriteError};
use abide_persistence::testkit::Owner;

use crate::connecting::options;
use crate::talk::{append, is_batch, is_change};

const LIMIT: Duration = Duration::from_secs(4);

/// The first sending runs unheard while the replica hangs. The second finds it done, on a connection that has
/// written nothing itself: from Redis 7.2 on, and on Valkey, `WAIT` has nothing to wait for there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_sending_has_done_is_waited_for_all_the_same() {
    for server in [Server::Redis, Server::Valkey] {
        if !server.is_here() {
            println!("{server:?} is not here, and left out");
            continue;
        }
        let ground = Ground::single().replicas(1).server(server).start().await.unwrap();
        let primary = ground.primary().await.unwrap();
        let [replica] = ground.replicas_of(primary).await.unwrap()[..] else { panic!("one replica") };
        let proxies = Arc::new(Proxies::before(&ground).await.unwrap());
        let proxy = proxies.of(primary).unwrap();
        let journal = options(&ground).of(primary).through(&proxies).calls_within(LIMIT).journal().await;
        let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
        owner.append(&id, 1, 1).await.unwrap();
        let fence = format!("{{abide:{}}}:f", owner.shard.0);
        let held = async || replica.ask::<String>(&["GET", &fence]).await.unwrap();
        let before = held().await;

        replica.stop().await.unwrap();
        let _unheard = proxy.trap(is_batch(owner.shard), Fault::LoseReply);
        let told = journal.write(owner.next_batch(vec![append(&id, 2, 1)])).await;
        assert!(matches!(told, Err(WriteError::Unknown(_))), "{server:?}: {told:?}");
        let again = Owner { journal: journal.clone(), claim: owner.claim.again(), batch: 0, ..owner };
        let _heard_of_nobody = proxy.trap(is_change(owner.shard), Fault::None);
        let _unheard = proxy.trap(is_change(owner.shard), Fault::LoseReply);
        let told = again.claim().await;
        assert!(matches!(told, Err(ClaimError::Failed(_))), "{server:?}: {told:?}");

        replica.cont().await.unwrap();
        let mut again = again;
        again.claim = again.claim.again();
        again.claim().await.unwrap();
        assert_ne!(held().await, before, "{server:?}: the replica has the claim");
        again.expect_all(&id, 1..=2, 2).await;
        again.append(&id, 3, 1).await.unwrap();
    }
}
