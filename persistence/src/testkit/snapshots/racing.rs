//! Calls that are on their way at the same time.

use std::sync::Arc;

use super::shelf::{Shelf, five, up_to};
use crate::ids::SequenceNr;
use crate::journal::{SnapshotCriteria, SnapshotStore};
use crate::testkit::fresh::{fresh_id, shard_of, snapshot};

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

/// Each of them whole, whichever is seen; in the end the last one.
pub async fn saves_of_one_number_that_race_leave_one_of_them_whole(store: Arc<dyn SnapshotStore>) {
    const SAVES: u64 = 24;
    let shelf = Shelf { store: store.clone(), id: fresh_id(None) };
    let (shard, id) = (shard_of(&shelf.id), shelf.id.clone());
    // Of very different lengths, so that a mixture of two would not be one of them.
    let state = |n: u64| snapshot(7, n, &vec![n as u8; (n as usize % 5) * 40_000 + n as usize]);
    let (mut saves, mut loads) = (Vec::new(), Vec::new());
    for n in 1..=SAVES {
        saves.push(store.save(shard, id.clone(), state(n)));
        loads.push(store.load(shard, id.clone(), SnapshotCriteria::ANY));
    }
    for load in loads {
        if let Some(seen) = load.await.expect("loaded") {
            assert!(seen == state(seen.time_ms), "a whole one, as it was saved at {}", seen.time_ms);
        }
    }
    for save in saves {
        save.await.expect("saved");
    }
    assert!(shelf.load(SnapshotCriteria::ANY).await == Some(state(SAVES)), "the last one");
}

/// As retention does it: one is always there.
pub async fn a_load_finds_one_while_newer_ones_replace_older_ones(store: Arc<dyn SnapshotStore>) {
    let shelf = Shelf { store: store.clone(), id: fresh_id(None) };
    let (shard, id) = (shard_of(&shelf.id), shelf.id.clone());
    shelf.save(snapshot(1, 1, b"state")).await;
    let (mut changes, mut loads) = (Vec::new(), Vec::new());
    for number in 2..=40 {
        changes.push(store.save(shard, id.clone(), snapshot(number, number, b"state")));
        changes.push(store.delete(shard, id.clone(), up_to(number - 1)));
        loads.push(store.load(shard, id.clone(), SnapshotCriteria::ANY));
    }
    for load in loads {
        assert!(load.await.expect("loaded").is_some(), "there always is one");
    }
    for change in changes {
        change.await.expect("done");
    }
    assert_eq!(shelf.load(SnapshotCriteria::ANY).await, Some(snapshot(40, 40, b"state")));
    assert_eq!(shelf.load(up_to(39)).await, None);
}

/// Many entities at once, some in the same shard.
pub async fn entities_save_at_the_same_time(store: Arc<dyn SnapshotStore>) {
    let ids: Vec<_> = (0..64).map(|_| fresh_id(None)).collect();
    let state = |at: usize| snapshot(1 + at as u64, 1, &[at as u8; 1_000]);
    let saves: Vec<_> =
        ids.iter().enumerate().map(|(at, id)| store.save(shard_of(id), id.clone(), state(at))).collect();
    for save in saves {
        save.await.expect("saved");
    }
    for (at, id) in ids.into_iter().enumerate() {
        let shelf = Shelf { store: store.clone(), id };
        assert_eq!(shelf.load(SnapshotCriteria::ANY).await, Some(state(at)));
    }
}
