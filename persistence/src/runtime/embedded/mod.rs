//! The embedded store: journal and snapshots of one node in one directory, over the engine `fjall`.
//!
//! ```text
//!   claim, write, meta, snapshots ─▶ queue ─▶ writer thread ─▶ one synced batch ─▶ answers
//!   read, load, health            ─▶ queue ─▶ reader threads ─▶ a view each     ─▶ answers
//! ```
//!
//! It does its waiting on threads of its own, so it works under any executor. Not shared: its fence keeps
//! late copies and deposed owners of *this* process apart; another process is kept out by a lock.
//!
//! What is assumed of the disk: that a successful `fsync` means what it says. After a failed one nothing more
//! is written before a restart, because the kernel may have forgotten which pages were dirty.
//!
//! Invariants: an answer `Ok` comes after the fsync of the commit that holds it. The token in memory is never
//! ahead of what is stored, except in the batch number, which means nothing after a restart. One writer
//! thread judges and commits, so nothing comes between the two.
//!
//! | thread | owns | ends |
//! | --- | --- | --- |
//! | `abide-writer` | stream ends, commit number, mark | when the queue is closed and empty |
//! | `abide-reader-n` | nothing | when the queue is closed and empty |
//!
//! The last thread to end closes the database and lets go of the lock. A panic in a thread's work is caught
//! and answered: in a read it costs that read, in a commit it stops all writing.

mod commit;
mod copies;
mod disk;
mod ends;
mod ids;
mod journal_files;
mod layout;
mod mark;
mod open;
mod reader;
mod shared;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

pub use open::OpenError;

use crate::ids::{PersistenceId, ShardId};
use crate::journal::{
    Batch, Claim, ClaimError, EventPage, IdPage, Journal, JournalLimits, JournalMeta, Known, ListIds,
    Pending, ReadError, ReadEvents, Snapshot, SnapshotCriteria, SnapshotError, SnapshotStore, StoreError,
    WriteError, Writer,
};
use disk::Disk;
use ends::Ends;
use reader::Question;
use shared::Shared;
use writer::{Books, Job};

/// What fits. One event: half of the memtable of events, so that a single one never fills it. One
/// `persist_all`: about one journal file of the engine (64 MB); it is in memory three times while it is
/// written (queue, batch, memtable). One batch: a sync costs as much as writing about a megabyte.
const LIMITS: JournalLimits = JournalLimits {
    max_event_bytes: 16 << 20,
    max_atomic_bytes: 64 << 20,
    batch_events: 512,
    batch_bytes: 1 << 20,
};
/// An event with its envelope, which also carries tags and a reply.
const MAX_ENVELOPE_BYTES: usize = 2 * LIMITS.max_event_bytes;
/// A snapshot with its records.
const MAX_SNAPSHOT_BYTES: usize = 64 << 20;
/// How long dropping the last handle waits for the threads.
const DROP_PATIENCE: Duration = Duration::from_secs(5);

/// How the embedded store uses its machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddedOptions {
    /// Memory for blocks of tables. Default: 128 MiB. More makes recovery of cold entities faster.
    pub cache_bytes: u64,
    /// Streams whose ends the writer remembers, about 80 bytes each and the ids. Default: 500 000. The first
    /// write of any other costs three look-ups, some 10 µs.
    pub remembered_streams: usize,
    /// Threads that read. Default: 2. More help only while events do not fit in the page cache.
    pub readers: usize,
    /// Calls that may wait, for each of writing and reading; beyond it they are refused. Default: 131 072,
    /// twice the largest number of shards, each of which has one batch in flight.
    pub max_queue: usize,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self { cache_bytes: 128 << 20, remembered_streams: 500_000, readers: 2, max_queue: 131_072 }
    }
}

/// A journal and snapshot store in one directory, for one node. Cheap to clone; the last clone closes it.
#[derive(Clone)]
pub struct EmbeddedStore {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
}

impl EmbeddedStore {
    /// Opens the store in `dir`, or creates it in an empty or missing directory. Blocks; a start after a
    /// crash replays what was not yet in tables, about a second for a million events.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing was changed then.
    pub fn open(dir: impl AsRef<Path>, options: EmbeddedOptions) -> Result<Self, OpenError> {
        let dir = dir.as_ref();
        let opened = open::open(dir, &options)?;
        let shared = Arc::new(Shared::new(opened.tokens, options.max_queue));
        // From here on a failure to start a thread closes what was started.
        let store = Self { handle: Arc::new(Handle { shared: shared.clone() }) };
        let ours = Leaving { disk: Some(Arc::new(opened.disk)), shared };
        let books =
            Books { ends: Ends::new(options.remembered_streams), commits: opened.commits, mark: opened.mark };
        let spawn = |name: String, work: Work| {
            let share = Leaving { disk: ours.disk.clone(), shared: ours.shared.clone() };
            let thread = thread::Builder::new().name(name).spawn(move || share.run(work));
            thread.map_err(|cause| OpenError::Failed { path: dir.to_owned(), cause })
        };
        spawn("abide-writer".to_owned(), Box::new(move |disk, shared| writer::run(disk, shared, books)))?;
        for n in 0..options.readers.max(1) {
            spawn(format!("abide-reader-{n}"), Box::new(reader::run))?;
        }
        drop(ours);
        Ok(store)
    }

