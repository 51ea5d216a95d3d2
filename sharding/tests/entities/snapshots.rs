//! Snapshots from the event that makes one due to the recovery that begins with it.

use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use abide_persistence::journal::{
    Journal, Pending, Snapshot, SnapshotCriteria, SnapshotError, SnapshotStore, StoreError,
};
use abide_persistence::model::Failure;
use abide_persistence::runtime::{
    Call, EmbeddedOptions, EmbeddedStore, Fault, Faulty, LocalFiles, MemoryJournal, MemorySnapshots,
};
use abide_persistence::{PersistenceId, SequenceNr, ShardId};
use abide_sharding::{EntityOptions, Region, RegionConfig, Registry, Stores};

use crate::stage::*;

const EVERY: NonZeroU64 = NonZeroU64::new(10).unwrap();

fn every_ten() -> EntityOptions<Clerk<0>> {
    EntityOptions::default().snapshot_every(EVERY).keep_snapshots(2)
}

fn deleting() -> Registry {
    clerks(every_ten().delete_events())
}

fn stores(journal: &Arc<dyn Journal>, snapshots: &Arc<dyn SnapshotStore>) -> Stores {
    Stores::default()
        .with_journal("events", Arc::clone(journal))
        .with_snapshots("snapshots", Arc::clone(snapshots))
}

/// Says as much as brings the entity to so many lines, and waits for each snapshot that is due, and for what
/// it deletes.
async fn say_to(entity: &ClerkRef, from: usize, to: usize) {
    for n in from + 1..=to {
        let said = entity.get(Clerk::say(n.to_string())).await;
        assert_eq!(said.len(), n);
        if n % 10 == 0 {
            let saved = format!("saved {n}");
            entity.until_seen(&saved, |seen| seen.contains(&saved)).await;
            if n >= 30 {
                let deleted = format!("deleted {}", n - 20);
                entity.until_seen(&deleted, |seen| seen.contains(&deleted)).await;
                let gone = n / 10 - 2;
                let is_gone = |what: &&String| what.starts_with("SnapshotsDeleted");
                let look = |seen: &[String]| seen.iter().filter(is_gone).count() >= gone;
                entity.until_seen("the older snapshots deleted", look).await;
            }
        }
    }
}

async fn ends_with(snapshots: &Arc<dyn SnapshotStore>, shard: ShardId, up_to: u64) -> Option<u64> {
    let criteria = SnapshotCriteria::up_to(SequenceNr(up_to));
    let found = snapshots.load(shard, persistence_id("a"), criteria).await.expect("it can be read");
    found.map(|snapshot| snapshot.sequence_nr.0)
}

fn shard(region: &Region) -> ShardId {
    persistence_id("a").hash().shard(region.shards())
}

async fn first_event(region: &Region) -> u64 {
    let entity = clerk(region, "a");
    let page = region.read_events(entity.address(), SequenceNr(1), SequenceNr(u64::MAX), 1000, usize::MAX);
    let page = page.await.expect("it can be read");
    assert_eq!(page.deleted_to.0 + page.events.len() as u64, page.last.0);
    page.deleted_to.0 + 1
}

async fn from_end_to_end(journal: Arc<dyn Journal>, snapshots: Arc<dyn SnapshotStore>) {
    let first = start(deleting(), stores(&journal, &snapshots), 1, config());
    say_to(&clerk(&first, "a"), 0, 35).await;
    assert_eq!(first_event(&first).await, 11, "two snapshots are kept, and the events after the older one");
    let at = shard(&first);
    assert_eq!(ends_with(&snapshots, at, u64::MAX).await, Some(30));
    assert_eq!(ends_with(&snapshots, at, 29).await, Some(20));
    assert_eq!(ends_with(&snapshots, at, 19).await, None);
    first.stop().await;

    let second = start(deleting(), stores(&journal, &snapshots), 2, config());
    let entity = clerk(&second, "a");
    assert_eq!(entity.get(Clerk::recovered()).await, ["30", "5"]);
    assert_eq!(entity.get(Clerk::show()).await, lines(1..=35));
    // Numbers and snapshots go on where they were.
    for n in 36..=40 {
        entity.get(Clerk::say(n.to_string())).await;
    }
    entity.until_seen("the next one", |seen| seen.contains(&"saved 40".to_owned())).await;
    entity.until_seen("the next deletion", |seen| seen.contains(&"deleted 20".to_owned())).await;
    assert_eq!(first_event(&second).await, 21);
    second.stop().await;

    let third = start(deleting(), stores(&journal, &snapshots), 3, config());
    assert_eq!(clerk(&third, "a").get(Clerk::recovered()).await, ["40", "0"]);
    assert_eq!(clerk(&third, "a").get(Clerk::show()).await, lines(1..=40));
    third.stop().await;
}

