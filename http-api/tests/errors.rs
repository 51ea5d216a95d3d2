//! The design's table of errors, row by row.

mod common;

use std::time::Duration;

use abide_http_api::{ApiConfig, ServeConfig};
use common::client::request;
use common::journal::{Mode, SECRET};
use common::{JSON, Node, Setup, counter};

const GET: &str = r#"{"type":"get"}"#;
const INCREMENT: &str = r#"{"type":"increment","by":1}"#;

// 400

#[tokio::test]
async fn a_body_that_is_not_json_is_400() {
    let node = Node::start().await;
    for body in ["{", "increment", "{\"type\":\"get\",}", "[1 2]", "nul", "{\"type\":\"get\"} x"] {
        let problem = node.post(&counter("a"), body).await.is_problem(400, "not-json", "none");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("line 1")), "{problem}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_utf_8_is_400() {
    let node = Node::start().await;
    let mut bytes = request("POST", &counter("a"), &[JSON, ("content-length", "14")], "");
    bytes.extend_from_slice(b"{\"type\":\"\xFFet\"}");
    node.client().await.ask(&bytes).await.is_problem(400, "not-json", "none");
}

#[tokio::test]
async fn an_empty_body_is_400() {
    let node = Node::start().await;
    node.post(&counter("a"), "").await.is_problem(400, "not-json", "none");
    let chunked = [JSON, ("transfer-encoding", "chunked")];
    let mut bytes = request("POST", &counter("a"), &chunked, "");
    bytes.extend_from_slice(b"0\r\n\r\n");
    node.client().await.ask(&bytes).await.is_problem(400, "not-json", "none");
}

#[tokio::test]
async fn a_time_out_that_is_none_is_400() {
    let node = Node::start().await;
    for value in ["0", "-1", "+5", "1.5", "5s", "", "120001", "99999999999999999999999", "5, 6"] {
        let headers = [JSON, ("abide-timeout-ms", value)];
        let response = node.send("POST", &counter("a"), &headers, GET).await;
        let problem = response.is_problem(400, "bad-header", "none");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("1 to 120000")), "{value}");
    }
    for value in ["1000", "120000"] {
        let headers = [JSON, ("abide-timeout-ms", value)];
        assert_eq!(node.send("POST", &counter("a"), &headers, GET).await.status, 200, "{value}");
    }
    let twice = [JSON, ("abide-timeout-ms", "5"), ("abide-timeout-ms", "6")];
    node.send("POST", &counter("a"), &twice, GET).await.is_problem(400, "bad-header", "none");
}

// 404, 405

#[tokio::test]
async fn an_unknown_entity_type_is_404_and_the_known_ones_are_named() {
    let node = Node::start().await;
    for path in ["/v1/entities/conter/a", "/v1/entities/Counter/a", "/v1/entities/%2F/a", "/v1/entities//a"] {
        let problem = node.post(path, GET).await.is_problem(404, "unknown-entity-type", "none");
        assert_eq!(problem["types"], serde_json::json!(["counter", "mute"]));
        node.get(path).await.is_problem(404, "unknown-entity-type", "none");
    }
}

#[tokio::test]
async fn an_unknown_path_is_404() {
    let node = Node::start().await;
    for path in ["/", "/v1", "/v1/entities", "/v2/entities/counter/a", "/livez/", "/favicon.ico"] {
        node.get(path).await.is_problem(404, "unknown-path", "none");
    }
}

#[tokio::test]
async fn a_wrong_method_is_405_and_the_right_ones_are_named() {
    let node = Node::start().await;
    for (method, path, allowed) in [
        ("PUT", counter("a"), "GET,HEAD,POST"),
        ("DELETE", counter("a"), "GET,HEAD,POST"),
        ("BREW", counter("a"), "GET,HEAD,POST"),
        ("POST", "/livez".to_owned(), "GET,HEAD"),
        ("POST", "/metrics".to_owned(), "GET,HEAD"),
    ] {
        let response = node.send(method, &path, &[], "").await;
        response.is_problem(405, "method-not-allowed", "none");
        assert_eq!(response.header("allow"), Some(allowed));
    }
}

