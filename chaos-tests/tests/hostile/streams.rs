//! A damaged stream is named as such to whoever reads it, and costs nobody else.

use std::sync::Arc;
use std::time::Duration;

use abide_chaos_tests::redis::Ground;
use abide_persistence::journal::{Journal, ReadError, ReadEvents};
use abide_persistence::testkit::Owner;

use crate::connecting::{open, options};

/// A read that decides nothing may meet a deletion, and starts over then; but not for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_begins_with_another_event_than_its_base_says_is_damaged() {
    let ground = Ground::single().start().await.unwrap();
    let mut short = options(&ground).alone();
    short.0.call_timeout = Duration::from_secs(2);
    let journal: Arc<dyn Journal> = Arc::new(open(short).await);
    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    owner.append(&id, 1, 3).await.unwrap();

    let node = &ground.nodes()[0];
    let keys: Vec<String> = node.ask(&["KEYS", "*:e:*"]).await.unwrap();
    node.ask::<()>(&["LPOP", &keys[0]]).await.unwrap();
    let read = ReadEvents { known: None, ..owner.window(&id, 1, u64::MAX, usize::MAX) };
    let error = journal.read(read).await.unwrap_err();
    assert!(matches!(error, ReadError::Damaged(_)), "{error:?}");
}
