//! An entity whose past cannot be read is parked, shown to operators, and lives again once it was repaired
//! and released, on a journal that the program brings along.

mod service;

use std::sync::atomic::Ordering;

use abide::persistence::envelope::StoredEvent;
use abide::persistence::journal::{Batch, Claim, Epoch, Journal, Write, Writer};
use abide::persistence::{EntityId, PersistenceId, SequenceNr, ShardCount, ShardId};
use abide::prelude::EventSourced;
use abide::{App, Node};
use bytes::Bytes;
use serde_json::json;
use service::{BROKEN, Own, Tally, ask, config, get, post};

fn shard_of(id: &PersistenceId) -> ShardId {
    id.hash().shard(ShardCount::new(16).expect("in range"))
}

fn tally(id: &str) -> PersistenceId {
    PersistenceId::new(Tally::TYPE, EntityId::new(id).expect("an id"))
}

/// Writes a bad event right into the journal, as an owner of long ago.
async fn store_broken(journal: &impl Journal, id: &PersistenceId) {
    let (claim, writer) = (Claim { epoch: Epoch(1), session: 1 }, Writer { cluster: 1, incarnation: 1 });
    let event = StoredEvent {
        sequence_nr: 1,
        payload: Bytes::from_static(BROKEN),
        codec: 1,
        name: "added".to_owned(),
        version: 1,
        epoch: claim.epoch.0,
        session: claim.session,
        batch: 1,
        ..StoredEvent::default()
    };
    let append =
        Write::Append { persistence_id: id.clone(), first: SequenceNr(1), events: vec![event.to_bytes()] };
    let shard = shard_of(id);
    journal.claim(shard, claim, writer, None).await.expect("a claim");
    let batch = Batch { shard, claim, number: 1, writer, writes: vec![append].into() };
    journal.write(batch).await.expect("a batch");
}

#[tokio::test]
async fn a_parked_entity_is_seen_repaired_and_released_while_its_neighbour_lives() {
    let journal = Own::new();
    let broken = tally("broken");
    store_broken(&journal, &broken).await;
    let neighbour = (0..)
        .map(|n| format!("n{n}"))
        .find(|id| shard_of(&tally(id)) == shard_of(&broken))
        .map(|id| format!("tally/{id}"))
        .expect("one of them");

    let dir = tempfile::tempdir().expect("a directory");
    let app = App::default().store("events", journal.clone()).default_journal("events").entity::<Tally>();
    let mut config = config(dir.path());
    config.snapshot.store = "none".to_owned();
    let node = Node::start(app, &config).await.expect("a node");
    let (http, admin) = (node.http(), node.admin().expect("an admin listener"));
    let add = r#"{"add":2}"#;
    let refused = post(http, "tally/broken", add).await;
    assert_eq!((refused.status, refused.kind()), (503, "urn:abide:problem:entity-parked".to_owned()));
    assert_eq!(post(http, &neighbour, add).await.body, json!(2));

    let parked = ask(admin, "GET", "/v1/entities/parked", None).await.body;
    let shown = &parked["entities"][0];
    assert_eq!(
        (&shown["type"], &shown["id"], &parked["more"]),
        (&json!("tally"), &json!("broken"), &json!(false))
    );
    let reason = shown["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("event 1 (\"added\" version 1) cannot be decoded"), "{reason}");

    journal.mended.store(true, Ordering::Relaxed);
    assert_eq!(get(http, "tally/broken").await.status, 503, "nobody has released it");
    assert_eq!(post(http, &neighbour, add).await.body, json!(4));
    let released = ask(admin, "POST", "/v1/entities/tally/broken/release", None).await;
    assert_eq!(released.status, 204);
    assert_eq!(post(http, "tally/broken", add).await.body, json!(42));
    assert_eq!(post(http, &neighbour, add).await.body, json!(6));
    assert_eq!(ask(admin, "GET", "/v1/entities/parked", None).await.body["entities"], json!([]));
    let metrics = ask(admin, "GET", "/metrics", None).await;
    assert!(metrics.body.as_str().is_some_and(|text| text.contains("abide_entities_parked_total")));
    assert!(node.shutdown().await);
}
