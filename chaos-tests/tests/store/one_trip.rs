//! A snapshot brings the events after it along, if they are few.

use std::sync::Arc;

use abide_chaos_tests::redis::Ground;
use abide_persistence::journal::{Journal, Loaded, SnapshotCriteria, SnapshotStore};
use abide_persistence::testkit::{Owner, snapshot};

use crate::connecting::{open, options};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_events_come_with_their_snapshot_and_many_are_left_to_pages() {
    let ground = Ground::single().start().await.unwrap();
    let store = open(options(&ground).alone()).await;
    let journal: Arc<dyn Journal> = Arc::new(store.clone());
    assert!(Journal::store_id(&store).is_some());
    assert_eq!(Journal::store_id(&store), SnapshotStore::store_id(&store));

    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    let load = |owner: &Owner| {
        store.load_for_recovery(owner.shard, id.clone(), SnapshotCriteria::ANY, owner.known())
    };
    let Loaded { snapshot: none, stream } = load(&owner).await.unwrap();
    assert_eq!((none, stream), (None, Some(owner.read(&id).await.unwrap())), "an entity without a past");

    owner.append(&id, 1, 12).await.unwrap();
    let saved = snapshot(10, 7, b"ten");
    store.save(owner.shard, id.clone(), saved.clone()).await.unwrap();
    owner.delete_to(&id, 8).await.unwrap();
    let loaded = load(&owner).await.unwrap();
    assert_eq!(loaded.snapshot.as_ref(), Some(&saved));
    let stream = loaded.stream.expect("four events are few");
    assert_eq!(stream, owner.read(&id).await.unwrap());
    for (from, to, most) in [(10, u64::MAX, usize::MAX), (1, 11, 2), (12, 12, 0), (13, u64::MAX, 5)] {
        let window = owner.window(&id, from, to, most);
        assert_eq!(stream.window(&window), journal.read(window).await.unwrap(), "{from}..={to}, {most}");
    }

    let deposed = owner;
    let mut owner = Owner::of(&journal, &id).await;
    let loaded = load(&deposed).await.unwrap();
    assert_eq!((loaded.snapshot, loaded.stream), (Some(saved), None), "events count only under the claim");

    owner.append(&id, 13, 100).await.unwrap();
    assert_eq!(load(&owner).await.unwrap().stream, None, "many");
}
