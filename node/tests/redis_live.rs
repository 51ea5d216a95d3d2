//! A node on real Redis servers: what was answered is there after any restart, and what is away shows where an
//! operator looks for it.

mod servers;
mod service;

use std::sync::Arc;
use std::time::Duration;

use abide::persistence::runtime::redis::options::{RedisOptions, Unsafe, WaitReplicas};
use abide::persistence::runtime::redis::{Dial, Setup};
use abide::{App, Node, StoreHealth};
use serde_json::json;
use servers::{Abide, Server, abide as run, alone, cluster, free_port, printed, until};
use service::{Answer, Note, Other, Tally, ask, config, get, post};

const INCREMENT: &str = r#"{"type":"increment","by":1}"#;

/// Waits until an answer is as it should be.
async fn answer(at: &str, path: &str, is_right: impl Fn(&Answer) -> bool) -> Answer {
    for _ in 0..3000 {
        let answer = ask(at, "GET", path, None).await;
        if is_right(&answer) {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{path} never was right: {}", ask(at, "GET", path, None).await.body);
}

async fn ready(at: &str) {
    answer(at, "/readyz", |answer| answer.status == 200).await;
}

async fn increment(at: &str) -> Answer {
    post(at, "counter/a", INCREMENT).await
}

async fn value(at: &str) -> i64 {
    get(at, "counter/a").await.body["value"].as_i64().expect("a value")
}

/// The checks by name, with their status.
fn checks(health: &Answer) -> Vec<(&str, &str)> {
    let checks = health.body["checks"].as_array().expect("checks");
    checks
        .iter()
        .map(|check| (check["name"].as_str().expect("a name"), check["status"].as_str().expect("a status")))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_is_there_after_the_node_was_ended_and_killed() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::start(&[]);
    let node = Abide::start(dir.path(), &alone(&server));
    ready(&node.address).await;
    for _ in 0..3 {
        assert_eq!(increment(&node.address).await.status, 200);
    }
    node.process.signal("TERM");
    assert_eq!(node.process.code(), Some(0));

    let node = Abide::start(dir.path(), &alone(&server));
    ready(&node.address).await;
    assert_eq!(value(&node.address).await, 3);
    assert_eq!(increment(&node.address).await.status, 200);
    drop(node);

    let node = Abide::start(dir.path(), &alone(&server));
    ready(&node.address).await;
    assert_eq!(value(&node.address).await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_there_before_redis_serves_once_redis_is_there() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut server = Server::start(&[]);
    server.kill();
    let node = Abide::start(dir.path(), &alone(&server));
    let away = answer(&node.address, "/readyz", |ready| ready.body.to_string().contains("redis")).await;
    assert_eq!(away.status, 503);
    assert!(away.body.to_string().contains(&server.port.to_string()), "{}", away.body);
    server.start_again();
    ready(&node.address).await;
    assert_eq!(increment(&node.address).await.status, 200);
    assert_eq!(value(&node.address).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_dies_shows_in_health_and_answers_and_is_used_again_once_it_is_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut server = Server::start(&["--appendfsync", "always"]);
    let mut keys = alone(&server);
    keys.extend(
        [
            "journal.redis.connect_timeout=500ms",
            "journal.redis.wait_timeout=500ms",
            "breaker.call_timeout=1s",
            "breaker.max_failures=1",
            "breaker.reset_timeout=4s",
            "http.default_timeout=2s",
        ]
        .map(str::to_owned),
    );
    let node = Abide::start(dir.path(), &keys);
    let at = node.address.as_str();
    ready(at).await;
    let (mut stored, mut unknown) = (0, 0);
    for _ in 0..2 {
        assert_eq!(increment(at).await.status, 200);
        stored += 1;
        let well = answer(at, "/healthz?tag=redis", |health| health.status == 200).await;
        assert_eq!(checks(&well), [("journal.redis", "pass"), ("snapshot.redis", "pass")]);

        server.kill();
        // Who is there when it happens is in doubt, or waits in vain; then the server is left alone, and callers
        // are told when it is asked again.
        loop {
            let refused = increment(at).await;
            assert_ne!(refused.status, 200, "{}", refused.body);
            match refused.body["outcome"].as_str() {
                Some("unknown") => unknown += 1,
                Some("none") if refused.status == 503 && refused.retry_after.is_some() => break,
                Some("none") => {}
                other => panic!("{other:?}: {}", refused.body),
            }
        }
        let ill = answer(at, "/healthz?tag=redis", |health| health.status == 503).await;
        assert_eq!(checks(&ill)[0], ("journal.redis", "fail"));
        assert_eq!(ask(at, "GET", "/livez", None).await.status, 200);
        let still = ask(at, "GET", "/readyz", None).await;
        assert_eq!(still.status, 200, "no other node would do better: {}", still.body);

        server.start_again();
        answer(at, "/healthz", |health| health.status == 200).await;
        loop {
            let answered = increment(at).await;
            match (answered.status, answered.body["outcome"].as_str()) {
                (200, _) => break stored += 1,
                (_, Some("none")) => {}
                (_, Some("unknown")) => unknown += 1,
                other => panic!("{other:?}: {}", answered.body),
            }
        }
        let value = value(at).await;
        assert!((stored..=stored + unknown).contains(&value), "{stored} + {unknown} ≠ {value}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_has_the_name_tags_and_weight_that_it_was_given_and_ctrl_c_works_while_redis_is_away() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut server = Server::start(&[]);
    let mut keys = alone(&server);
    keys.extend(
        ["health_name=shop", "health_tags=redis,orders", "health_failure=degraded"]
            .map(|key| format!("journal.redis.{key}")),
    );
    let node = Abide::start(dir.path(), &keys);
    let at = node.address.as_str();
    ready(at).await;
    assert_eq!(increment(at).await.status, 200);
    server.kill();
    let ill = answer(at, "/healthz?tag=orders", |health| health.body["status"] == "degraded").await;
    assert_eq!((ill.status, checks(&ill)[0]), (200, ("journal.shop", "degraded")));
    assert_eq!(ill.body["checks"][0]["tags"], json!(["redis", "orders", "journal"]));
    let unknown = ask(at, "GET", "/healthz?tag=persistence", None).await;
    assert_eq!(unknown.status, 404, "it has other tags now: {}", unknown.body);
    node.process.signal("INT");
    assert_eq!(node.process.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_store_does_is_counted_on_a_live_node() {
    let dir = tempfile::tempdir().expect("a directory");
    let primary = Server::start(&[]);
    let _replica = Server::replica_of(&primary);
    let node = Abide::start(dir.path(), &[format!("journal.redis.urls={}", primary.url())]);
    ready(&node.address).await;
    assert_eq!(increment(&node.address).await.status, 200);
    let metrics = ask(&node.address, "GET", "/metrics", None).await.body;
    let metrics = metrics.as_str().expect("text");
    let of = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("{name} is missing in: {metrics}"));
        line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).expect("a number")
    };
    for counted in ["flight_calls_count", "flight_seconds_count", "wait_seconds_count"] {
        assert!(of(&format!("abide_redis_{counted}{{lane=\"write\"}}")) > 0.0, "{counted}");
    }
    assert!(of("abide_redis_flight_calls_bucket") >= 0.0, "batch sizes have buckets");
    assert!(of("abide_redis_topology_changes_total") > 0.0);
    assert_eq!(of("abide_redis_doubts_total{lane=\"write\"}"), 0.0);
    for gauge in ["queue", "breaker_open"] {
        let labels = format!("{{primary=\"127.0.0.1:{}\",lane=\"write\"}}", primary.port);
        assert_eq!(of(&format!("abide_redis_{gauge}{labels}")), 0.0);
    }
    for told in ["abide_recoveries_running ", "abide_recoveries_waiting "] {
        assert!(metrics.contains(&format!("# HELP {told}")), "{told}");
        assert_eq!(of(told), 0.0);
    }
    for described in
        ["flight_calls", "flight_seconds", "wait_seconds", "doubts_total", "queue", "breaker_open"]
    {
        assert!(metrics.contains(&format!("# HELP abide_redis_{described} ")), "{described}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_found_good_loses_a_primary_and_is_well_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut servers = cluster();
    let urls = format!("journal.redis.urls={},{}", servers[0].url(), servers[1].url());
    let good = run(&["redis", "check", "--set", &urls]);
    assert!(good.status.success() && printed(&good).contains("nothing is amiss"), "{}", printed(&good));

    let node = Abide::start(
        dir.path(),
        &[urls.clone(), "breaker.call_timeout=20s".into(), "http.default_timeout=20s".into()],
    );
    let at = node.address.as_str();
    ready(at).await;
    for id in 0..30 {
        assert_eq!(post(at, &format!("counter/{id}"), INCREMENT).await.status, 200);
    }
    let primaries: Vec<usize> =
        (0..servers.len()).filter(|n| servers[*n].cli(&["ROLE"]).starts_with("master")).collect();
    let dead = primaries[1];
    servers[dead].kill();
    let ill = ask(at, "GET", "/healthz?tag=redis", None).await;
    assert_eq!((ill.status, checks(&ill)[0]), (503, ("journal.redis", "fail")));
    let named = format!("127.0.0.1:{}", servers[dead].port);
    let log = || std::fs::read_to_string(dir.path().join("log")).expect("a log");
    until("the log names the primary that is dead", || {
        log().lines().any(|line| line.contains("a health check fails") && line.contains(&named))
    });
    let asking: Vec<_> = (0..30)
        .map(|id| {
            let at = at.to_owned();
            tokio::spawn(async move { post(&at, &format!("counter/{id}"), INCREMENT).await })
        })
        .collect();
    let well = answer(at, "/healthz?tag=redis", |health| health.status == 200).await;
    assert_eq!(checks(&well)[0], ("journal.redis", "pass"), "the replica has taken over");
    // Alone it acknowledges nothing: it wants a replica of its own.
    servers[dead].start_again();
    for asked in asking {
        let answered = asked.await.expect("no panic");
        assert_eq!(answered.status, 200, "a failover is a pause: {}", answered.body);
    }
    assert_eq!(ask(at, "GET", "/readyz", None).await.status, 200);
    for id in 0..30 {
        assert_eq!(get(at, &format!("counter/{id}")).await.body["value"], 2);
    }

    let bad = &servers[primaries[0]];
    bad.cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let found = run(&["redis", "check", "--set", &urls]);
    let text = printed(&found);
    assert_eq!(found.status.code(), Some(1), "{text}");
    assert!(text.contains("allkeys-lru") && text.contains(&format!("127.0.0.1:{}", bad.port)), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_stores_have_servers_of_their_own() {
    let (dir, servers) = (tempfile::tempdir().expect("a directory"), [(); 4].map(|()| Server::start(&[])));
    let [orders, bills, journal, states] = &servers;
    let options = |server: &Server| {
        let setup = Setup { urls: vec![server.url()], ..Setup::default() };
        let dial = Dial::new(&setup).expect("a URL");
        let seeds = dial.seeds().to_vec();
        let options = RedisOptions::new(Arc::new(dial), seeds);
        RedisOptions {
            wait_replicas: WaitReplicas::Exactly(0),
            allow_unsafe: vec![Unsafe::NoReplica],
            ..options
        }
    };
    let program = || {
        App::default()
            .redis_store("orders", options(orders))
            .redis_store("bills", options(bills))
            .health("bills", StoreHealth::default().tag("money").degraded())
            .entity_with::<Tally>(|options| options.journal("orders").without_snapshots())
            .entity_with::<Other>(|options| options.journal("bills").snapshots("bills"))
            .actor::<Note>()
    };
    let mut config = config(dir.path());
    config.journal.store = "redis".to_owned();
    config.snapshot.store = "redis".to_owned();
    for (redis, server) in [(&mut config.journal_redis, journal), (&mut config.snapshot_redis, states)] {
        redis.urls = abide::config::Urls(vec![server.url()]);
        redis.wait_replicas = WaitReplicas::Exactly(0);
        redis.allow_unsafe = abide::config::AllowUnsafe(vec![Unsafe::NoReplica]);
    }
    let node = Node::start(program(), &config).await.expect("a node");
    for at in ["tally/a", "other/a"] {
        assert_eq!(post(node.http(), at, r#"{"add":2}"#).await.status, 200, "{at}");
    }
    assert_eq!(post(node.http(), "note/a", r#""words""#).await.status, 200);
    let stored = |server: &Server, pattern: &str| server.cli(&["KEYS", pattern]).contains("abide");
    assert!(stored(orders, "*tally*") && !stored(orders, "*other*"));
    assert!(stored(bills, "*other*") && !stored(bills, "*tally*"));
    assert!(stored(states, "*note*") && !stored(journal, "*note*"));
    let money = ask(node.http(), "GET", "/healthz?tag=money", None).await;
    assert_eq!(checks(&money)[0], ("journal.bills", "pass"));
    assert!(node.shutdown().await);

    let node = Node::start(program(), &config).await.expect("a node");
    for at in ["tally/a", "other/a"] {
        assert_eq!(get(node.http(), at).await.body, json!({ "sum": 2 }), "{at}");
    }
    assert_eq!(get(node.http(), "note/a").await.body, json!("words"));
    assert!(node.shutdown().await);
}

#[test]
fn a_mistyped_key_is_named_with_the_right_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("abide.toml");
    std::fs::write(&file, "[journal]\nstore = \"redis\"\n[journal.redis]\nwait_replica = 1\n")
        .expect("a file");
    let output = run(&["serve", "--config", file.to_str().expect("UTF-8")]);
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("journal.redis.wait_replica") && text.contains("wait_replicas"), "{text}");
}

#[test]
fn disks_that_nobody_could_wait_for_end_the_start() {
    let dir = tempfile::tempdir().expect("a directory");
    // Without an append-only file there is nothing to wait for, whatever the version.
    let server = Server::start(&["--appendonly", "no", "--save", "3600", "1"]);
    let mut keys = alone(&server);
    keys.extend(["journal.store=redis".to_owned(), "journal.redis.wait_aof=true".to_owned()]);
    let (listen, data) = (format!("127.0.0.1:{}", free_port()), dir.path().display().to_string());
    let mut args = vec!["serve", "--listen", &listen, "--set", "admin.listen=none", "--data-dir", &data];
    args.extend(keys.iter().flat_map(|key| ["--set", key]));
    let output = run(&args);
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for words in ["appendonly is no", "wait_aof = false", &server.port.to_string()] {
        assert!(text.contains(words), "{words} is missing in: {text}");
    }
}
