//! What operators see and order on their own listener.

mod common;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use abide_http_api::ApiConfig;
use abide_persistence::envelope::StoredEvent;
use abide_persistence::{EntityId, EntityType, PersistenceId, ShardCount};
use bytes::Bytes;
use common::client::{Client, Response, request};
use common::journal::{Mode, SECRET};
use common::{JSON, Node, SHARDS, Setup, counter};
use serde_json::json;

const INCREMENT: &str = r#"{"type":"increment","by":1}"#;

async fn ask(at: SocketAddr, method: &str, path: &str) -> Response {
    Client::connect(at).await.ask(&request(method, path, &[], "")).await
}

fn id(id: &str) -> PersistenceId {
    PersistenceId::new(EntityType::new("counter"), EntityId::new(id).expect("an id"))
}

/// Writes an event that nobody can decode, past the entity.
fn break_down(node: &Node, name: &str) {
    let event = StoredEvent {
        sequence_nr: 1,
        payload: Bytes::from_static(b"{}"),
        codec: 1,
        name: "incremented".to_owned(),
        version: 1,
        ..StoredEvent::default()
    };
    node.journal.append(&id(name), event.to_bytes());
}

#[tokio::test]
async fn a_parked_entity_is_shown_with_its_reason_and_lives_again_once_it_is_released() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let none = ask(admin, "GET", "/v1/entities/parked").await;
    assert_eq!((none.status, none.json()), (200, json!({ "entities": [], "more": false })));
    break_down(&node, "a/b");
    node.post(&counter("a%2Fb"), INCREMENT).await.is_problem(503, "entity-parked", "none");

    let parked = ask(admin, "GET", "/v1/entities/parked").await.json();
    assert_eq!(
        (&parked["entities"][0]["type"], &parked["entities"][0]["id"]),
        (&json!("counter"), &json!("a/b"))
    );
    let reason = parked["entities"][0]["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("event 1 (\"incremented\" version 1) cannot be decoded"), "{reason}");

    // Nothing was repaired: it comes back to where it was.
    let released = ask(admin, "POST", "/v1/entities/counter/a%2Fb/release").await;
    assert_eq!((released.status, released.body.as_str()), (204, ""));
    node.post(&counter("a%2Fb"), INCREMENT).await.is_problem(503, "entity-parked", "none");

    node.journal.delete_to(&id("a/b"), 1);
    assert_eq!(node.post(&counter("other"), INCREMENT).await.status, 200, "others live all the while");
    node.post(&counter("a%2Fb"), INCREMENT).await.is_problem(503, "entity-parked", "none");
    assert_eq!(ask(admin, "POST", "/v1/entities/counter/a%2Fb/release").await.status, 204);
    assert_eq!(node.post(&counter("a%2Fb"), INCREMENT).await.json(), json!({ "value": 1 }));
    assert_eq!(ask(admin, "GET", "/v1/entities/parked").await.json(), none.json());
}

#[tokio::test]
async fn a_list_of_parked_entities_has_a_limit_and_says_that_there_are_more() {
    let node = Node::start().await;
    let admin = node.admin().await;
    for name in ["a", "b", "c"] {
        break_down(&node, name);
        node.get(&counter(name)).await.is_problem(503, "entity-parked", "none");
    }
    let shown = |limit: u64| async move {
        let page = ask(admin, "GET", &format!("/v1/entities/parked?limit={limit}")).await.json();
        (page["entities"].as_array().map(Vec::len), page["more"].as_bool())
    };
    assert_eq!(shown(2).await, (Some(2), Some(true)));
    assert_eq!(shown(3).await, (Some(3), Some(false)));
    for bad in ["limit=0", "limit=1001", "limit=x", "limit=1&limit=2", "after=1"] {
        let path = format!("/v1/entities/parked?{bad}");
        ask(admin, "GET", &path).await.is_problem(400, "bad-parameter", "none");
    }
}

