//! Events of an entity, in pages.

mod common;

use std::time::Duration;

use abide_persistence::codec::JSON as JSON_CODEC;
use abide_persistence::envelope::StoredEvent;
use abide_persistence::{EntityId, EntityType, PersistenceId};
use bytes::Bytes;
use common::journal::{Mode, SECRET};
use common::{Node, counter};
use serde_json::{Value, json};

fn events(id: &str, query: &str) -> String {
    format!("{}/events{query}", counter(id))
}

fn persistence_id(id: &str) -> PersistenceId {
    PersistenceId::new(EntityType::new("counter"), EntityId::new(id).expect("an id"))
}

async fn increment(node: &Node, id: &str, times: u64) {
    for by in 1..=times {
        let body = format!("{{\"type\":\"increment\",\"by\":{by}}}");
        assert_eq!(node.post(&counter(id), &body).await.status, 200);
    }
}

fn numbers(page: &Value) -> Vec<u64> {
    let events = page["events"].as_array().expect("events");
    events.iter().map(|event| event["sequence_nr"].as_u64().expect("a number")).collect()
}

#[tokio::test]
async fn events_are_shown_with_number_name_version_time_and_payload() {
    let node = Node::start().await;
    increment(&node, "a", 2).await;
    let response = node.get(&events("a", "")).await;
    assert_eq!((response.status, response.header("content-type")), (200, Some("application/json")));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    let page = response.json();
    assert_eq!((&page["last"], &page["deleted_to"], &page["next"]), (&json!(2), &json!(0), &Value::Null));
    assert_eq!(numbers(&page), [1, 2]);
    let second = &page["events"][1];
    assert_eq!(second["payload"], json!({ "by": 2, "padding": "" }));
    assert_eq!((&second["name"], &second["version"]), (&json!("incremented"), &json!(1)));
    let time = second["time"].as_str().expect("a time");
    let age = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    let told = humantime::parse_rfc3339(time).expect("RFC 3339").duration_since(std::time::UNIX_EPOCH);
    assert!(age - told.expect("after 1970").as_secs() < 60, "{time}");
}

#[tokio::test]
async fn an_entity_without_events_has_an_empty_page() {
    let node = Node::start().await;
    let page = node.get(&events("fresh", "")).await.json();
    assert_eq!(page, json!({ "events": [], "last": 0, "deleted_to": 0 }));
}

#[tokio::test]
async fn pages_follow_each_other_until_there_is_no_next() {
    let node = Node::start().await;
    increment(&node, "a", 7).await;
    let (mut seen, mut next) = (Vec::new(), 1);
    loop {
        let response = node.get(&events("a", &format!("?from={next}&limit=3"))).await;
        let page = response.json();
        seen.extend(numbers(&page));
        let link = response.header("link").map(str::to_owned);
        match page["next"].as_u64() {
            Some(number) => {
                assert_eq!(
                    link,
                    Some(format!("<{}>; rel=\"next\"", events("a", &format!("?from={number}&limit=3"))))
                );
                next = number;
            }
            None => {
                assert_eq!(link, None);
                break;
            }
        }
    }
    assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(numbers(&node.get(&events("a", "?from=7")).await.json()), [7]);
    assert_eq!(
        node.get(&events("a", "?from=8")).await.json(),
        json!({ "events": [], "last": 7, "deleted_to": 0 })
    );
    assert_eq!(numbers(&node.get(&events("a", "?from=18446744073709551615")).await.json()), [0; 0]);
}

#[tokio::test]
async fn events_that_were_deleted_are_told() {
    let node = Node::start().await;
    increment(&node, "a", 5).await;
    node.journal.delete_to(&persistence_id("a"), 3);
    let page = node.get(&events("a", "?limit=1")).await.json();
    assert_eq!((numbers(&page), &page["deleted_to"], &page["next"]), (vec![4], &json!(3), &json!(5)));
    node.journal.delete_to(&persistence_id("a"), 5);
    let page = node.get(&events("a", "")).await.json();
    assert_eq!(page, json!({ "events": [], "last": 5, "deleted_to": 5 }));
}

