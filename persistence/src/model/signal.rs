//! What an entity is told about itself.

use crate::ids::SequenceNr;
use crate::journal::SnapshotCriteria;

/// Something that happened around an entity; see
/// [`receive_signal`](super::PersistentActor::receive_signal).
///
/// One that tells of a failure and that the entity leaves to
/// [`Context::unhandled`](super::Context::unhandled) is logged as a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// The past is recovered; commands that came meanwhile follow. Here events may be persisted.
    RecoveryCompleted,
    /// A snapshot is stored.
    SnapshotSaved {
        /// The last event that it contains.
        sequence_nr: SequenceNr,
        /// When it was taken, in milliseconds since 1970.
        time_ms: u64,
    },
    /// A snapshot was not stored. The entity goes on: its events are stored.
    SnapshotNotSaved {
        /// The last event that it contains.
        sequence_nr: SequenceNr,
        /// Why.
        reason: String,
    },
    /// The snapshots that were meant are gone.
    SnapshotsDeleted {
        /// Which were meant.
        criteria: SnapshotCriteria,
    },
    /// Snapshots were not deleted, or not all that were meant.
    SnapshotsNotDeleted {
        /// Which were meant.
        criteria: SnapshotCriteria,
        /// Why.
        reason: String,
    },
    /// The events up to this one are gone.
    EventsDeleted {
        /// The last event that is gone.
        to: SequenceNr,
    },
    /// No event was deleted.
    EventsNotDeleted {
        /// The last event that was to go.
        to: SequenceNr,
        /// Why.
        reason: String,
    },
    /// Commands were turned away, or could not be put aside, because the entity holds as many as it may.
    StashOverflowed {
        /// That number.
        capacity: usize,
        /// How many were turned away since the last such signal.
        lost: u64,
    },
    /// Nothing has come for as long as
    /// [`set_receive_timeout`](super::Context::set_receive_timeout) says.
    ReceiveTimeout,
}

impl Signal {
    /// Whether it tells of something that did not work.
    pub fn is_failure(&self) -> bool {
        match self {
            Self::SnapshotNotSaved { .. }
            | Self::SnapshotsNotDeleted { .. }
            | Self::EventsNotDeleted { .. }
            | Self::StashOverflowed { .. } => true,
            Self::RecoveryCompleted
            | Self::SnapshotSaved { .. }
            | Self::SnapshotsDeleted { .. }
            | Self::EventsDeleted { .. }
            | Self::ReceiveTimeout => false,
        }
    }
}
