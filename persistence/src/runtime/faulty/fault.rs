//! The words for faults: which call, what goes wrong with it, and which calls are meant.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::ids::{PersistenceId, ShardId};
use crate::journal::{Batch, Claim, ListIds, ReadEvents, Snapshot, SnapshotCriteria, Write};

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Reading or replacing the meta record.
    Meta,
    /// Claiming a shard.
    Claim,
    /// Writing a batch.
    Write,
    /// Reading a page.
    Read,
    /// Listing ids.
    ListIds,
    /// Asking whether the store works.
    Health,
    /// Saving a snapshot.
    SaveSnapshot,
    /// Loading a snapshot.
    LoadSnapshot,
    /// Deleting snapshots.
    DeleteSnapshots,
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It is not done, and the caller is told so. A batch is not written.
    Refused,
    /// It never arrives, and the caller cannot know: unknown and not written.
    RequestLost,
    /// It is done, and the caller cannot know: unknown but written, if the store took it.
    AnswerLost,
    /// A batch is rejected for the writes that [`On`] picked out, or for all of them; the rest of it may be
    /// numbered anew. Any other call is refused.
    Rejected,
    /// It reaches the store so much later. Whatever was called meanwhile overtakes it.
    Delay(Duration),
    /// It waits until it is released, and never arrives if the caller gives up before.
    Hang,
    /// What is read is not what was written: a page or a snapshot is reported as
    /// damaged. Any other call is refused.
    Damaged,
}

/// A call with what it is about.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Asked<'a> {
    /// Reads or replaces the meta record.
    Meta,
    /// Claims a shard.
    Claim(ShardId, Claim),
    /// Writes a batch.
    Write(&'a Batch),
    /// Reads a page.
    Read(&'a ReadEvents),
    /// Lists ids.
    ListIds(&'a ListIds),
    /// Asks whether the store works.
    Health,
    /// Saves a snapshot.
    SaveSnapshot(ShardId, &'a PersistenceId, &'a Snapshot),
    /// Loads a snapshot.
    LoadSnapshot(ShardId, &'a PersistenceId, SnapshotCriteria),
    /// Deletes snapshots.
    DeleteSnapshots(ShardId, &'a PersistenceId, SnapshotCriteria),
}

impl Asked<'_> {
    /// What is called.
    pub fn call(&self) -> Call {
        match self {
            Self::Meta => Call::Meta,
            Self::Claim(..) => Call::Claim,
            Self::Write(_) => Call::Write,
            Self::Read(_) => Call::Read,
            Self::ListIds(_) => Call::ListIds,
            Self::Health => Call::Health,
            Self::SaveSnapshot(..) => Call::SaveSnapshot,
            Self::LoadSnapshot(..) => Call::LoadSnapshot,
            Self::DeleteSnapshots(..) => Call::DeleteSnapshots,
        }
    }

    /// Which shard it is about; meta record and health are about none.
    pub fn shard(&self) -> Option<ShardId> {
        match self {
            Self::Meta | Self::Health => None,
            Self::Claim(shard, _)
            | Self::SaveSnapshot(shard, ..)
            | Self::LoadSnapshot(shard, ..)
            | Self::DeleteSnapshots(shard, ..) => Some(*shard),
            Self::Write(batch) => Some(batch.shard),
            Self::Read(read) => Some(read.shard),
            Self::ListIds(query) => Some(query.shard),
        }
    }

    /// Whether it is about this entity; a batch is, if one of its writes is.
    pub fn is_about(&self, persistence_id: &PersistenceId) -> bool {
        match self {
            Self::Meta | Self::Health | Self::Claim(..) | Self::ListIds(_) => false,
            Self::Write(batch) => batch.writes.iter().any(|write| write.persistence_id() == persistence_id),
            Self::Read(read) => read.persistence_id == *persistence_id,
            Self::SaveSnapshot(_, id, _) | Self::LoadSnapshot(_, id, _) | Self::DeleteSnapshots(_, id, _) => {
                *id == persistence_id
            }
        }
    }
}

/// Picks out writes.
type WriteFilter = Arc<dyn Fn(&Write) -> bool + Send + Sync>;
/// Picks out calls.
type CallFilter = Arc<dyn Fn(&Asked<'_>) -> bool + Send + Sync>;

/// Which calls are meant. Every condition must hold; without any, all calls are meant.
///
/// ```
/// use abide_persistence::ShardId;
/// use abide_persistence::runtime::{Asked, Call, On};
///
/// let writes_of_a_shard = On::call(Call::Write).in_shard(ShardId(3));
/// let long_pages = On::any().that(|asked| matches!(asked, Asked::Read(read) if read.max_events > 100));
/// ```
#[derive(Clone, Default)]
pub struct On {
    call: Option<Call>,
    shard: Option<ShardId>,
    persistence_id: Option<PersistenceId>,
    writes: Option<WriteFilter>,
    that: Option<CallFilter>,
}

impl On {
    /// Every call.
    pub fn any() -> Self {
        Self::default()
    }

    /// Calls of this kind.
    pub fn call(call: Call) -> Self {
        Self { call: Some(call), ..Self::default() }
    }

    /// Only those about this shard.
    #[must_use]
    pub fn in_shard(self, shard: ShardId) -> Self {
        Self { shard: Some(shard), ..self }
    }

    /// Only those about this entity. Of a batch, only its writes are rejected.
    #[must_use]
    pub fn of(self, persistence_id: PersistenceId) -> Self {
        Self { persistence_id: Some(persistence_id), ..self }
    }

    /// Only batches with such writes, which alone are rejected.
    #[must_use]
    pub fn with_writes(self, writes: impl Fn(&Write) -> bool + Send + Sync + 'static) -> Self {
        Self { writes: Some(Arc::new(writes)), ..self }
    }

    /// Only those for which this holds. It is asked while the faults are locked, so it must not use them.
    #[must_use]
    pub fn that(self, that: impl Fn(&Asked<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self { that: Some(Arc::new(that)), ..self }
    }

    /// Only batches.
    pub(super) fn batches(self) -> Self {
        Self { call: Some(Call::Write), ..self }
    }

    pub(super) fn means(&self, asked: &Asked<'_>) -> bool {
        self.call.is_none_or(|call| asked.call() == call)
            && self.shard.is_none_or(|shard| asked.shard() == Some(shard))
            && self.persistence_id.as_ref().is_none_or(|id| asked.is_about(id))
            && (self.writes.is_none() || !self.positions(asked).is_empty())
            && self.that.as_ref().is_none_or(|that| that(asked))
    }

    /// Which writes of a batch are meant.
    pub(super) fn positions(&self, asked: &Asked<'_>) -> Vec<usize> {
        let Asked::Write(batch) = asked else { return Vec::new() };
        let meant = |write: &Write| {
            self.persistence_id.as_ref().is_none_or(|id| write.persistence_id() == id)
                && self.writes.as_ref().is_none_or(|writes| writes(write))
        };
        (0..batch.writes.len()).filter(|at| meant(&batch.writes[*at])).collect()
    }
}

impl From<Call> for On {
    fn from(call: Call) -> Self {
        Self::call(call)
    }
}

impl fmt::Debug for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("On")
            .field("call", &self.call)
            .field("shard", &self.shard)
            .field("persistence_id", &self.persistence_id)
            .field("filtered", &(self.writes.is_some() || self.that.is_some()))
            .finish()
    }
}
