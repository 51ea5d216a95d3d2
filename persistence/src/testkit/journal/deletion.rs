//! Deleting events. Their numbers stay used.

use std::sync::Arc;

use bytes::Bytes;

use crate::ids::SequenceNr;
use crate::journal::{Journal, Write};
use crate::testkit::Owner;
use crate::testkit::owner::append;

async fn five_events(journal: &Arc<dyn Journal>) -> (Owner, crate::PersistenceId) {
    let (mut owner, id) = Owner::of_fresh_entity(journal).await;
    owner.append(&id, 1, 5).await.expect("written");
    (owner, id)
}

/// And the page says up to where they went.
pub async fn deleted_events_are_not_read_and_the_others_are(journal: Arc<dyn Journal>) {
    let (mut owner, id) = five_events(&journal).await;
    owner.delete_to(&id, 3).await.expect("deleted");
    owner.expect_all(&id, 4..=5, 5).await;
    assert_eq!(owner.read(&id).await.expect("a page").deleted_to, SequenceNr(3));
    owner.append(&id, 6, 1).await.expect("the numbers go on");
    owner.expect_all(&id, 4..=6, 6).await;
}

/// What the owner keeps in place of the deleted events comes with every page, until a deletion that goes
/// further replaces it.
pub async fn the_record_of_a_deletion_is_handed_back(journal: Arc<dyn Journal>) {
    let (mut owner, id) = five_events(&journal).await;
    assert!(owner.read(&id).await.expect("a page").record.is_empty());
    for (to, kept) in [(3, "in place of 3"), (2, "in place of 3"), (5, "in place of 5")] {
        owner.delete_to(&id, to).await.expect("deleted");
        assert_eq!(owner.read(&id).await.expect("a page").record, kept);
    }
    let next = Owner::of(&journal, &id).await;
    assert_eq!(next.read(&id).await.expect("a page").record, "in place of 5");
}

/// Also for the next owner.
pub async fn deletion_keeps_the_highest_number(journal: Arc<dyn Journal>) {
    let (mut owner, id) = five_events(&journal).await;
    owner.delete_to(&id, 4).await.expect("deleted");
    let mut next = Owner::of(&journal, &id).await;
    next.expect_all(&id, [5], 5).await;
    next.append(&id, 5, 1).await.expect_err("a used number");
    next.append(&id, 6, 1).await.expect("the next number");
}

/// An empty stream that ends at 5.
pub async fn deleting_everything_keeps_the_highest_number(journal: Arc<dyn Journal>) {
    let (mut owner, id) = five_events(&journal).await;
    owner.delete_to(&id, 5).await.expect("deleted");
    owner.expect_all(&id, [], 5).await;
    let mut next = Owner::of(&journal, &id).await;
    next.expect_all(&id, [], 5).await;
    for used in [1, 5] {
        next.append(&id, used, 1).await.expect_err("a used number");
    }
    next.append(&id, 6, 2).await.expect("the next number");
    next.expect_all(&id, 6..=7, 7).await;
    next.delete_to(&id, 6).await.expect("deleted");
    next.expect_all(&id, [7], 7).await;
}

/// It never uses up numbers that no event had.
pub async fn deleting_beyond_the_end_deletes_what_is_there(journal: Arc<dyn Journal>) {
    let (mut owner, id) = five_events(&journal).await;
    owner.delete_to(&id, u64::MAX).await.expect("deleted");
    owner.expect_all(&id, [], 5).await;
    owner.append(&id, 6, 1).await.expect("written");
    owner.expect_all(&id, [6], 6).await;
}

/// Repeats come after a crash of the owner.
pub async fn deleting_again_or_less_changes_nothing(journal: Arc<dyn Journal>) {
    let (mut owner, id) = five_events(&journal).await;
    for to in [3, 3, 2, 0] {
        owner.delete_to(&id, to).await.expect("deleted");
        owner.expect_all(&id, 4..=5, 5).await;
        assert_eq!(owner.read(&id).await.expect("a page").deleted_to, SequenceNr(3));
    }
}

/// Windows may begin, end, or lie wholly within what is gone.
pub async fn windows_around_a_deletion_hold_the_survivors(journal: Arc<dyn Journal>) {
    let (mut owner, id) = five_events(&journal).await;
    owner.delete_to(&id, 3).await.expect("deleted");
    let all = usize::MAX;
    owner.expect(&id, (3, u64::MAX, all), 4..=5, 5).await;
    owner.expect(&id, (4, u64::MAX, all), 4..=5, 5).await;
    owner.expect(&id, (5, u64::MAX, all), [5], 5).await;
    owner.expect(&id, (1, 4, all), [4], 5).await;
    owner.expect(&id, (1, 3, all), [], 5).await;
    owner.expect(&id, (2, 2, all), [], 5).await;
    owner.expect(&id, (0, u64::MAX, 1), [4], 5).await;
}

/// What is appended and deleted at once was never there, and its number is used.
pub async fn events_and_their_deletion_may_share_a_batch(journal: Arc<dyn Journal>) {
    let (mut owner, id) = five_events(&journal).await;
    let other = owner.fresh_id();
    let delete =
        |to| Write::DeleteTo { persistence_id: id.clone(), to: SequenceNr(to), record: Bytes::new() };
    let writes = vec![
        delete(2),
        append(&id, 6, 3),
        append(&other, 1, 1),
        delete(7),
        append(&id, 9, 1),
        Write::DeleteTo { persistence_id: other.clone(), to: SequenceNr(1), record: Bytes::new() },
    ];
    owner.write(writes).await.expect("written");
    owner.expect_all(&id, 8..=9, 9).await;
    owner.expect_all(&other, [], 1).await;
    let next = Owner::of(&journal, &id).await;
    next.expect_all(&id, 8..=9, 9).await;
    next.expect_all(&other, [], 1).await;
}

/// All or nothing holds for deletions too.
pub async fn a_refused_batch_deletes_nothing(journal: Arc<dyn Journal>) {
    let (mut owner, id) = five_events(&journal).await;
    let delete = Write::DeleteTo { persistence_id: id.clone(), to: SequenceNr(4), record: Bytes::new() };
    owner.write(vec![append(&id, 6, 1), delete, append(&id, 6, 1)]).await.expect_err("a conflict");
    owner.expect_all(&id, 1..=5, 5).await;
    assert_eq!(owner.read(&id).await.expect("a page").deleted_to, SequenceNr::ZERO);
    owner.delete_to(&id, 1).await.expect("deleted");
    owner.expect_all(&id, 2..=5, 5).await;
}

/// It has no numbers to keep.
pub async fn deleting_of_an_unknown_entity_changes_nothing(journal: Arc<dyn Journal>) {
    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    owner.delete_to(&id, 10).await.expect("nothing to do");
    owner.expect_all(&id, [], 0).await;
    owner.append(&id, 1, 1).await.expect("written");
    owner.expect_all(&id, [1], 1).await;
}
