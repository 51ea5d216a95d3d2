//! What waits for a server is bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use abide_chaos_tests::redis::Ground;
use abide_persistence::journal::{Journal, WriteError};
use abide_persistence::runtime::redis::options::{FullQueueHook, OnFullQueue};
use abide_persistence::testkit::{Owner, fresh_id};
use futures_util::future::join_all;

use crate::connecting::{open, options};

const ROOM: usize = 4;

/// Many owners write to a server that hangs; says how many were refused at once and how many were stored.
async fn crowd(hook: Option<FullQueueHook>) -> (usize, usize) {
    let ground = Ground::single().start().await.unwrap();
    let mut narrow = options(&ground).alone();
    narrow.0.max_queue = ROOM;
    narrow.0.flushes_in_flight = 1;
    narrow.0.max_batch = 1;
    narrow.0.on_full_queue = hook;
    let journal: Arc<dyn Journal> = Arc::new(open(narrow).await);
    let mut owners = Vec::new();
    for _ in 0..16 {
        let id = fresh_id(None);
        // One at a time: claims wait in the same queue.
        owners.push((Owner::of(&journal, &id).await, id));
    }
    // Owners of one shard fence each other: only the newest of each shard writes.
    let newest = |at: usize, owners: &[(Owner, _)]| {
        !owners[at + 1..].iter().any(|(later, _)| later.shard == owners[at].0.shard)
    };
    let writing: Vec<bool> = (0..owners.len()).map(|at| newest(at, &owners)).collect();
    let server = &ground.nodes()[0];
    server.stop().await.unwrap();
    let writes = owners.iter_mut().zip(&writing).filter(|(_, writes)| **writes);
    let writes: Vec<_> = writes.map(|((owner, id), _)| owner.append(id, 1, 1)).collect();
    let count = writes.len();
    let wake = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.cont().await.unwrap();
    };
    let (results, ()) = tokio::join!(join_all(writes), wake);
    let refused = results.iter().filter(|result| matches!(result, Err(WriteError::NotWritten(_)))).count();
    let stored = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(refused + stored, count, "{results:?}");
    (refused, stored)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finds_no_room_is_refused_and_not_stored_and_the_rest_is_stored() {
    let (refused, stored) = crowd(None).await;
    assert!(refused > 0, "somebody found the queue full");
    assert!(stored >= ROOM, "whoever was in it was stored: {stored}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_lets_in_what_finds_no_room() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let hook: FullQueueHook = Arc::new(move |full| {
        assert!(full.queued >= ROOM, "{full:?}");
        counted.fetch_add(1, Ordering::Relaxed);
        OnFullQueue::Admit
    });
    let (refused, _) = crowd(Some(hook)).await;
    assert_eq!(refused, 0);
    assert!(asked.load(Ordering::Relaxed) > 0, "the queue was full");
}
