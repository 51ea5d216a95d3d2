//! A disk that fills up. Needs a file system of its own, so it runs only where mounting is allowed.

use abide_persistence::journal::{ClaimError, Journal, SnapshotStore, Write, WriteError};
use abide_persistence::testkit::{Owner, event, fresh_id, snapshot};
use abide_persistence::{PersistenceId, SequenceNr};

use crate::small_disk::SmallDisk;
use crate::{journal, open};

fn large(id: &PersistenceId, number: u64) -> Write {
    let events = vec![event(number, &[number.to_le_bytes()[0]; 60_000])];
    Write::Append { persistence_id: id.clone(), first: SequenceNr(number), events }
}

#[tokio::test]
async fn a_full_disk_stops_writing_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount("8m") else {
        println!("skipped: mounting a tmpfs is not permitted here");
        return;
    };
    let dir = disk.dir.path().join("journal");
    let store = open(&dir).unwrap();
    let (mut owner, id) = Owner::of_fresh_entity(&journal(&store)).await;
    let mut acknowledged = 0;
    let refused = loop {
        match owner.write(vec![large(&id, acknowledged + 1)]).await {
            Ok(()) => acknowledged += 1,
            Err(refused) => break refused,
        }
    };
    assert!(acknowledged > 10, "{acknowledged} events fit");
    assert!(matches!(&refused, WriteError::Unknown(cause) if cause.0.contains("No space left")), "{refused}");

    // Nothing more is written, also when there would be room again, and everybody is told why.
    disk.remount("size=64m");
    let refused = owner.write(vec![large(&id, acknowledged + 1)]).await.expect_err("stopped");
    let reason = refused.to_string();
    assert!(matches!(refused, WriteError::NotWritten(_)), "{reason}");
    assert!(reason.contains("No space left") && reason.contains("restart this process"), "{reason}");
    let claim = store.claim(owner.shard, owner.claim.again(), owner.writer, None).await;
    assert!(matches!(claim, Err(ClaimError::Failed(_))), "{claim:?}");
    store.save(owner.shard, id.clone(), snapshot(1, 1, b"")).await.expect_err("stopped");
    store.health().await.expect_err("stopped");

    // Reading goes on, under the claim as it was.
    let page = owner.read(&id).await.expect("a page");
    assert_eq!(page.last, SequenceNr(acknowledged));
    store.close().await;

    // The batch in doubt is there or not; what was acknowledged is.
    let store = open(&dir).expect("opens once there is room");
    let mut next = Owner::of(&journal(&store), &id).await;
    let page = next.read(&id).await.expect("a page");
    assert!(
        page.last.0 == acknowledged || page.last.0 == acknowledged + 1,
        "{} of {acknowledged}",
        page.last
    );
    next.write(vec![large(&id, page.last.0 + 1)]).await.expect("writing goes on");
    store.close().await;
}

#[tokio::test]
async fn a_disk_without_room_for_the_store_is_told() {
    let Some(disk) = SmallDisk::mount("4k") else {
        println!("skipped: mounting a tmpfs is not permitted here");
        return;
    };
    let refused = open(&disk.dir.path().join("journal")).err().expect("no room");
    assert!(refused.to_string().contains("No space left"), "{refused}");
}

#[tokio::test]
async fn a_read_only_disk_is_told() {
    let Some(disk) = SmallDisk::mount("8m") else {
        println!("skipped: mounting a tmpfs is not permitted here");
        return;
    };
    let dir = disk.dir.path().join("journal");
    let store = open(&dir).unwrap();
    let id = fresh_id(None);
    Owner::of(&journal(&store), &id).await.append(&id, 1, 1).await.unwrap();
    store.close().await;
    disk.remount("ro");
    let refused = open(&dir).err().expect("read-only");
    assert!(matches!(refused, abide_persistence::runtime::OpenError::NotWritable { .. }), "{refused}");
    assert!(refused.to_string().contains("check owner, mode and mount"), "{refused}");
}
