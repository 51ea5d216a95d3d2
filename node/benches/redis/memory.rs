//! What events take of a server's memory: in long histories, and where an entity has one alone.

use std::sync::Arc;

use abide::persistence::journal::{Journal, ReadEvents};
use abide::persistence::{SequenceNr, ShardCount};
use abide::sharding::Region;

use crate::notes::{self, Note, PAYLOAD, SHARDS};
use crate::servers::Servers;
use crate::turns::{many, runtime, show_amount};

/// Entities with long histories, and how long those are.
const LONG: usize = 50;
const HISTORY: usize = 10_000;
/// Events stored at once.
const AT_ONCE: usize = 500;
/// Entities with one event.
const SHORT: usize = 200_000;

/// What an entity's events measure on average, encoded.
async fn encoded(journal: &dyn Journal, n: usize) -> f64 {
    let persistence_id = notes::id(n);
    let read = ReadEvents {
        shard: persistence_id.hash().shard(ShardCount::new(SHARDS).unwrap()),
        persistence_id,
        from: SequenceNr(1),
        to: SequenceNr(u64::MAX),
        max_events: HISTORY,
        max_bytes: usize::MAX,
        known: None,
    };
    let events = journal.read(read).await.unwrap().events;
    events.iter().map(|event| event.len() as f64).sum::<f64>() / events.len() as f64
}

/// Has each entity from here on store one event.
async fn store_one_each(region: &Region, from: usize, count: usize) {
    for start in (from..from + count).step_by(1000) {
        let entities: Vec<notes::NotesRef> = (start..(from + count).min(start + 1000))
            .map(|n| region.entity(notes::id(n).id).unwrap())
            .collect();
        let commands = entities.iter().map(|entity| (entity, Note::Write { text: notes::text() }));
        for stored in region.ask_all(commands).await {
            stored.unwrap();
        }
    }
}

pub(crate) fn memory() {
    runtime().block_on(async {
        let servers = Servers::cluster().await;
        let store = servers.store().await;
        let region = notes::region(Arc::new(store.clone())).await;
        // Fills what fills once, such as the backlogs of replication and the tables of ids.
        store_one_each(&region, 1_000_000, 20_000).await;

        let (entities, history) = (LONG, many(HISTORY));
        let before = servers.memory().await;
        for n in 0..entities {
            let entity: notes::NotesRef = region.entity(notes::id(n).id).unwrap();
            for start in (0..history).step_by(AT_ONCE) {
                let texts = vec![notes::text(); AT_ONCE.min(history - start)];
                entity.ask(Note::WriteMany { texts }).await.unwrap();
            }
        }
        let each = (servers.memory().await - before) / (entities * history) as f64;
        let size = encoded(&store, 0).await;
        show_amount(
            &format!("memory for each event, {entities} entities of {history} events, above its {size:.1} bytes"),
            "bytes",
            each - size,
            15.0,
        );
        show_amount("an event's bytes above its payload", "bytes", size - PAYLOAD as f64, 60.0);

        let count = many(SHORT);
        let before = servers.memory().await;
        store_one_each(&region, LONG, count).await;
        let each = (servers.memory().await - before) / count as f64;
        let size = encoded(&store, LONG).await;
        // `{abide:512}:e:notes|0000000000000050`
        let key = (format!("{{abide:512}}:e:{}", notes::id(0))).len() as f64;
        show_amount(
            &format!(
                "memory of an entity of one event, {count} entities in {SHARDS} shards, above its {size:.1} bytes \
                 and its key of {key}"
            ),
            "bytes",
            each - size - key,
            250.0,
        );
        region.stop().await;
    });
}
