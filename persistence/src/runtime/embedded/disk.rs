//! The opened database, and what both writer and readers look up in it.
//!
//! All reads go through a snapshot: a plain read of a keyspace may see half a commit.

use std::fs::File;

use bytes::Bytes;
use fjall::{Database, Keyspace, Readable, Snapshot as View};

use super::ends::StreamEnd;
use super::layout::{RowKey, deletion, number_of, stream_key};
use crate::ids::PersistenceId;
use crate::journal::{ReadError, SnapshotError, StoreError};

/// Fields are dropped in this order: the lock goes last.
pub(super) struct Disk {
    pub(super) events: Keyspace,
    pub(super) streams: Keyspace,
    pub(super) snapshots: Keyspace,
    pub(super) meta: Keyspace,
    pub(super) ids: Keyspace,
    pub(super) db: Database,
    pub(super) _lock: File,
}

/// Why a look-up failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The engine could not read.
    Engine(fjall::Error),
    /// It read what this store never wrote.
    Damaged(String),
}

impl From<fjall::Error> for Fault {
    fn from(cause: fjall::Error) -> Self {
        Self::Engine(cause)
    }
}

impl From<Fault> for ReadError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Engine(cause) if is_damage(&cause) => Self::Damaged(describe(&cause)),
            Fault::Engine(cause) => Self::Failed(StoreError::new(describe(&cause))),
            Fault::Damaged(what) => Self::Damaged(what),
        }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Engine(cause) => Self::new(describe(&cause)),
            Fault::Damaged(what) => Self(what),
        }
    }
}

impl From<Fault> for SnapshotError {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault.into())
    }
}

/// Whether the engine says that its files are not what it wrote, rather than that it could not read them.
pub(super) fn is_damage(cause: &fjall::Error) -> bool {
    match cause {
        fjall::Error::Storage(fjall::LsmError::Io(_)) | fjall::Error::Io(_) => false,
        fjall::Error::Poisoned | fjall::Error::Locked | fjall::Error::KeyspaceDeleted => false,
        // The enum is open; what else it has today all speaks of contents.
        _ => true,
    }
}

/// An engine's error in an operator's words.
pub(super) fn describe(cause: &fjall::Error) -> String {
    match cause {
        fjall::Error::Io(cause) | fjall::Error::Storage(fjall::LsmError::Io(cause)) => cause.to_string(),
        fjall::Error::Poisoned => "the storage engine stopped after a failed write".to_owned(),
        other => format!("{other:?}"),
    }
}

impl Disk {
    pub(super) fn view(&self) -> View {
        self.db.snapshot()
    }

    /// Up to which number a stream's events were deleted, and what their owner keeps in their place.
    pub(super) fn deletion(
        &self,
        view: &View,
        persistence_id: &PersistenceId,
    ) -> Result<(u64, Bytes), Fault> {
        match view.get(&self.streams, stream_key(persistence_id))? {
            None => Ok((0, Bytes::new())),
            Some(value) => deletion(&value)
                .ok_or_else(|| Fault::Damaged(format!("the deletion mark of {persistence_id} is no number"))),
        }
    }

    /// The last number that a stream has used.
    pub(super) fn last(
        &self,
        view: &View,
        persistence_id: &PersistenceId,
        deleted_to: u64,
    ) -> Result<u64, Fault> {
        let (from, to) = span(persistence_id, 0, u64::MAX);
        let Some(row) = view.range(&self.events, from..=to).next_back() else { return Ok(deleted_to) };
        let last = number_of(&row.key()?).unwrap_or_default();
        Ok(last.max(deleted_to))
    }

    /// Where a stream ends. Three point look-ups when it ends right before `expected`, as it nearly always does.
    pub(super) fn end(
        &self,
        view: &View,
        persistence_id: &PersistenceId,
        expected: Option<u64>,
    ) -> Result<StreamEnd, Fault> {
        let (deleted_to, _) = self.deletion(view, persistence_id)?;
        let known = |last| Ok(StreamEnd { last, deleted_to, appended_in: 0 });
        if let Some(first) = expected.filter(|first| *first > 0) {
            let mut key = RowKey::new(persistence_id);
            let before = first - 1;
            let ends_before = before == deleted_to
                || (before > deleted_to && view.contains_key(&self.events, key.at(before))?);
            if ends_before && !view.contains_key(&self.events, key.at(first))? {
                return known(before);
            }
        }
        known(self.last(view, persistence_id, deleted_to)?)
    }
}

/// Keys of a stream's rows from one number to another.
pub(super) fn span(persistence_id: &PersistenceId, from: u64, to: u64) -> (Vec<u8>, Vec<u8>) {
    let mut key = RowKey::new(persistence_id);
    (key.at(from).to_vec(), key.at(to).to_vec())
}

/// A value on its own: the engine's slices keep the whole block alive that they were cut from.
pub(super) fn own(value: &[u8]) -> Bytes {
    Bytes::copy_from_slice(value)
}
