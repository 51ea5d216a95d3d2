//! The writer thread: takes everything that has arrived, commits it together, answers all.
//!
//! Group commit without a timer: while one commit is being synced the next one gathers. One thread decides,
//! so what it finds admissible is still so when it commits.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use fjall::PersistMode;
use tokio::sync::oneshot::Sender;

use super::commit::Commit;
use super::disk::Disk;
use super::ends::Ends;
use super::mark::Mark;
use super::shared::Shared;
use crate::ids::{PersistenceId, ShardId};
use crate::journal::{
    Batch, Claim, ClaimError, JournalMeta, Known, Snapshot, SnapshotCriteria, StoreError, WriteError, Writer,
};

/// A change that somebody waits for.
pub(super) enum Job {
    Claim(ShardId, Claim, Writer, Option<Known>, Sender<Result<(), ClaimError>>),
    Write(Batch, Sender<Result<(), WriteError>>),
    ReplaceMeta(Option<JournalMeta>, JournalMeta, Sender<Result<bool, StoreError>>),
    SaveSnapshot(PersistenceId, Snapshot, Sender<Result<(), StoreError>>),
    DeleteSnapshots(PersistenceId, SnapshotCriteria, Sender<Result<(), StoreError>>),
}

impl Job {
    /// Answers that nothing was done, nor will be.
    fn refuse(self, cause: StoreError) {
        match self {
            Self::Claim(_, _, _, _, to) => drop(to.send(Err(ClaimError::Failed(cause)))),
            Self::Write(_, to) => drop(to.send(Err(WriteError::NotWritten(cause)))),
            Self::ReplaceMeta(_, _, to) => drop(to.send(Err(cause))),
            Self::SaveSnapshot(_, _, to) | Self::DeleteSnapshots(_, _, to) => drop(to.send(Err(cause))),
        }
    }
}

/// What the writer knows besides the database.
pub(super) struct Books {
    pub(super) ends: Ends,
    /// Number of the last commit.
    pub(super) commits: u64,
    pub(super) mark: Mark,
}

/// Commits until the queue is closed and empty.
pub(super) fn run(disk: &Disk, shared: &Arc<Shared>, mut books: Books) {
    let mut waiting = VecDeque::new();
    while !waiting.is_empty() || shared.jobs.take_all(&mut waiting) {
        shared.jobs.take_arrived(&mut waiting);
        if let Err(cause) = shared.writable() {
            waiting.drain(..).for_each(|job| job.refuse(cause.clone()));
            continue;
        }
        // A panic in the engine is a failed commit; whoever waits sees its sender go, which reads as unknown.
        let done = catch_unwind(AssertUnwindSafe(|| commit(disk, shared, &mut books, &mut waiting)));
        if done.is_err() {
            shared.fail("the storage engine panicked".to_owned());
        }
    }
    // All that was acknowledged is durable already; this spares the next start some work.
    drop(disk.db.persist(PersistMode::SyncAll));
}

/// One commit of what waits, as much as fits.
fn commit(disk: &Disk, shared: &Arc<Shared>, books: &mut Books, waiting: &mut VecDeque<Job>) {
    let mut commit = Commit::new(disk, shared, books);
    while commit.takes(waiting.front()) {
        match waiting.pop_front() {
            Some(job) => commit.admit(job),
            None => break,
        }
    }
    commit.finish();
}
