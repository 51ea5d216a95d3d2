//! What a batch stores, and what it does not.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::ids::{EntityType, PersistenceId, SequenceNr, ShardId};
use crate::journal::{Journal, Write, WriteError};
use crate::testkit::fresh::{fresh_id, named};
use crate::testkit::owner::append;
use crate::testkit::{Owner, event};

/// Both before and after the end; 0 is the number of no event.
pub async fn an_append_that_does_not_follow_the_end_is_a_conflict_and_stores_nothing(
    journal: Arc<dyn Journal>,
) {
    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    owner.append(&id, 1, 3).await.expect("written");
    for first in [1, 3, 5, 100, 0, u64::MAX] {
        let write = Write::Append {
            persistence_id: id.clone(),
            first: SequenceNr(first),
            events: vec![event(first, b"wrong")],
        };
        let refused = owner.write(vec![write]).await;
        let conflict = WriteError::Conflict {
            persistence_id: id.clone(),
            first: SequenceNr(first),
            found: SequenceNr(3),
        };
        assert_eq!(refused, Err(conflict));
    }
    let unknown = owner.fresh_id();
    let refused = owner.append(&unknown, 2, 1).await;
    assert!(matches!(refused, Err(WriteError::Conflict { found: SequenceNr(0), .. })), "{refused:?}");
    owner.append(&id, 4, 1).await.expect("what follows is written");
    owner.expect_all(&id, 1..=4, 4).await;
    owner.expect_all(&unknown, [], 0).await;
}

/// All of them at once, under one acknowledgement.
pub async fn a_batch_of_many_entities_is_stored_whole(journal: Arc<dyn Journal>) {
    let (mut owner, _) = Owner::of_fresh_entity(&journal).await;
    let ids: Vec<PersistenceId> = (0..200).map(|_| owner.fresh_id()).collect();
    owner.write(ids.iter().map(|id| append(id, 1, 2)).collect()).await.expect("written");
    for id in &ids {
        owner.expect_all(id, 1..=2, 2).await;
    }
}

/// The first, one in the middle, or the last: nothing of the others stays.
pub async fn one_conflict_refuses_the_whole_batch(journal: Arc<dyn Journal>) {
    let (mut owner, _) = Owner::of_fresh_entity(&journal).await;
    let ids: Vec<PersistenceId> = (0..9).map(|_| owner.fresh_id()).collect();
    owner.write(ids.iter().map(|id| append(id, 1, 1)).collect()).await.expect("written");
    for wrong in [0, 4, 8] {
        let write = |at| append(&ids[at], if at == wrong { 3 } else { 2 }, 1);
        let refused = owner.write((0..ids.len()).map(write).collect()).await.expect_err("a conflict");
        assert!(refused.nothing_stored(), "{refused}");
        for id in &ids {
            owner.expect_all(id, [1], 1).await;
        }
    }
    owner.write(ids.iter().map(|id| append(id, 2, 1)).collect()).await.expect("written");
    owner.expect_all(&ids[8], 1..=2, 2).await;
}

/// Several commands of one entity ride in one batch; each follows the one before.
pub async fn an_entity_may_be_written_more_than_once_in_a_batch(journal: Arc<dyn Journal>) {
    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    let other = owner.fresh_id();
    let writes = vec![append(&id, 1, 2), append(&other, 1, 1), append(&id, 3, 1), append(&id, 4, 2)];
    owner.write(writes).await.expect("written");
    owner.expect_all(&id, 1..=5, 5).await;
    let refused = owner.write(vec![append(&id, 6, 1), append(&id, 6, 1)]).await;
    assert!(matches!(refused, Err(WriteError::Conflict { found: SequenceNr(6), .. })), "{refused:?}");
    owner.expect_all(&id, 1..=5, 5).await;
}

/// A conflict leaves the token where it was: the next batch has the same number.
pub async fn a_refused_batch_does_not_use_its_number(journal: Arc<dyn Journal>) {
    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    owner.append(&id, 7, 1).await.expect_err("a conflict");
    let number = owner.next_batch(Vec::new()).number;
    assert_eq!(number, 1);
    owner.append(&id, 1, 1).await.expect("number 1 is free");
    owner.expect_all(&id, [1], 1).await;
}

/// It stores nothing and still has its number.
pub async fn an_empty_batch_counts(journal: Arc<dyn Journal>) {
    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    owner.write(Vec::new()).await.expect("acknowledged");
    owner.write(vec![append(&id, 1, 0)]).await.expect("acknowledged");
    owner.append(&id, 1, 1).await.expect("batch 3");
    assert_eq!(owner.batch, 3);
}

