//! What operators and their probes see.

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use abide_http_api::{Check, Failure, Readiness};
use common::client::request;
use common::journal::SECRET;
use common::{JSON, Node, Setup, counter};
use serde_json::json;

#[tokio::test]
async fn a_node_that_runs_is_live() {
    let node = Node::start().await;
    let response = node.get("/livez").await;
    assert_eq!((response.status, response.body.as_str()), (200, "ok\n"));
    assert_eq!(node.send("HEAD", "/livez", &[], "").await.status, 200);
}

#[tokio::test]
async fn a_node_is_ready_once_nobody_objects_and_says_who_does() {
    let readiness = Readiness::not_yet("starting", "shards are being claimed");
    let node = Node::start_with(Setup { readiness: readiness.clone(), ..Setup::default() }).await;
    let response = node.get("/readyz").await;
    let reason = json!({ "name": "starting", "reason": "shards are being claimed" });
    assert_eq!(
        (response.status, response.json()),
        (503, json!({ "status": "not-ready", "reasons": [reason] }))
    );
    readiness.clear("starting");
    let response = node.get("/readyz").await;
    assert_eq!((response.status, response.json()), (200, json!({ "status": "ready", "reasons": [] })));
}

#[tokio::test]
async fn a_node_that_drains_serves_on_and_asks_its_clients_to_leave() {
    let readiness = Readiness::ready();
    let node = Node::start_with(Setup { readiness: readiness.clone(), ..Setup::default() }).await;
    let mut client = node.client().await;
    let get = request("POST", &counter("a"), &[JSON], r#"{"type":"get"}"#);
    assert_eq!(client.ask(&get).await.header("connection"), None);
    readiness.drain();
    let response = client.ask(&get).await;
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    assert!(client.is_closed_within(Duration::from_secs(1)).await);
    assert_eq!(node.client().await.ask(&get).await.status, 200, "who comes is served");
    let response = node.get("/readyz").await;
    assert_eq!((response.status, response.json()["reasons"][0]["name"].as_str()), (503, Some("draining")));
    assert_eq!(node.get("/livez").await.status, 200);
}

fn checks() -> Vec<Check> {
    vec![
        Check::new("lanes", || async { Ok(()) }).tag("core"),
        Check::new("journal", || async { Err(SECRET.to_owned()) }).tag("store").tag("core"),
        Check::new("slow", std::future::pending).tag("odd").limit(Duration::from_millis(30)),
        Check::new("broken", || async { panic!("{SECRET}") }).tag("odd"),
        Check::new("fine", || async { Ok(()) }).tag("fine"),
    ]
}

#[tokio::test]
async fn health_tells_each_check_and_keeps_the_reasons() {
    let node = Node::start_with(Setup { checks: checks(), ..Setup::default() }).await;
    let response = node.get("/healthz").await;
    assert_eq!((response.status, response.json()["status"].as_str()), (503, Some("fail")));
    let told = response.json();
    let told: Vec<_> = told["checks"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|check| (&check["name"], &check["status"]))
        .collect();
    let pass = json!("pass");
    let passing: Vec<_> =
        told.iter().filter(|(_, status)| **status == pass).map(|(name, _)| name.as_str()).collect();
    assert_eq!((told.len(), passing), (5, vec![Some("lanes"), Some("fine")]));
    assert!(!response.body.contains(SECRET));
}

#[tokio::test]
async fn health_can_be_asked_by_tag() {
    let node = Node::start_with(Setup { checks: checks(), ..Setup::default() }).await;
    let fine = node.get("/healthz?tag=fine").await;
    let check = json!({ "name": "fine", "tags": ["fine"], "status": "pass" });
    assert_eq!((fine.status, fine.json()), (200, json!({ "status": "pass", "checks": [check] })));
    let core = node.get("/healthz?tag=core").await;
    assert_eq!((core.status, core.json()["checks"].as_array().map(Vec::len)), (503, Some(2)));
    let both = node.get("/healthz?tag=fine&tag=store").await;
    assert_eq!(both.json()["checks"].as_array().map(Vec::len), Some(2));
    node.get("/healthz?tag=fien").await.is_problem(404, "unknown-path", "none");
    node.get("/healthz?tag=%zz").await.is_problem(400, "bad-target", "none");
}

#[tokio::test]
async fn what_is_degraded_is_said_with_200_unless_something_else_fails() {
    let limping = || Check::new("limping", || async { Err(SECRET.to_owned()) }).on_failure(Failure::Degraded);
    let checks = vec![
        limping().tag("store"),
        Check::new("fine", || async { Ok(()) }).tag("store").tag("fine"),
        Check::new("broken", || async { Err(SECRET.to_owned()) }),
    ];
    let node = Node::start_with(Setup { checks, ..Setup::default() }).await;
    let store = node.get("/healthz?tag=store").await;
    assert_eq!((store.status, &store.json()["status"]), (200, &json!("degraded")));
    assert_eq!(store.json()["checks"][0]["status"], json!("degraded"));
    assert!(!store.body.contains(SECRET));
    assert_eq!(node.get("/healthz?tag=fine").await.json()["status"], json!("pass"));
    let all = node.get("/healthz").await;
    assert_eq!((all.status, &all.json()["status"]), (503, &json!("fail")));
}

#[tokio::test]
async fn a_node_without_checks_is_healthy() {
    let node = Node::start().await;
    let response = node.get("/healthz").await;
    assert_eq!((response.status, response.json()), (200, json!({ "status": "pass", "checks": [] })));
}

#[tokio::test]
async fn metrics_are_what_the_renderer_writes() {
    let node = Node::start().await;
    let response = node.get("/metrics").await;
    assert_eq!((response.status, response.body.as_str()), (200, "# metrics\n"));
    assert_eq!(response.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
}

#[tokio::test]
async fn requests_are_counted_by_route_method_and_status_and_never_by_id() {
    let recorder = Counters::default();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let node = Node::start().await;
    for id in ["secret-1", "secret-2"] {
        node.post(&counter(id), r#"{"type":"get"}"#).await;
        node.get(&counter(id)).await;
    }
    node.post(&counter("secret-1"), r#"{"type":"refuse"}"#).await;
    node.get("/secret-3").await;
    node.send("SECRET", "/livez", &[], "").await;
    let counted = recorder.read("abide_http_requests_total");
    let expected = [
        ("route=/v1/entities/{type}/{id} method=POST status=200", 2),
        ("route=/v1/entities/{type}/{id} method=GET status=200", 2),
        ("route=/v1/entities/{type}/{id} method=POST status=409", 1),
        ("route=unmatched method=GET status=404", 1),
        ("route=unmatched method=other status=405", 1),
    ];
    assert_eq!(counted, expected.map(|(labels, count)| (labels.to_owned(), count)).into());
}

/// Counters by name and labels.
#[derive(Default)]
struct Counters(Mutex<BTreeMap<(String, String), Arc<AtomicU64>>>);

impl Counters {
    fn read(&self, name: &str) -> BTreeMap<String, u64> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = all.iter().filter(|((own, _), _)| own == name);
        own.map(|((_, labels), count)| (labels.clone(), count.load(Ordering::Relaxed))).collect()
    }
}

impl metrics::Recorder for Counters {
    fn describe_counter(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn describe_gauge(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn describe_histogram(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}

    fn register_counter(&self, key: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Counter {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry((key.name().to_owned(), labels.join(" "))).or_default();
        metrics::Counter::from_arc(Arc::clone(count))
    }

    fn register_gauge(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Gauge {
        metrics::Gauge::noop()
    }

    fn register_histogram(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Histogram {
        metrics::Histogram::noop()
    }
}
