//! One commit: judges jobs one after the other, gathers the rows of those that are admitted, stores all of
//! them in one atomic, synced batch, and only then answers, refusals included.
//!
//! Refusals wait too, because a job is judged by what the ones before it in the same commit will have
//! changed. If the commit fails, all of it is unknown: the rows may or may not be in the engine's file, and
//! only the next start finds out. Nothing is written after that, so the books need no undoing.
//!
//! Invariant: a refused job leaves no row, no token and no stream end behind.

use std::collections::{BTreeMap, HashMap, HashSet};

use fjall::{Keyspace, PersistMode, Readable, Slice, Snapshot as View};
use tokio::sync::oneshot::Sender;

use super::disk::{Disk, Fault, describe, own, span};
use super::ends::StreamEnd;
use super::layout::{
    COMMITS_KEY, JOURNAL_KEY, RowKey, decode_snapshot, encode_meta, encode_snapshot, encode_token, id_key,
    number_of, stream_key, stream_row, token_key,
};
use super::shared::Shared;
use super::writer::{Books, Job};
use super::{MAX_ENVELOPE_BYTES, MAX_SNAPSHOT_BYTES};
use crate::ids::{PersistenceId, SequenceNr, ShardId};
use crate::journal::fence::{BatchVerdict, ClaimVerdict, judge_batch, judge_claim};
use crate::journal::{
    Batch, Claim, ClaimError, JournalMeta, Known, Snapshot, SnapshotCriteria, StoreError, Token, Write,
    WriteError, Writer,
};

/// Rows of events in one commit. More would make the first in it wait longer than a sync takes.
const MAX_ROWS: usize = 4_096;
/// Bytes of rows in one commit, for the same reason; a single batch may exceed it.
const MAX_BYTES: usize = 16 << 20;

/// Rows other than events: few, and the last change of a key counts.
type Rows = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

pub(super) struct Commit<'a> {
    disk: &'a Disk,
    shared: &'a Shared,
    books: &'a mut Books,
    number: u64,
    view: View,
    events: Vec<(Slice, Slice)>,
    deleted: Vec<Slice>,
    streams: Rows,
    snapshots: Rows,
    ids: Rows,
    meta: Rows,
    bytes: usize,
    tokens: HashMap<ShardId, Token>,
    new_meta: Option<JournalMeta>,
    answers: Vec<Answer>,
    /// Whose snapshots this commit changes: a deletion must not look past them.
    saved: HashSet<PersistenceId>,
}

/// An answer that waits for the commit.
enum Answer {
    Claim(Sender<Result<(), ClaimError>>, Result<(), ClaimError>),
    Write(Sender<Result<(), WriteError>>, Result<(), WriteError>),
    Meta(Sender<Result<bool, StoreError>>, Result<bool, StoreError>),
    Snapshot(Sender<Result<(), StoreError>>, Result<(), StoreError>),
}

impl<'a> Commit<'a> {
    pub(super) fn new(disk: &'a Disk, shared: &'a Shared, books: &'a mut Books) -> Self {
        books.ends.age();
        Self {
            disk,
            shared,
            number: books.commits + 1,
            books,
            view: disk.view(),
            events: Vec::new(),
            deleted: Vec::new(),
            streams: Rows::new(),
            snapshots: Rows::new(),
            ids: Rows::new(),
            meta: Rows::new(),
            bytes: 0,
            tokens: HashMap::new(),
            new_meta: None,
            answers: Vec::new(),
            saved: HashSet::new(),
        }
    }

    /// Whether this job may still join; the first one always may.
    pub(super) fn takes(&self, next: Option<&Job>) -> bool {
        let full = self.events.len() + self.deleted.len() >= MAX_ROWS || self.bytes >= MAX_BYTES;
        match next {
            None => false,
            Some(_) if self.answers.is_empty() => true,
            Some(Job::DeleteSnapshots(persistence_id, ..)) => !full && !self.saved.contains(persistence_id),
            Some(_) => !full,
        }
    }