/// Batches of different shards, all in flight together.
pub async fn shards_are_written_at_the_same_time(journal: Arc<dyn Journal>) {
    // Of two owners of one shard, the later one holds it.
    let mut owners: BTreeMap<ShardId, (Owner, PersistenceId)> = BTreeMap::new();
    for _ in 0..100 {
        let (owner, id) = Owner::of_fresh_entity(&journal).await;
        owners.insert(owner.shard, (owner, id));
    }
    assert!(owners.len() > 1, "ids spread over shards");
    for round in 0..5 {
        let flights: Vec<_> = owners
            .values()
            .map(|(owner, id)| {
                let writes = vec![append(id, 1 + round * 2, 2)];
                journal.write(crate::journal::Batch { number: round + 1, ..owner.next_batch(writes) })
            })
            .collect();
        for flight in flights {
            flight.await.expect("written");
        }
    }
    for (owner, id) in owners.values() {
        owner.expect_all(id, 1..=10, 10).await;
    }
}

/// `a`, `ab`, `a|b` and so on have streams of their own.
pub async fn ids_that_are_prefixes_of_each_other_stay_apart(journal: Arc<dyn Journal>) {
    let base = fresh_id(None).id;
    let mut ids = vec![named(base.as_str())];
    for tail in ["0", "00", "|", "||", "|0", " ", "\u{fffd}", "\u{10ffff}"] {
        ids.push(named(&format!("{base}{tail}")));
    }
    ids.push(PersistenceId::new(EntityType::new("testki"), base.clone()));
    ids.push(PersistenceId::new(EntityType::new("testkit-"), base));
    each_has_its_own_events(&journal, &ids).await;
}

/// Every byte that UTF-8 allows, the longest ids, and those that look like keys.
pub async fn odd_ids_stay_apart(journal: Arc<dyn Journal>) {
    let mark = fresh_id(None).id.as_str().to_owned();
    let long = |fill: &str| {
        let mut id = format!("{mark}-");
        while id.len() + fill.len() <= crate::MAX_ID_BYTES {
            id.push_str(fill);
        }
        named(&id)
    };
    let mut ids = vec![long("x"), long("y"), long("ä"), long("\u{10ffff}"), long("\u{7fff}")];
    for odd in
        ["{x}", "{}", "*", "?", "..", "../..", "%00", "'\"`", "$(x)", " ", "\u{200b}", "\u{feff}", "🦀", ":"]
    {
        ids.push(named(&format!("{odd}{mark}")));
        ids.push(named(&format!("{mark}{odd}")));
    }
    assert_eq!(ids[0].id.as_str().len(), crate::MAX_ID_BYTES);
    each_has_its_own_events(&journal, &ids).await;
}

/// Writes as many events to each as its place in the list, then reads all back, then deletes one after another.
async fn each_has_its_own_events(journal: &Arc<dyn Journal>, ids: &[PersistenceId]) {
    for (at, id) in ids.iter().enumerate() {
        let mut owner = Owner::of(journal, id).await;
        owner.append(id, 1, 1 + at as u64).await.expect("written");
    }
    for (at, id) in ids.iter().enumerate() {
        Owner::of(journal, id).await.expect_all(id, 1..=1 + at as u64, 1 + at as u64).await;
    }
    for (at, id) in ids.iter().enumerate() {
        Owner::of(journal, id).await.delete_to(id, u64::MAX).await.expect("deleted");
        for (next, id) in ids.iter().enumerate().skip(at + 1) {
            Owner::of(journal, id).await.expect_all(id, 1..=1 + next as u64, 1 + next as u64).await;
        }
    }
}

/// With every field that an envelope has, and with every byte in its payload.
pub async fn what_was_written_comes_back_byte_for_byte(journal: Arc<dyn Journal>) {
    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    let payload: Vec<u8> = (0..=255).collect();
    let full = crate::envelope::StoredEvent {
        sequence_nr: 1,
        payload: payload.into(),
        codec: 1_000,
        name: "ä|\u{10ffff}".to_owned(),
        version: u32::MAX,
        time_ms: u64::MAX,
        tags: vec![String::new(), "b".to_owned()],
        epoch: u64::MAX,
        session: u32::MAX,
        batch: u64::MAX,
        command_key: Bytes::from_static(&[0, 255]),
        command_fingerprint: Bytes::from_static(&[0; 16]),
        reply: Some(Box::new(crate::envelope::RecordedReply {
            payload: Bytes::from_static(b"null"),
            codec: 1,
            kind: 2,
        })),
        manifest: "m".to_owned(),
    };
    let events = vec![full.to_bytes(), event(2, b"")];
    let write = Write::Append { persistence_id: id.clone(), first: SequenceNr(1), events: events.clone() };
    owner.write(vec![write]).await.expect("written");
    assert_eq!(owner.read(&id).await.expect("a page").events, events);
}
