//! The owner of one shard, as a case needs it: claims, numbers its batches, reads what decides.

use std::sync::Arc;

use bytes::Bytes;

use super::fresh::{event, fresh_claim, fresh_id, fresh_writer, shard_of};
use crate::ids::{PersistenceId, SequenceNr, ShardId};
use crate::journal::{
    Batch, Claim, ClaimError, EventPage, Journal, Known, ReadError, ReadEvents, Write, WriteError, Writer,
};

/// Owns a shard of the journal that is tested.
pub struct Owner {
    /// The journal.
    pub journal: Arc<dyn Journal>,
    /// Its shard.
    pub shard: ShardId,
    /// Its claim.
    pub claim: Claim,
    /// Who it is.
    pub writer: Writer,
    /// The last batch that was acknowledged.
    pub batch: u64,
}

impl Owner {
    /// Takes the shard of a fresh entity.
    pub async fn of_fresh_entity(journal: &Arc<dyn Journal>) -> (Self, PersistenceId) {
        let persistence_id = fresh_id(None);
        (Self::of(journal, &persistence_id).await, persistence_id)
    }

    /// Takes the shard of an entity.
    pub async fn of(journal: &Arc<dyn Journal>, persistence_id: &PersistenceId) -> Self {
        let owner = Self {
            journal: journal.clone(),
            shard: shard_of(persistence_id),
            claim: fresh_claim(),
            writer: fresh_writer(),
            batch: 0,
        };
        owner.claim().await.expect("a higher claim takes the shard");
        owner
    }

    /// The same process once more, with a claim that settles what this one left in doubt.
    pub async fn again(&self) -> Self {
        let again = Self { journal: self.journal.clone(), claim: self.claim.again(), batch: 0, ..*self };
        again.claim().await.expect("a higher claim takes the shard");
        again
    }

    /// What it knows the journal to hold.
    pub fn known(&self) -> Known {
        Known { claim: self.claim, batch: self.batch }
    }

    /// Sends its claim.
    pub async fn claim(&self) -> Result<(), ClaimError> {
        self.journal.claim(self.shard, self.claim, self.writer, None).await
    }

    /// A fresh entity of its shard.
    pub fn fresh_id(&self) -> PersistenceId {
        fresh_id(Some(self.shard))
    }

    /// Its next batch.
    pub fn next_batch(&self, writes: Vec<Write>) -> Batch {
        Batch {
            shard: self.shard,
            claim: self.claim,
            number: self.batch + 1,
            writer: self.writer,
            writes: Arc::new(writes),
        }
    }

    /// Sends its next batch, and counts it if it was acknowledged.
    pub async fn write(&mut self, writes: Vec<Write>) -> Result<(), WriteError> {
        self.journal.write(self.next_batch(writes)).await?;
        self.batch += 1;
        Ok(())
    }

    /// Appends events named `event-<n>` in one atomic write.
    pub async fn append(
        &mut self,
        persistence_id: &PersistenceId,
        first: u64,
        count: u64,
    ) -> Result<(), WriteError> {
        self.write(vec![append(persistence_id, first, count)]).await
    }

    /// Deletes events.
    pub async fn delete_to(&mut self, persistence_id: &PersistenceId, to: u64) -> Result<(), WriteError> {
        let delete = Write::DeleteTo {
            persistence_id: persistence_id.clone(),
            to: SequenceNr(to),
            record: Bytes::from(format!("in place of {to}")),
        };
        self.write(vec![delete]).await
    }

    /// What it asks to read a window.
    pub fn window(
        &self,
        persistence_id: &PersistenceId,
        from: u64,
        to: u64,
        max_events: usize,
    ) -> ReadEvents {
        ReadEvents {
            shard: self.shard,
            persistence_id: persistence_id.clone(),
            from: SequenceNr(from),
            to: SequenceNr(to),
            max_events,
            max_bytes: usize::MAX,
            known: Some(self.known()),
        }
    }

    /// Reads all that is there, as for a recovery.
    pub async fn read(&self, persistence_id: &PersistenceId) -> Result<EventPage, ReadError> {
        self.journal.read(self.window(persistence_id, 1, u64::MAX, usize::MAX)).await
    }

    /// Reads a window, and checks which numbers come.
    pub async fn expect(
        &self,
        persistence_id: &PersistenceId,
        (from, to, max_events): (u64, u64, usize),
        expected: impl IntoIterator<Item = u64>,
        last: u64,
    ) {
        let read = self.window(persistence_id, from, to, max_events);
        let page = self.journal.read(read).await.expect("a page");
        let expected: Vec<Bytes> = expected.into_iter().map(noted).collect();
        assert_eq!(page.events, expected, "window {from}..={to}, at most {max_events}");
        assert_eq!(page.last, SequenceNr(last), "the last number, whatever the window {from}..={to}");
    }

    /// Checks that exactly these events are there, under this last number.
    pub async fn expect_all(
        &self,
        persistence_id: &PersistenceId,
        expected: impl IntoIterator<Item = u64>,
        last: u64,
    ) {
        self.expect(persistence_id, (1, u64::MAX, usize::MAX), expected, last).await;
    }
}

/// The event that cases write under a number.
pub(super) fn noted(number: u64) -> Bytes {
    event(number, format!("event-{number}").as_bytes())
}

/// One atomic write of such events.
pub(super) fn append(persistence_id: &PersistenceId, first: u64, count: u64) -> Write {
    Write::Append {
        persistence_id: persistence_id.clone(),
        first: SequenceNr(first),
        events: (first..first + count).map(noted).collect(),
    }
}
