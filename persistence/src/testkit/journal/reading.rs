//! Windows, pages, and who may read what decides.

use std::sync::Arc;

use crate::ids::SequenceNr;
use crate::journal::{EventPage, Journal, ReadError, ReadEvents};
use crate::testkit::Owner;
use crate::testkit::owner::{append, noted};

/// An entity with five events: three written alone, two together.
async fn five_events(journal: &Arc<dyn Journal>) -> (Owner, crate::PersistenceId) {
    let (mut owner, id) = Owner::of_fresh_entity(journal).await;
    for number in 1..=3 {
        owner.append(&id, number, 1).await.expect("written");
    }
    owner.append(&id, 4, 2).await.expect("written");
    (owner, id)
}

/// Events come in the order of their numbers, whether written alone or together.
pub async fn a_whole_stream_is_read_in_order(journal: Arc<dyn Journal>) {
    let (owner, id) = five_events(&journal).await;
    owner.expect_all(&id, 1..=5, 5).await;
}

/// Bounds are inclusive, 0 and "more than there is" are fine, and the last number is the stream's.
pub async fn every_window_holds_what_it_names_and_the_last_number_of_the_stream(journal: Arc<dyn Journal>) {
    let (owner, id) = five_events(&journal).await;
    const MAX: u64 = u64::MAX;
    const ALL: usize = usize::MAX;
    let windows: [(u64, u64, usize, &[u64]); 15] = [
        (0, MAX, ALL, &[1, 2, 3, 4, 5]),
        (3, MAX, ALL, &[3, 4, 5]),
        (1, 3, ALL, &[1, 2, 3]),
        (1, MAX, 3, &[1, 2, 3]),
        (2, 3, ALL, &[2, 3]),
        (2, 5, 2, &[2, 3]),
        (2, 2, ALL, &[2]),
        (2, 4, 1, &[2]),
        (2, 4, 0, &[]),
        (3, 2, ALL, &[]),
        (5, 5, ALL, &[5]),
        (5, MAX, ALL, &[5]),
        (6, MAX, ALL, &[]),
        (0, 0, ALL, &[]),
        (MAX, MAX, ALL, &[]),
    ];
    for (from, to, max_events, expected) in windows {
        owner.expect(&id, (from, to, max_events), expected.iter().copied(), 5).await;
    }
}

/// Nothing, and no error.
pub async fn an_unknown_entity_has_no_events_and_number_0(journal: Arc<dyn Journal>) {
    let (owner, id) = Owner::of_fresh_entity(&journal).await;
    for from in [0, 1, 7] {
        let page = journal.read(owner.window(&id, from, u64::MAX, usize::MAX)).await;
        assert_eq!(page, Ok(EventPage::default()));
    }
}

/// So a stream is read in pages, each beginning where the last one ended.
pub async fn a_page_ends_after_its_number_of_events(journal: Arc<dyn Journal>) {
    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    owner.append(&id, 1, 10).await.expect("written");
    owner.expect(&id, (1, u64::MAX, 4), 1..=4, 10).await;
    owner.expect(&id, (5, u64::MAX, 4), 5..=8, 10).await;
    owner.expect(&id, (9, u64::MAX, 4), 9..=10, 10).await;
}

/// At least one event comes, however small the page.
pub async fn a_page_ends_after_the_event_that_reaches_its_bytes(journal: Arc<dyn Journal>) {
    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    owner.append(&id, 1, 9).await.expect("written");
    let size = noted(1).len();
    for (max_bytes, count) in [(0, 1), (1, 1), (size, 1), (size + 1, 2), (3 * size, 3), (100 * size, 9)] {
        let read = ReadEvents { max_bytes, ..owner.window(&id, 1, u64::MAX, usize::MAX) };
        let page = journal.read(read).await.expect("a page");
        assert_eq!(page.events.len(), count, "a page of {max_bytes} bytes, events of {size}");
        assert_eq!(page.last, SequenceNr(9));
    }
}

/// 0 events asks for the numbers alone.
pub async fn a_page_of_no_events_tells_the_numbers(journal: Arc<dyn Journal>) {
    let (mut owner, id) = five_events(&journal).await;
    owner.delete_to(&id, 2).await.expect("deleted");
    let page = journal.read(owner.window(&id, 1, u64::MAX, 0)).await.expect("a page");
    let numbers = EventPage {
        deleted_to: SequenceNr(2),
        record: "in place of 2".into(),
        last: SequenceNr(5),
        ..EventPage::default()
    };
    assert_eq!(page, numbers);
}

/// A deposed owner, one that has not claimed yet, and an earlier session learn nothing.
pub async fn a_deciding_read_counts_only_under_the_claim_that_holds_the_shard(journal: Arc<dyn Journal>) {
    let (owner, id) = five_events(&journal).await;
    let again = owner.again().await;
    let refused = owner.read(&id).await.expect_err("an earlier session");
    assert!(
        matches!(refused, ReadError::Fenced { held: Some(held) } if held.claim == again.claim),
        "{refused}"
    );
    let ahead = Owner { batch: again.batch + 1, journal: journal.clone(), ..again };
    assert!(matches!(ahead.read(&id).await, Err(ReadError::Fenced { .. })), "it lacks a batch of the claim");
    let next = Owner { claim: again.claim.again(), journal: journal.clone(), ..again };
    assert!(matches!(next.read(&id).await, Err(ReadError::Fenced { .. })), "not claimed yet");
    again.expect_all(&id, 1..=5, 5).await;

    let never = Owner { shard: crate::testkit::fresh_shard(), journal: journal.clone(), ..again };
    assert_eq!(never.read(&id).await, Err(ReadError::Fenced { held: None }), "a shard that nobody claimed");
}

/// Queries read beside the owner.
pub async fn a_read_that_decides_nothing_needs_no_claim(journal: Arc<dyn Journal>) {
    let (owner, id) = five_events(&journal).await;
    let read = ReadEvents { known: None, ..owner.window(&id, 1, u64::MAX, usize::MAX) };
    assert_eq!(journal.read(read).await.expect("a page").events.len(), 5);
}

/// For each of many writes, right after its acknowledgement.
pub async fn an_acknowledged_write_is_read_at_once(journal: Arc<dyn Journal>) {
    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    for number in 1..=50 {
        owner.write(vec![append(&id, number, 1)]).await.expect("written");
        owner.expect(&id, (number, number, 1), [number], number).await;
    }
}
