//! The test ground itself: every shape starts and serves, every fault does what its name says, and nothing is
//! left behind.

use std::time::Duration;

use abide_chaos_tests::redis::view::slot_of;
use abide_chaos_tests::redis::{Cut, Failover, Ground, Server, State, Tls};
use anyhow::Result;

#[tokio::test]
async fn a_cluster_fails_over_moves_slots_and_heals() -> Result<()> {
    let ground = Ground::cluster(3, 1).start().await?;
    assert_eq!((ground.nodes().len(), ground.urls().len()), (6, 6));
    let slot = slot_of(b"key");
    let first = ground.primary_of(slot).await?;
    first.ask::<()>(&["SET", "key", "value"]).await?;

    let [replica] = ground.replicas_of(first).await?[..] else { panic!("one replica each") };
    ground.failover(replica, Failover::Graceful).await?;
    ground.wait_healthy().await?;
    assert_eq!(ground.primary_of(slot).await?, replica);

    let other = ground.primary_of(slot.wrapping_add(8192) % 16384).await?;
    let moving = ground.begin_slot_move(slot, other).await?;
    assert_eq!(moving.move_keys(10).await?, 1);
    let asked = replica.ask::<String>(&["GET", "key"]).await.expect_err("it has gone");
    assert!(format!("{asked:#}").contains("Ask"), "{asked:#}");
    moving.finish().await?;
    ground.wait_healthy().await?;
    assert_eq!(ground.primary_of(slot).await?, other);
    assert_eq!(other.ask::<String>(&["GET", "key"]).await?, "value");

    other.kill9().await?;
    assert_eq!(other.state(), State::Dead);
    let promoted = ground.wait_for_other_primary(slot, other).await?;
    assert_eq!(promoted.ask::<String>(&["GET", "key"]).await?, "value");
    other.start().await?;
    ground.wait_healthy().await?;
    assert_eq!(ground.replicas_of(promoted).await?, [other]);

    ground.restart_all().await?;
    ground.wait_healthy().await?;
    assert_eq!(ground.primary_of(slot).await?.ask::<String>(&["GET", "key"]).await?, "value");
    Ok(())
}

#[tokio::test]
async fn a_stopped_primary_is_replaced_and_comes_back_as_a_replica() -> Result<()> {
    let ground = Ground::cluster(3, 2).start().await?;
    assert_eq!(ground.nodes().len(), 9);
    let first = ground.primary_of(0).await?;
    first.stop().await?;
    let promoted = ground.wait_for_other_primary(0, first).await?;
    first.cont().await?;
    ground.wait_healthy().await?;
    assert_eq!(ground.replicas_of(promoted).await?.len(), 2);
    for how in [Failover::Force, Failover::Takeover] {
        let replica = ground.replicas_of(ground.primary_of(0).await?).await?[0];
        ground.failover(replica, how).await?;
        ground.wait_healthy().await?;
        assert_eq!(ground.primary_of(0).await?, replica);
    }
    Ok(())
}

#[tokio::test]
async fn sentinels_fail_over_by_themselves_and_when_told() -> Result<()> {
    let ground = Ground::sentinel().password("secret").tls(Tls::OneWay).start().await?;
    assert_eq!((ground.nodes().len(), ground.urls().len()), (3, 3));
    let first = ground.primary().await?;
    first.kill9().await?;
    let second = ground.wait_for_other_primary(0, first).await?;
    first.start().await?;
    ground.wait_healthy().await?;
    let third = ground.sentinel_failover().await?;
    assert_ne!(second, third);
    ground.wait_healthy().await
}

#[tokio::test]
async fn a_single_server_keeps_its_data_over_a_shutdown() -> Result<()> {
    let ground = Ground::single().replicas(1).set("maxmemory", "100mb").start().await?;
    let primary = ground.primary().await?;
    primary.ask::<()>(&["SET", "key", "value"]).await?;
    let set: (String, String) = primary.ask(&["CONFIG", "GET", "maxmemory"]).await?;
    assert_eq!(set.1, "104857600");
    primary.shutdown().await?;
    primary.start().await?;
    ground.wait_healthy().await?;
    assert_eq!(primary.ask::<String>(&["GET", "key"]).await?, "value");
    Ok(())
}

