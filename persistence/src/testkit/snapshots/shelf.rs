//! The fixture of the cases.

use std::sync::Arc;

use crate::ids::{PersistenceId, SequenceNr};
use crate::journal::{Snapshot, SnapshotCriteria, SnapshotStore};
use crate::testkit::fresh::{fresh_id, shard_of, snapshot};

/// One entity's snapshots in the store that is tested.
pub(super) struct Shelf {
    pub(super) store: Arc<dyn SnapshotStore>,
    pub(super) id: PersistenceId,
}

/// When the fixture's snapshot was taken.
pub(super) const fn time(number: u64) -> u64 {
    1_000 * number
}

impl Shelf {
    /// With five snapshots, that end with events 11 to 15.
    pub(super) async fn of_five(store: Arc<dyn SnapshotStore>) -> Self {
        let shelf = Self { store, id: fresh_id(None) };
        for number in 11..=15 {
            shelf.save(five(number)).await;
        }
        shelf
    }

    pub(super) async fn save(&self, snapshot: Snapshot) {
        let saved = self.store.save(shard_of(&self.id), self.id.clone(), snapshot);
        saved.await.expect("saved");
    }

    pub(super) async fn load(&self, criteria: SnapshotCriteria) -> Option<Snapshot> {
        self.store.load(shard_of(&self.id), self.id.clone(), criteria).await.expect("loaded")
    }

    pub(super) async fn delete(&self, criteria: SnapshotCriteria) {
        let deleted = self.store.delete(shard_of(&self.id), self.id.clone(), criteria);
        deleted.await.expect("deleted");
    }

    /// Checks which of the five are there.
    pub(super) async fn expect(&self, expected: &[u64]) {
        for number in 11..=15 {
            let found = self.load(SnapshotCriteria::exactly(SequenceNr(number))).await;
            let wanted = expected.contains(&number).then(|| five(number));
            assert_eq!(found, wanted, "the snapshot that ends with event {number}");
        }
    }
}

/// One of the five.
pub(super) fn five(number: u64) -> Snapshot {
    snapshot(number, time(number), format!("state-{number}").as_bytes())
}

/// Those that end at or before an event.
pub(super) fn up_to(number: u64) -> SnapshotCriteria {
    SnapshotCriteria::up_to(SequenceNr(number))
}
