//! What entities store, and what a new owner finds.

use abide_chaos_tests::redis::Ground;
use abide_persistence::SequenceNr;
use abide_persistence::envelope::StoredEvent;
use abide_persistence::model::{Failure, Outcome};

use crate::connecting::{open, options};
use crate::stage::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entities_keep_their_state_over_generations_and_their_lists_stay_short() {
    let ground = Ground::single().start().await.unwrap();
    let store = open(options(&ground).alone()).await;
    let config = config(8);
    let region = start(&store, 1, config);
    let (counted, told) = (tally(&region, "a"), diary(&region, "a"));
    let id = counted.address().persistence_id().clone();
    let (snapshots, list) = (key(config, &id, &format!("s:{id}")), stream(config, &id));
    let node = server(&ground, &list).await;
    for n in 1..=45 {
        assert_eq!(get(&counted, Order::Add(1)).await, Totals::ones(n));
        if n.is_multiple_of(EVERY.get()) {
            // The next one is due only once this one is stored.
            let kept = (n / EVERY.get()).min(2);
            let ask = async || node.ask::<Vec<String>>(&["HKEYS", &snapshots]).await.unwrap();
            let newest = format!("{n:020}");
            let is_so = |found: &Vec<String>| {
                found.len() as u64 == kept && found.iter().any(|field| field.starts_with(&newest))
            };
            until("a snapshot is stored and older ones are gone", ask, is_so).await;
        }
    }
    let length = async || node.ask::<u64>(&["LLEN", &list]).await.unwrap();
    until("events behind two snapshots are deleted", length, |length| *length == 25).await;
    for n in 1..=5 {
        assert_eq!(get(&told, Order::Add(1)).await.totals, Totals::ones(n));
    }
    get(&told, Order::Save).await;
    let saved = async || get(&told, Order::Show).await.saved;
    until("the diary's snapshot is stored", saved, |saved| *saved == [5]).await;
    get(&told, Order::Add(1)).await;
    region.stop().await;

    let region = start(&store, 2, config);
    assert_eq!(get(&tally(&region, "a"), Order::Show).await, Totals::ones(45));
    let after = get(&diary(&region, "a"), Order::Show).await;
    assert_eq!((after.totals, after.from_snapshot, after.replayed), (Totals::ones(6), 5, 1));
    assert_eq!(get(&tally(&region, "a"), Order::Add(1)).await, Totals::ones(46), "numbers go on");
    end(region, store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_events_of_one_command_are_one_batch() {
    const EVENTS: u64 = 20_000;
    let ground = Ground::single().start().await.unwrap();
    let store = open(options(&ground).alone()).await;
    let region = start(&store, 1, config(1));
    let many = diary(&region, "many");
    assert_eq!(get(&many, Order::AddOnes(EVENTS as usize)).await.totals, Totals::ones(EVENTS));
    assert_eq!(get(&many, Order::Add(1)).await.totals, Totals::ones(EVENTS + 1));
    let token = async |number: u64| {
        let number = SequenceNr(number);
        let page = region.read_events(many.address(), number, number, 1, usize::MAX).await.unwrap();
        let event = StoredEvent::from_bytes(page.events[0].clone()).unwrap();
        (event.claim(), event.batch)
    };
    assert_eq!(token(1).await, token(EVENTS).await);
    assert_ne!(token(EVENTS).await, token(EVENTS + 1).await);
    region.stop().await;
    let region = start(&store, 2, config(1));
    assert_eq!(get(&diary(&region, "many"), Order::Show).await.totals, Totals::ones(EVENTS + 1));
    end(region, store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_too_large_is_rejected_before_anything_is_written_and_the_entity_goes_on() {
    const LARGEST: usize = 1 << 20;
    let ground = Ground::single().start().await.unwrap();
    let mut options = options(&ground).alone();
    options.0.max_value_bytes = LARGEST;
    let store = open(options).await;
    let config = config(1);
    let region = start(&store, 1, config);
    let told = diary(&region, "a");
    get(&told, Order::Add(1)).await;
    let list = stream(config, told.address().persistence_id());
    let node = server(&ground, &list).await;
    let fence = key(config, told.address().persistence_id(), "f");
    let written = async || {
        let fence: String = node.ask(&["GET", &fence]).await.unwrap();
        (fence, node.ask::<u64>(&["LLEN", &list]).await.unwrap())
    };
    let before = written().await;
    let rejected = fail(&told, Order::Swell(LARGEST)).await;
    assert!(matches!(rejected, Failure::EventRejected { outcome: Outcome::None, .. }), "{rejected:?}");
    assert_eq!(written().await, before, "not even a batch without it");
    let after = get(&told, Order::Add(1)).await;
    assert_eq!((after.totals, after.handled), (Totals::ones(2), 3), "the same incarnation");
    get(&told, Order::Swell(LARGEST / 2)).await;
    end(region, store).await;
}
