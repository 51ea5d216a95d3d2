//! Ids come to the entity exactly as the client meant them, or not at all.

mod common;

use common::{Node, counter};

fn encoded(id: &str) -> String {
    id.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn ids_round_trip_percent_encoded() {
    let node = Node::start().await;
    let longest = "ü".repeat(127);
    let ids = [
        "a",
        "A",
        "a/b",
        "/",
        "//",
        "a b",
        " ",
        "+",
        "a+b",
        "a|b",
        "|",
        ".",
        "..",
        "../..",
        "a/../b",
        "%",
        "%2F",
        "?",
        "#",
        "a?b=c&d#e",
        "ü",
        "日本語",
        "🦀",
        "e\u{301}",
        "é",
        "\u{200B}",
        "\"",
        "\\",
        "'",
        "{id}",
        "*",
        "~",
        ":",
        ";,=@!$",
        &longest,
    ];
    for id in ids {
        let response = node.post(&counter(&encoded(id)), r#"{"type":"id"}"#).await;
        assert_eq!((response.status, response.json().as_str()), (200, Some(id)), "{id}");
    }
}

#[tokio::test]
async fn ids_need_no_encoding_where_the_path_allows_it() {
    let node = Node::start().await;
    for (written, id) in [
        ("a+b", "a+b"),
        ("..", ".."),
        (".", "."),
        ("a|b", "a|b"),
        ("a:b@c,d;e=f!$&'()*", "a:b@c,d;e=f!$&'()*"),
        ("%61", "a"),
        ("a%2fb", "a/b"),
        ("%252F", "%2F"),
        ("ü", "ü"),
    ] {
        let response = node.post(&counter(written), r#"{"type":"id"}"#).await;
        assert_eq!((response.status, response.json().as_str()), (200, Some(id)), "{written}");
    }
}

#[tokio::test]
async fn two_spellings_of_an_id_are_one_entity_and_two_ids_are_two() {
    let node = Node::start().await;
    let increment = r#"{"type":"increment","by":1}"#;
    for (spelling, value) in [("a%2Fb", 1), ("a%2fb", 2), ("%61%2F%62", 3), ("a%252Fb", 1), ("A%2Fb", 1)] {
        let response = node.post(&counter(spelling), increment).await;
        assert_eq!(response.json()["value"], value, "{spelling}");
    }
}

#[tokio::test]
async fn ids_that_break_the_rules_are_400_with_the_rule() {
    let node = Node::start().await;
    let long = "x".repeat(256);
    for (id, rule) in [
        ("", "at least one character"),
        ("a%00", "U+0000 at byte 1"),
        ("%0A", "U+000A"),
        ("%7F", "U+007F"),
        ("%C2%85", "U+0085"),
        (long.as_str(), "at most 255 bytes"),
    ] {
        let body = node.post(&counter(id), r#"{"type":"id"}"#).await.is_problem(400, "bad-entity-id", "none");
        assert!(body["detail"].as_str().is_some_and(|detail| detail.contains(rule)), "{id}: {body}");
    }
    node.get(&counter("")).await.is_problem(400, "bad-entity-id", "none");
}

#[tokio::test]
async fn what_is_not_percent_encoding_or_not_utf_8_is_400() {
    let node = Node::start().await;
    for id in ["%", "a%2", "%zz", "%FF", "%C0%AF", "%ED%A0%80"] {
        node.post(&counter(id), r#"{"type":"id"}"#).await.is_problem(400, "bad-target", "none");
    }
}

#[tokio::test]
async fn a_raw_slash_in_an_id_is_404() {
    let node = Node::start().await;
    for path in ["a/b", "a/", "/", "a//b"] {
        node.post(&counter(path), r#"{"type":"id"}"#).await.is_problem(404, "unknown-path", "none");
    }
}
