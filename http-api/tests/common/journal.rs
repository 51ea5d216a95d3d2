//! A journal in memory that fails in the way it is told to.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use abide_persistence::journal::{
    Batch, Claim, ClaimError, EventPage, Journal, JournalLimits, JournalMeta, Pending, ReadError, ReadEvents,
    StoreError, Write, WriteError, Writer,
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
    ReadHangs,
    ReadFails,
    ReadDamaged,
}

/// What its errors say; clients must never see it.
pub const SECRET: &str = "/var/lib/abide/secret";

#[derive(Default)]
pub struct TestJournal(Mutex<(Mode, HashMap<PersistenceId, Vec<Bytes>>)>);

impl TestJournal {
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

    fn claim(&self, _: ShardId, _: Claim, _: Writer) -> Pending<Result<(), ClaimError>> {
        done(Ok(()))
    }

    fn write(&self, batch: Batch) -> Pending<Result<(), WriteError>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let secret = StoreError::new(SECRET);
        match state.0 {
            Mode::WriteUnknown => return done(Err(WriteError::Unknown(secret))),
            Mode::WriteRefused => return done(Err(WriteError::NotWritten(secret))),
            Mode::WriteFenced => return done(Err(WriteError::Fenced { held: None, sent_again: false })),
            Mode::WriteHangs => return Box::pin(std::future::pending()),
            Mode::Fine | Mode::ReadHangs | Mode::ReadFails | Mode::ReadDamaged => {}
        }
        for write in batch.writes.iter() {
            if let Write::Append { persistence_id, events, .. } = write {
                state.1.entry(persistence_id.clone()).or_default().extend_from_slice(events);
            }
        }
        done(Ok(()))
    }

    fn read(&self, read: ReadEvents) -> Pending<Result<EventPage, ReadError>> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state.0 {
            Mode::ReadHangs => return Box::pin(std::future::pending()),
            Mode::ReadFails => return done(Err(ReadError::Failed(StoreError::new(SECRET)))),
            Mode::ReadDamaged => return done(Err(ReadError::Damaged(SECRET.to_owned()))),
            Mode::Fine | Mode::WriteUnknown | Mode::WriteRefused | Mode::WriteFenced | Mode::WriteHangs => {}
        }
        let stored = state.1.get(&read.persistence_id).map_or(&[][..], Vec::as_slice);
        let from = (read.from.0.max(1) - 1) as usize;
        let events = stored.iter().skip(from).take(read.max_events).cloned().collect();
        let last = SequenceNr(stored.len() as u64);
        done(Ok(EventPage { events, deleted_to: SequenceNr::ZERO, last }))
    }

    fn health(&self) -> Pending<Result<(), StoreError>> {
        done(Ok(()))
    }

    fn close(&self) -> Pending<()> {
        done(())
    }
}