#[tokio::test]
async fn in_memory_recovery_begins_with_the_snapshot() {
    from_end_to_end(Arc::new(MemoryJournal::new()), Arc::new(MemorySnapshots::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_local_files_recovery_begins_with_the_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    from_end_to_end(Arc::new(MemoryJournal::new()), Arc::new(LocalFiles::open(dir.path()).unwrap())).await;
}

fn embedded(at: &Path) -> EmbeddedStore {
    EmbeddedStore::open(at, EmbeddedOptions { cache_bytes: 8 << 20, ..EmbeddedOptions::default() }).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_embedded_store_recovery_begins_with_the_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let store = embedded(dir.path());
    from_end_to_end(Arc::new(store.clone()), Arc::new(store.clone())).await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_in_the_embedded_store_and_snapshots_in_files_go_together() {
    let (events, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = embedded(events.path());
    from_end_to_end(Arc::new(store.clone()), Arc::new(LocalFiles::open(files.path()).unwrap())).await;
    store.close().await;
}

struct InMemory {
    journal: Arc<dyn Journal>,
    memory: MemorySnapshots,
    faulty: Faulty<MemorySnapshots>,
}

impl InMemory {
    fn new() -> Self {
        let memory = MemorySnapshots::new();
        let faulty = Faulty::new(Arc::new(memory.clone()));
        Self { journal: Arc::new(MemoryJournal::new()), memory, faulty }
    }

    fn start(&self, registry: Registry, generation: u32) -> Region {
        let config = RegionConfig { recovery_event_timeout: Duration::from_millis(150), ..config() };
        start(registry, stores(&self.journal, &self.snapshots()), generation, config)
    }

    fn snapshots(&self) -> Arc<dyn SnapshotStore> {
        Arc::new(self.faulty.clone())
    }
}

#[tokio::test]
async fn a_save_that_fails_stops_nobody_and_deletes_nothing() {
    let stores = InMemory::new();
    let region = stores.start(deleting(), 1);
    stores.faulty.control().always(Call::SaveSnapshot, Fault::Refused);
    let entity = clerk(&region, "a");
    for n in 1..=35 {
        entity.get(Clerk::say(n.to_string())).await;
    }
    let seen = entity
        .until_seen("the last failure", |seen| seen.iter().any(|what| what.starts_with("not saved 30")));
    let seen = seen.await;
    assert!(!seen.iter().any(|what| what.starts_with("saved") || what.contains("eleted")), "{seen:?}");
    assert_eq!(first_event(&region).await, 1);
    region.stop().await;
    stores.faulty.control().clear();
    let next = stores.start(deleting(), 2);
    let entity = clerk(&next, "a");
    assert_eq!(entity.get(Clerk::recovered()).await, ["0", "35"]);
    // The one that should have been there is made good at once.
    entity.until_seen("the missing one", |seen| seen.contains(&"saved 35".to_owned())).await;
}

#[tokio::test]
async fn a_store_that_hangs_in_a_save_is_told_of_and_holds_nobody_up() {
    let stores = InMemory::new();
    let region = stores.start(deleting(), 1);
    stores.faulty.control().hold(Call::SaveSnapshot);
    let entity = clerk(&region, "a");
    for n in 1..=15 {
        entity.get(Clerk::say(n.to_string())).await;
    }
    assert_eq!(stores.faulty.control().held(), 1, "while the store hangs");
    let seen = entity.until_seen("the failure", |seen| seen.iter().any(|what| what.starts_with("not saved")));
    let seen = seen.await;
    let told = "not saved 10: the snapshot store did not answer within 150ms".to_owned();
    assert!(seen.contains(&told), "{seen:?}");
    stores.faulty.control().clear();
    say_to(&entity, 15, 20).await;
}

#[tokio::test]
async fn a_store_that_hangs_in_a_load_fails_the_recovery_which_is_tried_again() {
    let stores = InMemory::new();
    let region = stores.start(deleting(), 1);
    say_to(&clerk(&region, "a"), 0, 35).await;
    region.stop().await;

    let next = stores.start(deleting(), 2);
    stores.faulty.control().hold(Call::LoadSnapshot);
    let entity = clerk(&next, "a");
    let asked = tokio::spawn({
        let entity = entity.clone();
        async move { entity.get(Clerk::recovered()).await }
    });
    let late = "no snapshot came within 150ms";
    until("it fails", || failed_recoveries("a").iter().any(|cause| cause.contains(late))).await;
    assert!(!asked.is_finished(), "the events alone are not all there: it waits for the store");
    stores.faulty.control().clear();
    assert_eq!(asked.await.unwrap(), ["30", "5"]);
}

#[tokio::test]
async fn behind_a_damaged_snapshot_stands_the_one_before() {
    let stores = InMemory::new();
    let region = stores.start(deleting(), 1);
    say_to(&clerk(&region, "a"), 0, 35).await;
    region.stop().await;

    let damage = |number| {
        let at = SequenceNr(number);
        stores.memory.rewrite(&persistence_id("a"), at, |bytes| bytes.truncate(bytes.len() / 2))
    };
    assert!(damage(30));
    let next = stores.start(deleting(), 2);
    assert_eq!(clerk(&next, "a").get(Clerk::recovered()).await, ["20", "15"]);
    assert_eq!(clerk(&next, "a").get(Clerk::show()).await, lines(1..=35));
    // It makes the damage good with a new one, so the next recovery is short again.
    let made_good = |seen: &[String]| seen.iter().any(|what| what.starts_with("saved"));
    clerk(&next, "a").until_seen("a new snapshot", made_good).await;
    next.stop().await;
    let next = stores.start(deleting(), 3);
    assert_eq!(clerk(&next, "a").get(Clerk::recovered()).await, ["35", "0"]);
    next.stop().await;
}

#[tokio::test]
async fn without_any_sound_snapshot_the_events_do_if_they_are_there_and_else_the_entity_is_parked() {
    for deletes in [false, true] {
        let stores = InMemory::new();
        let registry = || if deletes { deleting() } else { clerks(every_ten().keep_snapshots(9)) };
        let region = stores.start(registry(), 1);
        let entity = clerk(&region, "a");
        if deletes {
            say_to(&entity, 0, 35).await;
        } else {
            for n in 1..=35 {
                entity.get(Clerk::say(n.to_string())).await;
                if n % 10 == 0 {
                    let saved = format!("saved {n}");
                    entity.until_seen(&saved, |seen| seen.contains(&saved)).await;
                }
            }
        }
        region.stop().await;
        for number in [10, 20, 30] {
            stores.memory.rewrite(&persistence_id("a"), SequenceNr(number), |bytes| bytes.clear());
        }
        let next = stores.start(registry(), 2);
        let entity = clerk(&next, "a");
        if deletes {
            let failure = entity.fail(Clerk::show()).await;
            let told = |reason: &str| {
                reason.contains("events up to 10 were deleted because a snapshot contains what they said")
                    && reason.contains("event 20 is of no use")
                    && reason.contains("event 30 is of no use")
            };
            assert!(matches!(&failure, Failure::Parked { reason } if told(reason)), "{failure:?}");
        } else {
            assert_eq!(entity.get(Clerk::recovered()).await, ["0", "35"]);
            assert_eq!(entity.get(Clerk::show()).await, lines(1..=35));
        }
    }
}

#[tokio::test]
async fn a_snapshot_of_events_that_the_journal_has_lost_parks_the_entity() {
    let stores = InMemory::new();
    let region = stores.start(deleting(), 1);
    say_to(&clerk(&region, "a"), 0, 35).await;
    let at = shard(&region);
    region.stop().await;
    let newest = stores.memory.load(at, persistence_id("a"), SnapshotCriteria::ANY).await.unwrap().unwrap();
    let ahead = Snapshot { sequence_nr: SequenceNr(36), ..newest };
    stores.memory.save(at, persistence_id("a"), ahead).await.unwrap();

    let next = stores.start(deleting(), 2);
    let failure = clerk(&next, "a").fail(Clerk::say("over the gap")).await;
    let told = |reason: &str| reason.contains("contains event 36, but the journal ends with 35");
    assert!(matches!(&failure, Failure::Parked { reason } if told(reason)), "{failure:?}");
}

/// Hands out other bytes than it took.
struct Forgetful {
    memory: MemorySnapshots,
    forgets: AtomicBool,
}

impl SnapshotStore for Forgetful {
    fn save(&self, shard: ShardId, of: PersistenceId, snapshot: Snapshot) -> Pending<Result<(), StoreError>> {
        self.memory.save(shard, of, snapshot)
    }

    fn load(
        &self,
        shard: ShardId,
        of: PersistenceId,
        criteria: SnapshotCriteria,
    ) -> Pending<Result<Option<Snapshot>, SnapshotError>> {
        let (loaded, forgets) = (self.memory.load(shard, of, criteria), self.forgets.load(Ordering::Relaxed));
        Box::pin(async move {
            let mut loaded = loaded.await?;
            if let Some(snapshot) = loaded.as_mut().filter(|_| forgets) {
                snapshot.payload = b"[]".as_slice().into();
            }
            Ok(loaded)
        })
    }

    fn delete(
        &self,
        shard: ShardId,
        of: PersistenceId,
        criteria: SnapshotCriteria,
    ) -> Pending<Result<(), StoreError>> {
        self.memory.delete(shard, of, criteria)
    }
}

#[tokio::test]
async fn a_snapshot_that_does_not_read_back_as_it_was_saved_deletes_nothing() {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let store = Arc::new(Forgetful { memory: MemorySnapshots::new(), forgets: AtomicBool::new(true) });
    let snapshots: Arc<dyn SnapshotStore> = store.clone();
    let region = start(deleting(), stores(&journal, &snapshots), 1, config());
    let entity = clerk(&region, "a");
    for n in 1..=45 {
        entity.get(Clerk::say(n.to_string())).await;
        if n % 10 == 0 {
            let told = format!("not saved {n}: what was read back is not what was saved");
            entity.until_seen(&told, |seen| seen.contains(&told)).await;
        }
    }
    assert_eq!(first_event(&region).await, 1);
    let seen = entity.get(Clerk::seen()).await;
    assert!(!seen.iter().any(|what| what.contains("eleted")), "{seen:?}");
    // As soon as the store is honest, all goes its way.
    store.forgets.store(false, Ordering::Relaxed);
    say_only(&entity, 46, 60).await;
    entity.until_seen("deletion", |seen| seen.iter().any(|what| what.starts_with("deleted"))).await;
    assert!(first_event(&region).await > 1);
    region.stop().await;
    let next = start(deleting(), stores(&journal, &snapshots), 2, config());
    assert_eq!(clerk(&next, "a").get(Clerk::show()).await, lines(1..=60));
}

async fn say_only(entity: &ClerkRef, from: usize, to: usize) {
    for n in from..=to {
        entity.get(Clerk::say(n.to_string())).await;
        if n % 10 == 0 {
            let saved = format!("saved {n}");
            entity.until_seen(&saved, |seen| seen.contains(&saved)).await;
        }
    }
}
