//! What clients get when all goes well.

mod common;

use common::client::request;
use common::{JSON, Node, counter};

#[tokio::test]
async fn a_command_is_answered_with_its_reply_and_the_sequence_number() {
    let node = Node::start().await;
    for step in 1..=3 {
        let response = node.post(&counter("a"), r#"{"type":"increment","by":2}"#).await;
        assert_eq!((response.status, response.json()["value"].as_i64()), (200, Some(2 * step)));
        assert_eq!(response.header("etag"), Some(format!("\"{step}\"").as_str()));
        assert_eq!(response.header("content-type"), Some("application/json"));
        assert_eq!(response.header("cache-control"), Some("no-store"));
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    }
}

#[tokio::test]
async fn a_command_that_ends_without_a_reply_gets_204_and_the_sequence_number() {
    let node = Node::start().await;
    let response = node.post(&counter("a"), r#"{"type":"increment-quietly"}"#).await;
    assert_eq!((response.status, response.body.as_str()), (204, ""));
    assert_eq!(response.header("etag"), Some("\"1\""));
    assert_eq!(response.header("content-type"), None);
}

#[tokio::test]
async fn the_state_of_an_entity_is_read_with_its_sequence_number() {
    let node = Node::start().await;
    let fresh = node.get(&counter("a")).await;
    assert_eq!(
        (fresh.status, fresh.header("etag"), fresh.json()["value"].as_i64()),
        (200, Some("\"0\""), Some(0))
    );
    node.post(&counter("a"), r#"{"type":"increment","by":5}"#).await;
    let response = node.get(&counter("a")).await;
    assert_eq!((response.header("etag"), response.json()["value"].as_i64()), (Some("\"1\""), Some(5)));
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let node = Node::start().await;
    let response = node.send("HEAD", &counter("a"), &[], "").await;
    assert_eq!((response.status, response.header("etag")), (200, Some("\"0\"")));
}

#[tokio::test]
async fn a_rejection_is_409_with_the_typed_rejection() {
    let node = Node::start().await;
    let body = node.post(&counter("a"), r#"{"type":"refuse"}"#).await.is_problem(409, "rejected", "none");
    assert_eq!(body["rejection"], serde_json::json!({ "reason": "no", "value": 0 }));
}

#[tokio::test]
async fn one_connection_carries_many_requests_even_ahead_of_their_answers() {
    let node = Node::start().await;
    let mut client = node.client().await;
    let increment = request("POST", &counter("a"), &[JSON], r#"{"type":"increment","by":1}"#);
    client.send(&increment.repeat(3)).await;
    for value in 1..=3 {
        assert_eq!(client.read().await.json()["value"], value);
    }
}

#[tokio::test]
async fn a_body_in_chunks_is_a_body() {
    let node = Node::start().await;
    let head = "POST /v1/entities/counter/a HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let mut client = node.client().await;
    client.send(format!("{head}9\r\n{{\"type\":\"\r\n").as_bytes()).await;
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    client.send(b"5\r\nget\"}\r\n0\r\n\r\n").await;
    assert_eq!(client.read().await.status, 200);
}

#[tokio::test]
async fn a_json_suffix_and_parameters_of_the_content_type_are_accepted() {
    let node = Node::start().await;
    for given in ["application/json; charset=utf-8", "application/vnd.shop.v1+json"] {
        let response =
            node.send("POST", &counter("a"), &[("content-type", given)], r#"{"type":"get"}"#).await;
        assert_eq!(response.status, 200, "{given}");
    }
}

#[tokio::test]
async fn a_trace_parent_is_accepted() {
    let node = Node::start().await;
    let parent = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert_eq!(node.send("POST", &counter("a"), &[JSON, parent], r#"{"type":"get"}"#).await.status, 200);
}
