//! Snapshots of one entity: a hash, a field for each, named by number and time, so that the right one is found
//! without reading the others.

use bytes::Bytes;
use redis::{Pipeline, Value};

use super::{Asker, read};
use crate::envelope::StoredSnapshot;
use crate::ids::{PersistenceId, SequenceNr};
use crate::journal::fence::may_decide;
use crate::journal::{Claim, EventPage, Loaded, Snapshot, SnapshotCriteria, SnapshotError, StoreError};
use crate::runtime::redis::engine::keys::ShardKeys;
use crate::runtime::redis::engine::replies::{Held, Reply, text};
use crate::runtime::redis::job::{Failed, Job, Replicated, Verdict, all_done};
use crate::runtime::redis::link::{Link, Script};

type Answer = Result<Loaded, SnapshotError>;
type Changed = Result<(), StoreError>;

/// Events that come along with a snapshot: as many as are left behind one, with a little to spare.
const FEW: u64 = 64;

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

/// Loads the newest that matches; for a recovery with the events, if they are few.
pub(in crate::runtime::redis) struct LoadSnapshot {
    shelf: Shelf,
    criteria: SnapshotCriteria,
    /// The claim under which events may be read along.
    with_events: Option<Claim>,
    asker: Asker<Answer>,
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
        asker: Asker<Answer>,
    ) -> Self {
        Self { shelf, criteria, with_events: None, asker }
    }

    pub(in crate::runtime::redis) fn for_recovery(
        shelf: Shelf,
        criteria: SnapshotCriteria,
        claim: Claim,
        asker: Asker<Answer>,
    ) -> Self {
        Self { shelf, criteria, with_events: Some(claim), asker }
    }

    /// The events, if all of them came and the claim holds the shard. What is odd is left to the read that
    /// follows then, which says what is wrong.
    fn stream(&self, values: &[Value]) -> Option<EventPage> {
        let claim = self.with_events?;
        let [held, kept, Value::Int(length), Value::Array(found)] = values else { return None };
        if !may_decide(Held::read(held)?.token(), claim) || found.len() as u64 != length.unsigned_abs() {
            return None;
        }
        let (base, record) = read::base(kept).ok()?;
        let event = |value: &Value| match value {
            Value::BulkString(event) => Some(Bytes::copy_from_slice(event)),
            _ => None,
        };
        let events: Vec<Bytes> = found.iter().map(event).collect::<Option<_>>()?;
        let last = SequenceNr(base + events.len() as u64);
        Some(EventPage { events, deleted_to: SequenceNr(base), record, last })
    }

    fn decode(&self, field: &Value, bytes: &Value) -> Result<Option<Snapshot>, SnapshotError> {
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

    fn give_up(mut self: Box<Self>, reason: &str, _: bool) {
        self.asker.tell(Err(StoreError(reason.to_owned())));
    }
}

impl Job for LoadSnapshot {
    fn slot(&self) -> u16 {
        self.shelf.keys.slot
    }

    fn send(&self, link: &Link, pipeline: &mut Pipeline) {
        if self.with_events.is_some() {
            // The token first: what comes after it on this connection is no older.
            pipeline.cmd("GET").arg(self.shelf.keys.fence());
            pipeline.cmd("HGET").arg(self.shelf.keys.bases()).arg(self.shelf.id.to_string());
            let events = self.shelf.keys.events(&self.shelf.id);
            pipeline.cmd("LLEN").arg(&events);
            pipeline.cmd("LRANGE").arg(events).arg(0).arg(FEW - 1);
        }
        let mut call = link.call(Script::LoadSnapshot);
        call.arg(1).arg(self.shelf.key()).arg(&bounds(&self.criteria));
        pipeline.add_command(call);
    }

    fn read(&mut self, replies: Vec<Reply>, _: &Replicated) -> Verdict {
        let mut values = match all_done(replies) {
            Ok(values) => values,
            Err(Failed::Again(again)) => return again,
            // A key of the events, perhaps: the read that follows says what is wrong with them.
            Err(Failed::Foreign(_)) if self.with_events.take().is_some() => return Verdict::Next,
            Err(Failed::Foreign(what)) => {
                self.asker.tell(Err(self.shelf.foreign(&what).into()));
                return Verdict::Settled;
            }
        };
        let snapshot = match values.pop() {
            Some(Value::Nil) => Ok(None),
            Some(Value::Array(pair)) if pair.len() == 2 => self.decode(&pair[0], &pair[1]),
            other => return Verdict::nonsense(&other.unwrap_or(Value::Nil)),
        };
        let stream = self.stream(&values);
        self.asker.tell(snapshot.map(|snapshot| Loaded { snapshot, stream }));
        Verdict::Settled
    }

    fn give_up(mut self: Box<Self>, reason: &str, _: bool) {
        self.asker.tell(Err(StoreError(reason.to_owned()).into()));
    }
}
