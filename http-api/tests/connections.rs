//! What one client may cost, and how a listener ends.

mod common;

use std::num::NonZeroU32;
use std::time::Duration;

use abide_http_api::{ServeConfig, Served};
use common::client::{Client, request};
use common::journal::Mode;
use common::{JSON, Node, Setup, counter};

const GET: &str = r#"{"type":"get"}"#;
const INCREMENT: &str = r#"{"type":"increment","by":1}"#;

async fn node(serve: ServeConfig) -> Node {
    Node::start_with(Setup { serve, ..Setup::default() }).await
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[tokio::test]
async fn a_client_that_never_ends_its_head_is_cut_off_however_it_drips() {
    let node = node(ServeConfig { head_timeout: ms(100), ..ServeConfig::default() }).await;
    let mut silent = node.client().await;
    silent.send(b"GET /livez HT").await;
    let mut dripping = node.client().await;
    dripping.send(b"GET /livez HTTP/1.1\r\n").await;
    for _ in 0..15 {
        dripping.try_send(b"x: y\r\n").await;
        tokio::time::sleep(ms(20)).await;
    }
    assert!(silent.is_closed_within(ms(50)).await);
    assert!(dripping.is_closed_within(ms(50)).await);
    assert_eq!(node.get("/livez").await.status, 200);
}

#[tokio::test]
async fn the_second_head_of_a_connection_has_a_limit_too() {
    let node = node(ServeConfig { head_timeout: ms(100), ..ServeConfig::default() }).await;
    let mut client = node.client().await;
    client.ask(&request("GET", "/livez", &[], "")).await;
    client.send(b"GET /livez HT").await;
    assert!(client.is_closed_within(ms(400)).await);
}

#[tokio::test]
async fn an_idle_connection_is_kept_for_its_time_and_no_longer() {
    let limits = ServeConfig { head_timeout: ms(50), idle_timeout: ms(300), ..ServeConfig::default() };
    let node = node(limits).await;
    let mut fresh = node.client().await;
    let mut used = node.client().await;
    used.ask(&request("GET", "/livez", &[], "")).await;
    tokio::time::sleep(ms(200)).await;
    assert_eq!(fresh.ask(&request("GET", "/livez", &[], "")).await.status, 200);
    assert_eq!(used.ask(&request("GET", "/livez", &[], "")).await.status, 200);
    assert!(used.is_closed_within(ms(600)).await);
}

#[tokio::test]
async fn a_request_that_runs_long_is_no_idle_connection() {
    let limits = ServeConfig { head_timeout: ms(30), idle_timeout: ms(60), ..ServeConfig::default() };
    let node = node(limits).await;
    node.journal(Mode::ReadHangs);
    let headers = [JSON, ("abide-timeout-ms", "300")];
    let response = node.send("POST", &counter("a"), &headers, GET).await;
    response.is_problem(504, "expired", "none");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_until_one_ends() {
    let max_connections = const { NonZeroU32::new(2).expect("not zero") };
    let node = node(ServeConfig { max_connections, ..ServeConfig::default() }).await;
    let (first, mut second) = (node.client().await, node.client().await);
    assert_eq!(second.ask(&request("GET", "/livez", &[], "")).await.status, 200);
    let mut third = Client::connect(node.address).await;
    third.send(&request("GET", "/livez", &[], "")).await;
    assert!(!third.is_closed_within(ms(100)).await);
    drop(first);
    assert_eq!(third.read().await.status, 200);
}

#[tokio::test]
async fn a_stop_answers_what_runs_and_accepts_nothing_new() {
    let mut node = Node::start().await;
    node.journal(Mode::ReadFails);
    let mut idle = node.client().await;
    idle.ask(&request("GET", "/livez", &[], "")).await;
    let mut running = node.client().await;
    running.send(&request("POST", &counter("a"), &[JSON], INCREMENT)).await;
    tokio::time::sleep(ms(50)).await;
    node.stop();
    assert!(idle.is_closed_within(ms(500)).await);
    assert!(tokio::net::TcpStream::connect(node.address).await.is_err());
    node.journal(Mode::Fine);
    let response = running.read().await;
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    assert_eq!(node.stopped().await, Served { cut_off: 0 });
}

#[tokio::test]
async fn a_stop_cuts_off_what_does_not_end_in_time() {
    let mut node = node(ServeConfig { shutdown_grace: ms(100), ..ServeConfig::default() }).await;
    node.journal(Mode::WriteHangs);
    let mut running = node.client().await;
    running.send(&request("POST", &counter("a"), &[JSON], INCREMENT)).await;
    tokio::time::sleep(ms(50)).await;
    node.stop();
    assert_eq!(node.stopped().await, Served { cut_off: 1 });
    assert!(running.is_closed_within(ms(500)).await);
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_its_command_to_run() {
    let node = Node::start().await;
    node.journal(Mode::ReadFails);
    let mut client = node.client().await;
    client.send(&request("POST", &counter("a"), &[JSON], INCREMENT)).await;
    tokio::time::sleep(ms(30)).await;
    drop(client);
    tokio::time::sleep(ms(30)).await;
    node.journal(Mode::Fine);
    assert_eq!(node.post(&counter("a"), GET).await.json()["value"], 1);
}