#[tokio::test]
async fn a_valkey_cluster_speaks_mutual_tls_and_knows_its_users() -> Result<()> {
    let server = if Server::Valkey.is_here() { Server::Valkey } else { Server::Redis };
    let plan = Ground::cluster(3, 1).server(server).tls(Tls::Mutual).password("secret");
    let ground = plan.set("user", "journal on >other ~* +get").start().await?;
    let node = ground.primary_of(slot_of(b"key")).await?;
    node.ask::<()>(&["AUTH", "journal", "other"]).await?;
    node.ask::<()>(&["SET", "key", "value"]).await?;
    ground.move_slot(slot_of(b"key"), ground.primary_of(slot_of(b"key") ^ 8192).await?).await?;
    let stranger = redis::Client::open(format!("redis://{}", node.address()))?;
    assert!(stranger.get_multiplexed_async_connection().await.is_err());
    Ok(())
}

#[tokio::test]
async fn the_makes_differ_in_what_wait_counts() -> Result<()> {
    for (server, counted) in [(Server::Redis, 0), (Server::Valkey, 1)] {
        if !server.is_here() {
            println!("no {server:?} here: `make tools` says why");
            continue;
        }
        let ground = Ground::single().replicas(1).server(server).start().await?;
        let primary = ground.primary().await?;
        ground.replicas_of(primary).await?[0].stop().await?;
        primary.ask::<()>(&["SET", "key", "value"]).await?;
        // On another connection than the write: the newer rule finds nothing to wait for.
        let mut other = primary.connect().await?;
        redis::cmd("GET").arg("key").query_async::<()>(&mut other).await?;
        let wait: i32 = redis::cmd("WAIT").arg(1).arg(100).query_async(&mut other).await?;
        assert_eq!(wait, counted, "{server:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_container_can_be_cut_off_killed_and_brought_back() -> Result<()> {
    let ground = Ground::cluster(3, 1).in_containers().start().await?;
    if !ground.can_cut() {
        return Ok(());
    }
    let first = ground.primary_of(0).await?;
    first.cut_off(Cut::Peers).await?;
    let second = ground.wait_for_other_primary(0, first).await?;
    // Its clients are cut off with it: they reach it still, and it does not know yet.
    assert!(first.view().await?.myself().primary.is_none());
    first.reconnect().await?;
    ground.wait_healthy().await?;
    assert_eq!(ground.replicas_of(second).await?, [first]);

    second.cut_off(Cut::All).await?;
    let unheard = tokio::time::timeout(Duration::from_millis(200), second.connect()).await;
    assert!(unheard.is_err(), "{unheard:?}");
    second.reconnect().await?;
    assert_eq!(second.ask::<String>(&["PING"]).await?, "PONG");

    second.kill9().await?;
    ground.wait_for_other_primary(0, second).await?;
    second.start().await?;
    ground.wait_healthy().await
}

#[tokio::test]
async fn nothing_is_left_behind_by_a_test_that_panics() -> Result<()> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let test = tokio::spawn(async move {
        let ground = Ground::single().start().await.expect("it starts");
        let node = &ground.nodes()[0];
        node.stop().await.expect("it can be stopped");
        tell.send((node.address(), node.dir().to_owned())).expect("somebody listens");
        panic!("as a failing test does");
    });
    let (address, dir) = told.await?;
    assert!(test.await.expect_err("it panics").is_panic());
    assert!(!dir.exists());
    let connected =
        tokio::time::timeout(Duration::from_secs(5), tokio::net::TcpStream::connect(address)).await?;
    assert!(connected.is_err(), "somebody still listens at {address}");
    Ok(())
}
