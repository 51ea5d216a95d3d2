//! `kill -9` of a serving node under load, again and again on one data directory: what was acknowledged
//! is there, once, in order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use abide_chaos_tests::client::Client;
use abide_chaos_tests::ledger::{Append, check};
use abide_chaos_tests::process::{Node, pause};
use serde_json::json;

const KILLS: u64 = 20;
const WRITERS: usize = 8;
/// The first is shared by all writers, so that it is hot; each also has one of its own.
const SHARED: &str = "ledger/shared";

type History = BTreeMap<String, Vec<Vec<Append>>>;

#[test]
fn every_acknowledged_append_survives_twenty_kills_once_and_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let history = Arc::new(Mutex::new(History::new()));
    for round in 0..KILLS {
        let node = Node::serve(&data, &[]).expect("the node serves what it stored");
        verify(&node, &history.lock().expect("no panic under it"), round);
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (history, acknowledged) = (Arc::clone(&history), Arc::clone(&acknowledged));
                let http = node.http;
                std::thread::spawn(move || write(http, round, writer, &history, &acknowledged))
            })
            .collect();
        // Under load for certain, and at a different moment of it each time.
        while acknowledged.load(Ordering::Relaxed) < 50 {
            pause(Duration::from_millis(1));
        }
        pause(Duration::from_millis(37 * round % 200));
        node.kill().expect("it can be killed");
        for writer in writers {
            writer.join().expect("a writer ends when its connection does");
        }
    }
    let node = Node::serve(&data, &[]).expect("the node serves what it stored");
    let history = history.lock().expect("no panic under it");
    verify(&node, &history, KILLS);
    let all = history.values().flatten().flatten();
    let (known, unknown): (Vec<_>, Vec<_>) = all.partition(|append| append.index.is_some());
    println!("{} appends acknowledged and found, {} unknown, {KILLS} kills", known.len(), unknown.len());
    assert!(node.terminate().expect("it can be asked").success(), "a clean end is exit code 0");
}

/// Appends until the connection ends.
fn write(
    http: std::net::SocketAddr,
    round: u64,
    writer: usize,
    history: &Mutex<History>,
    done: &AtomicUsize,
) {
    let Ok(mut client) = Client::connect(http) else { return };
    for n in 0.. {
        let ledger = if n % 2 == 0 { SHARED.to_owned() } else { format!("ledger/own-{writer}") };
        let value = format!("{round}-{writer}-{n}");
        let response = client.command(&ledger, &json!({"type": "append", "value": value}));
        let index = match &response {
            Ok(response) if response.status == 200 => {
                let index = response.body["index"].as_u64().expect("an append answers with its index");
                Some(usize::try_from(index).expect("it fits"))
            }
            Ok(response) => panic!("a node that lives refused an append: {response:?}"),
            Err(_) => None,
        };
        let mut history = history.lock().expect("no panic under it");
        let writers = history.entry(ledger).or_insert_with(|| vec![Vec::new(); WRITERS]);
        writers[writer].push(Append { value, index });
        if response.is_err() {
            return;
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
}

fn verify(node: &Node, history: &History, round: u64) {
    let mut client = Client::connect(node.http).expect("the node listens");
    for (ledger, writers) in history {
        let response = client.command(ledger, &json!({"type": "read"})).expect("an answer");
        assert_eq!(response.status, 200, "{response:?}");
        let values: Vec<String> = serde_json::from_value(response.body["values"].clone()).expect("a list");
        let faults = check(&values, writers);
        assert!(faults.is_empty(), "after {round} kills, {ledger}: {faults:?}");
    }
}
