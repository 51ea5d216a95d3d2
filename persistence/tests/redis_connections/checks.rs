//! What is found about real servers before anything is trusted to them.

use std::sync::Arc;

use abide_persistence::runtime::redis::acl;
use abide_persistence::runtime::redis::checks::{self, NotUsable};
use abide_persistence::runtime::redis::connector::{Connector, Role};
use abide_persistence::runtime::redis::options::{RedisOptions, Unsafe, WaitReplicas};
use abide_persistence::runtime::redis::{Dial, Setup};

use crate::places::{dial, setup};
use crate::server::{Server, file, free_port};

fn options(dial: &Dial) -> RedisOptions {
    let options = RedisOptions::new(Arc::new(dial.clone()), dial.seeds().to_vec());
    RedisOptions { deployment: dial.deployment().clone(), ..options }
}

/// The names of what is unsafe.
async fn found(options: &RedisOptions) -> Vec<Unsafe> {
    let report = checks::look(options).await.unwrap_or_else(|error| panic!("{error}"));
    report.findings.iter().filter_map(|finding| finding.accepted_as()).collect()
}

/// A server whose data survives it, with a replica.
fn pair(password: &[&str]) -> (Server, Server) {
    let aof = ["--appendonly", "yes", "--repl-diskless-sync-delay", "0"];
    let primary = Server::with(&[&aof, password].concat());
    let of = primary.port.to_string();
    let replica = Server::with(&[&aof[..], &["--replicaof", "127.0.0.1", &of]].concat());
    while !primary.say(None, "INFO replication").contains("state=online") {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    (primary, replica)
}

#[tokio::test]
async fn a_single_server_without_a_disk_is_refused_until_that_is_accepted() {
    let server = Server::start();
    let mut options = options(&dial(&setup(&server.url())));
    let error = checks::run(&options).await.expect_err("unsafe");
    assert!(!error.may_pass());
    let text = error.to_string();
    for words in ["no-replica", "no-persistence", "appendonly yes", &server.port.to_string()] {
        assert!(text.contains(words), "{text}");
    }
    options.allow_unsafe = vec![Unsafe::NoPersistence];
    let NotUsable::Unsafe(left) = checks::run(&options).await.expect_err("unsafe") else {
        panic!("not unsafe")
    };
    assert_eq!(
        left.iter().map(|finding| finding.accepted_as()).collect::<Vec<_>>(),
        [Some(Unsafe::NoReplica)]
    );
    options.allow_unsafe.push(Unsafe::NoReplica);
    checks::run(&options).await.expect("accepted");
}

#[tokio::test]
async fn a_primary_with_its_replica_is_safe_from_whichever_we_begin() {
    let (primary, replica) = pair(&[]);
    for seed in [&primary, &replica] {
        let report =
            checks::run(&options(&dial(&setup(&seed.url())))).await.unwrap_or_else(|error| panic!("{error}"));
        let mut ports: Vec<_> = report.asked.iter().map(|address| address.port).collect();
        ports.dedup();
        assert_eq!(ports.len(), 2, "{report:?}");
        assert!(report.findings.is_empty(), "{report:?}");
    }
    let mut options = options(&dial(&setup(&primary.url())));
    options.wait_replicas = WaitReplicas::Exactly(2);
    assert_eq!(found(&options).await, [Unsafe::NoReplica]);
    // The replica may be the next primary.
    assert!(replica.say(None, "CONFIG SET maxmemory-policy allkeys-lru").contains("OK"));
    options.wait_replicas = WaitReplicas::All;
    assert_eq!(found(&options).await, [Unsafe::Eviction]);
}

#[tokio::test]
async fn a_cluster_as_it_comes_is_not_safe() {
    let server = Server::with(&["--cluster-enabled", "yes", "--appendonly", "yes"]);
    let all = [Unsafe::Database, Unsafe::NoReplica, Unsafe::FullCoverage, Unsafe::ReplicaValidity];
    assert_eq!(found(&options(&dial(&setup(&format!("{}/3", server.url()))))).await, all);
    for set in [
        "cluster-require-full-coverage no",
        "cluster-replica-validity-factor 1",
        "cluster-node-timeout 2000",
        "repl-ping-replica-period 2",
    ] {
        assert!(server.say(None, &format!("CONFIG SET {set}")).contains("OK"), "{set}");
    }
    assert_eq!(found(&options(&dial(&setup(&server.url())))).await, [Unsafe::NoReplica]);
}

#[tokio::test]
async fn settings_that_cannot_be_read_are_a_finding() {
    let server = Server::with_users(&["ann on >pw ~* &* +@all -config"]);
    let options = options(&dial(&setup(&format!("redis://ann:pw@127.0.0.1:{}", server.port))));
    assert_eq!(found(&options).await, [Unsafe::NoReplica, Unsafe::Unchecked]);
}

#[tokio::test]
async fn nobody_there_may_pass_and_a_wrong_password_will_not() {
    let (port, server) = (free_port(), Server::with(&["--requirepass", "right"]));
    let down = format!("redis://127.0.0.1:{port}");
    let error = checks::run(&options(&dial(&setup(&down)))).await.expect_err("nobody");
    assert!(error.may_pass() && error.to_string().contains(&port.to_string()), "{error}");
    let error = checks::run(&options(&dial(&setup(&server.url())))).await.expect_err("no password");
    assert!(!error.may_pass() && error.to_string().contains("wants a password"), "{error}");
    // One seed that answers is enough.
    let both =
        Setup { urls: vec![down, format!("redis://:right@127.0.0.1:{}", server.port)], ..Setup::default() };
    assert_eq!(found(&options(&dial(&both))).await, [Unsafe::NoReplica, Unsafe::NoPersistence]);
}

#[tokio::test]
async fn sentinels_tell_where_the_servers_are() {
    let (primary, replica) = pair(&[]);
    let watch = tempfile::tempdir().expect("a directory");
    let rules = format!(
        "sentinel monitor shop 127.0.0.1 {} 1\nsentinel down-after-milliseconds shop 1000\n",
        primary.port
    );
    let conf = file(watch.path(), "sentinel.conf", &rules).display().to_string();
    let sentinel = Server::sentinel(&conf);
    while !sentinel.say(None, "SENTINEL REPLICAS shop").contains(&replica.port.to_string()) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let watched = |name: &str| Setup { sentinel_master: Some(name.to_owned()), ..setup(&sentinel.url()) };
    let report =
        checks::look(&options(&dial(&watched("shop")))).await.unwrap_or_else(|error| panic!("{error}"));
    let ports: Vec<_> = report.asked.iter().map(|address| address.port).collect();
    assert_eq!(ports, [primary.port, replica.port]);
    assert!(report.findings.is_empty(), "{report:?}");
    assert!(sentinel.say(None, "SENTINEL SET shop down-after-milliseconds 30000").contains("OK"));
    assert_eq!(found(&options(&dial(&watched("shop")))).await, [Unsafe::ReplicaValidity]);
    let error = checks::look(&options(&dial(&watched("shpo")))).await.expect_err("no such name").to_string();
    assert!(error.contains("sentinel_master"), "{error}");
}

#[tokio::test]
async fn the_printed_rule_is_enough_to_connect_and_to_check() {
    let (primary, replica) = pair(&[]);
    for server in [&primary, &replica] {
        let answer = server.say(None, &format!("ACL SETUSER abide {} >pw", acl::rule("shop", false)));
        assert!(answer.starts_with("OK"), "{answer}");
    }
    let dial = dial(&setup(&format!("redis://abide:pw@127.0.0.1:{}/1", primary.port)));
    assert_eq!(found(&options(&dial)).await, []);
    let mut connection = dial.connect(&dial.seeds()[0], Role::Write).await.expect("a connection");
    for (words, allowed) in [
        (&["SET", "{shop:7}:f", "1"][..], true),
        (&["HSET", "shop:meta", "a", "b"], true),
        (&["SET", "{shop2:7}:f", "1"], false),
        (&["SET", "shop:7", "1"], false),
        (&["FLUSHALL"], false),
        (&["CONFIG", "SET", "save", ""], false),
        (&["KEYS", "*"], false),
    ] {
        let mut command = redis::Cmd::new();
        let answer = command.arg(words).query_async::<redis::Value>(&mut connection).await;
        let refused = answer.err().is_some_and(|error| error.code() == Some("NOPERM"));
        assert_eq!(refused, !allowed, "{words:?}");
    }
    assert!(!primary.say(None, "ACL LOG").contains("setname"));
}