    /// Judges a job and gathers its rows.
    pub(super) fn admit(&mut self, job: Job) {
        let answer = match job {
            Job::Claim(shard, claim, writer, least, to) => {
                Answer::Claim(to, self.claim(shard, claim, writer, least))
            }
            Job::Write(batch, to) => Answer::Write(to, self.write(&batch)),
            Job::ReplaceMeta(expected, new, to) => Answer::Meta(to, self.replace_meta(expected, new)),
            Job::SaveSnapshot(persistence_id, snapshot, to) => {
                Answer::Snapshot(to, self.save_snapshot(persistence_id, snapshot))
            }
            Job::DeleteSnapshots(persistence_id, criteria, to) => {
                Answer::Snapshot(to, self.delete_snapshots(persistence_id, criteria))
            }
        };
        self.answers.push(answer);
    }

    fn held(&self, shard: ShardId) -> Option<Token> {
        self.tokens.get(&shard).copied().or_else(|| self.shared.token(shard))
    }

    fn claim(
        &mut self,
        shard: ShardId,
        claim: Claim,
        writer: Writer,
        least: Option<Known>,
    ) -> Result<(), ClaimError> {
        match judge_claim(self.held(shard), claim, writer, least) {
            ClaimVerdict::Take(token) => {
                self.meta.insert(token_key(shard), Some(encode_token(&token)));
                self.tokens.insert(shard, token);
                Ok(())
            }
            ClaimVerdict::AlreadyTaken => Ok(()),
            ClaimVerdict::Fenced(held) => Err(ClaimError::Fenced { held }),
            ClaimVerdict::Lost { held, least } => Err(ClaimError::Lost { held, least }),
            ClaimVerdict::Usurped(usurped) => Err(usurped.into()),
        }
    }

    fn write(&mut self, batch: &Batch) -> Result<(), WriteError> {
        match judge_batch(self.held(batch.shard), batch.claim, batch.number, batch.writer) {
            BatchVerdict::Write(token) => {
                check_sizes(&batch.writes)?;
                let before = self.move_ends(&batch.writes)?;
                self.gather(batch.shard, &batch.writes, &before);
                self.tokens.insert(batch.shard, token);
                Ok(())
            }
            BatchVerdict::AlreadyWritten => Ok(()),
            BatchVerdict::Fenced(held) => Err(WriteError::Fenced { held, sent_again: false }),
            BatchVerdict::Lost(held) => Err(WriteError::Lost { held, sent_again: false }),
        }
    }

    /// Moves the ends of all streams that are written to, or, if one of them is elsewhere, of none. Hands
    /// back where they were before each write.
    fn move_ends(&mut self, writes: &[Write]) -> Result<Vec<StreamEnd>, WriteError> {
        let mut before = Vec::with_capacity(writes.len());
        for write in writes {
            match self.move_end(write) {
                Ok(end) => before.push(end),
                Err(refused) => {
                    for (write, end) in writes.iter().zip(before).rev() {
                        self.books.ends.set(write.persistence_id(), end);
                    }
                    return Err(refused);
                }
            }
        }
        Ok(before)
    }

    fn move_end(&mut self, write: &Write) -> Result<StreamEnd, WriteError> {
        let persistence_id = write.persistence_id();
        let before = match self.books.ends.get(persistence_id) {
            Some(end) => end,
            None => {
                let expected = match write {
                    Write::Append { first, .. } => Some(first.0),
                    Write::DeleteTo { .. } => None,
                };
                let looked_up = self.disk.end(&self.view, persistence_id, expected);
                looked_up.map_err(|fault| WriteError::NotWritten(fault.into()))?
            }
        };
        self.books.ends.set(persistence_id, end_after(write, before, self.number)?);
        Ok(before)
    }