#[tokio::test]
async fn an_event_that_cannot_be_decoded_is_shown_as_such_and_hides_no_other() {
    let node = Node::start().await;
    let id = persistence_id("a");
    let stored = |sequence_nr: u64, codec: u32, payload: &'static [u8]| {
        StoredEvent {
            sequence_nr,
            codec,
            payload: Bytes::from_static(payload),
            name: "odd\n\"".to_owned(),
            version: 3,
            time_ms: u64::MAX,
            ..StoredEvent::default()
        }
        .to_bytes()
    };
    let good = br#"{"by":1,"padding":""}"#;
    node.journal.append(&id, stored(1, JSON_CODEC, good));
    node.journal.append(&id, stored(2, 77, good));
    node.journal.append(&id, stored(3, JSON_CODEC, b"{}"));
    node.journal.append(&id, Bytes::from_static(b"\xff\xff"));
    node.journal.append(&id, stored(5, JSON_CODEC, good));
    let page = node.get(&events("a", "")).await.json();
    assert_eq!(numbers(&page), [1, 2, 3, 4, 5]);
    for (at, words) in [(1, "77"), (2, "missing field `by`"), (3, "what is stored is no event")] {
        let event = &page["events"][at];
        assert!(event["error"].as_str().is_some_and(|error| error.contains(words)), "{event}");
        assert_eq!(event.get("payload"), None);
    }
    for at in [0, 4] {
        let event = &page["events"][at];
        assert_eq!((&event["payload"]["by"], event.get("error")), (&json!(1), None));
        assert_eq!((&event["name"], &event["version"]), (&json!("odd\n\""), &json!(3)));
        assert_eq!(event["time"], "9999-12-31T23:59:59.999Z");
    }
}

#[tokio::test]
async fn a_page_ends_when_it_is_large_enough() {
    let node = Node::start().await;
    let id = persistence_id("a");
    let padding = "x".repeat(400_000);
    for sequence_nr in 1..=6 {
        let payload = Bytes::from(format!("{{\"by\":1,\"padding\":\"{padding}\"}}"));
        let event = StoredEvent { sequence_nr, codec: JSON_CODEC, payload, ..StoredEvent::default() };
        node.journal.append(&id, event.to_bytes());
    }
    let page = node.get(&events("a", "?limit=1000")).await.json();
    assert_eq!((numbers(&page), &page["next"], &page["last"]), (vec![1, 2, 3], &json!(4), &json!(6)));
}

#[tokio::test]
async fn nonsense_is_400_with_the_parameter() {
    let node = Node::start().await;
    for (query, parameter) in [
        ("?from=0", "from"),
        ("?from=-1", "from"),
        ("?from=x", "from"),
        ("?from=", "from"),
        ("?from=18446744073709551616", "from"),
        ("?limit=0", "limit"),
        ("?limit=1001", "limit"),
        ("?limit=1&limit=2", "limit"),
        ("?form=1", "form"),
    ] {
        let problem = node.get(&events("a", query)).await.is_problem(400, "bad-parameter", "none");
        assert_eq!(problem["parameter"], parameter, "{query}");
    }
    node.get(&events("a", "?from=%zz")).await.is_problem(400, "bad-target", "none");
    node.get(&events("%00", "")).await.is_problem(400, "bad-entity-id", "none");
    node.get("/v1/entities/nothing/a/events").await.is_problem(404, "unknown-entity-type", "none");
    node.get("/v1/entities/counter/a/b/events").await.is_problem(404, "unknown-path", "none");
    node.get("/v1/entities/counter/a/event").await.is_problem(404, "unknown-path", "none");
    let response = node.post(&events("a", ""), "{}").await;
    response.is_problem(405, "method-not-allowed", "none");
    assert_eq!(response.header("allow"), Some("GET,HEAD"));
}

#[tokio::test]
async fn an_entity_may_be_called_events() {
    let node = Node::start().await;
    increment(&node, "events", 1).await;
    assert_eq!(node.get(&counter("events")).await.json()["value"], 1);
    assert_eq!(numbers(&node.get(&events("events", "")).await.json()), [1]);
    increment(&node, "x%2Fevents", 2).await;
    assert_eq!(numbers(&node.get(&events("x%2Fevents", "")).await.json()), [1, 2]);
}

#[tokio::test]
async fn a_journal_that_fails_or_hangs_is_told_without_its_words() {
    let node = Node::start().await;
    increment(&node, "a", 1).await;
    for (mode, status, slug) in [
        (Mode::ReadFails, 503, "journal-failed"),
        (Mode::ReadDamaged, 503, "entity-parked"),
        (Mode::ReadHangs, 504, "timed-out"),
    ] {
        node.journal(mode);
        let response = node.send("GET", &events("a", ""), &[("abide-timeout-ms", "60")], "").await;
        response.is_problem(status, slug, "none");
        assert!(!response.body.contains(SECRET));
    }
}

#[tokio::test]
async fn events_in_flight_are_not_shown() {
    let node = Node::start().await;
    increment(&node, "a", 1).await;
    node.journal(Mode::WriteHangs);
    let mut client = node.client().await;
    let body = r#"{"type":"increment","by":9}"#;
    client.send(&common::client::request("POST", &counter("a"), &[common::JSON], body)).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(numbers(&node.get(&events("a", "")).await.json()), [1]);
}
