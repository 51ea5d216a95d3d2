//! Keys that hold what Abide did not write: named, and never written over.

use std::sync::Arc;

use abide_chaos_tests::redis::{Ground, Node};
use abide_persistence::envelope::StoredEvent;
use abide_persistence::journal::{
    ClaimError, Journal, JournalMeta, ListIds, ReadError, SnapshotCriteria, SnapshotStore, WriteError,
};
use abide_persistence::runtime::redis::RedisStore;
use abide_persistence::testkit::{Owner, fresh_claim, fresh_writer, snapshot};
use abide_persistence::{PersistenceId, SequenceNr, ShardCount};

use crate::connecting::{open, options};
use crate::dump::dump;
use crate::talk::append;

struct Server {
    ground: Ground,
    store: RedisStore,
    journal: Arc<dyn Journal>,
}

impl Server {
    async fn start() -> Self {
        let ground = Ground::single().start().await.unwrap();
        let store = open(options(&ground).alone()).await;
        Self { ground, journal: Arc::new(store.clone()), store }
    }

    fn node(&self) -> &Node {
        &self.ground.nodes()[0]
    }

    async fn ask(&self, words: &[&str]) {
        self.node().ask::<redis::Value>(words).await.unwrap();
    }
}

fn key(owner: &Owner, rest: &str) -> String {
    format!("{{abide:{}}}:{rest}", owner.shard.0)
}