    /// Turns admitted writes into rows.
    fn gather(&mut self, shard: ShardId, writes: &[Write], before: &[StreamEnd]) {
        for (write, before) in writes.iter().zip(before) {
            let mut key = RowKey::new(write.persistence_id());
            match write {
                Write::Append { persistence_id, first, events } => {
                    if before.last == 0 && !events.is_empty() {
                        self.ids.insert(id_key(shard, persistence_id), Some(Vec::new()));
                    }
                    for (number, event) in (first.0..).zip(events) {
                        self.bytes += event.len();
                        self.events.push((Slice::from(key.at(number)), Slice::from(event.as_ref())));
                    }
                }
                Write::DeleteTo { persistence_id, to, record } => {
                    let (from, to) = (before.deleted_to + 1, to.0.min(before.last));
                    if from > to {
                        continue;
                    }
                    if before.appended_in == self.number {
                        // The engine orders the rows of one batch by key alone: none may be both put and deleted.
                        let (from, to) = span(persistence_id, from, to);
                        self.events
                            .retain(|(key, _)| !(from.as_slice()..=to.as_slice()).contains(&key.as_ref()));
                    }
                    self.deleted.extend((from..=to).map(|number| Slice::from(key.at(number))));
                    self.streams.insert(stream_key(persistence_id), Some(stream_row(to, record)));
                }
            }
        }
    }

    fn replace_meta(&mut self, expected: Option<JournalMeta>, new: JournalMeta) -> Result<bool, StoreError> {
        let held = match &self.new_meta {
            Some(meta) => Some(meta.clone()),
            None => super::reader::meta(self.disk, &self.view)?,
        };
        if held != expected {
            return Ok(false);
        }
        self.meta.insert(JOURNAL_KEY.to_vec(), Some(encode_meta(&new)));
        self.new_meta = Some(new);
        Ok(true)
    }

    fn save_snapshot(&mut self, persistence_id: PersistenceId, snapshot: Snapshot) -> Result<(), StoreError> {
        let number = snapshot.sequence_nr.0;
        let row = encode_snapshot(&persistence_id, snapshot);
        if row.len() > MAX_SNAPSHOT_BYTES {
            let what = format!(
                "a snapshot of {} bytes is more than the store takes ({MAX_SNAPSHOT_BYTES})",
                row.len()
            );
            return Err(StoreError(what));
        }
        self.bytes += row.len();
        self.snapshots.insert(RowKey::new(&persistence_id).at(number).to_vec(), Some(row));
        self.saved.insert(persistence_id);
        Ok(())
    }

    fn delete_snapshots(
        &mut self,
        persistence_id: PersistenceId,
        criteria: SnapshotCriteria,
    ) -> Result<(), StoreError> {
        let (min, max) = (criteria.min_sequence_nr.0, criteria.max_sequence_nr.0);
        if min > max {
            return Ok(());
        }
        let (from, to) = span(&persistence_id, min, max);
        for row in self.view.range(&self.disk.snapshots, from..=to) {
            let (key, value) = row.into_inner().map_err(Fault::from)?;
            let number = SequenceNr(number_of(&key).unwrap_or_default());
            // The time of a damaged one is unknown: it goes only if any time is meant.
            let matches = || {
                decode_snapshot(own(&value), &persistence_id, number)
                    .is_ok_and(|snapshot| criteria.matches(number, snapshot.time_ms))
            };
            if criteria.any_time() || matches() {
                self.snapshots.insert(key.to_vec(), None);
            }
        }
        Ok(())
    }

    /// Stores all rows and answers everybody.
    pub(super) fn finish(mut self) {
        let stored = if self.is_empty() { Ok(()) } else { self.store() };
        match stored {
            Ok(()) => {
                self.shared.advance(std::mem::take(&mut self.tokens));
                self.answers.into_iter().for_each(Answer::send);
            }
            Err(cause) => {
                let what = describe(&cause);
                self.shared.fail(format!("commit {} failed: {what}", self.number));
                let known_absent = matches!(cause, fjall::Error::Poisoned);
                self.answers.into_iter().for_each(|answer| answer.send_failed(&what, known_absent));
            }
        }
    }

