//! Entities, claims, events that no other case has used.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::envelope::StoredEvent;
use crate::ids::{EntityId, EntityType, PersistenceId, SequenceNr, ShardCount, ShardId};
use crate::journal::{Claim, Epoch, Snapshot, Writer};

/// The type of the kit's entities.
const KIT: EntityType = EntityType::new("testkit");
/// The shards over which the kit's entities lie.
pub const SHARDS: u32 = 16;

static COUNTER: AtomicU64 = AtomicU64::new(1);

fn next() -> u64 {
    COUNTER.fetch_add(1, Ordering::Relaxed)
}

/// The shard of one of the kit's entities.
pub(super) fn shard_of(persistence_id: &PersistenceId) -> ShardId {
    persistence_id.hash().shard(ShardCount::new(SHARDS).expect("in range"))
}

/// One of the kit's entities.
pub(super) fn named(id: &str) -> PersistenceId {
    PersistenceId::new(KIT, EntityId::new(id).expect("an entity id"))
}

/// An entity that nobody has used; in this shard, if one is given.
pub fn fresh_id(shard: Option<ShardId>) -> PersistenceId {
    loop {
        let candidate = named(&format!("entity-{}", next()));
        if shard.is_none_or(|shard| shard_of(&candidate) == shard) {
            return candidate;
        }
    }
}

/// A shard in which no entity of the kit lies, for cases that only claim.
pub fn fresh_shard() -> ShardId {
    ShardId(SHARDS + next() as u32)
}

/// A claim higher than all before, of generation 1.
pub fn fresh_claim() -> Claim {
    Claim { epoch: Epoch::new(1, next()), session: 1 }
}

/// A start of a process that nobody has seen; always the same cluster.
pub fn fresh_writer() -> Writer {
    Writer { cluster: 0xc1a5, incarnation: u128::from(next()) << 64 | 7 }
}

/// A stored event with this number and payload.
pub fn event(number: u64, payload: &[u8]) -> Bytes {
    let stored = StoredEvent {
        sequence_nr: number,
        payload: Bytes::copy_from_slice(payload),
        codec: crate::codec::JSON,
        name: "noted".to_owned(),
        version: 1,
        ..StoredEvent::default()
    };
    stored.to_bytes()
}

/// A snapshot that ends with this event, taken at this time.
pub fn snapshot(number: u64, time_ms: u64, payload: &[u8]) -> Snapshot {
    Snapshot {
        sequence_nr: SequenceNr(number),
        claim: Claim { epoch: Epoch::new(1, 2), session: 3 },
        batch: 4,
        time_ms,
        codec: crate::codec::JSON,
        name: Snapshot::DEFAULT_NAME.to_owned(),
        version: 5,
        payload: Bytes::copy_from_slice(payload),
        records: Bytes::from_static(b"records"),
    }
}
