//! What a [`SnapshotStore`] promises.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::fresh::{fresh_id, named, shard_of, snapshot};
use crate::PersistenceId;
use crate::ids::SequenceNr;
use crate::journal::{Snapshot, SnapshotCriteria, SnapshotStore};

/// A case, ready to be run on a store.
pub type Case = fn(Arc<dyn SnapshotStore>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Lists cases under their names.
macro_rules! cases {
    ($($case:ident),+ $(,)?) => { &[$((stringify!($case), |store| Box::pin($case(store)))),+] };
}

/// Every case, by name.
pub const CASES: &[(&str, Case)] = cases![
    an_unknown_entity_has_no_snapshot,
    the_newest_is_loaded,
    what_matches_no_number_or_no_time_is_not_loaded,
    the_newest_up_to_a_number_is_loaded,
    the_newest_up_to_a_number_and_a_time_is_loaded,
    one_may_be_deleted_by_its_number,
    all_that_match_are_deleted,
    what_does_not_match_is_not_deleted,
    deleting_nothing_is_no_error,
    a_second_one_with_the_same_number_replaces_the_first,
    a_snapshot_comes_back_as_it_was_saved,
    a_large_snapshot_is_kept,
    ids_that_are_prefixes_of_each_other_have_snapshots_of_their_own,
    snapshots_saved_and_deleted_at_the_same_time_follow_the_order_of_the_calls,
];

/// Runs every case, each on the store that `make` hands out for it.
pub async fn run_all<F, Fut>(make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn SnapshotStore>>,
{
    for (name, case) in CASES {
        eprintln!("testkit: snapshots: {name}");
        case(make().await).await;
    }
}

/// One entity's snapshots in the store that is tested.
struct Shelf {
    store: Arc<dyn SnapshotStore>,
    id: PersistenceId,
}

/// When the fixture's snapshot was taken.
const fn time(number: u64) -> u64 {
    1_000 * number
}

impl Shelf {
    /// With five snapshots, that end with events 11 to 15.
    async fn of_five(store: Arc<dyn SnapshotStore>) -> Self {
        let shelf = Self { store, id: fresh_id(None) };
        for number in 11..=15 {
            shelf.save(five(number)).await;
        }
        shelf
    }

    async fn save(&self, snapshot: Snapshot) {
        let saved = self.store.save(shard_of(&self.id), self.id.clone(), snapshot);
        saved.await.expect("saved");
    }

    async fn load(&self, criteria: SnapshotCriteria) -> Option<Snapshot> {
        self.store.load(shard_of(&self.id), self.id.clone(), criteria).await.expect("loaded")
    }

    async fn delete(&self, criteria: SnapshotCriteria) {
        let deleted = self.store.delete(shard_of(&self.id), self.id.clone(), criteria);
        deleted.await.expect("deleted");
    }

    /// Checks which of the five are there.
    async fn expect(&self, expected: &[u64]) {
        for number in 11..=15 {
            let found = self.load(SnapshotCriteria::exactly(SequenceNr(number))).await;
            let wanted = expected.contains(&number).then(|| five(number));
            assert_eq!(found, wanted, "the snapshot that ends with event {number}");
        }
    }
}

fn five(number: u64) -> Snapshot {
    snapshot(number, time(number), format!("state-{number}").as_bytes())
}

fn up_to(number: u64) -> SnapshotCriteria {
    SnapshotCriteria::up_to(SequenceNr(number))
}

/// None, and no error.
pub async fn an_unknown_entity_has_no_snapshot(store: Arc<dyn SnapshotStore>) {
    let shelf = Shelf { store, id: fresh_id(None) };
    assert_eq!(shelf.load(SnapshotCriteria::ANY).await, None);
    assert_eq!(shelf.load(up_to(3)).await, None);
}

/// By the event that it ends with.
pub async fn the_newest_is_loaded(store: Arc<dyn SnapshotStore>) {
    let shelf = Shelf::of_five(store).await;
    assert_eq!(shelf.load(SnapshotCriteria::ANY).await, Some(five(15)));
    shelf.save(snapshot(9, time(99), b"older, though saved later")).await;
    assert_eq!(shelf.load(SnapshotCriteria::ANY).await, Some(five(15)));
}

/// Below, above, too early, too late, and windows that hold nothing.
pub async fn what_matches_no_number_or_no_time_is_not_loaded(store: Arc<dyn SnapshotStore>) {
    let shelf = Shelf::of_five(store).await;
    let any = SnapshotCriteria::ANY;
    for nothing in [
        up_to(10),
        SnapshotCriteria { min_sequence_nr: SequenceNr(16), ..any },
        SnapshotCriteria { min_sequence_nr: SequenceNr(14), max_sequence_nr: SequenceNr(12), ..any },
        SnapshotCriteria { max_time_ms: time(11) - 1, ..any },
        SnapshotCriteria { min_time_ms: time(15) + 1, ..any },
        SnapshotCriteria { max_time_ms: time(12), min_sequence_nr: SequenceNr(13), ..any },
    ] {
        assert_eq!(shelf.load(nothing).await, None, "{nothing:?}");
    }
}

/// The bound is included.
pub async fn the_newest_up_to_a_number_is_loaded(store: Arc<dyn SnapshotStore>) {
    let shelf = Shelf::of_five(store).await;
    assert_eq!(shelf.load(up_to(13)).await, Some(five(13)));
    assert_eq!(shelf.load(up_to(u64::MAX)).await, Some(five(15)));
    shelf.delete(SnapshotCriteria::exactly(SequenceNr(13))).await;
    assert_eq!(shelf.load(up_to(13)).await, Some(five(12)));
}

/// Both bounds hold.
pub async fn the_newest_up_to_a_number_and_a_time_is_loaded(store: Arc<dyn SnapshotStore>) {
    let shelf = Shelf::of_five(store).await;
    assert_eq!(shelf.load(SnapshotCriteria { max_time_ms: time(13), ..up_to(15) }).await, Some(five(13)));
    assert_eq!(shelf.load(SnapshotCriteria { max_time_ms: time(14), ..up_to(13) }).await, Some(five(13)));
    assert_eq!(shelf.load(SnapshotCriteria { min_time_ms: time(13), ..up_to(13) }).await, Some(five(13)));
}

/// Its time need not be known.
pub async fn one_may_be_deleted_by_its_number(store: Arc<dyn SnapshotStore>) {
    let shelf = Shelf::of_five(store).await;
    shelf.delete(SnapshotCriteria::exactly(SequenceNr(13))).await;
    shelf.expect(&[11, 12, 14, 15]).await;
}

/// By number and time.
pub async fn all_that_match_are_deleted(store: Arc<dyn SnapshotStore>) {
    let shelf = Shelf::of_five(store).await;
    shelf.delete(SnapshotCriteria { max_time_ms: time(13), ..up_to(13) }).await;
    shelf.expect(&[14, 15]).await;
    shelf.delete(SnapshotCriteria::ANY).await;
    shelf.expect(&[]).await;
    assert_eq!(shelf.load(SnapshotCriteria::ANY).await, None);
}

/// One that was taken later stays, though its number matches.
pub async fn what_does_not_match_is_not_deleted(store: Arc<dyn SnapshotStore>) {
    let shelf = Shelf::of_five(store).await;
    let exactly = SnapshotCriteria::exactly(SequenceNr(14));
    shelf.delete(SnapshotCriteria { max_time_ms: time(14) - 1, ..exactly }).await;
    shelf.expect(&[11, 12, 13, 14, 15]).await;
}

/// Of an unknown entity, or beside all that is there.
pub async fn deleting_nothing_is_no_error(store: Arc<dyn SnapshotStore>) {
    let shelf = Shelf::of_five(store.clone()).await;
    shelf.delete(up_to(10)).await;
    shelf.expect(&[11, 12, 13, 14, 15]).await;
    Shelf { store, id: fresh_id(None) }.delete(SnapshotCriteria::ANY).await;
}

/// With its time and its payload.
pub async fn a_second_one_with_the_same_number_replaces_the_first(store: Arc<dyn SnapshotStore>) {
    let shelf = Shelf::of_five(store).await;
    let second = snapshot(15, time(15) + 5, b"second");
    shelf.save(second.clone()).await;
    assert_eq!(shelf.load(SnapshotCriteria::ANY).await, Some(second));
    assert_eq!(
        shelf.load(SnapshotCriteria { max_time_ms: time(15), ..SnapshotCriteria::ANY }).await,
        Some(five(14))
    );
}

/// With every field at its highest, and at its lowest.
pub async fn a_snapshot_comes_back_as_it_was_saved(store: Arc<dyn SnapshotStore>) {
    let shelf = Shelf { store, id: fresh_id(None) };
    let bytes: bytes::Bytes = (0..=255_u8).collect::<Vec<_>>().into();
    let highest = Snapshot {
        sequence_nr: SequenceNr(u64::MAX),
        claim: crate::journal::Claim { epoch: crate::journal::Epoch(u64::MAX), session: u32::MAX },
        batch: u64::MAX,
        time_ms: u64::MAX,
        codec: u32::MAX,
        version: u32::MAX,
        payload: bytes.clone(),
        records: bytes,
    };
    let lowest = Snapshot {
        sequence_nr: SequenceNr(1),
        claim: crate::journal::Claim { epoch: crate::journal::Epoch(0), session: 0 },
        batch: 0,
        time_ms: 0,
        codec: 0,
        version: 0,
        payload: bytes::Bytes::new(),
        records: bytes::Bytes::new(),
    };
    for snapshot in [highest, lowest] {
        shelf.save(snapshot.clone()).await;
        assert_eq!(shelf.load(SnapshotCriteria::exactly(snapshot.sequence_nr)).await, Some(snapshot));
    }
}

/// Five million bytes that do not compress well.
pub async fn a_large_snapshot_is_kept(store: Arc<dyn SnapshotStore>) {
    let shelf = Shelf { store, id: fresh_id(None) };
    let payload: Vec<u8> = (0..5_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let large = snapshot(1, 1, &payload);
    shelf.save(large.clone()).await;
    assert!(shelf.load(SnapshotCriteria::ANY).await == Some(large), "the same bytes");
}

/// Neither loading nor deleting reaches beyond its entity.
pub async fn ids_that_are_prefixes_of_each_other_have_snapshots_of_their_own(store: Arc<dyn SnapshotStore>) {
    let base = fresh_id(None).id;
    let ids = ["", "0", "|", "\u{10ffff}"].map(|tail| named(&format!("{base}{tail}")));
    let shelves = ids.map(|id| Shelf { store: store.clone(), id });
    for (at, shelf) in shelves.iter().enumerate() {
        shelf.save(five(11 + at as u64)).await;
    }
    for (at, shelf) in shelves.iter().enumerate() {
        assert_eq!(shelf.load(SnapshotCriteria::ANY).await, Some(five(11 + at as u64)));
        shelf.delete(SnapshotCriteria::ANY).await;
        assert_eq!(shelf.load(SnapshotCriteria::ANY).await, None);
    }
}

/// A store that gathers calls into one commit must not confuse them.
pub async fn snapshots_saved_and_deleted_at_the_same_time_follow_the_order_of_the_calls(
    store: Arc<dyn SnapshotStore>,
) {
    let shelf = Shelf { store: store.clone(), id: fresh_id(None) };
    let (shard, id) = (shard_of(&shelf.id), shelf.id.clone());
    let calls = [
        store.save(shard, id.clone(), five(11)),
        store.save(shard, id.clone(), five(12)),
        store.delete(shard, id.clone(), up_to(11)),
        store.save(shard, id.clone(), five(13)),
        store.delete(shard, id.clone(), SnapshotCriteria::exactly(SequenceNr(13))),
        store.save(shard, id, five(14)),
    ];
    for call in calls {
        call.await.expect("done");
    }
    shelf.expect(&[12, 14]).await;
}
