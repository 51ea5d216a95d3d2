//! A journal in memory that fails in the way it is told to.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use abide_persistence::journal::{
    Batch, Claim, ClaimError, EventPage, IdPage, Journal, JournalLimits, JournalMeta, Known, ListIds,
    Pending, ReadError, ReadEvents, StoreError, Token, Write, WriteError, Writer,
};
use abide_persistence::{PersistenceId, SequenceNr, ShardId};
use bytes::Bytes;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Fine,
    WriteUnknown,
    WriteRefused,
    WriteFenced,
    WriteHangs,
    /// It has lost what it had acknowledged.
    WriteLost,
    /// It holds what it did not write.
    WriteDamaged,
    /// It refuses writes, and says for how long.
    Rests(Duration),
    ReadHangs,
    ReadFails,
    ReadDamaged,
}

/// What its errors say; clients must never see it.
pub const SECRET: &str = "/var/lib/abide/secret";

#[derive(Default)]
pub struct TestJournal(Mutex<(Mode, HashMap<PersistenceId, Stream>)>);

#[derive(Default)]
struct Stream {
    deleted_to: u64,
    events: Vec<Bytes>,
}

impl TestJournal {
    /// Appends what no entity would.
    pub fn append(&self, persistence_id: &PersistenceId, event: Bytes) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.1.entry(persistence_id.clone()).or_default().events.push(event);
    }

    /// Deletes the events up to a number.
    pub fn delete_to(&self, persistence_id: &PersistenceId, to: u64) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = state.1.entry(persistence_id.clone()).or_default();
        stream.events.drain(..(to - stream.deleted_to) as usize);
        stream.deleted_to = to;
    }

    pub fn set(&self, mode: Mode) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = mode;
    }
}

fn done<T: Send + 'static>(value: T) -> Pending<T> {
    Box::pin(std::future::ready(value))
}

impl Journal for TestJournal {
    fn limits(&self) -> JournalLimits {
        JournalLimits {
            max_event_bytes: 1000,
            max_atomic_bytes: 4000,
            batch_events: 100,
            batch_bytes: 10_000,
        }
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn meta(&self) -> Pending<Result<Option<JournalMeta>, StoreError>> {
        done(Ok(None))
    }

    fn replace_meta(&self, _: Option<JournalMeta>, _: JournalMeta) -> Pending<Result<bool, StoreError>> {
        done(Ok(true))
    }

    fn claim(&self, _: ShardId, _: Claim, _: Writer, _: Option<Known>) -> Pending<Result<(), ClaimError>> {
        done(Ok(()))
    }

    fn write(&self, batch: Batch) -> Pending<Result<(), WriteError>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let secret = StoreError::new(SECRET);
        match state.0 {
            Mode::WriteUnknown => return done(Err(WriteError::Unknown(secret))),
            Mode::WriteRefused => return done(Err(WriteError::NotWritten(secret))),
            Mode::WriteFenced => {
                let held = Token { claim: batch.claim.again(), batch: 0, writer: batch.writer };
                return done(Err(WriteError::Fenced { held, sent_again: false }));
            }
            Mode::WriteHangs => return Box::pin(std::future::pending()),
            Mode::WriteLost => return done(Err(WriteError::Lost { held: None, sent_again: false })),
            Mode::WriteDamaged => return done(Err(WriteError::Damaged(SECRET.to_owned()))),
            Mode::Rests(_) => return done(Err(WriteError::NotWritten(secret))),
            Mode::Fine | Mode::ReadHangs | Mode::ReadFails | Mode::ReadDamaged => {}
        }
        for write in batch.writes.iter() {
            if let Write::Append { persistence_id, events, .. } = write {
                state.1.entry(persistence_id.clone()).or_default().events.extend_from_slice(events);
            }
        }
        done(Ok(()))
    }

    fn refuses_writes(&self, _: ShardId) -> Option<Duration> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).0 {
            Mode::Rests(rests) => Some(rests),
            _ => None,
        }
    }

    fn read(&self, read: ReadEvents) -> Pending<Result<EventPage, ReadError>> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state.0 {
            Mode::ReadHangs => return Box::pin(std::future::pending()),
            Mode::ReadFails => return done(Err(ReadError::Failed(StoreError::new(SECRET)))),
            Mode::ReadDamaged => return done(Err(ReadError::Damaged(SECRET.to_owned()))),
            Mode::Fine
            | Mode::WriteUnknown
            | Mode::WriteRefused
            | Mode::WriteFenced
            | Mode::WriteHangs
            | Mode::WriteLost
            | Mode::WriteDamaged
            | Mode::Rests(_) => {}
        }
        let Some(Stream { deleted_to, events }) = state.1.get(&read.persistence_id) else {
            return done(Ok(EventPage::default()));
        };
        let first = read.from.0.max(deleted_to + 1);
        let wanted = (first..=read.to.0).take(read.max_events);
        let mut bytes = 0;
        let mut page = Vec::new();
        for (_, event) in wanted.zip(events.iter().skip((first - deleted_to - 1) as usize)) {
            bytes += event.len();
            page.push(event.clone());
            if bytes >= read.max_bytes {
                break;
            }
        }
        let (last, deleted_to) = (deleted_to + events.len() as u64, SequenceNr(*deleted_to));
        done(Ok(EventPage { events: page, deleted_to, last: SequenceNr(last), ..EventPage::default() }))
    }

    fn persistence_ids(&self, query: ListIds) -> Pending<Result<IdPage, ReadError>> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state.0 {
            Mode::ReadHangs => return Box::pin(std::future::pending()),
            Mode::ReadFails => return done(Err(ReadError::Failed(StoreError::new(SECRET)))),
            _ => {}
        }
        let shards = abide_persistence::ShardCount::new(super::SHARDS.get()).expect("in range");
        let ids: BTreeSet<_> = state
            .1
            .keys()
            .filter(|id| {
                id.entity_type.as_str() == query.entity_type && id.hash().shard(shards) == query.shard
            })
            .map(|id| id.id.clone())
            .filter(|id| query.after.as_ref().is_none_or(|after| id > after))
            .collect();
        let more = ids.len() > query.limit;
        done(Ok(IdPage { ids: ids.into_iter().take(query.limit).collect(), more }))
    }

    fn health(&self) -> Pending<Result<(), StoreError>> {
        done(Ok(()))
    }

    fn close(&self) -> Pending<()> {
        done(())
    }
}
