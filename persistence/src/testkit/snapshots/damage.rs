//! What a store says of a snapshot that is no longer what was saved.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::shelf::{Shelf, five, time, up_to};
use crate::ids::{PersistenceId, SequenceNr, ShardId};
use crate::journal::{Pending, SnapshotCriteria, SnapshotError, SnapshotStore};
use crate::testkit::fresh::{fresh_id, shard_of};

/// Changes the stored bytes of a snapshot.
pub type Change = Box<dyn FnOnce(&mut Vec<u8>) + Send>;

/// A store whose bytes a test can reach past the store's own code.
pub trait Damageable: Send + Sync + 'static {
    /// The store; asked for anew after every damage, which may have closed and opened it.
    fn store(&self) -> Arc<dyn SnapshotStore>;

    /// Changes the stored bytes of the snapshot that ends with this event.
    fn rewrite(
        &self,
        shard: ShardId,
        persistence_id: PersistenceId,
        sequence_nr: SequenceNr,
        change: Change,
    ) -> Pending<()>;
}

/// A case, ready to be run.
pub type Case = fn(Arc<dyn Damageable>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Lists cases under their names.
macro_rules! cases {
    ($($case:ident),+ $(,)?) => { &[$((stringify!($case), |store| Box::pin($case(store)))),+] };
}

/// Every case, by name.
pub const CASES: &[(&str, Case)] = cases![
    a_damaged_snapshot_is_told_and_those_below_it_are_loaded,
    a_snapshot_in_the_place_of_another_is_damaged,
    a_damaged_snapshot_hides_nothing_that_is_asked_for_past_it,
    a_damaged_snapshot_may_be_replaced,
    a_damaged_snapshot_may_be_deleted,
];

/// Runs every case, each on the store that `make` hands out for it.
pub async fn run_all<F, Fut>(make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Damageable>>,
{
    for (name, case) in CASES {
        eprintln!("testkit: damaged snapshots: {name}");
        case(make().await).await;
    }
}

/// One entity with five snapshots.
struct Victim {
    damageable: Arc<dyn Damageable>,
    id: PersistenceId,
}

impl Victim {
    async fn of(damageable: Arc<dyn Damageable>) -> Self {
        let id = Shelf::of_five(damageable.store()).await.id;
        Self { damageable, id }
    }

    fn shelf(&self) -> Shelf {
        Shelf { store: self.damageable.store(), id: self.id.clone() }
    }

    async fn damage(&self, number: u64, change: impl FnOnce(&mut Vec<u8>) + Send + 'static) {
        let (shard, number) = (shard_of(&self.id), SequenceNr(number));
        self.damageable.rewrite(shard, self.id.clone(), number, Box::new(change)).await;
    }

    /// Checks that this is what loading says.
    async fn expect_damaged(&self, criteria: SnapshotCriteria, number: u64, how: &str) {
        let loaded = self.damageable.store().load(shard_of(&self.id), self.id.clone(), criteria).await;
        match loaded {
            Err(SnapshotError::Damaged { sequence_nr, reason }) => {
                assert_eq!(sequence_nr, SequenceNr(number), "{how}: {reason}");
                assert!(!reason.is_empty(), "{how}: a reason is given");
            }
            other => panic!("{how}: {other:?}"),
        }
    }
}

/// Whatever happened to its bytes: never a wrong state, and never an error of the whole store.
pub async fn a_damaged_snapshot_is_told_and_those_below_it_are_loaded(store: Arc<dyn Damageable>) {
    type Way = (&'static str, fn(&mut Vec<u8>));
    let ways: [Way; 12] = [
        ("the first bit flipped", |bytes| bytes[0] ^= 1),
        ("another of the first bits flipped", |bytes| bytes[0] ^= 0x40),
        ("the checksum changed", |bytes| bytes[3] ^= 0x10),
        ("the number changed", |bytes| bytes[10] ^= 1),
        ("the time changed", |bytes| bytes[12] ^= 1),
        ("a bit in the middle flipped", |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x80;
        }),
        ("the last bit flipped", |bytes| {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
        }),
        ("the last byte lost", |bytes| bytes.truncate(bytes.len() - 1)),
        ("half of it lost", |bytes| bytes.truncate(bytes.len() / 2)),
        ("all of it lost", Vec::clear),
        ("a byte added", |bytes| bytes.push(0)),
        ("zeros, as a file system leaves behind", |bytes| bytes.fill(0)),
    ];
    for (how, change) in ways {
        let victim = Victim::of(store.clone()).await;
        victim.damage(15, change).await;
        victim.expect_damaged(SnapshotCriteria::ANY, 15, how).await;
        victim.expect_damaged(SnapshotCriteria::exactly(SequenceNr(15)), 15, how).await;
        assert_eq!(victim.shelf().load(up_to(14)).await, Some(five(14)), "{how}");
        victim.damage(14, change).await;
        victim.expect_damaged(up_to(14), 14, how).await;
        assert_eq!(victim.shelf().load(up_to(13)).await, Some(five(13)), "{how}");
    }
}

/// Though its bytes are whole.
pub async fn a_snapshot_in_the_place_of_another_is_damaged(store: Arc<dyn Damageable>) {
    let (victim, other) = (Victim::of(store.clone()).await, Victim::of(store).await);
    for number in [13, 15] {
        let (sender, receiver) = std::sync::mpsc::channel();
        other.damage(number, move |bytes| drop(sender.send(bytes.clone()))).await;
        let others = receiver.recv().expect("its bytes");
        victim.damage(15, move |bytes| *bytes = others).await;
        victim.expect_damaged(SnapshotCriteria::ANY, 15, "another entity's").await;
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    other.damage(13, move |bytes| drop(sender.send(bytes.clone()))).await;
    let older = receiver.recv().expect("its bytes");
    other.damage(15, move |bytes| *bytes = older).await;
    other.expect_damaged(SnapshotCriteria::ANY, 15, "an older one of the same entity").await;
    assert_eq!(other.shelf().load(up_to(14)).await, Some(five(14)));
}

/// Neither those below it, nor those above, nor another entity's.
pub async fn a_damaged_snapshot_hides_nothing_that_is_asked_for_past_it(store: Arc<dyn Damageable>) {
    let (victim, other) = (Victim::of(store.clone()).await, Victim::of(store).await);
    victim.damage(13, |bytes| bytes.truncate(5)).await;
    assert_eq!(victim.shelf().load(SnapshotCriteria::ANY).await, Some(five(15)));
    assert_eq!(victim.shelf().load(up_to(12)).await, Some(five(12)));
    let late = SnapshotCriteria { min_time_ms: time(14), ..SnapshotCriteria::ANY };
    assert_eq!(victim.shelf().load(late).await, Some(five(15)));
    victim.expect_damaged(up_to(13), 13, "cut").await;
    other.shelf().expect(&[11, 12, 13, 14, 15]).await;
}

/// By another with its number.
pub async fn a_damaged_snapshot_may_be_replaced(store: Arc<dyn Damageable>) {
    let victim = Victim::of(store).await;
    victim.damage(15, Vec::clear).await;
    victim.shelf().save(five(15)).await;
    assert_eq!(victim.shelf().load(SnapshotCriteria::ANY).await, Some(five(15)));
}

/// By its number, or with all others.
pub async fn a_damaged_snapshot_may_be_deleted(store: Arc<dyn Damageable>) {
    let victim = Victim::of(store).await;
    victim.damage(15, Vec::clear).await;
    victim.shelf().delete(SnapshotCriteria::exactly(SequenceNr(15))).await;
    victim.shelf().expect(&[11, 12, 13, 14]).await;
    victim.damage(12, Vec::clear).await;
    victim.shelf().delete(SnapshotCriteria::ANY).await;
    victim.shelf().expect(&[]).await;
    let untouched = Shelf { store: victim.damageable.store(), id: fresh_id(None) };
    assert_eq!(untouched.load(SnapshotCriteria::ANY).await, None);
}
