//! What is said of a batch that one sending may have stored.

use std::sync::Arc;

use abide_chaos_tests::proxy::{Fault, Proxies, Request};
use abide_chaos_tests::redis::Ground;
use abide_persistence::journal::{Journal, WriteError};
use abide_persistence::testkit::{Owner, fresh_id};

use crate::common::Proxied;
use crate::connecting::{open, options};

fn is_script(request: &Request) -> bool {
    request.is("EVALSHA")
}

/// The first sending is stored, and its answer lost. Before the second, a newer claim takes the shard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_was_stored_unheard_and_is_fenced_then_is_not_called_unstored() {
    let ground = Ground::single().start().await.unwrap();
    let proxies = Arc::new(Proxies::before(&ground).await.unwrap());
    let mut through = options(&ground).alone();
    through.0.connector = Arc::new(Proxied { proxies: Arc::clone(&proxies), inner: through.0.connector });
    let journal: Arc<dyn Journal> = Arc::new(open(through).await);
    let other: Arc<dyn Journal> = Arc::new(open(options(&ground).alone()).await);

    let id = fresh_id(None);
    let mut owner = Owner::of(&journal, &id).await;
    let newer =
        Owner { journal: other, claim: owner.claim.again(), ..Owner::of(&journal, &fresh_id(None)).await };
    let newer = Owner { shard: owner.shard, writer: owner.writer, ..newer };
    let proxy = proxies.of(&ground.nodes()[0]).unwrap();
    let mut first = proxy.trap(is_script, Fault::LoseReply);
    let mut second = proxy.trap(is_script, Fault::Hold);
    let persistence_id = id.clone();
    let writing = tokio::spawn(async move { owner.append(&persistence_id, 1, 1).await });
    first.sprung().await.unwrap();
    second.sprung().await.unwrap();
    newer.claim().await.unwrap();
    second.release();

    let error = writing.await.unwrap().unwrap_err();
    newer.expect_all(&id, 1..=1, 1).await;
    assert!(matches!(error, WriteError::Fenced { .. }), "{error:?}");
    assert!(!error.nothing_stored(), "it is stored: {error:?}");
}
