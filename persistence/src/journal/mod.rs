//! What Abide asks of a store: [`Journal`] for events, [`SnapshotStore`] for snapshots.
//!
//! A journal is told *who* writes ([`Writer`]), under *which claim* and with *which batch number*; it
//! stores a batch whole or not at all and says one of four things: written, rejected (nothing stored),
//! not written, unknown. What a store may do is fixed by [`fence`]; how it does it is its own affair.
//!
//! Nothing here knows a runtime: a store hands back boxed futures and may be driven by any executor.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::ids::{PersistenceId, SequenceNr, ShardCount, ShardId};

pub mod fence;
mod ids;
pub mod snapshot;

pub use fence::{Claim, Epoch, EventToken, Known, Token, Usurped, Writer};
pub use ids::{IdPage, ListIds};
pub use snapshot::{Loaded, Snapshot, SnapshotCriteria, SnapshotError, SnapshotStore};

/// A store's answer, some time later.
pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Stores events, one numbered batch of one shard at a time.
///
/// The owner of a shard has one batch in flight; different shards are written at the same time, and a
/// store gathers what arrives while it is busy into its next commit.
pub trait Journal: Send + Sync + 'static {
    /// What fits. Checked by the engine before anything is numbered, so that too large an event is
    /// rejected alone.
    fn limits(&self) -> JournalLimits;

    /// Names the store, if it is a snapshot store too: then both have the same name, which no other store has.
    fn store_id(&self) -> Option<StoreId> {
        None
    }

    /// Whether several nodes may work on this store.
    fn is_shared(&self) -> bool;

    /// What the journal was first used with.
    fn meta(&self) -> Pending<Result<Option<JournalMeta>, StoreError>>;

    /// Replaces what the journal was first used with, if it still is `expected`, as durably as an event.
    /// `Ok(false)` means that it is something else by now.
    fn replace_meta(
        &self,
        expected: Option<JournalMeta>,
        new: JournalMeta,
    ) -> Pending<Result<bool, StoreError>>;

    /// Takes a shard, as durably as an event. Everything that the writer decides comes after.
    ///
    /// `least` is what the claimer knows the journal to hold. If that is not there, the journal has lost
    /// something: the claim is not taken, and nothing changes.
    fn claim(
        &self,
        shard: ShardId,
        claim: Claim,
        writer: Writer,
        least: Option<Known>,
    ) -> Pending<Result<(), ClaimError>>;

    /// Stores a batch. `Ok` means acknowledged: stored as durably as this store promises.
    fn write(&self, batch: Batch) -> Pending<Result<(), WriteError>>;

    /// How long a claim or a batch of this shard would be refused unheard from now on, because the server that
    /// it goes to has stopped answering; `None` if it would be tried. Zero means that one call may be tried, to
    /// see whether the server answers again; while that is under way, it is worth asking again soon.
    ///
    /// Asked before a command is handled, so that none is begun whose events would be refused: it must
    /// cost next to nothing, and may be late by a moment. Whoever is told zero claims the shard again
    /// rather than write: an entity stops when its batch is refused, and nobody does for a claim. So a
    /// store says `None` only once a call was answered.
    fn refuses_writes(&self, shard: ShardId) -> Option<Duration> {
        let _ = shard;
        None
    }

    /// Reads a page of one entity's events.
    fn read(&self, read: ReadEvents) -> Pending<Result<EventPage, ReadError>>;

    /// Reads a page of the ids of one type in one shard: of all entities that ever stored an event. Cheap
    /// where there are none, because whoever lists a type asks for shard after shard.
    fn persistence_ids(&self, query: ListIds) -> Pending<Result<IdPage, ReadError>>;

    /// Whether the store works, in words for an operator.
    fn health(&self) -> Pending<Result<(), StoreError>>;

    /// Writes what is still in hand and lets go of the store. Later calls fail.
    fn close(&self) -> Pending<()>;
}

/// What a journal was first used with; a node that was configured otherwise refuses to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalMeta {
    /// Version of the layout; see [`JournalMeta::FORMAT`].
    pub format: u32,
    /// Number of shards.
    pub shards: ShardCount,
    /// Name of the shard hash; see [`JournalMeta::HASH`].
    pub hash: String,
    /// The cluster that works on this journal.
    pub cluster: u128,
    /// Which of its lives; the upper part of every epoch.
    pub generation: u32,
}

