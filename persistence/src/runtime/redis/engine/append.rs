//! A batch as one call of one script.
//!
//! The writes of a batch are first brought together, entity by entity: appends that follow each other become
//! one, deletions become the one that goes furthest. What cannot be stored whatever the server holds is found
//! here, before anything is sent.

use std::collections::HashMap;

use redis::Cmd;

use super::keys::{Keys, ShardKeys};
use super::token;
use crate::ids::{PersistenceId, SequenceNr};
use crate::journal::{Batch, Token, Write, WriteError};

/// Checks and stores a batch; see the file for what it takes and answers.
pub(crate) const SCRIPT: &str = include_str!("../scripts/append.lua");

/// Beyond it Lua's numbers have gaps. No stream comes near it.
const MAX_NUMBER: u64 = 1 << 53;

/// What counts as one event in a flight.
const EVENT_BYTES: usize = 4096;

/// One batch, ready to be sent, any number of times: the bytes are those of the batch.
#[derive(Debug)]
pub(crate) struct Append {
    batch: Batch,
    keys: ShardKeys,
    /// One for each entity, in the order in which they come in the batch.
    changes: Vec<Change>,
    weight: usize,
}

/// What a batch does to one entity.
#[derive(Debug)]
struct Change {
    /// A write of the entity, by position: for its persistence id.
    write: usize,
    /// The number of the first event, and where events are: positions of appends.
    appends: Option<(u64, Vec<usize>)>,
    /// The last event to go, and the write that says so.
    deletion: Option<(u64, usize)>,
}

impl Append {
    /// Brings a batch's writes together. The error is what the batch comes to whatever the server holds.
    pub(crate) fn new(batch: Batch, keys: &Keys, max_event: usize) -> Result<Self, WriteError> {
        check_sizes(&batch, max_event)?;
        let mut places: HashMap<&PersistenceId, usize> = HashMap::new();
        let mut changes: Vec<Change> = Vec::with_capacity(batch.writes.len());
        for (at, write) in batch.writes.iter().enumerate() {
            let place = *places.entry(write.persistence_id()).or_insert(changes.len());
            if place == changes.len() {
                changes.push(Change { write: at, appends: None, deletion: None });
            }
            changes[place].add(at, &batch.writes)?;
        }
        let keys = keys.shard(batch.shard);
        let bytes: usize = batch.writes.iter().flat_map(events).map(bytes::Bytes::len).sum();
        let weight = batch.events().max(bytes / EVENT_BYTES).max(1);
        Ok(Self { batch, keys, changes, weight })
    }

    pub(crate) fn batch(&self) -> &Batch {
        &self.batch
    }

    /// In which slot its keys lie.
    pub(crate) fn slot(&self) -> u16 {
        self.keys.slot
    }

    /// How much of a flight it fills, in events; large ones count for several. What flies together must come
    /// through within the time that an answer may take.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    /// Adds the call to a command that already names the script.
    pub(crate) fn write_call(&self, call: &mut Cmd) {
        let writes = &self.batch.writes;
        let id = |change: &Change| writes[change.write].persistence_id();
        let appended = || self.changes.iter().filter_map(|change| Some((change, change.appends.as_ref()?)));
        let deleted = || self.changes.iter().filter_map(|change| Some((change, change.deletion?)));
        let born = || {
            let is_new = |(_, (first, appends)): &(&Change, &(u64, Vec<usize>))| {
                *first == 1 && appends.iter().any(|at| !events(&writes[*at]).is_empty())
            };
            appended().filter(is_new).map(|(change, _)| id(change))
        };

        // Which sets of ids the newborn go to, each named once.
        let mut sets: Vec<(&str, u64)> = Vec::new();
        let mut births: Vec<(usize, &PersistenceId)> = Vec::new();
        for id in born() {
            let set = (id.entity_type.as_str(), ShardKeys::bucket(id));
            let at = sets.iter().position(|known| *known == set).unwrap_or_else(|| {
                sets.push(set);
                sets.len() - 1
            });
            births.push((at + 1, id));
        }

        let (appends, deletions) = (appended().count(), deleted().count());
        call.arg(2 + appends + deletions + sets.len());
        call.arg(self.keys.fence()).arg(self.keys.bases());
        for (change, _) in appended() {
            call.arg(self.keys.events(id(change)));
        }
        for (change, _) in deleted() {
            call.arg(self.keys.events(id(change)));
        }
        for (entity_type, bucket) in &sets {
            call.arg(self.keys.ids(entity_type, *bucket));
        }

        // Batch 0 follows nothing.
        let before = self.batch.number.checked_sub(1).map_or("?".to_owned(), |before| self.token(before));
        call.arg(before).arg(self.token(self.batch.number));
        call.arg(appends).arg(deletions).arg(births.len());
        for (_, (first, appends)) in appended() {
            let count: usize = appends.iter().map(|at| events(&writes[*at]).len()).sum();
            call.arg(first.wrapping_sub(1)).arg(count);
            for event in appends.iter().flat_map(|at| events(&writes[*at])) {
                call.arg(&event[..]);
            }
        }
        for (_, (to, at)) in deleted() {
            let Write::DeleteTo { record, .. } = &writes[at] else { continue };
            call.arg(to.min(MAX_NUMBER)).arg(&record[..]);
        }
        for (set, id) in births {
            call.arg(set).arg(id.id.as_str());
        }
    }