    fn change<T: Send + 'static>(
        &self,
        job: impl FnOnce(oneshot::Sender<T>) -> Job,
        refused: impl FnOnce(StoreError) -> T,
        lost: impl FnOnce(StoreError) -> T + Send + 'static,
    ) -> Pending<T> {
        let (sender, receiver) = oneshot::channel();
        match self.handle.shared.jobs.push(job(sender)) {
            Ok(()) => Box::pin(async move { receiver.await.unwrap_or_else(|_| lost(thread_ended())) }),
            Err(cause) => ready(refused(cause.into())),
        }
    }

    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Question,
        failed: impl FnOnce(StoreError) -> T + Send + 'static,
    ) -> Pending<T> {
        let (sender, receiver) = oneshot::channel();
        match self.handle.shared.questions.push(question(sender)) {
            Ok(()) => Box::pin(async move { receiver.await.unwrap_or_else(|_| failed(thread_ended())) }),
            Err(cause) => ready(failed(cause.into())),
        }
    }
}

fn thread_ended() -> StoreError {
    StoreError("the store's thread ended before it answered".to_owned())
}

fn ready<T: Send + 'static>(answer: T) -> Pending<T> {
    Box::pin(std::future::ready(answer))
}

impl Journal for EmbeddedStore {
    fn limits(&self) -> JournalLimits {
        LIMITS
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn meta(&self) -> Pending<Result<Option<JournalMeta>, StoreError>> {
        self.ask(Question::Meta, Err)
    }

    fn replace_meta(
        &self,
        expected: Option<JournalMeta>,
        new: JournalMeta,
    ) -> Pending<Result<bool, StoreError>> {
        self.change(|to| Job::ReplaceMeta(expected, new, to), Err, Err)
    }

    fn claim(
        &self,
        shard: ShardId,
        claim: Claim,
        writer: Writer,
        least: Option<Known>,
    ) -> Pending<Result<(), ClaimError>> {
        let failed = |cause| Err(ClaimError::Failed(cause));
        self.change(|to| Job::Claim(shard, claim, writer, least, to), failed, failed)
    }

    fn write(&self, batch: Batch) -> Pending<Result<(), WriteError>> {
        let (refused, lost) =
            (|cause| Err(WriteError::NotWritten(cause)), |cause| Err(WriteError::Unknown(cause)));
        self.change(|to| Job::Write(batch, to), refused, lost)
    }

    fn read(&self, read: ReadEvents) -> Pending<Result<EventPage, ReadError>> {
        self.ask(|to| Question::Events(read, to), |cause| Err(ReadError::Failed(cause)))
    }

    fn persistence_ids(&self, query: ListIds) -> Pending<Result<IdPage, ReadError>> {
        self.ask(|to| Question::Ids(query, to), |cause| Err(ReadError::Failed(cause)))
    }

    fn health(&self) -> Pending<Result<(), StoreError>> {
        self.ask(Question::Health, Err)
    }

    fn close(&self) -> Pending<()> {
        self.handle.shared.close();
        let gone = self.handle.shared.until_gone();
        // Its sender lives as long as we do, so it does answer.
        let handle = self.handle.clone();
        Box::pin(async move {
            drop(gone.await);
            drop(handle);
        })
    }
}

impl SnapshotStore for EmbeddedStore {
    fn save(
        &self,
        _shard: ShardId,
        persistence_id: PersistenceId,
        snapshot: Snapshot,
    ) -> Pending<Result<(), StoreError>> {
        self.change(|to| Job::SaveSnapshot(persistence_id, snapshot, to), Err, Err)
    }

    fn load(
        &self,
        _shard: ShardId,
        persistence_id: PersistenceId,
        criteria: SnapshotCriteria,
    ) -> Pending<Result<Option<Snapshot>, SnapshotError>> {
        self.ask(|to| Question::Snapshot(persistence_id, criteria, to), |cause| Err(cause.into()))
    }

    fn delete(
        &self,
        _shard: ShardId,
        persistence_id: PersistenceId,
        criteria: SnapshotCriteria,
    ) -> Pending<Result<(), StoreError>> {
        self.change(|to| Job::DeleteSnapshots(persistence_id, criteria, to), Err, Err)
    }
}

impl Drop for Handle {
    /// Ends the threads; what was queued is still written. Waits, so that the directory may be opened again,
    /// but not for ever: a hung disk must not hang its process.
    fn drop(&mut self) {
        self.shared.close();
        self.shared.wait_gone(DROP_PATIENCE);
    }
}

/// What a thread does.
type Work = Box<dyn FnOnce(&Disk, &Arc<Shared>) + Send>;

/// A share in the database; whoever drops the last one closes it and says so.
struct Leaving {
    disk: Option<Arc<Disk>>,
    shared: Arc<Shared>,
}

impl Leaving {
    fn run(self, work: impl FnOnce(&Disk, &Arc<Shared>)) {
        if let Some(disk) = &self.disk {
            work(disk, &self.shared);
        }
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if let Some(disk) = self.disk.take().and_then(Arc::into_inner) {
            drop(disk);
            self.shared.set_gone();
        }
    }
}