impl JournalMeta {
    /// The layout that this version writes.
    pub const FORMAT: u32 = 1;
    /// The shard hash that this version computes.
    pub const HASH: &'static str = "xxh3_64";
}

/// What fits into a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalLimits {
    /// Largest payload of one event, encoded.
    pub max_event_bytes: usize,
    /// Largest sum of payloads that can be stored at once, as one `persist_all`.
    pub max_atomic_bytes: usize,
    /// Most events that a batch gathers before the rest waits for the next one. An atomic write is never
    /// split, so a batch may exceed this by one.
    pub batch_events: usize,
    /// The same in bytes of payload.
    pub batch_bytes: usize,
}

/// One numbered batch of one shard.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Which shard.
    pub shard: ShardId,
    /// The claim that it is written under.
    pub claim: Claim,
    /// Its number under that claim, from 1. A number belongs to its bytes for ever.
    pub number: u64,
    /// Who writes.
    pub writer: Writer,
    /// Stored all or none, in this order. Shared, because a batch may have to be sent more than once.
    pub writes: Arc<Vec<Write>>,
}

impl Batch {
    /// How many events it holds.
    pub fn events(&self) -> usize {
        let appended = |write: &Write| match write {
            Write::Append { events, .. } => events.len(),
            Write::DeleteTo { .. } => 0,
        };
        self.writes.iter().map(appended).sum()
    }
}

/// One change of one entity's stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Appends events; the stream must end right before `first`.
    Append {
        /// Whose stream.
        persistence_id: PersistenceId,
        /// Number of the first event.
        first: SequenceNr,
        /// Encoded [`StoredEvent`](crate::envelope::StoredEvent)s, numbered from `first`.
        events: Vec<Bytes>,
    },
    /// Deletes the events up to and including `to`; the numbers stay used.
    DeleteTo {
        /// Whose stream.
        persistence_id: PersistenceId,
        /// The last event to go; at most the last that there is.
        to: SequenceNr,
        /// What the owner keeps in place of the deleted events; handed back with every page, never looked
        /// into. A later deletion replaces it; one that deletes nothing does not.
        record: Bytes,
    },
}

impl Write {
    /// Whose stream is changed.
    pub fn persistence_id(&self) -> &PersistenceId {
        match self {
            Self::Append { persistence_id, .. } | Self::DeleteTo { persistence_id, .. } => persistence_id,
        }
    }
}

/// Asks for a page of one entity's events.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadEvents {
    /// Its shard.
    pub shard: ShardId,
    /// Whose events.
    pub persistence_id: PersistenceId,
    /// First number wanted.
    pub from: SequenceNr,
    /// Last number wanted.
    pub to: SequenceNr,
    /// Most events in the page. 0 asks for the stream's numbers alone.
    pub max_events: usize,
    /// The page ends after the event that reaches this many bytes.
    pub max_bytes: usize,
    /// What a server must hold for its answer to count: the reader's claim, and under it the last batch that was
    /// acknowledged when the read began, because a server that was left behind lacks one. `None` reads
    /// without deciding.
    pub known: Option<Known>,
}

/// A page of events, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventPage {
    /// Encoded [`StoredEvent`](crate::envelope::StoredEvent)s.
    pub events: Vec<Bytes>,
    /// Events up to this number were deleted.
    pub deleted_to: SequenceNr,
    /// What the owner gave along when it deleted them; empty if nothing was deleted.
    pub record: Bytes,
    /// The last number that the stream has used, whatever the window was.
    pub last: SequenceNr,
}

impl EventPage {
    /// The page that a read would have got, from a page that has all events of the stream.
    pub fn window(&self, read: &ReadEvents) -> Self {
        let first = read.from.0.max(self.deleted_to.0.saturating_add(1));
        let skipped = usize::try_from(first - self.deleted_to.0 - 1).unwrap_or(usize::MAX);
        let wanted = read.to.0.saturating_add(1).saturating_sub(first);
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX).min(read.max_events);
        let mut bytes = 0;
        // The event that reaches the limit is the last one.
        let fits = |event: &&Bytes| {
            let is_room = bytes < read.max_bytes;
            bytes += event.len();
            is_room
        };
        let events = self.events.iter().skip(skipped).take(wanted).take_while(fits).cloned().collect();
        Self { events, ..self.clone() }
    }
}

/// Tells one store from all others in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoreId(u64);

