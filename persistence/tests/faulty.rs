//! A faulty store does what its fault says, on the memory store and on the embedded one, and what it says is true.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::sync::Arc;
use std::time::Duration;

use abide_persistence::journal::{
    Batch, ClaimError, Journal, JournalMeta, ReadError, ReadEvents, SnapshotCriteria, SnapshotError,
    SnapshotStore, StoreError, Write, WriteError,
};
use abide_persistence::runtime::{
    Asked, Call, EmbeddedOptions, EmbeddedStore, Fault, FaultControl, Faulty, MemoryJournal, MemorySnapshots,
    On,
};
use abide_persistence::testkit::{Owner, SHARDS, event, fresh_id, snapshot};
use abide_persistence::{PersistenceId, SequenceNr, ShardCount};

/// A journal, the same journal with faults, and the handle of those.
struct Stage {
    plain: Arc<dyn Journal>,
    faulty: Arc<dyn Journal>,
    faults: FaultControl,
    _dir: Option<tempfile::TempDir>,
}

impl Stage {
    fn on(plain: Arc<dyn Journal>, dir: Option<tempfile::TempDir>) -> Self {
        let faulty = Faulty::new(plain.clone());
        let faults = faulty.control().clone();
        Self { plain, faulty: Arc::new(faulty), faults, _dir: dir }
    }

    fn both() -> [Self; 2] {
        let (store, dir) = embedded();
        [Self::on(Arc::new(MemoryJournal::new()), None), Self::on(Arc::new(store), Some(dir))]
    }

    /// How many events the store inside holds.
    async fn stored(&self, id: &PersistenceId) -> u64 {
        let owner = Owner::of(&(Arc::new(MemoryJournal::new()) as Arc<dyn Journal>), id).await;
        let read = ReadEvents { known: None, ..owner.window(id, 1, u64::MAX, usize::MAX) };
        let page = self.plain.read(read).await.expect("a page");
        assert_eq!(page.last, SequenceNr(page.events.len() as u64));
        page.last.0
    }
}

fn embedded() -> (EmbeddedStore, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions { cache_bytes: 8 << 20, ..EmbeddedOptions::default() };
    (EmbeddedStore::open(dir.path(), options).unwrap(), dir)
}

fn append(id: &PersistenceId, first: u64) -> Write {
    Write::Append {
        persistence_id: id.clone(),
        first: SequenceNr(first),
        events: vec![event(first, b"event")],
    }
}

#[tokio::test]
async fn a_write_with_a_fault_is_stored_or_not_as_the_fault_says() {
    for stage in Stage::both() {
        let (mut owner, id) = Owner::of_fresh_entity(&stage.faulty).await;
        let mut stored = 0;
        for (fault, is_written) in [
            (Fault::AnswerLost, true),
            (Fault::RequestLost, false),
            (Fault::Refused, false),
            (Fault::Rejected, false),
        ] {
            stage.faults.next(1, Call::Write, fault);
            let failed = owner.append(&id, stored + 1, 1).await.expect_err("on purpose");
            match fault {
                Fault::Refused => assert!(matches!(failed, WriteError::NotWritten(_)), "{failed:?}"),
                Fault::Rejected => {
                    assert!(
                        matches!(&failed, WriteError::Rejected { writes, .. } if *writes == [0]),
                        "{failed:?}"
                    );
                }
                _ => assert!(matches!(failed, WriteError::Unknown(_)), "{fault:?}: {failed:?}"),
            }
            stored += u64::from(is_written);
            assert_eq!(stage.stored(&id).await, stored, "{fault:?}");
            assert_eq!(stage.faults.injected(Call::Write, fault), 1);
            owner = owner.again().await;
        }
        owner.append(&id, stored + 1, 1).await.expect("no fault is left");
        assert_eq!(stage.faults.injected_in_all(), 4);
    }
}

#[tokio::test]
async fn a_batch_in_doubt_that_is_sent_again_finds_its_token() {
    for stage in Stage::both() {
        for fault in [Fault::AnswerLost, Fault::RequestLost] {
            let (owner, id) = Owner::of_fresh_entity(&stage.faulty).await;
            let batch = owner.next_batch(vec![append(&id, 1)]);
            stage.faults.next(2, Call::Write, fault);
            for _ in 0..2 {
                let lost = stage.faulty.write(batch.clone()).await;
                assert!(matches!(lost, Err(WriteError::Unknown(_))), "{lost:?}");
            }
            assert_eq!(stage.faulty.write(batch).await, Ok(()), "{fault:?}");
            assert_eq!(stage.stored(&id).await, 1, "{fault:?}");
        }
    }
}

