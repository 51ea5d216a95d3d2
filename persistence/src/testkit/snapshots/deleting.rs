//! Which snapshots are deleted.

use std::sync::Arc;

use super::shelf::{Shelf, five, time, up_to};
use crate::ids::SequenceNr;
use crate::journal::{SnapshotCriteria, SnapshotStore};
use crate::testkit::fresh::fresh_id;

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

/// Both ends of both windows are included.
pub async fn a_window_of_numbers_or_times_is_deleted(store: Arc<dyn SnapshotStore>) {
    let shelf = Shelf::of_five(store.clone()).await;
    shelf.delete(SnapshotCriteria { min_sequence_nr: SequenceNr(12), ..up_to(13) }).await;
    shelf.expect(&[11, 14, 15]).await;

    let shelf = Shelf::of_five(store).await;
    let between = SnapshotCriteria { min_time_ms: time(12), max_time_ms: time(14), ..SnapshotCriteria::ANY };
    shelf.delete(SnapshotCriteria { max_sequence_nr: SequenceNr(13), ..between }).await;
    shelf.expect(&[11, 14, 15]).await;
    shelf.delete(SnapshotCriteria { min_sequence_nr: SequenceNr(15), ..up_to(11) }).await;
    shelf.expect(&[11, 14, 15]).await;
    shelf.delete(between).await;
    shelf.expect(&[11, 15]).await;
}

/// As if there had been none.
pub async fn an_entity_whose_snapshots_are_all_deleted_may_save_again(store: Arc<dyn SnapshotStore>) {
    let shelf = Shelf::of_five(store).await;
    for _ in 0..3 {
        shelf.delete(SnapshotCriteria::ANY).await;
        shelf.expect(&[]).await;
        shelf.save(five(12)).await;
        shelf.expect(&[12]).await;
    }
}