    fn is_empty(&self) -> bool {
        let rows = [&self.streams, &self.snapshots, &self.meta];
        self.events.is_empty() && self.deleted.is_empty() && rows.iter().all(|rows| rows.is_empty())
    }

    fn store(&mut self) -> Result<(), fjall::Error> {
        let mut batch = self.disk.db.batch().durability(Some(PersistMode::SyncAll));
        for (key, event) in self.events.drain(..) {
            batch.insert(&self.disk.events, key, event);
        }
        for key in self.deleted.drain(..) {
            batch.remove(&self.disk.events, key);
        }
        self.meta.insert(COMMITS_KEY.to_vec(), Some(self.number.to_be_bytes().to_vec()));
        let spaces: [(&Keyspace, &mut Rows); 4] = [
            (&self.disk.streams, &mut self.streams),
            (&self.disk.snapshots, &mut self.snapshots),
            (&self.disk.ids, &mut self.ids),
            (&self.disk.meta, &mut self.meta),
        ];
        for (keyspace, rows) in spaces {
            for (key, value) in std::mem::take(rows) {
                match value {
                    Some(value) => batch.insert(keyspace, key, value),
                    None => batch.remove(keyspace, key),
                }
            }
        }
        batch.commit()?;
        self.books.commits = self.number;
        self.books.mark.set(self.number);
        Ok(())
    }
}

impl Answer {
    /// Whoever asked may have stopped listening; then the answer is dropped.
    fn send(self) {
        match self {
            Self::Claim(to, answer) => drop(to.send(answer)),
            Self::Write(to, answer) => drop(to.send(answer)),
            Self::Meta(to, answer) => drop(to.send(answer)),
            Self::Snapshot(to, answer) => drop(to.send(answer)),
        }
    }

    /// The commit failed. `known_absent`: before the first byte of it reached the engine's file.
    fn send_failed(self, what: &str, known_absent: bool) {
        let cause = StoreError(format!("the commit failed: {what}"));
        match self {
            Self::Claim(to, _) => drop(to.send(Err(ClaimError::Failed(cause)))),
            Self::Write(to, _) if known_absent => drop(to.send(Err(WriteError::NotWritten(cause)))),
            Self::Write(to, _) => drop(to.send(Err(WriteError::Unknown(cause)))),
            Self::Meta(to, _) => drop(to.send(Err(cause))),
            Self::Snapshot(to, _) => drop(to.send(Err(cause))),
        }
    }
}

/// Where a stream ends after a write, if the write may follow.
fn end_after(write: &Write, end: StreamEnd, commit: u64) -> Result<StreamEnd, WriteError> {
    match write {
        Write::Append { persistence_id, first, events } => {
            if end.last.checked_add(1) != Some(first.0) {
                return Err(WriteError::Conflict {
                    persistence_id: persistence_id.clone(),
                    first: *first,
                    found: SequenceNr(end.last),
                });
            }
            Ok(StreamEnd { last: end.last + events.len() as u64, appended_in: commit, ..end })
        }
        Write::DeleteTo { to, .. } => {
            Ok(StreamEnd { deleted_to: to.0.min(end.last).max(end.deleted_to), ..end })
        }
    }
}

/// Refuses what the engine could not hold. The entity engine checks the journal's limits before it numbers
/// anything; this is the net below.
fn check_sizes(writes: &[Write]) -> Result<(), WriteError> {
    let too_large = |write: &Write| match write {
        Write::Append { events, .. } => events.iter().any(|event| event.len() > MAX_ENVELOPE_BYTES),
        Write::DeleteTo { .. } => false,
    };
    let positions: Vec<usize> = (0..writes.len()).filter(|at| too_large(&writes[*at])).collect();
    if positions.is_empty() {
        return Ok(());
    }
    let reason = format!("an event with its envelope has more than {MAX_ENVELOPE_BYTES} bytes");
    Err(WriteError::Rejected { writes: positions, reason })
}
