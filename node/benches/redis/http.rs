//! Durable commands over HTTP, against a handler written by hand that only appends.

use std::sync::Arc;
use std::time::Duration;

use abide::bench::BenchArgs;
use axum::extract::State;
use axum::http::Uri;
use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, Value};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::notes::{self, Notes};
use crate::servers::{FLIGHTS, Servers};
use crate::turns::{in_turns, runtime, show_rate, turn};

/// One body on its way to a list.
struct Line {
    list: String,
    body: Bytes,
    done: oneshot::Sender<()>,
}

/// Where bodies go.
struct Log {
    servers: Servers,
    primaries: Vec<mpsc::Sender<Line>>,
}

/// Appends bodies to lists, all that have come meanwhile in one flight.
async fn append(lines: Arc<Mutex<mpsc::Receiver<Line>>>, mut to: MultiplexedConnection, replicas: usize) {
    let mut batch = Vec::new();
    loop {
        if lines.lock().await.recv_many(&mut batch, 1024).await == 0 {
            return;
        }
        let mut pipeline = Pipeline::with_capacity(batch.len() + 1);
        for line in &batch {
            pipeline.cmd("RPUSH").arg(&line.list).arg(&line.body[..]);
        }
        pipeline.cmd("WAIT").arg(replicas).arg(5000);
        let answers = to.send_packed_commands(&pipeline, 0, pipeline.len()).await.unwrap();
        assert_eq!(answers.last(), Some(&Value::Int(replicas as i64)));
        batch.drain(..).for_each(|line| line.done.send(()).unwrap());
    }
}

async fn handler(State(log): State<Arc<Log>>, uri: Uri, body: Bytes) -> &'static str {
    let list = uri.path().to_owned();
    let (done, stored) = oneshot::channel();
    let primary = log.servers.primary_of(&list);
    log.primaries[primary].send(Line { list, body, done }).await.unwrap_or_else(|_| unreachable!());
    stored.await.unwrap();
    "1"
}

/// The handler, on a port of its own.
async fn by_hand(servers: Servers) -> std::net::SocketAddr {
    let mut primaries = Vec::new();
    for primary in servers.primaries() {
        let (send, lines) = mpsc::channel(4096);
        let lines = Arc::new(Mutex::new(lines));
        for _ in 0..FLIGHTS {
            let to = servers.connect(primary).await;
            tokio::spawn(append(Arc::clone(&lines), to, servers.replicas()));
        }
        primaries.push(send);
    }
    let handler = axum::routing::post(handler).get(|| async { "ok" });
    let router = axum::Router::new().fallback(handler).with_state(Arc::new(Log { servers, primaries }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = abide::http::ServeConfig::default();
    tokio::spawn(abide::http::serve(listener, router, config, std::future::pending()));
    address
}

async fn load(address: std::net::SocketAddr) -> f64 {
    let args = BenchArgs {
        url: format!("http://{address}"),
        connections: 64.try_into().unwrap(),
        duration: Some(turn()),
        requests: None,
        warmup: Duration::ZERO,
        rate: None,
        entities: 1000.try_into().unwrap(),
        entity_type: "notes".to_owned(),
        body: format!(r#"{{"type":"write","text":"{}"}}"#, notes::text()),
        read: false,
        timeout: Duration::from_secs(20),
        json: false,
        quiet: true,
    };
    let summary = abide::bench::run(args).await.unwrap();
    assert_eq!(summary.failed, 0, "{summary}");
    summary.succeeded_per_second
}

pub(crate) fn http() {
    let runtime = runtime();
    let data = tempfile::tempdir().unwrap();
    // Each on servers of its own; a turn is one's alone.
    let (_servers, node, baseline) = runtime.block_on(async {
        let servers = Servers::cluster().await;
        let config = abide::config::Config::load(&abide::config::Inputs {
            flags: vec![
                abide::config::Override::new("http.listen", "127.0.0.1:0", "bench"),
                abide::config::Override::new("node.data_dir", data.path().display(), "bench"),
            ],
            ..Default::default()
        });
        let app = abide::App::default()
            .entity::<Notes>()
            .store("cluster", servers.store().await)
            .default_journal("cluster")
            .default_snapshot_store("none");
        let node = abide::Node::start(app, &config.unwrap()).await.unwrap();
        (servers, node, by_hand(Servers::cluster().await).await)
    });
    let [ours, by_hand] =
        in_turns([&mut || runtime.block_on(load(node.http())), &mut || runtime.block_on(load(baseline))]);
    show_rate(
        "durable commands over HTTP, 64 connections, against a handler that only appends, all that wait at once",
        ours,
        by_hand,
        0.6,
    );
    runtime.block_on(node.shutdown());
}