impl StoreId {
    /// One that no other store has.
    pub fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Why a store could not do what it was asked; in words for an operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

impl StoreError {
    /// From anything that can say what went wrong.
    pub fn new(cause: impl ToString) -> Self {
        Self(cause.to_string())
    }
}

/// Why a shard was not taken. Nothing may be decided from it, whatever the variant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// A newer claim holds the shard; this one never will.
    #[error("fenced: the shard is held by claim {held}")]
    Fenced {
        /// What the journal holds.
        held: Token,
    },
    /// The journal holds less than the claimer knows of: it has lost what it had acknowledged. This is
    /// said of the journal and not of one server: a store that may have asked one that was left behind
    /// makes sure first, as before an acknowledgement, and says `Failed` if it cannot.
    #[error("lost: the journal must hold {least} at least, and holds {}", words(*held))]
    Lost {
        /// What the journal holds.
        held: Option<Token>,
        /// What it must hold at least.
        least: Known,
    },
    /// The journal holds what it did not write itself. Somebody must look at it; nothing was changed.
    #[error("damaged: {0}")]
    Damaged(String),
    /// Somebody else believes to own this journal. The node must stop.
    #[error(transparent)]
    Usurped(#[from] Usurped),
    /// The store did not do it, or did not say so; the same claim may be sent again.
    #[error("the journal did not take the claim: {0}")]
    Failed(StoreError),
}

/// Why a batch was not acknowledged. Each variant says what the journal now holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// These writes (by position) can never be stored; nothing of the batch was, the others may be
    /// numbered anew.
    #[error("rejected: {reason}")]
    Rejected {
        /// Positions in the batch.
        writes: Vec<usize>,
        /// Why.
        reason: String,
    },
    /// Nothing of the batch was stored, or ever will be under its number.
    #[error("not written: {0}")]
    NotWritten(StoreError),
    /// The batch may be stored or not. Nothing may be read for a decision before the next claim.
    #[error("outcome unknown: {0}")]
    Unknown(StoreError),
    /// Another claim holds the shard. Nothing was stored by a batch that was sent once.
    #[error("fenced: the shard is held by {held}")]
    Fenced {
        /// What the journal holds.
        held: Token,
        /// Whether this batch was sent more than once, so that an earlier sending may have been stored.
        sent_again: bool,
    },
    /// The journal holds less than it had acknowledged before this batch was sent. Nothing was stored by a
    /// batch that was sent once. Said of the journal and not of one server, like [`ClaimError::Lost`]; a
    /// store that cannot make sure says `Unknown`.
    #[error("lost: the journal has forgotten the batch or the claim before, and holds {}", words(*held))]
    Lost {
        /// What the journal holds.
        held: Option<Token>,
        /// Whether this batch was sent more than once, so that an earlier sending may have been stored.
        sent_again: bool,
    },
    /// The journal holds what it did not write itself. Somebody must look at it. Nothing of the batch was
    /// stored by this sending.
    #[error("damaged: {0}")]
    Damaged(String),
    /// A stream does not end where the owner believes. Nothing was stored; owner and journal disagree.
    #[error("conflict: {persistence_id} ends at {found}, the write begins at {first}")]
    Conflict {
        /// Whose stream.
        persistence_id: PersistenceId,
        /// Number that the write began with.
        first: SequenceNr,
        /// Number that the stream ends with.
        found: SequenceNr,
    },
}

impl WriteError {
    /// Whether the batch is known not to be stored.
    pub fn nothing_stored(&self) -> bool {
        match self {
            Self::Rejected { .. } | Self::NotWritten(_) | Self::Conflict { .. } => true,
            Self::Fenced { sent_again, .. } | Self::Lost { sent_again, .. } => !sent_again,
            Self::Unknown(_) | Self::Damaged(_) => false,
        }
    }
}

/// Why a page was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The shard is not held by the reader's claim: by a newer one; or by an older one or none, or without the
    /// last batch, and then either the server asked was left behind, or the journal has lost something.
    #[error("fenced: the journal holds {} for the shard", words(*held))]
    Fenced {
        /// What the journal holds.
        held: Option<Token>,
    },
    /// The store could not read; worth another try.
    #[error("the journal could not be read: {0}")]
    Failed(StoreError),
    /// What is stored breaks the journal's own rules, such as a gap between two numbers.
    #[error("the stream is damaged: {0}")]
    Damaged(String),
}

fn words(held: Option<Token>) -> String {
    held.map_or("nothing".to_owned(), |held| held.to_string())
}