#[tokio::test]
async fn what_cannot_be_released_is_refused_like_any_request() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let post = |path: &'static str| ask(admin, "POST", path);
    post("/v1/entities/nobody/a/release").await.is_problem(404, "unknown-entity-type", "none");
    post("/v1/entities/counter/%zz/release").await.is_problem(400, "bad-target", "none");
    post("/v1/entities/counter/%00/release").await.is_problem(400, "bad-entity-id", "none");
    post("/v1/entities/counter/a/release?now=1").await.is_problem(400, "bad-parameter", "none");
    let get = ask(admin, "GET", "/v1/entities/counter/a/release").await;
    get.is_problem(405, "method-not-allowed", "none");
    assert_eq!(get.header("allow"), Some("POST"));
    // An entity that is not parked, or not even in memory, has nothing to try again.
    assert_eq!(post("/v1/entities/counter/a/release").await.status, 204);
    let unowned = Node::start_with(Setup { assigned: false, ..Setup::default() }).await;
    let admin = unowned.admin().await;
    ask(admin, "POST", "/v1/entities/counter/a/release").await.is_problem(503, "no-owner", "none");
}

/// Loses the shard of this entity; hands back its number.
async fn lose(node: &Node, name: &str) -> u32 {
    node.journal(Mode::WriteLost);
    node.post(&counter(name), INCREMENT).await.is_problem(503, "events-lost", "none");
    node.journal(Mode::Fine);
    id(name).hash().shard(ShardCount::new(SHARDS.get()).expect("in range")).0
}

#[tokio::test]
async fn a_shard_that_has_lost_events_is_shown_and_goes_on_once_the_loss_is_accepted() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let none = ask(admin, "GET", "/v1/shards/parked").await;
    assert_eq!((none.status, none.json()), (200, json!({ "shards": [], "more": false })));
    let shard = lose(&node, "a").await;
    let parked = ask(admin, "GET", "/v1/shards/parked").await.json();
    let lost = json!([{
        "shard": shard, "journal": "default", "problem": "events-lost",
        "reason": "the journal had acknowledged 1:1.1.0, and holds nothing",
        "acknowledged": "1:1.1.0", "held": null,
    }]);
    assert_eq!(parked, json!({ "shards": lost, "more": false }));
    let accept = format!("/v1/shards/{shard}/accept-loss");
    ask(admin, "GET", &accept).await.is_problem(405, "method-not-allowed", "none");
    let accepted = ask(admin, "POST", &accept).await;
    assert_eq!((accepted.status, accepted.json()), (200, json!({ "accepted": lost })));
    assert_eq!(node.post(&counter("a"), INCREMENT).await.json(), json!({ "value": 1 }));
    assert_eq!(
        ask(admin, "POST", &accept).await.json(),
        json!({ "accepted": [] }),
        "nothing is lost any more"
    );
    assert_eq!(ask(admin, "GET", "/v1/shards/parked").await.json(), none.json());
}

#[tokio::test]
async fn a_shard_whose_journal_holds_what_it_did_not_write_is_shown_and_goes_on_once_it_is_released() {
    let node = Node::start().await;
    let admin = node.admin().await;
    node.journal(Mode::WriteDamaged);
    node.post(&counter("a"), INCREMENT).await.is_problem(503, "journal-damaged", "unknown");
    let shard = id("a").hash().shard(ShardCount::new(SHARDS.get()).expect("in range")).0;
    let parked = ask(admin, "GET", "/v1/shards/parked").await.json();
    let shown =
        json!([{ "shard": shard, "journal": "default", "problem": "journal-damaged", "reason": SECRET }]);
    assert_eq!(parked, json!({ "shards": shown, "more": false }));
    let order = async |verb: &str| ask(admin, "POST", &format!("/v1/shards/{shard}/{verb}")).await;
    assert_eq!(order("accept-loss").await.json(), json!({ "accepted": [] }), "nothing is lost");

    let released = order("release").await;
    assert_eq!((released.status, released.json()), (200, json!({ "released": shown })));
    node.post(&counter("a"), INCREMENT).await.is_problem(503, "journal-damaged", "unknown");
    node.journal(Mode::Fine);
    node.post(&counter("a"), INCREMENT).await.is_problem(503, "journal-damaged", "none");
    assert_eq!(order("release").await.json(), json!({ "released": shown }));
    assert_eq!(node.post(&counter("a"), INCREMENT).await.json(), json!({ "value": 1 }));
    assert_eq!(order("release").await.json(), json!({ "released": [] }), "it is parked no more");
}

