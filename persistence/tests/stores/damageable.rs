//! Stores whose bytes are reached past their own code.

use std::fs;
use std::future::ready;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use abide_persistence::journal::{Journal, Pending, SnapshotStore};
use abide_persistence::runtime::{EmbeddedOptions, EmbeddedStore, LocalFiles, MemorySnapshots};
use abide_persistence::testkit::snapshots::damage::{Change, Damageable};
use abide_persistence::{PersistenceId, SequenceNr, ShardId};
use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use tempfile::TempDir;

pub(crate) struct DamageableMemory(pub(crate) MemorySnapshots);

impl Damageable for DamageableMemory {
    fn store(&self) -> Arc<dyn SnapshotStore> {
        Arc::new(self.0.clone())
    }

    fn rewrite(
        &self,
        _: ShardId,
        persistence_id: PersistenceId,
        sequence_nr: SequenceNr,
        change: Change,
    ) -> Pending<()> {
        assert!(self.0.rewrite(&persistence_id, sequence_nr, change), "there is such a snapshot");
        Box::pin(ready(()))
    }
}

/// Closed for each damage, and opened again.
pub(crate) struct DamageableEmbedded {
    dir: TempDir,
    store: Arc<Mutex<EmbeddedStore>>,
}

fn open(dir: &Path) -> EmbeddedStore {
    EmbeddedStore::open(dir, EmbeddedOptions { cache_bytes: 8 << 20, ..EmbeddedOptions::default() }).unwrap()
}

impl DamageableEmbedded {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Mutex::new(open(dir.path())));
        Self { dir, store }
    }
}

impl Damageable for DamageableEmbedded {
    fn store(&self) -> Arc<dyn SnapshotStore> {
        Arc::new(self.store.lock().unwrap().clone())
    }

    fn rewrite(
        &self,
        _: ShardId,
        persistence_id: PersistenceId,
        sequence_nr: SequenceNr,
        change: Change,
    ) -> Pending<()> {
        let (dir, held) = (self.dir.path().to_owned(), self.store.clone());
        Box::pin(async move {
            let store = held.lock().unwrap().clone();
            store.close().await;
            let mut key = persistence_id.to_string().into_bytes();
            key.push(0);
            key.extend_from_slice(&sequence_nr.0.to_be_bytes());
            let db = Database::builder(dir.join("db")).open().unwrap();
            let snapshots = db.keyspace("snapshots", KeyspaceCreateOptions::default).unwrap();
            let mut bytes = snapshots.get(&key).unwrap().expect("there is such a snapshot").to_vec();
            change(&mut bytes);
            snapshots.insert(&key, bytes).unwrap();
            db.persist(PersistMode::SyncAll).unwrap();
            drop((snapshots, db));
            *held.lock().unwrap() = open(&dir);
        })
    }
}

pub(crate) struct DamageableFiles {
    dir: TempDir,
    store: LocalFiles,
}

impl DamageableFiles {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalFiles::open(dir.path()).unwrap();
        Self { dir, store }
    }
}

impl Damageable for DamageableFiles {
    fn store(&self) -> Arc<dyn SnapshotStore> {
        Arc::new(self.store.clone())
    }

    fn rewrite(
        &self,
        shard: ShardId,
        persistence_id: PersistenceId,
        sequence_nr: SequenceNr,
        change: Change,
    ) -> Pending<()> {
        let hash = xxhash_rust::xxh3::xxh3_128(persistence_id.to_string().as_bytes());
        let path: PathBuf = self.dir.path().join(format!("{}/{hash:032x}/{:020}", shard.0, sequence_nr.0));
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
        Box::pin(ready(()))
    }
}
