//! The state as it was.

mod common;

use std::num::NonZeroUsize;
use std::time::Duration;

use abide_http_api::ApiConfig;
use abide_persistence::{EntityId, EntityType, PersistenceId};
use common::client::request;
use common::journal::{Mode, SECRET};
use common::{Node, Setup, counter};

fn at(id: &str, number: u64) -> String {
    format!("{}?at={number}", counter(id))
}

fn persistence_id(id: &str) -> PersistenceId {
    PersistenceId::new(EntityType::new("counter"), EntityId::new(id).expect("an id"))
}

async fn with_events(events: i64) -> Node {
    let node = Node::start().await;
    for by in 1..=events {
        node.post(&counter("a"), &format!("{{\"type\":\"increment\",\"by\":{by}}}")).await;
    }
    node
}

#[tokio::test]
async fn every_moment_of_the_past_is_shown_with_its_number() {
    let node = with_events(5).await;
    for number in 0..=5 {
        let response = node.get(&at("a", number)).await;
        let expected = number * (number + 1) / 2;
        assert_eq!((response.status, response.json()["value"].as_u64()), (200, Some(expected)));
        assert_eq!(response.header("etag"), Some(format!("\"{number}\"").as_str()));
        assert_eq!(response.json()["id"], "a", "it is built from its id");
    }
    assert_eq!(node.get(&at("fresh", 0)).await.json()["value"], 0);
}

#[tokio::test]
async fn a_long_past_is_read_in_pages() {
    let node = Node::start().await;
    for number in 1..=1000 {
        let event = abide_persistence::testkit::event(number, br#"{"by":2,"padding":""}"#);
        node.journal.append(&persistence_id("a"), event);
    }
    for number in [255, 256, 257, 1000] {
        assert_eq!(node.get(&at("a", number)).await.json()["value"], 2 * number);
    }
}

#[tokio::test]
async fn a_moment_that_has_not_come_is_400_with_the_last_one() {
    let node = with_events(3).await;
    for number in [4, 1000, u64::MAX] {
        let problem = node.get(&at("a", number)).await.is_problem(400, "beyond-last-event", "none");
        assert_eq!(problem["last"], 3);
    }
    assert_eq!(node.get(&at("fresh", 1)).await.is_problem(400, "beyond-last-event", "none")["last"], 0);
}

#[tokio::test]
async fn a_past_that_was_deleted_is_410() {
    let node = with_events(5).await;
    node.journal.delete_to(&persistence_id("a"), 2);
    for number in 1..=5 {
        let problem = node.get(&at("a", number)).await.is_problem(410, "events-deleted", "none");
        assert_eq!(problem["deleted_to"], 2);
    }
    assert_eq!(node.get(&at("a", 0)).await.json()["value"], 0, "the beginning needs no event");
    assert_eq!(node.get(&at("a", 6)).await.is_problem(400, "beyond-last-event", "none")["last"], 5);
}

#[tokio::test]
async fn an_event_that_cannot_be_applied_is_told_like_a_parked_entity() {
    let node = with_events(2).await;
    node.journal.append(&persistence_id("a"), abide_persistence::testkit::event(3, b"{}"));
    // Adding this overflows, and user code panics over that.
    let most = format!("{{\"by\":{},\"padding\":\"\"}}", i64::MAX);
    node.journal.append(&persistence_id("b"), abide_persistence::testkit::event(1, most.as_bytes()));
    node.journal.append(&persistence_id("b"), abide_persistence::testkit::event(2, most.as_bytes()));
    node.get(&at("a", 3)).await.is_problem(503, "entity-parked", "none");
    node.get(&at("b", 2)).await.is_problem(503, "entity-parked", "none");
    // What came before it is still shown.
    assert_eq!(node.get(&at("a", 2)).await.json()["value"], 3);
    assert_eq!(node.get(&at("b", 1)).await.json()["value"], i64::MAX);
}

#[tokio::test]
async fn the_live_entity_takes_no_part() {
    let node = with_events(2).await;
    // A journal that does not answer writes keeps the entity busy; its past is shown all the same.
    node.journal(Mode::WriteHangs);
    let mut client = node.client().await;
    client.send(&request("POST", &counter("a"), &[common::JSON], r#"{"type":"increment","by":9}"#)).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(node.get(&at("a", 2)).await.json()["value"], 3);
}

#[tokio::test]
async fn nonsense_is_400() {
    let node = Node::start().await;
    for query in ["at=", "at=-1", "at=x", "at=1&at=1", "at=18446744073709551616", "att=1"] {
        node.get(&format!("{}?{query}", counter("a"))).await.is_problem(400, "bad-parameter", "none");
    }
    let post = node.post(&at("a", 1), r#"{"type":"increment","by":1}"#).await;
    assert_eq!(post.is_problem(400, "bad-parameter", "none")["parameter"], "at");
    assert_eq!(node.get(&counter("a")).await.json()["value"], 0, "the command was not handled");
}

#[tokio::test]
async fn few_run_at_a_time_and_each_ends_at_its_deadline() {
    let api = ApiConfig { max_replays: NonZeroUsize::MIN, ..ApiConfig::default() };
    let node = Node::start_with(Setup { api, ..Setup::default() }).await;
    node.post(&counter("a"), r#"{"type":"increment","by":1}"#).await;
    node.journal(Mode::ReadHangs);
    let ask = |limit: &'static str| request("GET", &at("a", 1), &[("abide-timeout-ms", limit)], "");
    let (mut first, mut second) = (node.client().await, node.client().await);
    first.send(&ask("400")).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    second.ask(&ask("60")).await.is_problem(504, "expired", "none");
    first.read().await.is_problem(504, "timed-out", "none");
    node.journal(Mode::Fine);
    assert_eq!(node.client().await.ask(&ask("5000")).await.json()["value"], 1, "its turn came back");
    for (mode, slug) in [(Mode::ReadFails, "journal-failed"), (Mode::ReadDamaged, "entity-parked")] {
        node.journal(mode);
        let response = node.get(&at("a", 1)).await;
        response.is_problem(503, slug, "none");
        assert!(!response.body.contains(SECRET));
    }
}
