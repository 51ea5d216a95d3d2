//! What only files show of the store that keeps snapshots in them.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

mod crash;
mod format;
mod full_disk;
mod opening;
#[path = "../support/small_disk.rs"]
mod small_disk;

use std::fs;
use std::path::{Path, PathBuf};

use abide_persistence::journal::{Snapshot, SnapshotCriteria, SnapshotError, SnapshotStore, StoreError};
use abide_persistence::runtime::LocalFiles;
use abide_persistence::{PersistenceId, SequenceNr, ShardId};

const SHARD: ShardId = ShardId(258);

/// Where the file of a snapshot lies.
fn file(dir: &Path, id: &PersistenceId, number: u64) -> PathBuf {
    let hash = xxhash_rust::xxh3::xxh3_128(id.to_string().as_bytes());
    dir.join(format!("258/{hash:032x}/{number:020}"))
}

async fn save(store: &LocalFiles, id: &PersistenceId, snapshot: Snapshot) -> Result<(), StoreError> {
    store.save(SHARD, id.clone(), snapshot).await
}

async fn load(store: &LocalFiles, id: &PersistenceId) -> Result<Option<Snapshot>, SnapshotError> {
    store.load(SHARD, id.clone(), SnapshotCriteria::ANY).await
}

async fn load_up_to(store: &LocalFiles, id: &PersistenceId, number: u64) -> Option<Snapshot> {
    store.load(SHARD, id.clone(), SnapshotCriteria::up_to(SequenceNr(number))).await.unwrap()
}

/// What a directory holds, sorted.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
