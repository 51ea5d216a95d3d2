//! A user who may do part of what a batch does.

use std::sync::Arc;

use abide_chaos_tests::redis::Ground;
use abide_persistence::journal::Journal;
use abide_persistence::runtime::redis::{Dial, Setup};
use abide_persistence::testkit::{Owner, fresh_id};

use crate::connecting::{open, options};

/// Redis checks each command of a script when it comes to it, and takes nothing back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_may_not_note_new_ids_stores_no_half_of_a_batch() {
    let ground = Ground::single().set("user", "half on >secret ~* &* +@all -zadd").start().await.unwrap();
    let address = ground.nodes()[0].address();
    let setup = Setup { urls: vec![format!("redis://half:secret@{address}")], ..Setup::default() };
    let mut half = options(&ground).alone();
    half.0.connector = Arc::new(Dial::new(&setup).unwrap());
    half.0.call_timeout = std::time::Duration::from_secs(2);
    let journal: Arc<dyn Journal> = Arc::new(open(half).await);
    let id = fresh_id(None);
    let mut owner = Owner::of(&journal, &id).await;

    let error = owner.append(&id, 1, 1).await.unwrap_err();
    let stored = owner.read(&id).await.unwrap().last.0;
    assert_eq!(stored, 0, "half of the batch is stored, and this was said: {error:?}");
}
