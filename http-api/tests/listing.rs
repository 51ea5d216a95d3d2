//! The ids of a type, in pages.

mod common;

use std::collections::BTreeSet;

use common::journal::{Mode, SECRET};
use common::{Node, counter};
use serde_json::json;

const IDS: &str = "/v1/entities/counter";

async fn touch(node: &Node, ids: &[&str]) {
    for id in ids {
        let encoded: String = id.bytes().map(|byte| format!("%{byte:02X}")).collect();
        assert_eq!(node.post(&counter(&encoded), r#"{"type":"increment-quietly"}"#).await.status, 204);
    }
}

async fn all(node: &Node, limit: usize) -> Vec<String> {
    let (mut ids, mut next) = (Vec::new(), None::<String>);
    loop {
        let after = next.map_or(String::new(), |next| format!("&after={next}"));
        let page = node.get(&format!("{IDS}?limit={limit}{after}")).await;
        assert_eq!(page.status, 200, "{page:?}");
        let page = page.json();
        let found = page["ids"].as_array().expect("ids");
        assert!(found.len() <= limit);
        ids.extend(found.iter().map(|id| id.as_str().expect("text").to_owned()));
        match page["next"].as_str() {
            Some(cursor) => next = Some(cursor.to_owned()),
            None => return ids,
        }
    }
}

#[tokio::test]
async fn every_id_with_events_is_listed_once_whatever_the_size_of_pages() {
    let node = Node::start().await;
    let names: Vec<String> = (0..40).map(|n| format!("entity-{n}")).collect();
    let mut ids: Vec<&str> = names.iter().map(String::as_str).collect();
    ids.extend(["a", "a/b", "a|b", "ü €", "%2F", "日本語", "\"", "?x=1&y"]);
    touch(&node, &ids).await;
    node.get(&counter("only-read")).await;
    node.post(&counter("refused"), r#"{"type":"refuse"}"#).await;
    let expected: BTreeSet<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    for limit in [1, 2, 7, 48, 1000] {
        let listed = all(&node, limit).await;
        assert_eq!(listed.len(), expected.len(), "pages of {limit}");
        assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), expected, "pages of {limit}");
    }
    assert_eq!(all(&node, 7).await, all(&node, 5).await, "the order is always the same");
}

#[tokio::test]
async fn a_type_without_entities_is_an_empty_page() {
    let node = Node::start().await;
    let response = node.get("/v1/entities/mute").await;
    assert_eq!((response.status, response.json()), (200, json!({ "ids": [] })));
    assert_eq!(response.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn nonsense_is_refused() {
    let node = Node::start().await;
    for (query, parameter) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=ten", "limit"),
        ("after=entity-1", "after"),
        ("after=99.61", "after"),
        ("after=1.6", "after"),
        ("after=", "after"),
        ("from=1", "from"),
    ] {
        let problem = node.get(&format!("{IDS}?{query}")).await.is_problem(400, "bad-parameter", "none");
        assert_eq!(problem["parameter"], parameter, "{query}");
    }
    let problem = node.get("/v1/entities/conter").await.is_problem(404, "unknown-entity-type", "none");
    assert_eq!(problem["types"], json!(["counter", "mute"]));
    node.get("/v1/entities/%zz").await.is_problem(400, "bad-target", "none");
    node.post(IDS, "{}").await.is_problem(405, "method-not-allowed", "none");
}

#[tokio::test]
async fn a_journal_that_fails_or_hangs_is_told_without_its_words() {
    let node = Node::start().await;
    for (mode, status, slug) in
        [(Mode::ReadFails, 503, "journal-failed"), (Mode::ReadHangs, 504, "timed-out")]
    {
        node.journal(mode);
        let response = node.send("GET", IDS, &[("abide-timeout-ms", "60")], "").await;
        response.is_problem(status, slug, "none");
        assert!(!response.body.contains(SECRET));
    }
}
