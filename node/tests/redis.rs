//! Redis as the operator meets it: a server that is not there yet, one that is not safe, what the program finds
//! about it and what it asks to be allowed.

mod servers;
mod service;

use std::net::TcpListener;

use abide::config::{AllowUnsafe, Config, Urls};
use abide::persistence::runtime::redis::options::{Unsafe, WaitReplicas};
use abide::{App, Node, Starting};
use servers::{Abide, Server, abide, free_port, printed};
use service::{Tally, ask, config, post};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// A node whose events are on a single server at this port, accepted as it is.
fn on_redis(data: &TempDir, port: u16) -> Config {
    let mut config = config(data.path());
    config.journal.store = "redis".to_owned();
    config.journal_redis.urls = Urls(vec![format!("redis://127.0.0.1:{port}")]);
    config.journal_redis.wait_replicas = WaitReplicas::Exactly(0);
    config.journal_redis.allow_unsafe = AllowUnsafe(vec![Unsafe::NoReplica]);
    config
}

async fn bind(config: &Config) -> Starting {
    Node::bind(App::default().entity::<Tally>(), config).await.unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test]
async fn while_redis_is_down_the_node_lives_and_says_what_it_waits_for() {
    let (data, port) = (tempfile::tempdir().expect("a directory"), free_port());
    let starting = bind(&on_redis(&data, port)).await;
    let listeners = [starting.http(), starting.admin().expect("an admin listener")];
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(starting.serve_unless(async {
        let _ = stopped.await;
    }));
    for at in listeners {
        assert_eq!(ask(at, "GET", "/livez", None).await.status, 200);
        // What it waits for is told once the first attempt has failed.
        let told = loop {
            let ready = ask(at, "GET", "/readyz", None).await;
            assert_eq!(ready.status, 503);
            let told = ready.body.to_string();
            if told.contains("redis") {
                break told;
            }
        };
        assert!(told.contains(&format!("127.0.0.1:{port}")), "{told}");
        let refused = post(at, "tally/a", "{\"add\":1}").await;
        assert_eq!((refused.status, refused.body["outcome"].as_str()), (503, Some("none")));
    }
    stop.send(()).expect("it waits");
    let node = serving.await.expect("no panic").unwrap_or_else(|error| panic!("{error}"));
    assert!(node.is_none());
    TcpListener::bind(listeners[0]).expect("the address was let go of");
}

#[tokio::test]
async fn a_server_that_is_not_safe_ends_the_start() {
    let (data, port) = (tempfile::tempdir().expect("a directory"), free_port());
    let _server = Server::start_on(port, &[]);
    let mut config = on_redis(&data, port);
    config.journal_redis.allow_unsafe = AllowUnsafe(Vec::new());
    let error =
        Node::start(App::default().entity::<Tally>(), &config).await.expect_err("it is not safe").to_string();
    for words in ["the store \"redis\"", &port.to_string(), "allow_unsafe = [\"no-replica\"]"] {
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_health_check_of_a_store_that_nobody_has_is_refused() {
    let data = tempfile::tempdir().expect("a directory");
    let app = App::default().entity::<Tally>().health("rdis", abide::StoreHealth::default().degraded());
    let error = Node::start(app, &config(data.path())).await.expect_err("no such store").to_string();
    assert!(error.contains("\"rdis\"") && error.contains("\"redis\""), "{error}");
}

#[test]
fn the_check_finds_what_a_start_would_refuse() {
    let port = free_port();
    let urls = format!("journal.redis.urls=redis://127.0.0.1:{port}");
    let check = |more: &[&str]| abide(&[&["redis", "check", "--set", &urls], more].concat());
    let down = check(&[]);
    let text = printed(&down);
    assert!(down.status.code() == Some(1) && text.contains(&format!("127.0.0.1:{port}")), "{text}");
    let _server = Server::start_on(port, &[]);
    let refused = check(&[]);
    let text = printed(&refused);
    assert!(
        refused.status.code() == Some(1) && text.contains("unsafe: ") && text.contains("no-replica"),
        "{text}"
    );
    let accepted = check(&["--set", "journal.redis.allow_unsafe=no-replica,eviction"]);
    let text = printed(&accepted);
    assert!(accepted.status.success() && text.contains("accepted: "), "{text}");
    assert!(text.contains("\"eviction\", and there is no need for it"), "{text}");
}

#[test]
fn the_printed_rule_is_one_that_a_server_takes() {
    let port = free_port();
    let server = Server::start_on(port, &[]);
    let keys =
        ["key_prefix=shop", "username=ann", "password_file=secret"].map(|key| format!("journal.redis.{key}"));
    let output = abide(&["redis", "acl", "--set", &keys[0], "--set", &keys[1], "--set", &keys[2]]);
    let text = printed(&output);
    let rule = text.lines().find(|line| line.starts_with("ACL SETUSER ann ")).expect("a rule");
    assert!(rule.contains("~{shop:*}:*"), "{rule}");
    let words: Vec<&str> = rule.split(' ').collect();
    assert_eq!(server.cli(&words).trim(), "OK", "{rule}");
}

#[test]
fn what_is_in_force_is_printed_without_passwords() {
    let output = abide(&["config", "--set", "journal.redis.urls=rediss://ann:hunter2@db.example"]);
    let text = printed(&output);
    assert!(text.contains("urls = [\"rediss://ann:***@db.example\"]"), "{text}");
    assert!(text.contains("# follows journal.redis.urls") && !text.contains("hunter2"), "{text}");
}

#[test]
fn a_node_that_waits_for_redis_ends_in_order() {
    let (data, port) = (tempfile::tempdir().expect("a directory"), free_port());
    let urls = format!("journal.redis.urls=redis://127.0.0.1:{port}");
    let node = Abide::start(data.path(), &[urls]);
    node.process.signal("TERM");
    assert_eq!(node.process.code(), Some(0));
}