#[tokio::test]
async fn a_list_of_parked_shards_has_a_limit_and_only_shards_that_there_are_can_be_released() {
    let node = Node::start().await;
    let admin = node.admin().await;
    let mut lost = std::collections::BTreeSet::new();
    for name in (0..).map(|n| n.to_string()) {
        let shard = id(&name).hash().shard(ShardCount::new(SHARDS.get()).expect("in range")).0;
        if !lost.contains(&shard) {
            lost.insert(lose(&node, &name).await);
        }
        if lost.len() == 3 {
            break;
        }
    }
    for (limit, shown, more) in [(2, 2, true), (3, 3, false)] {
        let page = ask(admin, "GET", &format!("/v1/shards/parked?limit={limit}")).await.json();
        assert_eq!(
            (page["shards"].as_array().map(Vec::len), page["more"].as_bool()),
            (Some(shown), Some(more))
        );
    }
    ask(admin, "GET", "/v1/shards/parked?limit=0").await.is_problem(400, "bad-parameter", "none");
    let free = (0..SHARDS.get()).find(|shard| !lost.contains(shard)).expect("one of them");
    let accepted = ask(admin, "POST", &format!("/v1/shards/{free}/accept-loss")).await;
    assert_eq!(accepted.json(), json!({ "accepted": [] }));
    for bad in ["16", "-1", "x", "%30", "99999999999999999999", "4294967296"] {
        for verb in ["accept-loss", "release"] {
            let path = format!("/v1/shards/{bad}/{verb}");
            let problem = ask(admin, "POST", &path).await.is_problem(404, "unknown-path", "none");
            let detail = problem["detail"].as_str().expect("words");
            assert!(detail.contains("0 to 15") && detail.contains(verb), "{problem}");
        }
    }
    let query = format!("/v1/shards/{free}/accept-loss?yes=1");
    ask(admin, "POST", &query).await.is_problem(400, "bad-parameter", "none");
}

#[tokio::test]
async fn clients_reach_no_order_and_operators_no_entity() {
    let node = Node::start().await;
    let admin = node.admin().await;
    node.send("POST", "/v1/entities/counter/a/release", &[], "").await.is_problem(
        404,
        "unknown-path",
        "none",
    );
    let problem = ask(admin, "GET", &counter("a")).await.is_problem(404, "unknown-path", "none");
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("admin listener")), "{problem}");
    node.send("POST", "/v1/shards/0/accept-loss", &[], "").await.is_problem(404, "unknown-path", "none");
    for path in ["/livez", "/readyz", "/healthz", "/metrics"] {
        assert_eq!(ask(admin, "GET", path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn operators_are_answered_while_clients_hold_all_places() {
    let api = ApiConfig { max_concurrent_requests: NonZeroUsize::MIN, ..ApiConfig::default() };
    let node = Node::start_with(Setup { api, ..Setup::default() }).await;
    let admin = node.admin().await;
    node.journal(Mode::ReadHangs);
    let mut held = node.client().await;
    let headers = [JSON, ("abide-timeout-ms", "60000")];
    held.send(&request("POST", &counter("a"), &headers, INCREMENT)).await;
    while node.region.status().recoveries == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    node.post(&counter("b"), INCREMENT).await.is_problem(429, "node-busy", "none");
    assert_eq!(ask(admin, "GET", "/v1/entities/parked").await.status, 200);
}
