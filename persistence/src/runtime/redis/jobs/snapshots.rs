//! Snapshots of one entity: a hash, a field for each, named by number and time, so that the right one is found
//! without reading the others.

use bytes::Bytes;
use redis::{Pipeline, Value};

use super::Asker;
use crate::envelope::StoredSnapshot;
use crate::ids::{PersistenceId, SequenceNr};
use crate::journal::{Snapshot, SnapshotCriteria, SnapshotError, StoreError};
use crate::runtime::redis::engine::keys::ShardKeys;
use crate::runtime::redis::engine::replies::{Reply, text};
use crate::runtime::redis::job::{Failed, Job, READS, Replicated, Verdict, all_done};
use crate::runtime::redis::link::{Link, Script};

type Loaded = Result<Option<Snapshot>, SnapshotError>;
type Changed = Result<(), StoreError>;

/// Whose snapshots.
pub(in crate::runtime::redis) struct Shelf {
    keys: ShardKeys,
    id: PersistenceId,
}

impl Shelf {
    pub(in crate::runtime::redis) fn new(keys: ShardKeys, id: PersistenceId) -> Self {
        Self { keys, id }
    }

    fn key(&self) -> Vec<u8> {
        self.keys.snapshots(&self.id)
    }

    fn foreign(&self, what: &str) -> StoreError {
        StoreError(format!("the key of the snapshots of {} holds what is not Abide's: {what}", self.id))
    }
}

/// Saves or deletes; waits for replicas as an event does.
pub(in crate::runtime::redis) struct ChangeSnapshots {
    shelf: Shelf,
    change: Change,
    asker: Asker<Changed>,
}

/// What is changed.
pub(in crate::runtime::redis) enum Change {
    /// A snapshot is saved.
    Save { number: SequenceNr, time_ms: u64, bytes: Bytes },
    /// Those that match are deleted.
    Delete(SnapshotCriteria),
}

/// Loads the newest that matches.
pub(in crate::runtime::redis) struct LoadSnapshot {
    shelf: Shelf,
    criteria: SnapshotCriteria,
    /// How many of a flight it counts for.
    weight: usize,
    asker: Asker<Loaded>,
}

impl ChangeSnapshots {
    pub(in crate::runtime::redis) fn new(shelf: Shelf, change: Change, asker: Asker<Changed>) -> Self {
        Self { shelf, change, asker }
    }
}

impl LoadSnapshot {
    pub(in crate::runtime::redis) fn new(
        shelf: Shelf,
        criteria: SnapshotCriteria,
        asker: Asker<Loaded>,
    ) -> Self {
        Self { shelf, criteria, weight: 1, asker }
    }

    fn decode(&self, field: &Value, bytes: &Value) -> Loaded {
        let nonsense = || SnapshotError::Failed(StoreError("a snapshot without a number".to_owned()));
        let number = text(field).and_then(|field| field.get(..20)?.parse().ok()).ok_or_else(nonsense)?;
        let sequence_nr = SequenceNr(number);
        let Value::BulkString(bytes) = bytes else { return Err(nonsense()) };
        let decoded = StoredSnapshot::open(Bytes::copy_from_slice(bytes), &self.shelf.id, sequence_nr);
        let snapshot =
            decoded.map_err(|damage| SnapshotError::Damaged { sequence_nr, reason: damage.to_string() })?;
        Ok(Some(snapshot))
    }
}

fn fixed(number: u64) -> String {
    format!("{number:020}")
}

fn bounds(criteria: &SnapshotCriteria) -> [String; 4] {
    [criteria.min_sequence_nr.0, criteria.max_sequence_nr.0, criteria.min_time_ms, criteria.max_time_ms]
        .map(fixed)
}

impl Job for ChangeSnapshots {
    fn slot(&self) -> u16 {
        self.shelf.keys.slot
    }

    fn weight(&self) -> usize {
        // One large snapshot is flight enough.
        if let Change::Save { bytes, .. } = &self.change { 1 + bytes.len() / 1024 } else { 1 }
    }

    fn send(&self, link: &Link, pipeline: &mut Pipeline) {
        let call = match &self.change {
            Change::Save { number, time_ms, bytes } => {
                let mut call = link.call(Script::SaveSnapshot);
                call.arg(1).arg(self.shelf.key()).arg(fixed(number.0)).arg(fixed(*time_ms)).arg(&bytes[..]);
                call
            }
            Change::Delete(criteria) => {
                let mut call = link.call(Script::DeleteSnapshots);
                call.arg(1).arg(self.shelf.key()).arg(&bounds(criteria)).arg("-");
                call
            }
        };
        pipeline.add_command(call);
    }

    fn read(&mut self, replies: Vec<Reply>, replicated: &Replicated) -> Verdict {
        let values = match all_done(replies) {
            Ok(values) => values,
            Err(Failed::Again(again)) => return again,
            Err(Failed::Foreign(what)) => {
                self.asker.tell(Err(self.shelf.foreign(&what)));
                return Verdict::Settled;
            }
        };
        match values.as_slice() {
            [Value::Int(1)] => replicated.settle(|| self.asker.tell(Ok(()))),
            _ => Verdict::nonsense(values.first().unwrap_or(&Value::Nil)),
        }
    }

    fn give_up(mut self: Box<Self>, reason: &str) {
        self.asker.tell(Err(StoreError(reason.to_owned())));
    }
}

impl Job for LoadSnapshot {
    fn slot(&self) -> u16 {
        self.shelf.keys.slot
    }

    fn weight(&self) -> usize {
        self.weight
    }

    /// What flew together may have been too much for the time there is: next time with fewer, at last alone.
    fn unanswered(&mut self) {
        self.weight = (self.weight * 2).min(READS);
    }

    fn send(&self, link: &Link, pipeline: &mut Pipeline) {
        let mut call = link.call(Script::LoadSnapshot);
        call.arg(1).arg(self.shelf.key()).arg(&bounds(&self.criteria));
        pipeline.add_command(call);
    }

    fn read(&mut self, replies: Vec<Reply>, _: &Replicated) -> Verdict {
        let values = match all_done(replies) {
            Ok(values) => values,
            Err(Failed::Again(again)) => return again,
            Err(Failed::Foreign(what)) => {
                self.asker.tell(Err(self.shelf.foreign(&what).into()));
                return Verdict::Settled;
            }
        };
        let loaded = match values.as_slice() {
            [Value::Nil] => Ok(None),
            [Value::Array(pair)] if pair.len() == 2 => self.decode(&pair[0], &pair[1]),
            _ => return Verdict::nonsense(values.first().unwrap_or(&Value::Nil)),
        };
        self.asker.tell(loaded);
        Verdict::Settled
    }

    fn give_up(mut self: Box<Self>, reason: &str) {
        self.asker.tell(Err(StoreError(reason.to_owned()).into()));
    }
}