    /// What the script says of the append at this place, counted from 1: whose it is, and where it begins.
    pub(crate) fn conflict(&self, append: usize, found: SequenceNr) -> WriteError {
        let mut appended = self.changes.iter().filter_map(|change| Some((change, change.appends.as_ref()?)));
        match append.checked_sub(1).and_then(|at| appended.nth(at)) {
            Some((change, (first, _))) => WriteError::Conflict {
                persistence_id: self.batch.writes[change.write].persistence_id().clone(),
                first: SequenceNr(*first),
                found,
            },
            None => WriteError::Unknown(crate::journal::StoreError(format!(
                "the server names append {append} of a batch that has fewer"
            ))),
        }
    }

    fn token(&self, batch: u64) -> String {
        token::encode(&Token { claim: self.batch.claim, batch, writer: self.batch.writer })
    }
}

impl Change {
    fn add(&mut self, at: usize, writes: &[Write]) -> Result<(), WriteError> {
        match &writes[at] {
            Write::Append { persistence_id, first, .. } => {
                match &mut self.appends {
                    Some((begin, appends)) => {
                        let before: usize = appends.iter().map(|at| events(&writes[*at]).len()).sum();
                        let end = *begin + before as u64;
                        if first.0 != end {
                            let (first, found) = (*first, SequenceNr(end - 1));
                            let persistence_id = persistence_id.clone();
                            return Err(WriteError::Conflict { persistence_id, first, found });
                        }
                        appends.push(at);
                    }
                    none => *none = Some((first.0, vec![at])),
                }
                // What was to go before these events came cannot reach into them.
                if let Some((to, _)) = &mut self.deletion {
                    *to = (*to).min(first.0.saturating_sub(1));
                }
            }
            Write::DeleteTo { to, .. } => {
                if self.deletion.is_none_or(|(furthest, _)| furthest < to.0) {
                    self.deletion = Some((to.0, at));
                }
            }
        }
        Ok(())
    }
}

fn events(write: &Write) -> &[bytes::Bytes] {
    match write {
        Write::Append { events, .. } => events,
        Write::DeleteTo { .. } => &[],
    }
}

