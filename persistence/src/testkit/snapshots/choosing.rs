//! Which snapshot is loaded.

use std::sync::Arc;

use super::shelf::{Shelf, five, time, up_to};
use crate::ids::SequenceNr;
use crate::journal::{SnapshotCriteria, SnapshotStore};
use crate::testkit::fresh::{fresh_id, snapshot};

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

/// Which one was saved last, or was taken last, does not count.
pub async fn the_highest_number_wins_over_the_latest_time(store: Arc<dyn SnapshotStore>) {
    let shelf = Shelf { store, id: fresh_id(None) };
    shelf.save(snapshot(20, time(1), b"early")).await;
    shelf.save(snapshot(3, time(9), b"late")).await;
    shelf.save(snapshot(100, time(2), b"a third digit")).await;
    assert_eq!(shelf.load(SnapshotCriteria::ANY).await, Some(snapshot(100, time(2), b"a third digit")));
    assert_eq!(shelf.load(up_to(99)).await, Some(snapshot(20, time(1), b"early")));
    let late = SnapshotCriteria { min_time_ms: time(3), ..SnapshotCriteria::ANY };
    assert_eq!(shelf.load(late).await, Some(snapshot(3, time(9), b"late")));
    let exactly = SnapshotCriteria { min_time_ms: time(2), max_time_ms: time(2), ..SnapshotCriteria::ANY };
    assert_eq!(shelf.load(exactly).await, Some(snapshot(100, time(2), b"a third digit")));
    assert_eq!(shelf.load(SnapshotCriteria { max_sequence_nr: SequenceNr(2), ..late }).await, None);
}
