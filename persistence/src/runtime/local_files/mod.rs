//! Snapshots as files in one directory, for one node; goes with any journal.
//!
//! ```text
//! <dir>/abide-snapshots                             "abide-snapshots format 1"; carries the lock of the one
//!                                                   process that may be here
//! <dir>/unfinished/<n>                              being written; emptied at every start
//! <dir>/<shard>/<id, hashed>/<last event, 20 digits>   the stored snapshot, see `envelope`
//! ```
//!
//! An id may have 255 bytes of anything, so a folder is named by the id's `xxh3_128` in hex; the id itself is
//! in the file and checked.
//!
//! ```text
//!   save, delete ─▶ queue of the entity's thread ─▶ write, fsync, rename, fsync ─▶ answer
//!   load         ─▶ one queue ─▶ any reader thread ─▶ list, read, check         ─▶ answer
//! ```
//!
//! It does its waiting on threads of its own, so it works under any executor and blocks none. An entity
//! always has the same writing thread, so its saves and deletions happen in the order of the calls.
//!
//! Invariants: a file has its final name only once all its bytes are durable, and an answer `Ok` comes after
//! the name is durable too. A folder holds something only once its own name is durable. What is replaced is
//! replaced by one rename. So a crash at any point leaves each snapshot whole, old or new.

mod files;
mod open;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender as EndSender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot::{self, Sender};

pub use open::LocalFilesError;

use super::queue::{Queue, Refused};
use crate::ids::{PersistenceId, ShardId};
use crate::journal::{Pending, Snapshot, SnapshotCriteria, SnapshotError, SnapshotStore, StoreError};
use files::Files;

/// A snapshot with its records. Also what a file may have to be read at all.
const MAX_SNAPSHOT_BYTES: usize = 256 << 20;
/// Threads that save and delete. Each waits for two syncs at a time, which a disk does side by side.
const WRITERS: usize = 4;
/// Threads that load.
const READERS: usize = 2;
/// Calls that may wait for each writing thread, and for all readers together; beyond it they are refused.
const MAX_QUEUE: usize = 16_384;
/// Bytes of snapshots that may wait to be saved, all threads together; a single one may exceed it.
const MAX_QUEUED_BYTES: usize = 512 << 20;
/// How long dropping the last handle waits for the threads.
const DROP_PATIENCE: Duration = Duration::from_secs(5);

/// A snapshot store of files in one directory, for one node. Cheap to clone; the last clone closes it, after
/// what was queued is done.
#[derive(Clone)]
pub struct LocalFiles {
    handle: Arc<Handle>,
}

struct Handle {
    queues: Arc<Queues>,
    /// Closed once the last thread has ended and let go of the directory.
    ended: Mutex<Receiver<()>>,
}

struct Queues {
    /// One for each writing thread.
    changes: Vec<Queue<Change>>,
    questions: Queue<Question>,
    queued_bytes: AtomicUsize,
}

enum Change {
    Save(ShardId, PersistenceId, Snapshot, Sender<Result<(), StoreError>>),
    Delete(ShardId, PersistenceId, SnapshotCriteria, Sender<Result<(), StoreError>>),
}

struct Question {
    shard: ShardId,
    persistence_id: PersistenceId,
    criteria: SnapshotCriteria,
    to: Sender<Result<Option<Snapshot>, SnapshotError>>,
}

/// What a thread holds. Fields are dropped in this order: files and lock first, then it says that it ended.
struct Share {
    files: Arc<Files>,
    queues: Arc<Queues>,
    _ended: EndSender<()>,
}

impl LocalFiles {
    /// Opens the store in `dir`, or creates that directory in an existing one. Blocks.
    ///
    /// # Errors
    /// See [`LocalFilesError`]; nothing that was stored has changed then.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, LocalFilesError> {
        let dir = dir.as_ref();
        let files = Arc::new(open::open(dir)?);
        let queues = Arc::new(Queues {
            changes: (0..WRITERS).map(|_| Queue::new(MAX_QUEUE)).collect(),
            questions: Queue::new(MAX_QUEUE),
            queued_bytes: AtomicUsize::new(0),
        });
        let (ended, receiver) = channel();
        // From here on a failure to start a thread closes what was started.
        let store = Self { handle: Arc::new(Handle { queues: queues.clone(), ended: Mutex::new(receiver) }) };
        let share = || Share { files: files.clone(), queues: queues.clone(), _ended: ended.clone() };
        let failed = |cause| LocalFilesError::Failed { path: dir.to_owned(), cause };
        for n in 0..WRITERS {
            let share = share();
            let thread = thread::Builder::new().name(format!("abide-snap-w{n}"));
            thread.spawn(move || write(&share, n)).map_err(failed)?;
        }
        for n in 0..READERS {
            let share = share();
            let thread = thread::Builder::new().name(format!("abide-snap-r{n}"));
            thread.spawn(move || read(&share)).map_err(failed)?;
        }
        Ok(store)
    }

    fn change(
        &self,
        persistence_id: &PersistenceId,
        change: impl FnOnce(Sender<Result<(), StoreError>>) -> Change,
    ) -> Pending<Result<(), StoreError>> {
        let (sender, receiver) = oneshot::channel();
        match self.handle.queues.push(persistence_id, change(sender)) {
            Ok(()) => Box::pin(async move { receiver.await.unwrap_or_else(|_| Err(thread_ended())) }),
            Err(refused) => ready(Err(refused.into())),
        }
    }
}