fn check_sizes(batch: &Batch, max_event: usize) -> Result<(), WriteError> {
    let is_too_large = |write: &Write| match write {
        Write::Append { events, .. } => events.iter().any(|event| event.len() > max_event),
        Write::DeleteTo { record, .. } => record.len() > max_event,
    };
    let writes = batch.writes.iter().enumerate().filter(|(_, write)| is_too_large(write));
    let writes: Vec<usize> = writes.map(|(at, _)| at).collect();
    if writes.is_empty() {
        return Ok(());
    }
    let reason = format!("larger than {max_event} bytes, which is what this journal takes as one value");
    Err(WriteError::Rejected { writes, reason })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::ids::{EntityId, EntityType, ShardId};
    use crate::journal::{Claim, Epoch, Writer};

    fn id(name: &str) -> PersistenceId {
        PersistenceId::new(EntityType::new("sum"), EntityId::new(name).expect("an id"))
    }

    fn append(name: &str, first: u64, texts: &[&'static str]) -> Write {
        let events = texts.iter().map(|text| Bytes::from_static(text.as_bytes())).collect();
        Write::Append { persistence_id: id(name), first: SequenceNr(first), events }
    }

    fn delete(name: &str, to: u64, record: &'static str) -> Write {
        Write::DeleteTo {
            persistence_id: id(name),
            to: SequenceNr(to),
            record: Bytes::from_static(record.as_bytes()),
        }
    }

    fn prepare(writes: Vec<Write>) -> Result<Append, WriteError> {
        let batch = Batch {
            shard: ShardId(7),
            claim: Claim { epoch: Epoch(1), session: 2 },
            number: 3,
            writer: Writer { cluster: 4, incarnation: 5 },
            writes: Arc::new(writes),
        };
        Append::new(batch, &Keys::new("p"), 100)
    }

    /// All arguments but the two tokens.
    fn call(writes: Vec<Write>) -> Vec<String> {
        let mut call = Cmd::new();
        prepare(writes).expect("a batch").write_call(&mut call);
        let text = |arg: redis::Arg<&[u8]>| match arg {
            redis::Arg::Simple(bytes) => String::from_utf8(bytes.to_vec()).expect("UTF-8"),
            _ => unreachable!("a plain argument"),
        };
        let args: Vec<String> = call.args_iter().map(text).collect();
        let is_token = |arg: &String| arg.starts_with("00000000000000000001.0000000002.");
        assert_eq!(args.iter().filter(|arg| is_token(arg)).count(), 2);
        args.into_iter().filter(|arg| !is_token(arg)).collect()
    }

    #[test]
    fn appends_of_one_entity_become_one_and_new_ids_are_noted() {
        let writes = vec![append("a", 1, &["x", "y"]), append("b", 5, &["z"]), append("a", 3, &["w"])];
        let bucket = ShardKeys::bucket(&id("a"));
        let set = format!("{{p:7}}:i:{bucket}:sum");
        let expected = [
            "5",
            "{p:7}:f",
            "{p:7}:m",
            "{p:7}:e:sum|a",
            "{p:7}:e:sum|b",
            &set,
            "2",
            "0",
            "1",
            "0",
            "3",
            "x",
            "y",
            "w",
            "4",
            "1",
            "z",
            "1",
            "a",
        ];
        assert_eq!(call(writes), expected);
    }

    #[test]
    fn deletions_become_the_one_that_goes_furthest_and_reach_no_event_that_came_later() {
        let writes = vec![
            delete("a", u64::MAX, "all"),
            append("a", 6, &["x"]),
            delete("a", 3, "less"),
            delete("b", 9, "b"),
        ];
        let expected = [
            "5",
            "{p:7}:f",
            "{p:7}:m",
            "{p:7}:e:sum|a",
            "{p:7}:e:sum|a",
            "{p:7}:e:sum|b",
            "1",
            "2",
            "0",
            "5",
            "1",
            "x",
            "5",
            "all",
            "9",
            "b",
        ];
        assert_eq!(call(writes), expected);
    }

    #[test]
    fn a_batch_of_large_events_fills_a_flight_by_its_bytes() {
        let weight = |bytes: usize, count: usize| {
            let events = vec![Bytes::from(vec![b'x'; bytes]); count];
            let writes =
                Arc::new(vec![Write::Append { persistence_id: id("a"), first: SequenceNr(1), events }]);
            let claim = Claim { epoch: Epoch(1), session: 2 };
            let writer = Writer { cluster: 4, incarnation: 5 };
            let batch = Batch { shard: ShardId(7), claim, number: 3, writer, writes };
            Append::new(batch, &Keys::new("p"), usize::MAX).expect("a batch").weight()
        };
        assert_eq!((weight(200, 0), weight(200, 1), weight(200, 16)), (1, 1, 16));
        assert_eq!(weight(1 << 20, 4), 1024);
    }

    #[test]
    fn a_gap_within_a_batch_is_a_conflict_of_its_own() {
        let gap = prepare(vec![append("a", 6, &["x"]), append("a", 6, &["x"])]).expect_err("a gap");
        let found = SequenceNr(6);
        assert_eq!(gap, WriteError::Conflict { persistence_id: id("a"), first: SequenceNr(6), found });
    }

    #[test]
    fn what_is_too_large_is_named_by_position() {
        static LARGE: [u8; 101] = [b'x'; 101];
        let large = std::str::from_utf8(&LARGE).expect("ASCII");
        let writes = vec![append("a", 1, &["x"]), append("b", 1, &["x", large]), delete("c", 1, large)];
        let rejected = prepare(writes).expect_err("too large");
        assert!(matches!(&rejected, WriteError::Rejected { writes, .. } if writes == &[1, 2]), "{rejected}");
    }
}
