//! Saving, loading, deleting; everything here blocks.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

use super::MAX_SNAPSHOT_BYTES;
use super::open::UNFINISHED;
use crate::envelope::StoredSnapshot;
use crate::ids::{PersistenceId, SequenceNr, ShardId};
use crate::journal::{Snapshot, SnapshotCriteria, SnapshotError, StoreError};

/// Digits of the largest number.
const NAME_DIGITS: usize = 20;
/// How often a load lists anew because what it had listed was gone.
const LISTINGS: usize = 8;

pub(super) struct Files {
    root: PathBuf,
    next_unfinished: AtomicU64,
    _lock: File,
}

impl Files {
    pub(super) fn new(root: PathBuf, lock: File) -> Self {
        Self { root, next_unfinished: AtomicU64::new(0), _lock: lock }
    }

    pub(super) fn save(
        &self,
        shard: ShardId,
        persistence_id: &PersistenceId,
        snapshot: Snapshot,
    ) -> Result<(), StoreError> {
        let name = file_name(snapshot.sequence_nr);
        let stored = StoredSnapshot::new(persistence_id, snapshot);
        let size = stored.stored_len();
        if size > MAX_SNAPSHOT_BYTES {
            return Err(StoreError(format!(
                "a snapshot of {size} bytes is more than the store takes ({MAX_SNAPSHOT_BYTES})"
            )));
        }
        let bytes = stored.to_vec();
        let folder = self.folder(shard, persistence_id);
        make_durable(&folder).map_err(|cause| failed("created", &folder, &cause))?;
        let number = self.next_unfinished.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.root.join(UNFINISHED).join(number.to_string());
        let moved =
            write_synced(&unfinished, &bytes).and_then(|()| fs::rename(&unfinished, folder.join(&name)));
        if let Err(cause) = moved {
            // What cannot be removed now is removed at the next start.
            drop(fs::remove_file(&unfinished));
            return Err(failed("written", &folder.join(name), &cause));
        }
        sync(&folder).map_err(|cause| failed("made durable", &folder.join(name), &cause))
    }

    pub(super) fn load(
        &self,
        shard: ShardId,
        persistence_id: &PersistenceId,
        criteria: SnapshotCriteria,
    ) -> Result<Option<Snapshot>, SnapshotError> {
        let folder = self.folder(shard, persistence_id);
        for _ in 0..LISTINGS {
            match newest(&folder, persistence_id, criteria)? {
                Found::Newest(snapshot) => return Ok(snapshot),
                // It was deleted meanwhile, perhaps in favour of one that was not listed yet.
                Found::Gone => {}
            }
        }
        Err(StoreError(format!("{}: snapshots vanish while they are read", folder.display())).into())
    }

    pub(super) fn delete(
        &self,
        shard: ShardId,
        persistence_id: &PersistenceId,
        criteria: SnapshotCriteria,
    ) -> Result<(), StoreError> {
        let folder = self.folder(shard, persistence_id);
        let mut deleted = false;
        for number in listed(&folder, criteria)? {
            let path = folder.join(file_name(number));
            if !criteria.any_time()
                && !time_at_front(&path)?.is_some_and(|time| criteria.matches(number, time))
            {
                continue;
            }
            match fs::remove_file(&path) {
                Ok(()) => deleted = true,
                Err(cause) if cause.kind() == ErrorKind::NotFound => {}
                Err(cause) => return Err(failed("deleted", &path, &cause)),
            }
        }
        if !deleted {
            return Ok(());
        }
        // Fails, as it should, while something is left in it.
        let synced = match (fs::remove_dir(&folder), folder.parent()) {
            (Ok(()), Some(parent)) => sync(parent),
            _ => sync(&folder),
        };
        synced.map_err(|cause| failed("made durable", &folder, &cause))
    }

    fn folder(&self, shard: ShardId, persistence_id: &PersistenceId) -> PathBuf {
        let hash = hash(persistence_id);
        self.root.join(shard.to_string()).join(format!("{hash:032x}"))
    }
}

