//! From one byte to the limits.

use std::sync::Arc;

use crate::ids::SequenceNr;
use crate::journal::{Journal, ReadEvents, Write, WriteError};
use crate::testkit::owner::{append, noted};
use crate::testkit::{Owner, event};

/// An event fits an atomic write, and an atomic write is no smaller than what a batch gathers.
pub async fn the_limits_hold_together(journal: Arc<dyn Journal>) {
    let limits = journal.limits();
    assert!(limits.max_event_bytes <= limits.max_atomic_bytes);
    assert!(limits.batch_bytes <= limits.max_atomic_bytes);
    assert!(limits.batch_events >= 1 && limits.max_event_bytes >= 1 << 20);
}

/// As far as the limits go; and a page of a few bytes still holds the large one.
pub async fn payloads_of_one_byte_and_of_ten_million_are_kept(journal: Arc<dyn Journal>) {
    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    let large: Vec<u8> = (0..10_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let large = &large[..large.len().min(journal.limits().max_event_bytes)];
    let events = vec![event(1, b""), event(2, b"x"), event(3, large)];
    for (at, event) in events.iter().enumerate() {
        let first = SequenceNr(1 + at as u64);
        let write = Write::Append { persistence_id: id.clone(), first, events: vec![event.clone()] };
        owner.write(vec![write]).await.expect("written");
    }
    let page = owner.read(&id).await.expect("a page");
    assert!(page.events == events, "the same bytes");
    let read = ReadEvents { max_bytes: 10, ..owner.window(&id, 3, u64::MAX, 100) };
    assert_eq!(journal.read(read).await.expect("a page").events.len(), 1);
}

/// Twice what an event may have: the store may be generous, but never silent.
pub async fn what_is_beyond_the_limits_is_kept_or_named_and_rejected(journal: Arc<dyn Journal>) {
    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    let other = owner.fresh_id();
    let events = vec![event(1, &vec![0xa5; 2 * journal.limits().max_event_bytes + 1])];
    let large = Write::Append { persistence_id: other.clone(), first: SequenceNr(1), events: events.clone() };
    match owner.write(vec![append(&id, 1, 1), large, append(&id, 2, 1)]).await {
        Ok(()) => assert!(owner.read(&other).await.expect("a page").events == events, "the same bytes"),
        Err(WriteError::Rejected { writes, reason }) => {
            assert_eq!(writes, [1], "{reason}");
            owner.expect_all(&other, [], 0).await;
            owner.expect_all(&id, [], 0).await;
            owner.write(vec![append(&id, 1, 1), append(&id, 2, 1)]).await.expect("the others");
        }
        Err(refused) => panic!("too large an event is rejected, not this: {refused}"),
    }
    owner.expect_all(&id, 1..=2, 2).await;
}

/// As many events as a batch gathers, and one atomic write on top.
pub async fn a_batch_at_the_limit_is_stored(journal: Arc<dyn Journal>) {
    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    let many = journal.limits().batch_events as u64;
    let mut writes: Vec<Write> = (1..=many).map(|first| append(&id, first, 1)).collect();
    writes.push(append(&id, many + 1, many));
    owner.write(writes).await.expect("written");
    owner.expect_all(&id, 1..=2 * many, 2 * many).await;
}

/// No page is larger than was asked for, and the stream is whole.
pub async fn a_hundred_thousand_events_are_read_in_bounded_pages(journal: Arc<dyn Journal>) {
    const EVENTS: u64 = 100_000;
    const PAGE: usize = 1_000;
    const PAGE_BYTES: usize = 40_000;
    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    let batch = (journal.limits().batch_events as u64).min(500);
    let mut written = 0;
    while written < EVENTS {
        let count = batch.min(EVENTS - written);
        owner.append(&id, written + 1, count).await.expect("written");
        written += count;
    }
    let mut next = 1;
    while next <= EVENTS {
        // Pages end by their events and by their bytes, in turn.
        let max_bytes = if next % 2 == 0 { PAGE_BYTES } else { usize::MAX };
        let read = ReadEvents { max_bytes, ..owner.window(&id, next, u64::MAX, PAGE) };
        let page = journal.read(read).await.expect("a page");
        assert!(!page.events.is_empty() && page.events.len() <= PAGE, "a page of {}", page.events.len());
        let bytes: usize = page.events.iter().rev().skip(1).map(|event| event.len()).sum();
        assert!(bytes < max_bytes, "a page goes on at {bytes} bytes of {max_bytes}");
        assert_eq!(page.last, SequenceNr(EVENTS));
        for stored in page.events {
            assert_eq!(stored, noted(next));
            next += 1;
        }
    }
    owner.expect(&id, (EVENTS, EVENTS, 1), [EVENTS], EVENTS).await;
}
