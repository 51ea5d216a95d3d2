//! Events of an entity as they come.

mod common;

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use abide_http_api::{ApiConfig, Readiness, ServeConfig};
use abide_persistence::{EntityId, EntityType, PersistenceId};
use common::client::{Client, request};
use common::journal::Mode;
use common::{Node, Setup, counter};
use serde_json::json;

const STREAM: (&str, &str) = ("accept", "text/event-stream");

fn follow(id: &str, query: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let headers: Vec<_> = headers.iter().copied().chain([STREAM]).collect();
    request("GET", &format!("{}/events{query}", counter(id)), &headers, "")
}

async fn following(node: &Node, id: &str, query: &str, headers: &[(&str, &str)]) -> Client {
    let mut client = node.client().await;
    let response = client.open(&follow(id, query, headers)).await;
    assert_eq!((response.status, response.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    client
}

async fn increment(node: &Node, id: &str, by: i64) {
    let body = format!("{{\"type\":\"increment\",\"by\":{by}}}");
    assert_eq!(node.post(&counter(id), &body).await.status, 200);
}

fn streams(max_streams: usize) -> ApiConfig {
    ApiConfig { max_streams: NonZeroUsize::new(max_streams).expect("not zero"), ..ApiConfig::default() }
}

/// The number of the next event.
async fn next(client: &mut Client) -> u64 {
    client.event().await.expect("an event").0.expect("a number")
}

#[tokio::test]
async fn what_was_and_what_comes_is_shown_in_order() {
    let node = Node::start().await;
    increment(&node, "a", 5).await;
    let mut client = following(&node, "a", "", &[]).await;
    let (id, name, data) = client.event().await.expect("an event");
    assert_eq!((id, name.as_str()), (Some(1), "incremented"));
    assert_eq!((&data["sequence_nr"], &data["payload"]["by"]), (&json!(1), &json!(5)));
    for by in 2..=20 {
        increment(&node, "a", by).await;
        let (id, _, data) = client.event().await.expect("an event");
        assert_eq!((id, data["payload"]["by"].as_i64()), (Some(by as u64), Some(by)));
    }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the test measures")]
async fn a_new_event_comes_at_once_and_not_with_the_next_look() {
    let node = Node::start().await;
    let mut client = following(&node, "a", "", &[]).await;
    assert_eq!(client.block().await.as_deref(), Some(": abide"));
    // Four in a row: without a notice each would wait for the look that comes a second after the last one.
    let begun = Instant::now();
    for number in 1..=4 {
        increment(&node, "a", 1).await;
        assert_eq!(next(&mut client).await, number);
    }
    assert!(begun.elapsed() < Duration::from_millis(2500), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn events_that_were_written_elsewhere_show_too() {
    let node = Node::start().await;
    increment(&node, "a", 1).await;
    let mut client = following(&node, "a", "", &[]).await;
    assert_eq!(next(&mut client).await, 1);
    let id = PersistenceId::new(EntityType::new("counter"), EntityId::new("a").expect("an id"));
    let event = abide_persistence::testkit::event(2, br#"{"by":7,"padding":""}"#);
    node.journal.append(&id, event);
    let (number, name, data) = client.event().await.expect("an event");
    assert_eq!((number, name.as_str(), &data["payload"]["by"]), (Some(2), "noted", &json!(7)));
}

#[tokio::test]
async fn a_stream_begins_where_it_is_told_and_goes_on_where_it_was() {
    let node = Node::start().await;
    for by in 1..=5 {
        increment(&node, "a", by).await;
    }
    assert_eq!(next(&mut following(&node, "a", "?from=3", &[]).await).await, 3);
    assert_eq!(next(&mut following(&node, "a", "", &[("last-event-id", "4")]).await).await, 5);
    // What a browser sends when it connects again: the same address, and what it has seen.
    assert_eq!(next(&mut following(&node, "a", "?from=1", &[("last-event-id", "2")]).await).await, 3);
    let mut ahead = following(&node, "a", "", &[("last-event-id", "6")]).await;
    increment(&node, "a", 6).await;
    increment(&node, "a", 7).await;
    assert_eq!(next(&mut ahead).await, 7);
}

#[tokio::test]
async fn deleted_events_are_passed_over() {
    let node = Node::start().await;
    for by in 1..=4 {
        increment(&node, "a", by).await;
    }
    let id = PersistenceId::new(EntityType::new("counter"), EntityId::new("a").expect("an id"));
    node.journal.delete_to(&id, 2);
    let mut client = following(&node, "a", "", &[]).await;
    assert_eq!(client.block().await.as_deref(), Some(": abide"));
    assert_eq!(client.block().await.as_deref(), Some(": the events up to 2 were deleted"));
    assert_eq!((next(&mut client).await, next(&mut client).await), (3, 4));
}

#[tokio::test]
async fn a_quiet_stream_gives_signs_of_life() {
    let api = ApiConfig { stream_heartbeat: Duration::from_millis(50), ..ApiConfig::default() };
    let node = Node::start_with(Setup { api, ..Setup::default() }).await;
    let mut client = following(&node, "a", "", &[]).await;
    assert_eq!(client.block().await.as_deref(), Some(": abide"));
    for _ in 0..3 {
        assert_eq!(client.block().await.as_deref(), Some(":"));
    }
}

#[tokio::test]
async fn nonsense_is_400() {
    let node = Node::start().await;
    for bad in ["x", "", "-1", "1.5", "18446744073709551616"] {
        let response = node.client().await.ask(&follow("a", "", &[("last-event-id", bad)])).await;
        response.is_problem(400, "bad-header", "none");
    }
    for (query, parameter) in [("?from=0", "from"), ("?limit=5", "limit"), ("?at=5", "at")] {
        let response = node.client().await.ask(&follow("a", query, &[])).await;
        assert_eq!(response.is_problem(400, "bad-parameter", "none")["parameter"], parameter);
    }
}

#[tokio::test]
async fn streams_are_bounded_and_a_client_that_goes_makes_room() {
    let node = Node::start_with(Setup { api: streams(2), ..Setup::default() }).await;
    let one = following(&node, "a", "", &[]).await;
    let mut two = following(&node, "b", "", &[]).await;
    let refused = node.client().await.ask(&follow("c", "", &[])).await;
    assert_eq!(refused.is_problem(503, "too-many-streams", "none")["capacity"], 2);
    assert_eq!(node.get(&format!("{}/events", counter("c"))).await.status, 200, "pages are no streams");
    drop(one);
    let mut three = until_admitted(&node, "c").await;
    increment(&node, "b", 1).await;
    increment(&node, "c", 1).await;
    assert_eq!((next(&mut two).await, next(&mut three).await), (1, 1));
}

/// Asks until there is room; only patience is the limit.
async fn until_admitted(node: &Node, id: &str) -> Client {
    for _ in 0..500 {
        let mut client = node.client().await;
        if client.open(&follow(id, "", &[])).await.status == 200 {
            return client;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no room came free");
}

/// Enough to fill the sockets' buffers many times.
fn fill(node: &Node, id: &str, events: u64) {
    let id = PersistenceId::new(EntityType::new("counter"), EntityId::new(id).expect("an id"));
    let payload = format!("{{\"by\":1,\"padding\":\"{}\"}}", "x".repeat(200_000));
    for number in 1..=events {
        node.journal.append(&id, abide_persistence::testkit::event(number, payload.as_bytes()));
    }
}

#[tokio::test]
async fn a_client_that_stops_reading_loses_its_place_and_is_told_if_it_reads_again() {
    let api = ApiConfig { stream_write_timeout: Duration::from_millis(200), ..streams(1) };
    let node = Node::start_with(Setup { api, ..Setup::default() }).await;
    fill(&node, "a", 300);
    let mut lazy = following(&node, "a", "", &[]).await;
    // It reads nothing, and its place is free all the same.
    let other = until_admitted(&node, "b").await;
    drop(other);
    let (mut last, mut end) = (0, None);
    while let Some((id, name, data)) = lazy.event().await {
        match id {
            Some(id) => {
                assert_eq!(id, last + 1, "what it gets has no gap");
                last = id;
            }
            None => end = Some((name, data)),
        }
    }
    assert_eq!(end, Some(("end".to_owned(), json!({ "reason": "the client reads too slowly" }))));
    assert!((1..300).contains(&last), "{last}");
}

#[tokio::test]
async fn a_client_that_never_reads_again_is_cut_off() {
    let api = ApiConfig { stream_write_timeout: Duration::from_millis(100), ..streams(1) };
    let serve = ServeConfig {
        idle_timeout: Duration::from_millis(300),
        head_timeout: Duration::from_millis(100),
        shutdown_grace: Duration::from_secs(5),
        max_connections: std::num::NonZeroU32::new(1).expect("not zero"),
        ..ServeConfig::default()
    };
    let node = Node::start_with(Setup { api, serve, ..Setup::default() }).await;
    fill(&node, "a", 300);
    let lazy = following(&node, "a", "", &[]).await;
    // One connection is all there is: the next one is served once the first is gone.
    let response = node.get("/livez").await;
    assert_eq!(response.status, 200);
    drop(lazy);
}

#[tokio::test]
async fn a_slow_client_that_goes_on_reading_gets_everything() {
    let api = ApiConfig { stream_write_timeout: Duration::from_secs(5), ..streams(1) };
    let node = Node::start_with(Setup { api, ..Setup::default() }).await;
    fill(&node, "a", 120);
    let mut slow = following(&node, "a", "", &[]).await;
    for number in 1..=120 {
        if number % 20 == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(next(&mut slow).await, number);
    }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the test measures")]
async fn streams_end_when_the_node_leaves_and_do_not_hold_it_up() {
    let readiness = Readiness::ready();
    let api = ApiConfig { stream_write_timeout: Duration::from_secs(60), ..ApiConfig::default() };
    let mut node = Node::start_with(Setup { api, readiness: readiness.clone(), ..Setup::default() }).await;
    fill(&node, "full", 300);
    let mut quiet = following(&node, "a", "", &[]).await;
    let lazy = following(&node, "full", "", &[]).await;
    let begun = Instant::now();
    readiness.drain();
    node.stop();
    assert_eq!(quiet.event().await, Some((None, "end".to_owned(), json!({ "reason": "shutting down" }))));
    assert_eq!(quiet.event().await, None, "the stream ends in order");
    assert!(quiet.is_closed_within(Duration::from_secs(1)).await);
    drop(lazy);
    assert_eq!(node.stopped().await.cut_off, 0);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_stream_ends_with_a_reason_when_the_journal_fails() {
    let node = Node::start().await;
    increment(&node, "a", 1).await;
    let mut client = following(&node, "a", "", &[]).await;
    assert_eq!(next(&mut client).await, 1);
    node.journal(Mode::ReadFails);
    let end = client.event().await;
    assert_eq!(end, Some((None, "end".to_owned(), json!({ "reason": "the journal could not be read" }))));
    assert_eq!(client.event().await, None);
}

#[tokio::test]
async fn head_of_a_stream_takes_no_place() {
    let node = Node::start_with(Setup { api: streams(1), ..Setup::default() }).await;
    let head = follow("a", "", &[]);
    let head = [b"HEAD".as_slice(), &head[3..]].concat();
    // Two, because the first answer alone would be 200 anyway.
    assert_eq!(node.client().await.ask(&head).await.status, 200);
    for _ in 0..2 {
        drop(until_admitted(&node, "a").await);
    }
}