/// "Not written" of a copy whose elder is stored would be a lie.
#[tokio::test]
async fn a_refused_copy_of_a_batch_that_reached_the_store_is_unknown() {
    for stage in Stage::both() {
        for fault in [Fault::Refused, Fault::Rejected] {
            let (owner, id) = Owner::of_fresh_entity(&stage.faulty).await;
            let batch = owner.next_batch(vec![append(&id, 1)]);
            stage.faults.next(1, Call::Write, Fault::AnswerLost);
            stage.faults.next(1, Call::Write, fault);
            for _ in 0..2 {
                let lost = stage.faulty.write(batch.clone()).await.expect_err("on purpose");
                assert!(!lost.nothing_stored(), "{lost:?}");
            }
            let next = Batch { number: 2, ..owner.next_batch(vec![append(&id, 2)]) };
            stage.faults.next(1, Call::Write, fault);
            assert!(stage.faulty.write(next).await.expect_err("on purpose").nothing_stored());
            assert_eq!(stage.stored(&id).await, 1);
        }
    }
}

#[tokio::test]
async fn a_claim_with_a_fault_is_taken_or_not_as_the_fault_says() {
    for stage in Stage::both() {
        let (owner, id) = Owner::of_fresh_entity(&stage.plain).await;
        for (fault, is_taken) in
            [(Fault::Refused, false), (Fault::RequestLost, false), (Fault::AnswerLost, true)]
        {
            let next = Owner { claim: owner.claim.again(), journal: stage.faulty.clone(), ..owner };
            stage.faults.next(1, Call::Claim, fault);
            assert!(matches!(next.claim().await, Err(ClaimError::Failed(_))));
            assert_eq!(next.read(&id).await.is_ok(), is_taken, "{fault:?}");
            if is_taken {
                next.claim().await.expect("the same claim is sent again");
            }
        }
    }
}

#[tokio::test]
async fn behind_an_open_breaker_claims_and_batches_of_its_shard_are_refused_and_one_may_look() {
    for stage in Stage::both() {
        let (mut owner, id) = Owner::of_fresh_entity(&stage.faulty).await;
        let shards = ShardCount::new(SHARDS).unwrap();
        let other =
            std::iter::repeat_with(|| fresh_id(None)).find(|id| id.hash().shard(shards) != owner.shard);
        let other = other.unwrap();
        let mut elsewhere = Owner::of(&stage.faulty, &other).await;
        stage.faults.rest(owner.shard, Some(Duration::from_secs(9)));
        assert_eq!(stage.faulty.refuses_writes(owner.shard), Some(Duration::from_secs(9)));
        assert_eq!(stage.faulty.refuses_writes(elsewhere.shard), None);
        assert!(matches!(owner.append(&id, 1, 1).await, Err(WriteError::NotWritten(_))));
        assert!(matches!(owner.claim().await, Err(ClaimError::Failed(_))));
        owner.expect_all(&id, [], 0).await;
        elsewhere.append(&other, 1, 1).await.expect("another shard");

        stage.faults.rest(owner.shard, Some(Duration::ZERO));
        owner.claim().await.expect("one is let through");
        assert!(matches!(owner.claim().await, Err(ClaimError::Failed(_))), "and no other");
        assert!(stage.faulty.refuses_writes(owner.shard).is_some_and(|rests| !rests.is_zero()));
        stage.faults.rest(owner.shard, None);
        assert_eq!(stage.faulty.refuses_writes(owner.shard), None);
        owner.append(&id, 1, 1).await.expect("written");
        stage.faults.rest(owner.shard, Some(Duration::ZERO));
        stage.faults.clear();
        assert_eq!(stage.faulty.refuses_writes(owner.shard), None);
    }
}

