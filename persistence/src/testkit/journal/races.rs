//! Races: batches and claims that are in flight together. Whoever wins, the stream is whole.

use std::sync::Arc;

use bytes::Bytes;

use crate::ids::SequenceNr;
use crate::journal::{Batch, Journal, Write, WriteError};
use crate::testkit::fresh::fresh_claim;
use crate::testkit::owner::append;
use crate::testkit::{Owner, event, fresh_writer};

/// Two batches of one entity under one number, with different bytes: one of them is stored, whole.
pub async fn of_two_batches_under_one_number_one_is_stored(journal: Arc<dyn Journal>) {
    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    for first in [1, 4, 7, 10] {
        let batch = |payload: &'static [u8]| {
            let events = (first..first + 3).map(|number| event(number, payload)).collect();
            owner.next_batch(vec![Write::Append {
                persistence_id: id.clone(),
                first: SequenceNr(first),
                events,
            }])
        };
        let flights = [b"one", b"two"].map(|payload| journal.write(batch(payload)));
        let mut acknowledged = 0;
        for flight in flights {
            acknowledged += u64::from(flight.await.is_ok());
        }
        assert!(acknowledged > 0, "one of two batches gets through");
        owner.batch += 1;
        let page = journal.read(owner.window(&id, first, u64::MAX, usize::MAX)).await.expect("a page");
        let whole = [b"one", b"two"]
            .map(|payload| (first..first + 3).map(|number| event(number, payload)).collect::<Vec<Bytes>>());
        assert!(whole.contains(&page.events), "three events of one batch");
        assert_eq!(page.last, SequenceNr(first + 2));
    }
}

/// The second is written after the first or not at all, whether it follows the first or believes that it comes alone.
pub async fn a_batch_sent_behind_another_comes_after_it_or_not_at_all(journal: Arc<dyn Journal>) {
    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    let mut last = 0;
    for round in 0..20 {
        let follows = round % 2 == 0;
        let one = owner.next_batch(vec![append(&id, last + 1, 1)]);
        let number = one.number + 1;
        let two =
            Batch { number, ..owner.next_batch(vec![append(&id, last + if follows { 2 } else { 1 }, 1)]) };
        let (one, two) = (journal.write(one), journal.write(two));
        let (one, two) = (one.await, two.await);
        assert_eq!(one, Ok(()));
        match &two {
            Ok(()) => assert!(follows, "event {} was written twice", last + 1),
            Err(refused) => assert!(refused.nothing_stored(), "{refused}"),
        }
        owner.batch += 1 + u64::from(two.is_ok());
        last += 1 + u64::from(two.is_ok());
        owner.expect_all(&id, 1..=last, last).await;
    }
}

/// Each claims and writes while the other does. What was acknowledged is there, once, in its place.
pub async fn of_two_owners_one_writes(journal: Arc<dyn Journal>) {
    let (_, id) = Owner::of_fresh_entity(&journal).await;
    let mut stored: Vec<Bytes> = Vec::new();
    for round in 0..20 {
        let first = stored.len() as u64 + 1;
        let owners = [(); 2].map(|()| Owner {
            journal: journal.clone(),
            shard: crate::testkit::fresh::shard_of(&id),
            claim: fresh_claim(),
            writer: fresh_writer(),
            batch: 0,
        });
        let payload = |who: usize| event(first, format!("owner {who} in round {round}").as_bytes());
        let batch = |who: usize| {
            let events = vec![payload(who)];
            owners[who].next_batch(vec![Write::Append {
                persistence_id: id.clone(),
                first: SequenceNr(first),
                events,
            }])
        };
        let claim =
            |who: usize| journal.claim(owners[who].shard, owners[who].claim, owners[who].writer, None);
        // Interleaved in different ways; nothing is waited for before all is in flight.
        let (claims, writes) = match round % 5 {
            0 => {
                let claims = vec![claim(0), claim(1)];
                (claims, [journal.write(batch(0)), journal.write(batch(1))])
            }
            1 => {
                let (claim_0, write_0) = (claim(0), journal.write(batch(0)));
                let (claim_1, write_1) = (claim(1), journal.write(batch(1)));
                (vec![claim_0, claim_1], [write_0, write_1])
            }
            2 => {
                let (claim_1, claim_0) = (claim(1), claim(0));
                let (write_1, write_0) = (journal.write(batch(1)), journal.write(batch(0)));
                (vec![claim_0, claim_1], [write_0, write_1])
            }
            3 => {
                let (claim_0, write_1) = (claim(0), journal.write(batch(1)));
                let (claim_1, write_0) = (claim(1), journal.write(batch(0)));
                (vec![claim_0, claim_1], [write_0, write_1])
            }
            // A journal may take a claim in more than one step: here both are through before anybody writes.
            _ => {
                for who in [0, 1] {
                    claim(who).await.expect("the higher claim comes later");
                }
                (Vec::new(), [journal.write(batch(0)), journal.write(batch(1))])
            }
        };
        for claim in claims {
            // The lower one may come late.
            drop(claim.await);
        }
        let mut acknowledged = Vec::new();
        for (who, write) in writes.into_iter().enumerate() {
            match write.await {
                Ok(()) => acknowledged.push(payload(who)),
                Err(refused) => {
                    assert!(
                        !matches!(refused, WriteError::Unknown(_)) && refused.nothing_stored(),
                        "{refused}"
                    );
                }
            }
        }
        assert!(acknowledged.len() <= 1, "two owners wrote event {first}");
        stored.extend(acknowledged);
        let next = Owner::of(&journal, &id).await;
        let page = next.read(&id).await.expect("a page");
        assert_eq!(page.events, stored, "round {round}");
    }
    assert!(!stored.is_empty(), "in some round one of them wrote");
}