// 408, 413, 415, 422

#[tokio::test]
async fn a_body_that_does_not_come_in_time_is_408() {
    let node = Node::start().await;
    let mut client = node.client().await;
    let headers = [JSON, ("content-length", "100"), ("abide-timeout-ms", "80")];
    let response = client.ask(&request("POST", &counter("a"), &headers, "")).await;
    response.is_problem(408, "slow-body", "none");
    assert_eq!(response.header("connection"), Some("close"));
    assert!(client.is_closed_within(Duration::from_secs(1)).await);
}

#[tokio::test]
async fn a_body_that_drips_is_408() {
    let node = Node::start().await;
    let mut client = node.client().await;
    let headers = [JSON, ("content-length", "100"), ("abide-timeout-ms", "150")];
    client.send(&request("POST", &counter("a"), &headers, "")).await;
    for _ in 0..10 {
        client.try_send(b" ").await;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    client.read().await.is_problem(408, "slow-body", "none");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_413_by_its_announcement_alone() {
    let node = Node::start().await;
    let headers = [JSON, ("content-length", "1048577")];
    let response = node.client().await.ask(&request("POST", &counter("a"), &headers, "")).await;
    let problem = response.is_problem(413, "body-too-large", "none");
    assert_eq!(problem["max_bytes"], 1 << 20);
}

#[tokio::test]
async fn a_client_that_sends_all_of_a_large_body_first_still_reads_its_413() {
    let node = Node::start().await;
    let body = " ".repeat(8 << 20);
    let response = node.post(&counter("a"), &body).await;
    response.is_problem(413, "body-too-large", "none");
    assert_eq!(response.header("connection"), Some("close"));
}

#[tokio::test]
async fn a_body_of_unknown_length_that_grows_too_large_is_413() {
    let api = ApiConfig { max_body_bytes: 1000, ..ApiConfig::default() };
    let node = Node::start_with(Setup { api, ..Setup::default() }).await;
    let mut client = node.client().await;
    client.send(&request("POST", &counter("a"), &[JSON, ("transfer-encoding", "chunked")], "")).await;
    for _ in 0..20 {
        client.try_send(format!("64\r\n{}\r\n", " ".repeat(100)).as_bytes()).await;
    }
    client.read().await.is_problem(413, "body-too-large", "none");
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_accepted() {
    let api = ApiConfig { max_body_bytes: 100, ..ApiConfig::default() };
    let node = Node::start_with(Setup { api, ..Setup::default() }).await;
    assert_eq!(node.post(&counter("a"), &format!("{GET:100}")).await.status, 200);
    node.post(&counter("a"), &format!("{GET:101}")).await.is_problem(413, "body-too-large", "none");
}

#[tokio::test]
async fn a_refused_small_body_leaves_its_connection_usable() {
    let node = Node::start().await;
    let mut client = node.client().await;
    let text = [("content-type", "text/plain")];
    client.ask(&request("POST", &counter("a"), &text, GET)).await.is_problem(
        415,
        "unsupported-media-type",
        "none",
    );
    client.ask(&request("POST", "/nowhere", &[], GET)).await.is_problem(404, "unknown-path", "none");
    client.ask(&request("GET", &counter("a"), &[], "a body that GET does not have")).await;
    assert_eq!(client.ask(&request("POST", &counter("a"), &[JSON], GET)).await.status, 200);
}

#[tokio::test]
async fn who_asks_before_sending_a_body_is_told_no_before_it() {
    let node = Node::start().await;
    let expect = ("expect", "100-continue");
    let refused = [("content-type", "text/plain"), expect, ("content-length", "14")];
    let response = node.client().await.ask(&request("POST", &counter("a"), &refused, "")).await;
    response.is_problem(415, "unsupported-media-type", "none");
    assert_eq!(response.header("connection"), Some("close"));
    let mut client = node.client().await;
    let welcome = [JSON, expect, ("content-length", "14")];
    assert_eq!(client.ask(&request("POST", &counter("a"), &welcome, "")).await.status, 100);
    client.send(GET.as_bytes()).await;
    assert_eq!(client.read().await.status, 200);
}

#[tokio::test]
async fn a_body_that_is_not_json_by_its_content_type_is_415_and_says_what_to_do() {
    let node = Node::start().await;
    let form = ("content-type", "application/x-www-form-urlencoded");
    let gzip = ("content-encoding", "gzip");
    for (headers, word) in [
        (&[form][..], "-H 'content-type: application/json'"),
        (&[], "no content type"),
        (&[JSON, gzip], "encoding"),
    ] {
        let response = node.send("POST", &counter("a"), headers, GET).await;
        let problem = response.is_problem(415, "unsupported-media-type", "none");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(word)), "{problem}");
    }
}

#[tokio::test]
async fn json_that_is_no_command_is_422_with_the_path_of_the_fault() {
    let node = Node::start().await;
    for (body, word) in [
        (r#"{"type":"explode"}"#, "unknown variant `explode`"),
        (r#"{"type":"increment"}"#, "missing field `by`"),
        (r#"{"type":"increment","by":"one"}"#, "expected i64"),
        ("[]", "missing field `type`"),
        ("null", "expected"),
    ] {
        let problem = node.post(&counter("a"), body).await.is_problem(422, "not-a-command", "none");
        assert!(problem["path"].is_string(), "{problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(word)), "{problem}");
    }
}

#[tokio::test]
async fn an_event_that_no_journal_takes_is_422_and_the_entity_goes_on() {
    let node = Node::start().await;
    let response = node.post(&counter("a"), r#"{"type":"persist-large"}"#).await;
    response.is_problem(422, "event-rejected", "none");
    assert_eq!(node.post(&counter("a"), INCREMENT).await.json()["value"], 1);
}

// 429

#[tokio::test]
async fn a_full_entity_is_429() {
    let node = Node::start_with(Setup { stash_capacity: 2, ..Setup::default() }).await;
    node.journal(Mode::ReadHangs);
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let mut client = node.client().await;
        client.send(&request("POST", &counter("a"), &[JSON], GET)).await;
        waiting.push(client);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let problem = node.post(&counter("a"), GET).await.is_problem(429, "entity-busy", "none");
    assert_eq!(problem["capacity"], 2);
}

#[tokio::test]
async fn a_full_node_is_429_before_the_body_is_read_and_health_still_answers() {
    let one = const { std::num::NonZeroUsize::new(1).expect("not zero") };
    let api = ApiConfig { max_concurrent_requests: one, ..ApiConfig::default() };
    let node = Node::start_with(Setup { api, ..Setup::default() }).await;
    node.journal(Mode::ReadHangs);
    let mut waiting = node.client().await;
    waiting.send(&request("POST", &counter("a"), &[JSON], GET)).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let announced = [JSON, ("content-length", "100000")];
    let response = node.client().await.ask(&request("POST", &counter("b"), &announced, "")).await;
    let problem = response.is_problem(429, "node-busy", "none");
    assert_eq!(problem["capacity"], 1);
    assert_eq!(node.get("/livez").await.status, 200);
    drop(waiting);
    tokio::time::sleep(Duration::from_millis(50)).await;
    node.journal(Mode::Fine);
    assert_eq!(node.post(&counter("b"), GET).await.status, 200, "the place is free again");
}

// 500, 501

#[tokio::test]
async fn a_panic_of_the_entity_is_500_and_keeps_its_words_to_itself() {
    let node = Node::start().await;
    let response = node.post(&counter("a"), r#"{"type":"panic"}"#).await;
    response.is_problem(500, "entity-panicked", "none");
    assert!(!response.body.contains(SECRET));
    assert_eq!(node.post(&counter("a"), INCREMENT).await.status, 200);
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_500() {
    let node = Node::start().await;
    let response = node.post(&counter("a"), r#"{"type":"answer-badly"}"#).await;
    response.is_problem(500, "answer-not-encodable", "none");
    let response = node.post(&counter("a"), r#"{"type":"persist-and-answer-badly"}"#).await;
    response.is_problem(500, "answer-not-encodable", "unknown");
}

#[tokio::test]
async fn a_request_that_is_let_go_without_an_answer_is_500() {
    let node = Node::start().await;
    let mut first = node.client().await;
    first.send(&request("POST", "/v1/entities/mute/a", &[JSON], "1")).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut second = node.client().await;
    second.send(&request("POST", "/v1/entities/mute/a", &[JSON], "2")).await;
    first.read().await.is_problem(500, "abandoned", "unknown");
}

#[tokio::test]
async fn a_panic_of_the_gateway_is_500_and_the_process_lives() {
    let metrics: abide_http_api::RenderMetrics = std::sync::Arc::new(|| panic!("{SECRET}"));
    let node = Node::start_with(Setup { metrics, ..Setup::default() }).await;
    let response = node.get("/metrics").await;
    response.is_problem(500, "gateway-panicked", "unknown");
    assert!(!response.body.contains(SECRET));
    assert_eq!(node.get("/livez").await.status, 200);
}

#[tokio::test]
async fn what_is_not_supported_yet_is_501_and_never_ignored() {
    let node = Node::start().await;
    let response = node.send("POST", &counter("a"), &[JSON, ("idempotency-key", "k")], INCREMENT).await;
    assert_eq!(response.is_problem(501, "not-supported", "none")["header"], "Idempotency-Key");
    for path in [counter("a"), format!("{}/events", counter("a")), "/v1/entities/counter".to_owned()] {
        let response = node.send("GET", &path, &[("if-match", "\"1\"")], "").await;
        assert_eq!(response.is_problem(501, "not-supported", "none")["header"], "If-Match");
    }
    assert_eq!(node.post(&counter("a"), GET).await.json()["value"], 0, "nothing was handled");
}

// 412

#[tokio::test]
async fn a_command_is_handled_only_if_its_condition_holds() {
    let node = Node::start().await;
    let increment_if =
        async |tag: &str| node.send("POST", &counter("a"), &[JSON, ("if-match", tag)], INCREMENT).await;
    assert_eq!(increment_if("\"0\"").await.status, 200, "an entity without events ends with 0");
    let refused = increment_if("\"0\"").await.is_problem(412, "condition-failed", "none");
    assert_eq!((&refused["last"], &refused["expected"]), (&1.into(), &0.into()));
    assert_eq!(node.post(&counter("a"), GET).await.json()["value"], 1, "it was not handled");
    assert_eq!(increment_if("\"1\"").await.header("etag"), Some("\"2\""));
}

#[tokio::test]
async fn a_condition_that_is_no_etag_of_ours_is_400() {
    let node = Node::start().await;
    for tag in ["1", "*", "\"\"", "\"-1\"", "W/\"1\"", "\"1\", \"2\"", "\"18446744073709551616\"", "\"1"] {
        let response = node.send("POST", &counter("a"), &[JSON, ("if-match", tag)], INCREMENT).await;
        response.is_problem(400, "bad-header", "none");
    }
    let twice = [JSON, ("if-match", "\"0\""), ("if-match", "\"0\"")];
    node.send("POST", &counter("a"), &twice, INCREMENT).await.is_problem(400, "bad-header", "none");
    assert_eq!(node.post(&counter("a"), GET).await.json()["value"], 0, "nothing was handled");
}

// 503

#[tokio::test]
async fn a_journal_that_refuses_is_503_and_nothing_happened() {
    let node = Node::start().await;
    node.journal(Mode::WriteRefused);
    let response = node.post(&counter("a"), INCREMENT).await;
    response.is_problem(503, "journal-failed", "none");
    assert!(!response.body.contains(SECRET));
}

#[tokio::test]
async fn a_journal_that_leaves_it_open_is_503_with_unknown_outcome() {
    let node = Node::start().await;
    node.journal(Mode::WriteUnknown);
    let response = node.post(&counter("a"), INCREMENT).await;
    response.is_problem(503, "journal-failed", "unknown");
    assert!(!response.body.contains(SECRET));
}

#[tokio::test]
async fn a_journal_that_is_left_alone_is_503_with_the_time_until_it_is_tried_again_and_states_are_shown() {
    let node = Node::start().await;
    assert_eq!(node.post(&counter("a"), INCREMENT).await.json()["value"], 1);
    node.journal(Mode::Rests(Duration::from_secs(25)));
    let response = node.post(&counter("a"), INCREMENT).await;
    response.is_problem(503, "journal-unavailable", "none");
    let pause: u64 = response.header("retry-after").expect("a pause").parse().expect("whole seconds");
    assert!((25..=26).contains(&pause), "{pause}");
    let conditional = [JSON, ("if-match", "\"1\"")];
    let response = node.send("POST", &counter("a"), &conditional, INCREMENT).await;
    response.is_problem(503, "journal-unavailable", "none");
    assert_eq!(node.get(&counter("a")).await.json()["value"], 1);
    node.journal(Mode::Fine);
    assert_eq!(node.post(&counter("a"), INCREMENT).await.json()["value"], 2, "none of them ran");
}

#[tokio::test]
async fn a_journal_that_has_lost_events_is_503_until_an_operator_accepts_it() {
    let node = Node::start().await;
    node.journal(Mode::WriteLost);
    let response = node.post(&counter("a"), INCREMENT).await;
    response.is_problem(503, "events-lost", "none");
    assert_eq!(response.header("retry-after"), Some("30"));
    node.journal(Mode::Fine);
    node.post(&counter("a"), INCREMENT).await.is_problem(503, "events-lost", "none");
    node.get(&counter("a")).await.is_problem(503, "events-lost", "none");
}

#[tokio::test]
async fn a_journal_that_holds_what_it_did_not_write_is_503_until_an_operator_releases_the_shard() {
    let node = Node::start().await;
    node.journal(Mode::WriteDamaged);
    let response = node.post(&counter("a"), INCREMENT).await;
    response.is_problem(503, "journal-damaged", "unknown");
    assert_eq!(response.header("retry-after"), Some("30"));
    assert!(!response.body.contains(SECRET));
    node.journal(Mode::Fine);
    node.get(&counter("a")).await.is_problem(503, "journal-damaged", "none");
}

#[tokio::test]
async fn a_parked_entity_is_503_and_others_live_on() {
    let node = Node::start().await;
    node.journal(Mode::ReadDamaged);
    let response = node.post(&counter("a"), INCREMENT).await;
    response.is_problem(503, "entity-parked", "none");
    assert_eq!(response.header("retry-after"), Some("30"));
    assert!(!response.body.contains(SECRET));
    node.journal(Mode::Fine);
    assert_eq!(node.post(&counter("b"), INCREMENT).await.status, 200);
    node.get(&counter("a")).await.is_problem(503, "entity-parked", "none");
}

#[tokio::test]
async fn a_shard_that_is_taken_is_503_and_has_no_owner_then() {
    let node = Node::start().await;
    node.journal(Mode::WriteFenced);
    node.post(&counter("a"), INCREMENT).await.is_problem(503, "shard-lost", "none");
    node.journal(Mode::Fine);
    node.post(&counter("a"), INCREMENT).await.is_problem(503, "no-owner", "none");
}

#[tokio::test]
async fn a_shard_that_nobody_has_is_503() {
    let node = Node::start_with(Setup { assigned: false, ..Setup::default() }).await;
    node.post(&counter("a"), INCREMENT).await.is_problem(503, "no-owner", "none");
}

#[tokio::test]
async fn a_region_that_has_stopped_is_503() {
    let node = Node::start().await;
    node.region.stop().await;
    node.post(&counter("a"), INCREMENT).await.is_problem(503, "shutting-down", "none");
}

// 504

#[tokio::test]
async fn a_deadline_that_passes_before_the_entity_ran_is_504_and_nothing_happened() {
    let node = Node::start().await;
    node.journal(Mode::ReadHangs);
    let headers = [JSON, ("abide-timeout-ms", "50")];
    let response = node.send("POST", &counter("a"), &headers, INCREMENT).await;
    response.is_problem(504, "expired", "none");
}

#[tokio::test]
async fn a_journal_that_cannot_be_read_is_tried_until_the_deadline() {
    let node = Node::start().await;
    node.journal(Mode::ReadFails);
    let headers = [JSON, ("abide-timeout-ms", "50")];
    let response = node.send("POST", &counter("a"), &headers, INCREMENT).await;
    response.is_problem(504, "expired", "none");
    let mut waiting = node.client().await;
    waiting.send(&request("POST", &counter("a"), &[JSON], INCREMENT)).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    node.journal(Mode::Fine);
    assert_eq!(waiting.read().await.status, 200);
}

#[tokio::test]
async fn a_deadline_that_passes_while_the_entity_writes_is_504_with_unknown_outcome() {
    let node = Node::start().await;
    node.journal(Mode::WriteHangs);
    let headers = [JSON, ("abide-timeout-ms", "50")];
    let response = node.send("POST", &counter("a"), &headers, INCREMENT).await;
    response.is_problem(504, "timed-out", "unknown");
    let read = node.send("GET", &counter("a"), &headers[1..], "").await;
    assert_eq!((read.status, read.json()["outcome"].as_str()), (504, Some("none")), "a read changes nothing");
}

#[tokio::test]
async fn the_default_time_out_holds_where_none_is_named() {
    let api = ApiConfig { default_timeout: Duration::from_millis(50), ..ApiConfig::default() };
    let node = Node::start_with(Setup { api, ..Setup::default() }).await;
    node.journal(Mode::WriteHangs);
    node.post(&counter("a"), INCREMENT).await.is_problem(504, "timed-out", "unknown");
}

// what no handler sees

#[tokio::test]
async fn bytes_that_are_no_http_are_refused_and_harm_nobody() {
    let node = Node::start().await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
    ] {
        let mut client = node.client().await;
        assert_eq!(client.ask(bytes).await.status, 400);
        assert!(client.is_closed_within(Duration::from_secs(1)).await);
    }
    assert_eq!(node.get("/livez").await.status, 200);
}

#[tokio::test]
async fn odd_targets_are_refused_and_harm_nobody() {
    let node = Node::start().await;
    for line in ["OPTIONS *", "CONNECT host:80", "GET http://other/v1/entities/conter/a"] {
        let response =
            node.client().await.ask(format!("{line} HTTP/1.1\r\nhost: t\r\n\r\n").as_bytes()).await;
        assert!(matches!(response.status, 404 | 405), "{line}: {response:?}");
    }
    let absolute =
        node.client().await.ask(b"GET http://other/v1/entities/counter/a HTTP/1.1\r\nhost: t\r\n\r\n").await;
    assert_eq!(absolute.status, 200);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_431() {
    let serve = ServeConfig { max_head_bytes: 8192, ..ServeConfig::default() };
    let node = Node::start_with(Setup { serve, ..Setup::default() }).await;
    let long = "x".repeat(20_000);
    let response = node.send("GET", &counter("a"), &[("x-long", &long)], "").await;
    assert_eq!(response.status, 431);
    let many: Vec<_> = (0..200).map(|_| ("x-many", "1")).collect();
    assert_eq!(node.send("GET", &counter("a"), &many, "").await.status, 431);
}
