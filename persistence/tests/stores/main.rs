//! Every store that comes with Abide keeps the promises of the testkit.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

mod damageable;

use std::sync::Arc;

use abide_persistence::journal::{Journal, SnapshotStore};
use abide_persistence::runtime::{
    EmbeddedOptions, EmbeddedStore, Faulty, LocalFiles, MemoryJournal, MemorySnapshots,
};
use abide_persistence::testkit;
use abide_persistence::testkit::snapshots::damage::Damageable;

use damageable::{DamageableEmbedded, DamageableFiles, DamageableMemory};

#[tokio::test]
async fn the_memory_journal_keeps_every_promise() {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    testkit::journal::run_all(|| std::future::ready(journal.clone())).await;
}

#[tokio::test]
async fn memory_snapshots_keep_every_promise() {
    let store: Arc<dyn SnapshotStore> = Arc::new(MemorySnapshots::new());
    testkit::snapshots::run_all(|| std::future::ready(store.clone())).await;
}

#[tokio::test]
async fn the_embedded_journal_keeps_every_promise() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path(), EmbeddedOptions::default()).unwrap();
    let journal: Arc<dyn Journal> = Arc::new(store.clone());
    testkit::journal::run_all(|| std::future::ready(journal.clone())).await;
    store.close().await;
}

#[tokio::test]
async fn the_embedded_journal_keeps_them_while_it_forgets_where_streams_end() {
    let dir = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions { remembered_streams: 2, readers: 1, ..EmbeddedOptions::default() };
    let store = EmbeddedStore::open(dir.path(), options).unwrap();
    let journal: Arc<dyn Journal> = Arc::new(store.clone());
    testkit::journal::run_all(|| std::future::ready(journal.clone())).await;
    store.close().await;
}

#[tokio::test]
async fn embedded_snapshots_keep_every_promise() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path(), EmbeddedOptions::default()).unwrap();
    let snapshots: Arc<dyn SnapshotStore> = Arc::new(store.clone());
    testkit::snapshots::run_all(|| std::future::ready(snapshots.clone())).await;
    store.close().await;
}

#[tokio::test]
async fn local_files_keep_every_promise() {
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<dyn SnapshotStore> = Arc::new(LocalFiles::open(dir.path()).unwrap());
    testkit::snapshots::run_all(|| std::future::ready(store.clone())).await;
}

#[tokio::test]
async fn damaged_memory_snapshots_are_told() {
    let store: Arc<dyn Damageable> = Arc::new(DamageableMemory(MemorySnapshots::new()));
    testkit::snapshots::damage::run_all(|| std::future::ready(store.clone())).await;
}

#[tokio::test]
async fn damaged_embedded_snapshots_are_told() {
    let store: Arc<dyn Damageable> = Arc::new(DamageableEmbedded::new());
    testkit::snapshots::damage::run_all(|| std::future::ready(store.clone())).await;
}

#[tokio::test]
async fn damaged_local_files_are_told() {
    let store: Arc<dyn Damageable> = Arc::new(DamageableFiles::new());
    testkit::snapshots::damage::run_all(|| std::future::ready(store.clone())).await;
}

#[tokio::test]
async fn a_faulty_store_without_faults_keeps_every_promise_of_the_memory_journal() {
    let journal: Arc<dyn Journal> = Arc::new(Faulty::new(Arc::new(MemoryJournal::new())));
    testkit::journal::run_all(|| std::future::ready(journal.clone())).await;
}

#[tokio::test]
async fn a_faulty_store_without_faults_keeps_every_promise_of_the_embedded_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path(), EmbeddedOptions::default()).unwrap();
    let faulty = Faulty::new(Arc::new(store.clone()));
    let (journal, snapshots): (Arc<dyn Journal>, Arc<dyn SnapshotStore>) =
        (Arc::new(faulty.clone()), Arc::new(faulty));
    testkit::journal::run_all(|| std::future::ready(journal.clone())).await;
    testkit::snapshots::run_all(|| std::future::ready(snapshots.clone())).await;
    store.close().await;
}

#[tokio::test]
async fn the_rate_suite_runs_on_every_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path(), EmbeddedOptions::default()).unwrap();
    let journals: [Arc<dyn Journal>; 2] = [Arc::new(MemoryJournal::new()), Arc::new(store.clone())];
    for journal in journals {
        let rates = testkit::rate::run("test", &journal, 400).await;
        let names: Vec<String> = rates.iter().map(|rate| rate.what.clone()).collect();
        assert_eq!(names.len(), 8, "{names:?}");
        assert!(rates.iter().all(|rate| rate.events >= 400), "{rates:?}");
    }
    store.close().await;
}

/// The stores wait on threads of their own, so they need no runtime.
#[test]
fn the_stores_work_under_any_executor() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path(), EmbeddedOptions::default()).unwrap();
    let journal: Arc<dyn Journal> = Arc::new(store);
    block_on(async {
        for (_, case) in &testkit::journal::CASES[..9] {
            case(journal.clone()).await;
        }
        journal.close().await;
    });
    let dir = tempfile::tempdir().unwrap();
    let snapshots: Arc<dyn SnapshotStore> = Arc::new(LocalFiles::open(dir.path()).unwrap());
    block_on(async {
        for (_, case) in &testkit::snapshots::CASES[..9] {
            case(snapshots.clone()).await;
        }
    });
}

/// The smallest executor: polls, then parks until it is woken.
fn block_on(task: impl Future<Output = ()>) {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut task = std::pin::pin!(task);
    while task.as_mut().poll(&mut context).is_pending() {
        std::thread::park();
    }
}
