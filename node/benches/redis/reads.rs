//! Recoveries: all events of short streams, read under a claim, against plain `LRANGE`.

use std::sync::Arc;
use std::time::Instant;

use abide::persistence::journal::{Batch, Journal, ReadEvents, Write};
use abide::persistence::{PersistenceId, SequenceNr, ShardCount, ShardId};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Value};

use crate::notes::{self, SHARDS};
use crate::servers::Servers;
use crate::turns::{in_turns, many, rate, runtime, show_rate, turn};

/// Recoveries at a time.
const IN_FLIGHT: usize = 64;
const ENTITIES: usize = 20_000;
const EVENTS: u64 = 10;

struct Stream {
    shard: ShardId,
    persistence_id: PersistenceId,
    key: String,
    primary: usize,
}

/// Stores the streams.
async fn prepare(servers: &Servers, journal: &dyn Journal) -> Vec<Stream> {
    let shards = ShardCount::new(SHARDS).unwrap();
    let mut batches: Vec<Vec<Write>> = Vec::new();
    batches.resize_with(SHARDS as usize, Vec::new);
    let events: Vec<_> = (1..=EVENTS).map(notes::event).collect();
    let mut streams = Vec::new();
    for n in 0..many(ENTITIES) {
        let persistence_id = notes::id(n);
        let shard = persistence_id.hash().shard(shards);
        let key = format!("{{abide:{}}}:e:{persistence_id}", shard.0);
        let append = (persistence_id.clone(), SequenceNr(1), events.clone());
        let (id, first, events) = append;
        batches[shard.0 as usize].push(Write::Append { persistence_id: id, first, events });
        streams.push(Stream { shard, persistence_id, primary: servers.primary_of(&key), key });
    }
    for (shard, writes) in shards.all().zip(batches) {
        journal.claim(shard, notes::claim(), notes::writer(), None).await.unwrap();
        let (claim, writer) = (notes::claim(), notes::writer());
        journal.write(Batch { shard, claim, number: 1, writer, writes: Arc::new(writes) }).await.unwrap();
    }
    streams
}

/// Which stream is read next.
fn pick(streams: &[Stream], task: usize, n: usize) -> &Stream {
    &streams[(task * 7919 + n * 31) % streams.len()]
}

async fn recover(journal: Arc<dyn Journal>, streams: Arc<Vec<Stream>>, task: usize, until: Instant) -> usize {
    let mut done = 0;
    while Instant::now() < until {
        let stream = pick(&streams, task, done);
        let read = ReadEvents {
            shard: stream.shard,
            persistence_id: stream.persistence_id.clone(),
            from: SequenceNr(1),
            to: SequenceNr(u64::MAX),
            max_events: 1000,
            max_bytes: 1 << 20,
            known: Some(abide_persistence::journal::Known { claim: notes::claim(), batch: 0 }),
        };
        let page = journal.read(read).await.unwrap();
        assert_eq!(page.events.len() as u64, EVENTS);
        done += 1;
    }
    done
}

async fn range(
    mut connections: Vec<MultiplexedConnection>,
    streams: Arc<Vec<Stream>>,
    task: usize,
    until: Instant,
) -> usize {
    let mut done = 0;
    while Instant::now() < until {
        let stream = pick(&streams, task, done);
        let call = Cmd::with_capacity(4, 100).arg("LRANGE").arg(&stream.key).arg(0).arg(-1).take();
        let events = connections[stream.primary].send_packed_command(&call).await.unwrap();
        assert!(matches!(events, Value::Array(events) if events.len() as u64 == EVENTS));
        done += 1;
    }
    done
}

pub(crate) fn reads() {
    let runtime = runtime();
    let (_servers, journal, streams, connections) = runtime.block_on(async {
        let servers = Servers::cluster().await;
        let journal: Arc<dyn Journal> = Arc::new(servers.store().await);
        let streams = Arc::new(prepare(&servers, journal.as_ref()).await);
        let mut connections = Vec::new();
        for primary in servers.primaries() {
            connections.push(servers.connect(primary).await);
        }
        (servers, journal, streams, connections)
    });
    let [ours, baseline] = in_turns([
        &mut || {
            let until = Instant::now() + turn();
            let task = |task| recover(Arc::clone(&journal), Arc::clone(&streams), task, until);
            runtime.block_on(rate((0..IN_FLIGHT).map(task)))
        },
        &mut || {
            let until = Instant::now() + turn();
            let task = |task| range(connections.clone(), Arc::clone(&streams), task, until);
            runtime.block_on(rate((0..IN_FLIGHT).map(task)))
        },
    ]);
    show_rate(
        "recoveries of entities with 10 events, 64 in flight, against LRANGE through the same crate",
        ours,
        baseline,
        0.6,
    );
    runtime.block_on(journal.close());
}