#[tokio::test]
async fn a_read_fails_hangs_or_finds_damage() {
    for stage in Stage::both() {
        let (mut owner, id) = Owner::of_fresh_entity(&stage.faulty).await;
        owner.append(&id, 1, 1).await.unwrap();
        for fault in [Fault::Refused, Fault::RequestLost, Fault::AnswerLost] {
            stage.faults.next(1, Call::Read, fault);
            assert!(matches!(owner.read(&id).await, Err(ReadError::Failed(_))));
        }
        stage.faults.next(2, Call::Read, Fault::Damaged);
        assert!(matches!(owner.read(&id).await, Err(ReadError::Damaged(_))));
        let deposed = Owner { journal: stage.faulty.clone(), ..owner };
        let owner = deposed.again().await;
        assert!(matches!(deposed.read(&id).await, Err(ReadError::Fenced { .. })), "the fence speaks first");

        stage.faults.next(1, Call::Read, Fault::Hang);
        let hung = stage.faulty.read(owner.window(&id, 1, 1, 1));
        stage.faults.until_held(1).await;
        owner.expect_all(&id, [1], 1).await;
        assert!(stage.faults.release(None));
        assert_eq!(hung.await.unwrap().last, SequenceNr(1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_delayed_batch_is_overtaken() {
    const HOUR: Duration = Duration::from_secs(3_600);
    for stage in Stage::both() {
        let (old, id) = Owner::of_fresh_entity(&stage.faulty).await;
        let start = tokio::time::Instant::now();
        stage.faults.next(1, Call::Write, Fault::Delay(HOUR));
        let late = tokio::spawn(stage.faulty.write(old.next_batch(vec![append(&id, 1)])));
        tokio::task::yield_now().await;
        let mut new = Owner::of(&stage.plain, &id).await;
        new.append(&id, 1, 1).await.unwrap();
        let late = late.await.unwrap();
        assert!(matches!(late, Err(WriteError::Fenced { held, .. }) if held.claim == new.claim));
        assert!(start.elapsed() >= HOUR);
        assert_eq!(stage.stored(&id).await, 1);
        stage.faults.next(1, Call::Write, Fault::Delay(HOUR));
        let faulty = stage.faulty.clone();
        faulty.write(new.next_batch(vec![append(&id, 2)])).await.expect("late, but nobody came before");
    }
}

#[tokio::test]
async fn a_hung_call_that_is_given_up_leaves_nothing_behind() {
    for stage in Stage::both() {
        let (owner, id) = Owner::of_fresh_entity(&stage.faulty).await;
        stage.faults.always(Call::Write, Fault::Hang);
        for polled in [false, true] {
            let batch = owner.next_batch(vec![append(&id, 1)]);
            let writes = Arc::downgrade(&batch.writes);
            let hung = stage.faulty.write(batch);
            assert_eq!(stage.faults.held(), 1);
            if polled {
                let waited = tokio::time::timeout(Duration::from_millis(5), hung).await;
                assert!(waited.is_err(), "it hangs");
            } else {
                drop(hung);
            }
            assert_eq!(stage.faults.held(), 0);
            assert!(writes.upgrade().is_none(), "the batch is gone");
            assert!(!stage.faults.release(None), "there is nothing to release");
        }
        assert_eq!(stage.stored(&id).await, 0);
        // A watcher that nobody waits for any more is forgotten too.
        drop(stage.faults.until_held(7));

        let (one, two) = (stage.faulty.write(owner.next_batch(vec![append(&id, 1)])), stage.faulty.health());
        let third = stage.faulty.write(Batch { number: 2, ..owner.next_batch(vec![append(&id, 2)]) });
        two.await.expect("only writes hang");
        stage.faults.until_held(2).await;
        assert!(stage.faults.release(None));
        let oldest = tokio::time::timeout(Duration::from_secs(10), one).await;
        assert_eq!(oldest, Ok(Ok(())), "the oldest goes first");
        assert_eq!((stage.stored(&id).await, stage.faults.held()), (1, 1));
        stage.faults.clear();
        assert_eq!(third.await, Ok(()));
        assert_eq!(stage.stored(&id).await, 2);
    }
}

#[tokio::test]
async fn a_held_batch_goes_on_with_the_fault_that_it_has_or_is_given() {
    for stage in Stage::both() {
        for (own, given, is_written) in [
            (None, Some(Fault::AnswerLost), true),
            (None, Some(Fault::RequestLost), false),
            (Some(Fault::AnswerLost), None, true),
            (Some(Fault::RequestLost), None, false),
            (Some(Fault::RequestLost), Some(Fault::AnswerLost), true),
        ] {
            let (owner, id) = Owner::of_fresh_entity(&stage.faulty).await;
            stage.faults.hold(Call::Write);
            if let Some(fault) = own {
                stage.faults.next(1, Call::Write, fault);
            }
            let hung = stage.faulty.write(owner.next_batch(vec![append(&id, 1)]));
            assert!(stage.faults.release(given));
            assert!(matches!(hung.await, Err(WriteError::Unknown(_))));
            assert_eq!(stage.stored(&id).await, u64::from(is_written), "{own:?} {given:?}");
            stage.faults.release_all();
        }
    }
}

#[tokio::test]
async fn only_the_calls_that_are_meant_have_the_fault() {
    for stage in Stage::both() {
        let (mut owner, id) = Owner::of_fresh_entity(&stage.faulty).await;
        let other = owner.fresh_id();
        stage.faults.always(On::any().of(other.clone()), Fault::Refused);
        owner.append(&id, 1, 1).await.expect("another entity");
        owner.append(&other, 1, 1).await.expect_err("this entity");
        owner.read(&other).await.expect_err("this entity, whatever is called");
        owner.read(&id).await.expect("another entity");
        stage.faults.clear();
        owner.append(&other, 1, 1).await.expect("no faults");

        stage.faults.always(On::call(Call::Claim).in_shard(owner.shard), Fault::Refused);
        owner.append(&id, 2, 1).await.expect("another call");
        let again = Owner { journal: stage.faulty.clone(), claim: owner.claim.again(), ..owner };
        again.claim().await.expect_err("this call of this shard");
        let claim =
            stage.faulty.claim(abide_persistence::testkit::fresh_shard(), owner.claim, owner.writer, None);
        claim.await.expect("another shard");
        stage.faults.clear();

        let deletes = |write: &Write| matches!(write, Write::DeleteTo { .. });
        stage.faults.always(On::any().with_writes(deletes), Fault::Refused);
        owner.append(&id, 3, 1).await.expect("no deletion");
        owner.delete_to(&id, 1).await.expect_err("a deletion");
        stage.faults.clear();

        let large = |asked: &Asked<'_>| matches!(asked, Asked::Read(read) if read.max_events > 1);
        stage.faults.always(On::any().that(large), Fault::Refused);
        owner.expect(&id, (1, 9, 1), [1], 3).await;
        owner.read(&id).await.expect_err("a large page");
        stage.faults.clear();

        stage.faults.fail_next(2, On::any());
        stage.faults.fail_next(0, On::any());
        stage.faulty.health().await.expect_err("the first");
        stage.faulty.meta().await.expect_err("the second");
        stage.faulty.health().await.expect("no third");
    }
}

#[tokio::test]
async fn writes_that_are_meant_are_rejected_and_the_others_may_be_numbered_anew() {
    for stage in Stage::both() {
        let (mut owner, id) = Owner::of_fresh_entity(&stage.faulty).await;
        let bad = owner.fresh_id();
        stage.faults.reject_next(1, On::any().of(bad.clone()));
        let refused =
            owner.write(vec![append(&id, 1), append(&bad, 1), append(&id, 2), append(&bad, 2)]).await;
        assert!(
            matches!(&refused, Err(WriteError::Rejected { writes, .. }) if *writes == [1, 3]),
            "{refused:?}"
        );
        assert_eq!((stage.stored(&id).await, stage.stored(&bad).await), (0, 0));
        owner.write(vec![append(&id, 1), append(&id, 2)]).await.expect("without the others");
        stage.faults.reject_next(1, On::any());
        owner.read(&id).await.expect("only batches are rejected");
        let refused = owner.write(vec![append(&id, 3), append(&bad, 1)]).await;
        assert!(
            matches!(&refused, Err(WriteError::Rejected { writes, .. }) if *writes == [0, 1]),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn dice_fall_as_the_seed_says() {
    let fall = async |seed| {
        let control = FaultControl::new(seed);
        let journal = Faulty::controlled(Arc::new(MemoryJournal::new()), control.clone());
        control.sometimes(0.3, Call::Health, Fault::Refused);
        control.sometimes(1.0, Call::Meta, Fault::Refused);
        control.sometimes(0.0, Call::Health, Fault::Hang);
        let mut fell = Vec::new();
        for _ in 0..1_000 {
            fell.push(journal.health().await.is_err());
        }
        journal.meta().await.expect_err("always");
        assert_eq!(
            control.injected(Call::Health, Fault::Refused),
            fell.iter().filter(|fell| **fell).count() as u64
        );
        fell
    };
    let (one, again, other) = (fall(7).await, fall(7).await, fall(8).await);
    assert_eq!(one, again);
    assert_ne!(one, other);
    let failed = one.iter().filter(|failed| **failed).count();
    assert!((200..400).contains(&failed), "{failed} of 1000");
}

#[tokio::test]
async fn an_outage_refuses_everything_until_it_ends() {
    for stage in Stage::both() {
        let (mut owner, id) = Owner::of_fresh_entity(&stage.faulty).await;
        stage.faults.set_down(Some("the plug is out"));
        stage.faults.hold(Call::Write);
        assert!(matches!(owner.append(&id, 1, 1).await, Err(WriteError::NotWritten(_))));
        assert!(matches!(owner.claim().await, Err(ClaimError::Failed(_))));
        assert_eq!(stage.faulty.health().await, Err(StoreError("the plug is out".to_owned())));
        stage.faults.clear();
        owner.append(&id, 1, 1).await.expect("written");
    }
}

#[tokio::test]
async fn the_meta_record_is_replaced_or_not_as_the_fault_says() {
    let meta = JournalMeta {
        format: JournalMeta::FORMAT,
        shards: ShardCount::new(16).unwrap(),
        hash: JournalMeta::HASH.to_owned(),
        cluster: 1,
        generation: 1,
    };
    for stage in Stage::both() {
        for (fault, expected) in [
            (Fault::Refused, None),
            (Fault::RequestLost, None),
            (Fault::Damaged, None),
            (Fault::AnswerLost, Some(meta.clone())),
        ] {
            stage.faults.next(1, Call::Meta, fault);
            stage.faulty.replace_meta(None, meta.clone()).await.expect_err("on purpose");
            assert_eq!(stage.plain.meta().await, Ok(expected), "{fault:?}");
        }
        stage.faults.next(1, Call::Meta, Fault::Damaged);
        stage.faulty.meta().await.expect_err("on purpose");
    }
}

#[tokio::test]
async fn snapshots_go_wrong_too() {
    let (store, _dir) = embedded();
    let stores: [Arc<dyn SnapshotStore>; 2] = [Arc::new(MemorySnapshots::new()), Arc::new(store)];
    for plain in stores {
        let faulty = Faulty::new(plain.clone());
        let faults = faulty.control().clone();
        let id = fresh_id(None);
        let shard = id.hash().shard(ShardCount::new(16).unwrap());
        let any = SnapshotCriteria::ANY;
        let load = || plain.load(shard, id.clone(), any);
        let (one, two) = (snapshot(1, 1, b"one"), snapshot(2, 2, b""));

        faults.next(1, Call::SaveSnapshot, Fault::RequestLost);
        faulty.save(shard, id.clone(), one.clone()).await.expect_err("on purpose");
        assert_eq!(load().await, Ok(None));
        faults.next(1, Call::SaveSnapshot, Fault::AnswerLost);
        faulty.save(shard, id.clone(), one.clone()).await.expect_err("on purpose");
        assert_eq!(load().await, Ok(Some(one.clone())));

        for saved in [one, two] {
            faulty.save(shard, id.clone(), saved.clone()).await.expect("saved");
            faults.next(1, On::call(Call::LoadSnapshot).of(id.clone()), Fault::Damaged);
            let damaged = faulty.load(shard, id.clone(), any).await.expect_err("on purpose");
            assert!(
                matches!(damaged, SnapshotError::Damaged { sequence_nr, .. } if sequence_nr == saved.sequence_nr),
                "{damaged}"
            );
            assert_eq!(faulty.load(shard, id.clone(), any).await, Ok(Some(saved)));
        }
        faults.fail_next(1, Call::LoadSnapshot);
        faulty.load(shard, id.clone(), any).await.expect_err("on purpose");

        faults.fail_next(1, Call::DeleteSnapshots);
        faulty.delete(shard, id.clone(), any).await.expect_err("on purpose");
        assert!(load().await.unwrap().is_some());
        faults.next(1, Call::DeleteSnapshots, Fault::AnswerLost);
        faulty.delete(shard, id.clone(), any).await.expect_err("on purpose");
        assert_eq!(load().await, Ok(None));
    }
}
