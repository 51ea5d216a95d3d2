//! Snapshots: a cached prefix of a stream, so that recovery need not begin at event 1.
//!
//! A snapshot is never the truth. It names the event that it ends with and the token under which that
//! event was written; recovery uses it only if the journal knows that event by the same token.

use bytes::Bytes;

use super::{Claim, EventPage, EventToken, Known, Pending, StoreError, StoreId};
use crate::ids::{PersistenceId, SequenceNr, ShardId};

/// One saved state of one entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The last event that it contains.
    pub sequence_nr: SequenceNr,
    /// The claim under which that event was written.
    pub claim: Claim,
    /// The batch in which that event was written.
    pub batch: u64,
    /// When it was taken, in milliseconds since 1970.
    pub time_ms: u64,
    /// Codec of the payload; see [`crate::codec`].
    pub codec: u32,
    /// Name that the author gave to the state.
    pub name: String,
    /// Version of the state's shape.
    pub version: u32,
    /// The encoded state.
    pub payload: Bytes,
    /// Records of the engine that belong to the prefix (keys of commands, deliveries); opaque to a store.
    pub records: Bytes,
}

impl Snapshot {
    /// Name of a state whose author gave it none, and of what was stored before states had names.
    pub const DEFAULT_NAME: &'static str = "state";

    /// The token of the last event that it contains.
    pub fn token(&self) -> EventToken {
        EventToken { claim: self.claim, batch: self.batch }
    }
}

/// Which snapshots are meant; both ends are included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotCriteria {
    /// Lowest last event.
    pub min_sequence_nr: SequenceNr,
    /// Highest last event.
    pub max_sequence_nr: SequenceNr,
    /// Not taken before.
    pub min_time_ms: u64,
    /// Not taken after.
    pub max_time_ms: u64,
}

impl SnapshotCriteria {
    /// All of them.
    pub const ANY: Self = Self {
        min_sequence_nr: SequenceNr::ZERO,
        max_sequence_nr: SequenceNr(u64::MAX),
        min_time_ms: 0,
        max_time_ms: u64::MAX,
    };

    /// Those that end at or before an event.
    pub const fn up_to(max_sequence_nr: SequenceNr) -> Self {
        Self { max_sequence_nr, ..Self::ANY }
    }

    /// The one that ends with an event.
    pub const fn exactly(sequence_nr: SequenceNr) -> Self {
        Self { min_sequence_nr: sequence_nr, ..Self::up_to(sequence_nr) }
    }

    /// Whether any time will do.
    pub const fn any_time(&self) -> bool {
        self.min_time_ms == 0 && self.max_time_ms == u64::MAX
    }

    /// Whether a snapshot with this end is meant, if its time is.
    pub fn matches_number(&self, sequence_nr: SequenceNr) -> bool {
        (self.min_sequence_nr..=self.max_sequence_nr).contains(&sequence_nr)
    }

    /// Whether a snapshot with this end and time is meant.
    pub fn matches(&self, sequence_nr: SequenceNr, time_ms: u64) -> bool {
        self.matches_number(sequence_nr) && (self.min_time_ms..=self.max_time_ms).contains(&time_ms)
    }
}

/// Why no snapshot was loaded, though there may be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The newest one that matches is not what was saved. It is never handed out; those below it may be whole,
    /// so ask again for what ends before it, and in the end replay all events.
    #[error("the snapshot that ends with event {sequence_nr} is damaged: {reason}")]
    Damaged {
        /// The event that it ends with.
        sequence_nr: SequenceNr,
        /// What is wrong with it.
        reason: String,
    },
    /// The store could not be asked; the same question may be answered later.
    #[error(transparent)]
    Failed(#[from] StoreError),
}

/// A snapshot, and what came with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// The snapshot, if there is one.
    pub snapshot: Option<Snapshot>,
    /// All events of the entity that the journal has, if the store has both in one place and they are few.
    pub stream: Option<EventPage>,
}

impl From<Option<Snapshot>> for Loaded {
    fn from(snapshot: Option<Snapshot>) -> Self {
        Self { snapshot, stream: None }
    }
}

/// Stores snapshots. Goes with any journal, because a snapshot is checked against the events.
pub trait SnapshotStore: Send + Sync + 'static {
    /// Stores a snapshot as durably as this store promises; one with the same last event is replaced, at once
    /// and whole. If it fails, what was there is still there, or the new one is.
    fn save(
        &self,
        shard: ShardId,
        persistence_id: PersistenceId,
        snapshot: Snapshot,
    ) -> Pending<Result<(), StoreError>>;

    /// The newest snapshot that matches, checked against its checksum. One whose time can no longer be read
    /// counts as one that matches.
    fn load(
        &self,
        shard: ShardId,
        persistence_id: PersistenceId,
        criteria: SnapshotCriteria,
    ) -> Pending<Result<Option<Snapshot>, SnapshotError>>;

    /// Names the store, if it is a journal too; see [`Journal::store_id`](super::Journal::store_id).
    fn store_id(&self) -> Option<StoreId> {
        None
    }

    /// The same as [`load`](Self::load), for a recovery by somebody who knows this: a store that is the entity's
    /// journal too may hand over the events with it, and spare a second question. They count like those of a
    /// [read](super::Journal::read) that knows the same; where that would be fenced, none come.
    fn load_for_recovery(
        &self,
        shard: ShardId,
        persistence_id: PersistenceId,
        criteria: SnapshotCriteria,
        known: Known,
    ) -> Pending<Result<Loaded, SnapshotError>> {
        let _ = known;
        let load = self.load(shard, persistence_id, criteria);
        Box::pin(async move { load.await.map(Loaded::from) })
    }

    /// Deletes those that match, as durably as it saves; none is no error. One whose time can no longer be read
    /// goes only if any time is meant.
    fn delete(
        &self,
        shard: ShardId,
        persistence_id: PersistenceId,
        criteria: SnapshotCriteria,
    ) -> Pending<Result<(), StoreError>>;
}