/// `xxh3_128` (seed 0) over the bytes `type|id`.
pub(super) fn hash(persistence_id: &PersistenceId) -> u128 {
    let mut bytes = Vec::with_capacity(persistence_id.byte_len());
    persistence_id.write_to(&mut bytes);
    xxh3_128(&bytes)
}

fn file_name(sequence_nr: SequenceNr) -> String {
    format!("{:0width$}", sequence_nr.0, width = NAME_DIGITS)
}

/// The number that a file's name stands for; `None` if a store gave it no such name.
fn number_of(name: &str) -> Option<SequenceNr> {
    let digits = name.len() == NAME_DIGITS && name.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| name.parse().ok())?.map(SequenceNr)
}

/// The numbers of an entity's snapshots that may be meant, lowest first.
fn listed(folder: &Path, criteria: SnapshotCriteria) -> Result<Vec<SequenceNr>, StoreError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(failed("listed", folder, &cause)),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry.map_err(|cause| failed("listed", folder, &cause))?.file_name();
        numbers.extend(name.to_str().and_then(number_of).filter(|number| criteria.matches_number(*number)));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

enum Found {
    Newest(Option<Snapshot>),
    Gone,
}

fn newest(
    folder: &Path,
    persistence_id: &PersistenceId,
    criteria: SnapshotCriteria,
) -> Result<Found, SnapshotError> {
    for sequence_nr in listed(folder, criteria)?.into_iter().rev() {
        let path = folder.join(file_name(sequence_nr));
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Found::Gone),
            Err(cause) => return Err(failed("opened", &path, &cause).into()),
        };
        let damaged = |what: String| SnapshotError::Damaged {
            sequence_nr,
            reason: format!("{}: {what}", path.display()),
        };
        // Where the disk cannot read, another file may still be readable.
        let bytes = read_whole(file).map_err(|cause| damaged(cause.to_string()))?;
        let snapshot = StoredSnapshot::open(bytes, persistence_id, sequence_nr)
            .map_err(|damage| damaged(damage.to_string()))?;
        if criteria.matches(sequence_nr, snapshot.time_ms) {
            return Ok(Found::Newest(Some(snapshot)));
        }
    }
    Ok(Found::Newest(None))
}

fn read_whole(file: File) -> io::Result<Bytes> {
    let bytes_of_file = file.metadata()?.len();
    if bytes_of_file > MAX_SNAPSHOT_BYTES as u64 {
        return Err(io::Error::other(format!("{bytes_of_file} bytes are more than any snapshot has")));
    }
    let mut bytes = Vec::with_capacity(bytes_of_file as usize);
    file.take(MAX_SNAPSHOT_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

/// When a snapshot was taken, without reading its payload; `None` if the file does not say.
fn time_at_front(path: &Path) -> Result<Option<u64>, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(failed("opened", path, &cause)),
    };
    let mut front = Vec::with_capacity(StoredSnapshot::FRONT_BYTES);
    let read = file.take(StoredSnapshot::FRONT_BYTES as u64).read_to_end(&mut front);
    Ok(read.ok().and_then(|_| StoredSnapshot::time_at_front(&front)))
}

/// Creates an entity's folder and that of its shard. Their names are durable before anything is put into
/// the former, so one that holds something needs nothing more.
fn make_durable(folder: &Path) -> io::Result<()> {
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Ok(());
    }
    let Some((shard, root)) = folder.parent().and_then(|shard| Some((shard, shard.parent()?))) else {
        return Err(io::Error::other("a folder of an entity is in one of a shard"));
    };
    for folder in [shard, folder] {
        match fs::create_dir(folder) {
            Err(cause) if cause.kind() != ErrorKind::AlreadyExists => return Err(cause),
            Ok(()) | Err(_) => {}
        }
    }
    sync(shard)?;
    sync(root)
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes new names in a directory durable.
pub(super) fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn failed(what: &str, path: &Path, cause: &io::Error) -> StoreError {
    StoreError(format!("{} could not be {what}: {cause}", path.display()))
}
