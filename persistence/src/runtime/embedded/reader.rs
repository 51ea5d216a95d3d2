//! What the reader threads do: pages of events, snapshots, the meta record, health.
//!
//! They own nothing and remember nothing: every answer comes from one view of the database.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use fjall::{PersistMode, Readable, Snapshot as View};
use tokio::sync::oneshot::Sender;

use super::copies::Copies;
use super::disk::{Disk, Fault, describe, own, span};
use super::ids;
use super::layout::{JOURNAL_KEY, RowKey, decode_meta, decode_snapshot, event_number, number_of};
use super::shared::Shared;
use crate::ids::{PersistenceId, SequenceNr};
use crate::journal::{
    EventPage, IdPage, JournalMeta, ListIds, ReadError, ReadEvents, Snapshot, SnapshotCriteria,
    SnapshotError, StoreError, fence,
};

/// A question, and where its answer goes.
pub(super) enum Question {
    Events(ReadEvents, Sender<Result<EventPage, ReadError>>),
    Ids(ListIds, Sender<Result<IdPage, ReadError>>),
    Snapshot(PersistenceId, SnapshotCriteria, Sender<Result<Option<Snapshot>, SnapshotError>>),
    Meta(Sender<Result<Option<JournalMeta>, StoreError>>),
    Health(Sender<Result<(), StoreError>>),
}

/// Questions that a thread takes at once. More would only keep them from the other threads.
const QUESTIONS_AT_ONCE: usize = 16;
/// As many as most entities have: their page grows no further.
const FEW_EVENTS: usize = 16;

/// Answers questions until the queue is closed and empty.
pub(super) fn run(disk: &Disk, shared: &Arc<Shared>) {
    let mut questions = VecDeque::new();
    while shared.questions.take_some(&mut questions, QUESTIONS_AT_ONCE) {
        for question in questions.drain(..) {
            // A panic in the engine costs one answer: its asker sees that the sender is gone.
            drop(catch_unwind(AssertUnwindSafe(|| answer(disk, shared, question))));
        }
    }
}

/// Whoever asked may have stopped listening; then the answer is dropped.
fn answer(disk: &Disk, shared: &Shared, question: Question) {
    match question {
        Question::Events(read, to) => drop(to.send(page(disk, shared, &read))),
        Question::Ids(query, to) => drop(to.send(ids::page(disk, &query).map_err(ReadError::from))),
        Question::Snapshot(persistence_id, criteria, to) => {
            drop(to.send(newest_snapshot(disk, &persistence_id, criteria)));
        }
        Question::Meta(to) => drop(to.send(meta(disk, &disk.view()).map_err(StoreError::from))),
        Question::Health(to) => drop(to.send(health(disk, shared))),
    }
}

fn page(disk: &Disk, shared: &Shared, read: &ReadEvents) -> Result<EventPage, ReadError> {
    // The token before the view: the view then holds at least all that was written under the claim.
    if let Some(known) = read.known {
        let held = shared.token(read.shard);
        if !fence::may_decide(held, known) {
            return Err(ReadError::Fenced { held });
        }
    }
    Ok(read_page(disk, read)?)
}

fn read_page(disk: &Disk, read: &ReadEvents) -> Result<EventPage, Fault> {
    let view = disk.view();
    let persistence_id = &read.persistence_id;
    // Most entities that are asked for the first time have no events. A look-up of the first one costs an
    // eighth of a scan that finds nothing, and its presence says that nothing was deleted.
    let (mut deleted_to, mut record) = (0, Bytes::new());
    if !view.contains_key(&disk.events, RowKey::new(persistence_id).at(1))? {
        (deleted_to, record) = disk.deletion(&view, persistence_id)?;
        if deleted_to == 0 {
            return Ok(EventPage::default());
        }
    }

    let first = read.from.0.max(deleted_to.saturating_add(1));
    let (mut events, mut bytes, mut next, mut stopped) = (Vec::new(), 0, first, read.max_events == 0);
    if !stopped && first <= read.to.0 {
        let mut copies = Copies::new();
        events.reserve(read.max_events.min(FEW_EVENTS));
        let (from, to) = span(persistence_id, first, read.to.0);
        for row in view.range(&disk.events, from..=to) {
            let (key, value) = row.into_inner()?;
            if number_of(&key) != Some(next) {
                return Err(missing(persistence_id, next));
            }
            if event_number(&value) != Some(next) {
                let what = format!("what is stored as event {next} of {persistence_id} is not that event");
                return Err(Fault::Damaged(what));
            }
            bytes += value.len();
            next = next.saturating_add(1);
            events.push(copies.take(&value));
            if events.len() >= read.max_events || bytes >= read.max_bytes {
                stopped = true;
                break;
            }
        }
    }

    let read_to_the_end = !stopped && read.to.0 == u64::MAX && !events.is_empty();
    let last = if read_to_the_end { next - 1 } else { disk.last(&view, persistence_id, deleted_to)? };
    if !stopped && next <= last.min(read.to.0) {
        return Err(missing(persistence_id, next));
    }
    Ok(EventPage { events, deleted_to: SequenceNr(deleted_to), record, last: SequenceNr(last) })
}

fn missing(persistence_id: &PersistenceId, number: u64) -> Fault {
    Fault::Damaged(format!("event {number} of {persistence_id} is missing, though later ones are there"))
}

fn newest_snapshot(
    disk: &Disk,
    persistence_id: &PersistenceId,
    criteria: SnapshotCriteria,
) -> Result<Option<Snapshot>, SnapshotError> {
    if criteria.min_sequence_nr > criteria.max_sequence_nr {
        return Ok(None);
    }
    let view = disk.view();
    let (from, to) = span(persistence_id, criteria.min_sequence_nr.0, criteria.max_sequence_nr.0);
    for row in view.range(&disk.snapshots, from..=to).rev() {
        let (key, value) = row.into_inner().map_err(Fault::from)?;
        let sequence_nr = SequenceNr(number_of(&key).unwrap_or_default());
        match decode_snapshot(own(&value), persistence_id, sequence_nr) {
            Ok(snapshot) if criteria.matches(sequence_nr, snapshot.time_ms) => return Ok(Some(snapshot)),
            Ok(_) => {}
            Err(damage) => return Err(SnapshotError::Damaged { sequence_nr, reason: damage.to_string() }),
        }
    }
    Ok(None)
}

/// What the journal was first used with.
pub(super) fn meta(disk: &Disk, view: &View) -> Result<Option<JournalMeta>, Fault> {
    let Some(value) = view.get(&disk.meta, JOURNAL_KEY)? else { return Ok(None) };
    let meta =
        decode_meta(&value).ok_or_else(|| Fault::Damaged("the journal's meta record is unreadable".into()));
    meta.map(Some)
}

fn health(disk: &Disk, shared: &Shared) -> Result<(), StoreError> {
    shared.writable()?;
    // Hands nothing to the disk; the engine answers whether one of its own threads met an error.
    disk.db.persist(PersistMode::Buffer).map_err(|cause| StoreError::new(describe(&cause)))
}
