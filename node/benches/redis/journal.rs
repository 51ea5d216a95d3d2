//! Events through the journal itself: 256 writers, each the owner of a shard with one batch in flight.

use std::sync::Arc;
use std::time::Instant;

use abide::persistence::journal::{Batch, Journal, Write};
use abide::persistence::{PersistenceId, SequenceNr, ShardId};
use bytes::Bytes;

use crate::bare::{Bare, Events, Flights};
use crate::notes;
use crate::servers::Servers;
use crate::turns::{in_turns, rate, runtime, show_rate, turn};

const WRITERS: usize = 256;
/// Entities of a shard, and most events of a batch.
const ENTITIES: usize = 16;

/// The owner of one shard.
struct Owner {
    journal: Arc<dyn Journal>,
    shard: ShardId,
    number: u64,
    event: Bytes,
    entities: Vec<(PersistenceId, u64)>,
    next: usize,
}

impl Owner {
    async fn claim(journal: Arc<dyn Journal>, n: usize) -> Self {
        let shard = ShardId(u32::try_from(n).unwrap());
        journal.claim(shard, notes::claim(), notes::writer(), None).await.unwrap();
        let entities = (0..ENTITIES).map(|entity| (notes::id(n * 1000 + entity), 0)).collect();
        // The same bytes each time: what encoding takes is no part of this.
        Self { journal, shard, number: 0, event: notes::event(1000), entities, next: 0 }
    }

    fn append(&mut self) -> Write {
        self.next += 1;
        let (persistence_id, last) = &mut self.entities[self.next % ENTITIES];
        *last += 1;
        let (persistence_id, first) = (persistence_id.clone(), SequenceNr(*last));
        Write::Append { persistence_id, first, events: vec![self.event.clone()] }
    }

    /// Writes batches until the turn ends; how many events were acknowledged.
    async fn write(&mut self, until: Instant) -> usize {
        let mut done = 0;
        while Instant::now() < until {
            let events = Events::UpTo(ENTITIES).of(self.number as usize);
            self.number += 1;
            let batch = Batch {
                shard: self.shard,
                claim: notes::claim(),
                number: self.number,
                writer: notes::writer(),
                writes: Arc::new((0..events).map(|_| self.append()).collect()),
            };
            self.journal.write(batch).await.unwrap();
            done += events;
        }
        done
    }
}

pub(crate) fn journal() {
    let runtime = runtime();
    let (servers, store, mut bare, owners) = runtime.block_on(async {
        let servers = Servers::cluster().await;
        let store = servers.store().await;
        let journal: Arc<dyn Journal> = Arc::new(store.clone());
        let mut owners = Vec::new();
        for n in 0..WRITERS {
            let owner = Owner::claim(Arc::clone(&journal), n).await;
            owners.push(Arc::new(tokio::sync::Mutex::new(owner)));
        }
        let bare = Bare::new(&servers, "bare", WRITERS, ENTITIES).await;
        (servers, store, bare, owners)
    });
    let like = std::cell::Cell::new(Flights { scripts: 1.0, events: Events::UpTo(ENTITIES) });
    let [ours, baseline] = in_turns([
        &mut || {
            runtime.block_on(async {
                let (before, until) = (servers.counted().await, Instant::now() + turn());
                let write = |owner: &Arc<tokio::sync::Mutex<Owner>>| {
                    let owner = Arc::clone(owner);
                    async move { owner.lock().await.write(until).await }
                };
                let rate = rate(owners.iter().map(write)).await;
                let counted = servers.counted().await - before;
                like.set(Flights { scripts: counted.scripts / counted.waits, ..like.get() });
                rate
            })
        },
        &mut || runtime.block_on(bare.rate(like.get(), Instant::now() + turn())),
    ]);
    show_rate(
        "events through the journal, 256 writers with batches of 1 to 16 events, against a bare client",
        ours,
        baseline,
        0.8,
    );
    println!("    flights of {:.0} batches", like.get().scripts);
    runtime.block_on(store.close());
}
