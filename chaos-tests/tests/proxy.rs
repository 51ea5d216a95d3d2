//! The proxy: each fault and each weather does what its name says, and leaves the rest of the talk alone.

mod common;

use std::sync::Arc;
use std::time::Duration;

use abide_chaos_tests::proxy::{Fault, Proxies, Proxy, Request, Weather};
use abide_chaos_tests::redis::Ground;
use abide_chaos_tests::wait::until;
use abide_persistence::journal::Pending;
use abide_persistence::runtime::redis::connector::{Address, ConnectError, Connector, Role};
use anyhow::Result;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult};

const LIMIT: Duration = Duration::from_secs(10);

async fn connect(proxy: &Proxy) -> Result<MultiplexedConnection> {
    let client = Client::open(format!("redis://{}/?protocol=resp3", proxy.address()))?;
    let patient = AsyncConnectionConfig::new().set_response_timeout(None);
    Ok(client.get_multiplexed_async_connection_with_config(&patient).await?)
}

async fn incr(connection: &mut MultiplexedConnection) -> RedisResult<i64> {
    redis::cmd("INCR").arg("n").query_async(connection).await
}

fn is_incr(request: &Request) -> bool {
    request.is("INCR") || request.is("INCRBY")
}

#[tokio::test]
async fn each_fault_does_what_its_name_says() -> Result<()> {
    let ground = Ground::single().start().await?;
    let node = &ground.nodes()[0];
    let proxies = Proxies::before(&ground).await?;
    let proxy = proxies.of(node)?;
    let stored = async || node.ask::<Option<i64>>(&["GET", "n"]).await;
    let mut client = connect(proxy).await?;

    let mut trap = proxy.trap(is_incr, Fault::LoseRequest);
    assert!(incr(&mut client).await.is_err());
    assert!(trap.sprung().await?.has(b"n"));
    assert_eq!(stored().await?, None);

    let mut client = connect(proxy).await?;
    let mut trap = proxy.trap(is_incr, Fault::LoseReply);
    assert!(incr(&mut client).await.is_err());
    assert_eq!(stored().await?, Some(1));
    let late = proxy.replay(&[trap.sprung().await?]).await?;
    assert_eq!(late, [&b":2\r\n"[..]]);

    let mut client = connect(proxy).await?;
    let _trap = proxy.trap(is_incr, Fault::Duplicate);
    let twice: (i64, i64) = redis::pipe().incr("n", 1).incr("n", 1).query_async(&mut client).await?;
    assert_eq!(twice, (3, 5), "replies and requests still belong together");
    assert_eq!(stored().await?, Some(5));

    let _trap = proxy.trap(is_incr, Fault::Refuse("TRYAGAIN later"));
    let refused = incr(&mut client).await.expect_err("it is refused");
    assert_eq!(refused.code(), Some("TRYAGAIN"));
    assert_eq!(stored().await?, Some(5));

    let mut trap = proxy.trap(is_incr, Fault::HoldReply);
    let mut held = client.clone();
    let held = tokio::spawn(async move { incr(&mut held).await });
    trap.sprung().await?;
    until("the execution", LIMIT, || async {
        if stored().await? == Some(6) { Ok(()) } else { anyhow::bail!("not executed") }
    })
    .await?;
    assert!(!held.is_finished());
    trap.release();
    assert_eq!(held.await??, 6);

    let mut trap = proxy.trap(is_incr, Fault::Hold);
    let mut held = client.clone();
    let held = tokio::spawn(async move { incr(&mut held).await });
    trap.sprung().await?;
    assert_eq!(stored().await?, Some(6));
    drop(trap);
    assert_eq!(held.await??, 7);

    proxy.set_rule(|request| if is_incr(request) { Fault::SilenceReplies } else { Fault::None });
    let silenced = tokio::time::timeout(Duration::from_millis(200), incr(&mut client)).await;
    assert!(silenced.is_err() && stored().await? == Some(8));
    proxy.clear_rule();
    assert_eq!(incr(&mut connect(proxy).await?).await?, 9);
    Ok(())
}

#[tokio::test]
async fn each_weather_holds_for_all_connections() -> Result<()> {
    let ground = Ground::single().start().await?;
    let proxy = Proxy::to(ground.nodes()[0].address()).await?;
    let mut client = connect(&proxy).await?;

    proxy.set_weather(Weather::Silent);
    let mut waiting = client.clone();
    let waiting = tokio::spawn(async move { incr(&mut waiting).await });
    assert_eq!(ground.nodes()[0].ask::<Option<i64>>(&["GET", "n"]).await?, None);
    let slow = Duration::from_millis(20);
    proxy.set_weather(Weather::Slow { requests: slow, replies: slow });
    assert_eq!(waiting.await??, 1, "what was sent in silence arrives when it ends");

    proxy.set_weather(Weather::Cut);
    assert!(incr(&mut client).await.is_err());
    assert!(connect(&proxy).await.is_err());
    proxy.set_weather(Weather::Fair);
    assert_eq!(incr(&mut connect(&proxy).await?).await?, 2);
    Ok(())
}

/// Dials whatever it is told.
struct Plain;

impl Connector for Plain {
    fn connect(&self, to: &Address, _: Role) -> Pending<Result<MultiplexedConnection, ConnectError>> {
        let url = format!("redis://{to}");
        Box::pin(async move {
            let client = Client::open(url).expect("it is a URL");
            Ok(client.get_multiplexed_async_connection().await.expect("somebody listens"))
        })
    }
}

#[tokio::test]
async fn a_store_reaches_a_server_through_its_proxy() -> Result<()> {
    let ground = Ground::single().start().await?;
    let proxies = Arc::new(Proxies::before(&ground).await?);
    let connector = common::Proxied { proxies: Arc::clone(&proxies), inner: Arc::new(Plain) };
    let server = ground.nodes()[0].address();
    let address = Address::new(server.ip().to_string(), server.port());
    let mut connection = connector.connect(&address, Role::Write).await?;
    let mut trap = proxies.of(&ground.nodes()[0])?.trap(is_incr, Fault::None);
    assert_eq!(incr(&mut connection).await?, 1);
    assert!(trap.sprung().await?.is("incr"));
    Ok(())
}