fn events_of(owner: &Owner, id: &PersistenceId) -> String {
    key(owner, &format!("e:{id}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_stream_is_named_and_left_alone() {
    let server = Server::start().await;
    let (mut owner, good) = Owner::of_fresh_entity(&server.journal).await;
    owner.append(&good, 1, 2).await.unwrap();
    for make in [&["SET"][..], &["HSET", "field"], &["SADD"], &["ZADD", "1"]] {
        let id = owner.fresh_id();
        let list = events_of(&owner, &id);
        let words = [&make[..1], &[list.as_str()], &make[1..], &["foreign"]].concat();
        server.ask(&words).await;
        let before = dump(server.node()).await;
        // Together with one that is whole: nothing of the batch is stored.
        for writes in [vec![append(&id, 1, 1)], vec![append(&good, 3, 1), append(&id, 1, 1)]] {
            let told = server.journal.write(owner.next_batch(writes)).await;
            assert!(matches!(told, Err(WriteError::Damaged(_))), "{make:?}: {told:?}");
        }
        let read = owner.read(&id).await;
        assert!(matches!(read, Err(ReadError::Damaged(_))), "{make:?}: {read:?}");
        assert!(dump(server.node()).await == before, "{make:?}");
    }
    owner.append(&good, 3, 1).await.expect("others live on");
    owner.expect_all(&good, 1..=3, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_fence_lets_nobody_in() {
    let server = Server::start().await;
    let token = "00000000001099511627777.0000000001.00000000000000000000";
    for make in
        [&["SET", "mine"][..], &["SET", ""], &["SET", token], &["HSET", "field", "mine"], &["RPUSH", "x"]]
    {
        let (owner, id) = Owner::of_fresh_entity(&server.journal).await;
        let fence = key(&owner, "f");
        server.ask(&["DEL", &fence]).await;
        server.ask(&[&make[..1], &[fence.as_str()], &make[1..]].concat()).await;
        let before = dump(server.node()).await;
        let told = server.journal.write(owner.next_batch(vec![append(&id, 1, 1)])).await;
        let read = owner.read(&id).await;
        for least in [None, Some(owner.known())] {
            let claim = server.journal.claim(owner.shard, fresh_claim(), fresh_writer(), least).await;
            assert!(matches!(claim, Err(ClaimError::Damaged(_))), "{make:?}: {claim:?}");
        }
        assert!(matches!(told, Err(WriteError::Damaged(_))), "{make:?}: {told:?}");
        assert!(matches!(read, Err(ReadError::Damaged(_))), "{make:?}: {read:?}");
        assert!(dump(server.node()).await == before, "{make:?}");
        server.ask(&["DEL", &fence]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_bases_ids_snapshots_and_meta_are_named() {
    let server = Server::start().await;
    let (mut owner, id) = Owner::of_fresh_entity(&server.journal).await;
    owner.append(&id, 1, 3).await.unwrap();

    for base in ["mine", "12", "x:y", "-3:"] {
        server.ask(&["HSET", &key(&owner, "m"), &id.to_string(), base]).await;
        let read = owner.read(&id).await;
        assert!(matches!(read, Err(ReadError::Damaged(_))), "{base}: {read:?}");
    }
    server.ask(&["DEL", &key(&owner, "m")]).await;
    server.ask(&["SET", &key(&owner, "m"), "mine"]).await;
    let read = owner.read(&id).await;
    assert!(matches!(read, Err(ReadError::Damaged(_))), "{read:?}");
    let told = server.journal.write(owner.next_batch(vec![append(&id, 4, 1)])).await;
    assert!(matches!(told, Err(WriteError::Damaged(_))), "{told:?}");
    server.ask(&["DEL", &key(&owner, "m")]).await;
    owner.expect_all(&id, 1..=3, 3).await;

    for bucket in 0..16 {
        server.ask(&["SET", &key(&owner, &format!("i:{bucket}:foreign")), "mine"]).await;
    }
    let query = ListIds { shard: owner.shard, entity_type: "foreign".to_owned(), after: None, limit: 10 };
    let ids = server.journal.persistence_ids(query).await;
    assert!(matches!(ids, Err(ReadError::Damaged(_))), "{ids:?}");

    server.ask(&["SET", &key(&owner, &format!("s:{id}")), "mine"]).await;
    let before = dump(server.node()).await;
    let criteria = SnapshotCriteria::up_to(SequenceNr(9));
    assert!(server.store.save(owner.shard, id.clone(), snapshot(3, 1, b"state")).await.is_err());
    assert!(server.store.load(owner.shard, id.clone(), criteria).await.is_err());
    assert!(SnapshotStore::delete(&server.store, owner.shard, id.clone(), criteria).await.is_err());

    let meta = JournalMeta {
        format: JournalMeta::FORMAT,
        shards: ShardCount::new(16).unwrap(),
        hash: JournalMeta::HASH.to_owned(),
        cluster: 1,
        generation: 1,
    };
    assert!(dump(server.node()).await == before);
    for make in [&["SET", "mine"][..], &["HSET", "format", "one"]] {
        server.ask(&["DEL", "abide:meta"]).await;
        server.ask(&[&make[..1], &["abide:meta"], &make[1..]].concat()).await;
        let before = dump(server.node()).await;
        let read = server.journal.meta().await.expect_err("it is no record");
        assert!(read.0.contains("abide:meta"), "{read}");
        assert_ne!(server.journal.replace_meta(None, meta.clone()).await, Ok(true));
        assert!(dump(server.node()).await == before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_stream_is_not_read_as_another_one() {
    let server = Server::start().await;
    let (mut owner, id) = Owner::of_fresh_entity(&server.journal).await;

    // Its first event is gone, or holds other bytes.
    owner.append(&id, 1, 5).await.unwrap();
    server.ask(&["LPOP", &events_of(&owner, &id)]).await;
    let read = owner.read(&id).await;
    assert!(matches!(read, Err(ReadError::Damaged(_))), "{read:?}");
    let told = server.journal.write(owner.next_batch(vec![append(&id, 6, 1)])).await;
    assert!(matches!(told, Err(WriteError::Conflict { .. })), "{told:?}");
    server.ask(&["LPUSH", &events_of(&owner, &id), "garbage"]).await;
    let first = owner.read(&id).await.expect("whoever decodes it finds out").events[0].clone();
    assert!(StoredEvent::from_bytes(first).is_err());

    // Its last events are gone: the owner's next write does not fit.
    let id = owner.fresh_id();
    owner.append(&id, 1, 5).await.unwrap();
    server.ask(&["RPOP", &events_of(&owner, &id), "2"]).await;
    let before = dump(server.node()).await;
    let told = server.journal.write(owner.next_batch(vec![append(&id, 6, 1)])).await;
    let ends_at_3 = |error: &WriteError| matches!(error, WriteError::Conflict { found, .. } if found.0 == 3);
    assert!(told.as_ref().is_err_and(ends_at_3), "{told:?}");
    assert!(dump(server.node()).await == before);
}