impl Queues {
    fn push(&self, persistence_id: &PersistenceId, change: Change) -> Result<(), Refused> {
        let bytes = change.bytes();
        let before = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        // The writer of an entity is picked by other bits than its shard, which is the remainder.
        let writer = (files::hash(persistence_id) >> 64) as usize % self.changes.len();
        let pushed = match before > 0 && before.saturating_add(bytes) > MAX_QUEUED_BYTES && bytes > 0 {
            true => Err(Refused::Full),
            false => self.changes[writer].push(change),
        };
        if pushed.is_err() {
            self.done(bytes);
        }
        pushed
    }

    fn done(&self, bytes: usize) {
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn close(&self) {
        self.changes.iter().for_each(Queue::close);
        self.questions.close();
    }
}

impl Change {
    fn bytes(&self) -> usize {
        match self {
            Self::Save(_, _, snapshot, _) => snapshot.payload.len() + snapshot.records.len(),
            Self::Delete(..) => 0,
        }
    }
}

/// Saves and deletes until the queue is closed and empty.
fn write(share: &Share, n: usize) {
    while let Some(change) = share.queues.changes[n].take_one() {
        let bytes = change.bytes();
        // A panic costs one answer: whoever waits sees that the sender is gone.
        drop(catch_unwind(AssertUnwindSafe(|| match change {
            Change::Save(shard, persistence_id, snapshot, to) => {
                drop(to.send(share.files.save(shard, &persistence_id, snapshot)));
            }
            Change::Delete(shard, persistence_id, criteria, to) => {
                drop(to.send(share.files.delete(shard, &persistence_id, criteria)));
            }
        })));
        share.queues.done(bytes);
    }
}

/// Loads until the queue is closed and empty.
fn read(share: &Share) {
    while let Some(Question { shard, persistence_id, criteria, to }) = share.queues.questions.take_one() {
        // Whoever asked may have stopped listening while the question waited.
        if !to.is_closed() {
            let load = || share.files.load(shard, &persistence_id, criteria);
            drop(catch_unwind(AssertUnwindSafe(|| drop(to.send(load())))));
        }
    }
}

fn thread_ended() -> StoreError {
    StoreError("the snapshot store's thread ended before it answered".to_owned())
}

fn ready<T: Send + 'static>(answer: T) -> Pending<T> {
    Box::pin(std::future::ready(answer))
}

impl SnapshotStore for LocalFiles {
    fn save(
        &self,
        shard: ShardId,
        persistence_id: PersistenceId,
        snapshot: Snapshot,
    ) -> Pending<Result<(), StoreError>> {
        let id = persistence_id.clone();
        self.change(&id, |to| Change::Save(shard, persistence_id, snapshot, to))
    }

    fn load(
        &self,
        shard: ShardId,
        persistence_id: PersistenceId,
        criteria: SnapshotCriteria,
    ) -> Pending<Result<Option<Snapshot>, SnapshotError>> {
        let (to, receiver) = oneshot::channel();
        match self.handle.queues.questions.push(Question { shard, persistence_id, criteria, to }) {
            Ok(()) => Box::pin(async move { receiver.await.unwrap_or_else(|_| Err(thread_ended().into())) }),
            Err(refused) => ready(Err(StoreError::from(refused).into())),
        }
    }

    fn delete(
        &self,
        shard: ShardId,
        persistence_id: PersistenceId,
        criteria: SnapshotCriteria,
    ) -> Pending<Result<(), StoreError>> {
        let id = persistence_id.clone();
        self.change(&id, |to| Change::Delete(shard, persistence_id, criteria, to))
    }
}

impl Drop for Handle {
    /// Ends the threads; what was queued is still done. Waits, so that the directory may be opened again, but
    /// not for ever: a hung disk must not hang its process.
    fn drop(&mut self) {
        self.queues.close();
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Nothing is ever sent: it fails when the last thread has ended, or when the patience is over.
        let _ = ended.recv_timeout(DROP_PATIENCE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{fresh_id, snapshot};

    #[test]
    fn what_waits_is_bounded_in_bytes_and_one_always_fits() {
        let queues = Queues {
            changes: (0..WRITERS).map(|_| Queue::new(MAX_QUEUE)).collect(),
            questions: Queue::new(MAX_QUEUE),
            queued_bytes: AtomicUsize::new(0),
        };
        let push = |payload: &bytes::Bytes| {
            let snapshot =
                Snapshot { payload: payload.clone(), records: bytes::Bytes::new(), ..snapshot(1, 1, b"") };
            let id = fresh_id(None);
            queues.push(&id.clone(), Change::Save(ShardId(0), id, snapshot, oneshot::channel().0))
        };
        // The clones share their bytes.
        let half = bytes::Bytes::from(vec![0; MAX_QUEUED_BYTES / 2]);
        assert_eq!((push(&half), push(&half), push(&half)), (Ok(()), Ok(()), Err(Refused::Full)));
        assert_eq!(push(&bytes::Bytes::new()), Ok(()), "what has no bytes needs no room");
        queues.done(half.len());
        assert_eq!((push(&half), push(&half)), (Ok(()), Err(Refused::Full)));
        queues.done(2 * half.len());
        let larger = bytes::Bytes::from(vec![0; MAX_QUEUED_BYTES + 1]);
        assert_eq!((push(&larger), push(&half)), (Ok(()), Err(Refused::Full)), "alone it is taken");
        queues.done(larger.len());
        queues.close();
        assert_eq!(push(&half), Err(Refused::Closed));
        assert_eq!(queues.queued_bytes.load(Ordering::Relaxed), 0, "a refused one leaves nothing behind");
    }
}
