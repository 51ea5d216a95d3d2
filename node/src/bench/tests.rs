//! The load generator against servers of a few lines.

use std::convert::Infallible;
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::*;

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    args: BenchArgs,
}

/// The defaults, as the command line gives them.
pub(super) fn args() -> BenchArgs {
    parse(&[])
}

fn parse(options: &[&str]) -> BenchArgs {
    CommandLine::try_parse_from(["bench"].iter().chain(options))
        .unwrap_or_else(|error| panic!("{error}"))
        .args
}

/// What a server has seen.
#[derive(Default)]
struct Seen {
    connections: AtomicU64,
    requests: AtomicU64,
}

/// Starts a server that answers the nth request, and arguments that load it with 200 requests.
async fn server(answer: fn(u64) -> (u16, &'static str, Duration)) -> (BenchArgs, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Seen::default());
    let counts = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            counts.connections.fetch_add(1, Ordering::Relaxed);
            let counts = Arc::clone(&counts);
            let service = service_fn(move |request: Request<Incoming>| {
                let counts = Arc::clone(&counts);
                async move {
                    let (status, body, pause) = answer(counts.requests.fetch_add(1, Ordering::Relaxed));
                    check(request).await;
                    tokio::time::sleep(pause).await;
                    let response = Response::builder().status(status).body(Full::new(Bytes::from(body)));
                    Ok::<_, Infallible>(response.unwrap())
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    let four = NonZeroUsize::new(4).unwrap();
    (BenchArgs { url, connections: four, requests: NonZeroU64::new(200), quiet: true, ..args() }, seen)
}

async fn check(request: Request<Incoming>) {
    assert!(request.uri().path().starts_with("/v1/entities/counter/bench-"), "{}", request.uri());
    assert!(request.headers().contains_key("host"));
    let posts = request.method() == Method::POST;
    let body = request.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(&body[..], if posts { &br#"{"type":"increment","by":1}"#[..] } else { b"" });
}

fn at_once(status: u16, body: &'static str) -> (u16, &'static str, Duration) {
    (status, body, Duration::ZERO)
}

#[tokio::test]
async fn as_many_requests_are_made_as_were_asked_for_on_connections_that_stay() {
    let (args, seen) = server(|_| at_once(200, "1")).await;
    let summary = run(args).await.unwrap();
    assert_eq!((summary.requests, summary.succeeded, summary.failed), (200, 200, 0));
    assert_eq!(seen.requests.load(Ordering::Relaxed), 200);
    // One more was the probe.
    assert_eq!(seen.connections.load(Ordering::Relaxed), 5);
    assert_eq!(summary.statuses, [(200, 200)].into());
    let latency = summary.latency_ms.unwrap();
    assert!(latency.p50 <= latency.p99 && latency.p99 <= latency.max && summary.succeeded_per_second > 0.0);
    assert!(summary.to_string().contains("200: 200"), "{summary}");
}

#[tokio::test]
async fn reads_are_gets() {
    let (args, _) = server(|_| at_once(204, "")).await;
    let summary = run(BenchArgs { read: true, ..args }).await.unwrap();
    assert_eq!(summary.succeeded, 200);
}

#[tokio::test]
async fn it_ends_on_time_and_the_warm_up_does_not_count() {
    let (args, seen) = server(|_| (200, "1", Duration::from_millis(1))).await;
    let time = Duration::from_millis(150);
    let summary =
        run(BenchArgs { requests: None, duration: Some(time), warmup: time, ..args }).await.unwrap();
    assert!(summary.elapsed_seconds >= 0.15 && summary.elapsed_seconds < 5.0, "{summary}");
    assert!(summary.succeeded > 0 && summary.succeeded < seen.requests.load(Ordering::Relaxed));
}

#[tokio::test]
async fn failures_are_counted_by_kind_and_outcome_and_have_no_latency() {
    let (args, _) = server(|n| match n % 4 {
        0 => at_once(429, r#"{"type":"urn:abide:entity-busy","outcome":"none","detail":"full"}"#),
        1 => at_once(404, "what?"),
        _ => at_once(503, r#"{"type":"urn:abide:journal","outcome":"unknown"}"#),
    })
    .await;
    let summary = run(args).await.unwrap();
    assert_eq!((summary.succeeded, summary.failed), (0, 200));
    assert_eq!(summary.statuses, [(404, 50), (429, 50), (503, 100)].into());
    let error = |kind: &str, outcome: Option<&str>, count| ErrorCount {
        kind: kind.to_owned(),
        outcome: outcome.map(str::to_owned),
        count,
    };
    let expected = [
        error("urn:abide:journal", Some("unknown"), 100),
        error("status 404 without a problem", None, 50),
        error("urn:abide:entity-busy", Some("none"), 50),
    ];
    assert_eq!(summary.errors, expected);
    assert!(summary.latency_ms.is_none());
    assert!(
        summary.to_string().contains("errors      100 × urn:abide:journal (outcome unknown)"),
        "{summary}"
    );
}

#[tokio::test]
async fn a_request_that_is_not_answered_times_out_and_the_rest_goes_on() {
    let (args, seen) = server(|n| match n {
        0 => (200, "1", Duration::from_secs(3600)),
        _ => at_once(200, "1"),
    })
    .await;
    let summary = run(BenchArgs { timeout: Duration::from_millis(100), ..args }).await.unwrap();
    assert_eq!((summary.succeeded, summary.failed), (199, 1));
    assert_eq!(summary.errors[0].kind, "timed out");
    assert!(seen.connections.load(Ordering::Relaxed) >= 5);
}

#[tokio::test]
async fn at_a_rate_a_stall_is_seen_by_every_request_that_was_due_meanwhile() {
    // One connection, 100 requests a second, and the first answer takes 300 ms: some 30 were due meanwhile.
    let (args, _) = server(|n| (200, "1", Duration::from_millis(if n == 0 { 300 } else { 0 }))).await;
    let one = NonZeroUsize::MIN;
    let requests = NonZeroU64::new(60);
    let summary = run(BenchArgs { connections: one, requests, rate: Some(100.0), ..args }).await.unwrap();
    assert_eq!((summary.succeeded, summary.unsent), (60, 0));
    let latency = summary.latency_ms.unwrap();
    assert!(latency.p90 > 100.0, "{summary}");
    assert!(summary.elapsed_seconds >= 0.59, "{summary}");
}

#[tokio::test]
async fn what_was_due_and_not_sent_is_told() {
    let (args, _) = server(|_| (200, "1", Duration::from_millis(50))).await;
    let duration = Some(Duration::from_millis(200));
    let summary = run(BenchArgs { requests: None, duration, rate: Some(1000.0), ..args }).await.unwrap();
    assert_eq!(summary.requests + summary.unsent, 200);
    assert!(summary.unsent > 100 && summary.to_string().contains("unsent"), "{summary}");
}

#[tokio::test]
async fn a_server_that_closes_after_each_answer_is_no_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = service_fn(|_| async {
                let response =
                    Response::builder().header("connection", "close").body(Full::new(Bytes::from("1")));
                Ok::<_, Infallible>(response.unwrap())
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer),
            );
        }
    });
    // A URL without a scheme is one of http.
    let summary = run(BenchArgs { url, requests: NonZeroU64::new(50), quiet: true, ..args() }).await.unwrap();
    assert_eq!((summary.succeeded, summary.failed), (50, 0), "{summary}");
}

#[tokio::test]
async fn where_nobody_listens_it_says_what_to_do() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = run(BenchArgs { url: format!("http://{free}"), ..args() }).await.unwrap_err();
    assert_eq!(error.to_string(), format!("nobody listens at http://{free}: start one with `abide dev`"));
}

#[tokio::test]
async fn options_that_make_no_sense_are_refused() {
    let (good, seen) = server(|_| at_once(200, "1")).await;
    for bad in [
        BenchArgs { url: "https://127.0.0.1".to_owned(), ..good.clone() },
        BenchArgs { url: "/v1".to_owned(), ..good.clone() },
        BenchArgs { body: "{".to_owned(), ..good.clone() },
        BenchArgs { entity_type: "a b".to_owned(), ..good.clone() },
        BenchArgs { rate: Some(0.0), ..good.clone() },
        BenchArgs { timeout: Duration::ZERO, ..good.clone() },
    ] {
        assert!(run(bad.clone()).await.is_err(), "{bad:?}");
    }
    assert_eq!(seen.requests.load(Ordering::Relaxed), 0);
}

#[test]
fn the_command_line_reads_as_documented() {
    let args =
        parse(&["--duration", "1m 30s", "--rate", "0.5", "-c", "2", "--type", "ledger", "--json", "-q"]);
    assert_eq!(args.measure_for(), Some(Duration::from_secs(90)));
    assert_eq!((args.rate, args.connections.get(), args.entity_type.as_str()), (Some(0.5), 2, "ledger"));
    assert_eq!(super::tests::args().measure_for(), Some(Duration::from_secs(10)));
    for bad in [&["--connections", "0"][..], &["--duration", "10"], &["--duration", "1s", "--requests", "1"]]
    {
        assert!(CommandLine::try_parse_from(["bench"].iter().chain(bad)).is_err(), "{bad:?}");
    }
}
