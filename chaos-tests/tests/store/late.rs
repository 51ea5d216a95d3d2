//! Late copies: whatever was once sent, and arrives again at any later time, changes nothing.

use std::sync::{Arc, Mutex};

use abide_chaos_tests::proxy::{Fault, Proxies, Proxy, Request};
use abide_chaos_tests::redis::{Ground, Node};
use abide_persistence::SequenceNr;
use abide_persistence::journal::Write;
use abide_persistence::testkit::Owner;

use crate::connecting::options;
use crate::dump::dump;
use crate::talk::{append, is_batch, is_change};

/// Lets everything arrive once more: each alone, all in their order, all in the opposite one.
async fn nothing_changes(node: &Node, proxy: &Proxy, sent: &Mutex<Vec<Request>>) {
    let copies = sent.lock().unwrap().clone();
    let before = dump(node).await;
    for copy in &copies {
        proxy.replay(std::slice::from_ref(copy)).await.unwrap();
        assert!(dump(node).await == before, "a late copy of {copy:?} changed something");
    }
    proxy.replay(&copies).await.unwrap();
    assert!(dump(node).await == before, "late copies in their order changed something");
    proxy.replay(&copies.into_iter().rev().collect::<Vec<_>>()).await.unwrap();
    assert!(dump(node).await == before, "late copies against their order changed something");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_copy_of_any_claim_or_batch_changes_nothing_in_whatever_order() {
    let ground = Ground::single().start().await.unwrap();
    let node = &ground.nodes()[0];
    let proxies = Arc::new(Proxies::before(&ground).await.unwrap());
    let journal = options(&ground).alone().through(&proxies).journal().await;
    let proxy = proxies.of(node).unwrap();

    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    let sent = Arc::new(Mutex::new(Vec::new()));
    let (noted, is_change) = (Arc::clone(&sent), is_change(owner.shard));
    proxy.set_rule(move |request| {
        if is_change(request) {
            noted.lock().unwrap().push(request.clone());
        }
        Fault::None
    });
    let other = owner.fresh_id();
    let delete = |to: u64| Write::DeleteTo {
        persistence_id: id.clone(),
        to: SequenceNr(to),
        record: format!("in place of {to}").into(),
    };
    let mut last = 0;
    for round in 0..3 {
        owner = if round == 1 { Owner::of(&journal, &id).await } else { owner.again().await };
        nothing_changes(node, proxy, &sent).await;
        for count in [1, 4] {
            let also = append(&other, last + 1, count);
            owner.write(vec![append(&id, last + 1, count), also]).await.unwrap();
            last += count;
            nothing_changes(node, proxy, &sent).await;
        }
        owner.write(vec![delete(last - 1)]).await.unwrap();
        nothing_changes(node, proxy, &sent).await;
    }
    owner.expect_all(&id, [last], last).await;
    owner.expect_all(&other, 1..=last, last).await;
    assert_eq!(sent.lock().unwrap().len(), 15, "claims take two steps, batches one");
}

/// The list is as long again as the copy expects it: the batch's number tells, and so does the base of the list.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_copy_of_a_batch_that_was_sent_again_is_refused_after_a_deletion() {
    let ground = Ground::single().start().await.unwrap();
    let node = &ground.nodes()[0];
    let proxies = Arc::new(Proxies::before(&ground).await.unwrap());
    let journal = options(&ground).alone().through(&proxies).journal().await;
    let proxy = proxies.of(node).unwrap();

    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    owner.append(&id, 1, 10).await.unwrap();
    let mut hung = proxy.trap(is_batch(owner.shard), Fault::LoseRequest);
    owner.append(&id, 11, 1).await.expect("it is sent again");
    let copy = hung.sprung().await.unwrap();
    owner.append(&id, 12, 9).await.unwrap();
    owner.delete_to(&id, 10).await.unwrap();
    owner.expect_all(&id, 11..=20, 20).await;
    let before = dump(node).await;
    proxy.replay(&[copy]).await.unwrap();
    assert!(dump(node).await == before, "event 11 was stored once more");
    owner.append(&id, 21, 1).await.unwrap();
    owner.expect_all(&id, 11..=21, 21).await;
}
