//! Several journals at one region: what goes wrong with one concerns only the types that use it.

use std::sync::Arc;

use abide_persistence::journal::{Epoch, Writer};
use abide_persistence::model::{Failure, Outcome};
use abide_persistence::runtime::{Call, Fault, MemoryJournal, MemorySnapshots};
use abide_sharding::{EntityOptions, Region, Registry, Stores};

use crate::stage::*;

/// Clerks on the default journal, keepers on the ledger.
fn both() -> Registry {
    let mut registry = clerks(EntityOptions::default());
    registry.actor_with::<Clerk<1>>(EntityOptions::default().journal("ledger")).unwrap();
    registry
}

fn stores(events: &MemoryJournal, ledger: &MemoryJournal) -> Stores {
    Stores::default()
        .with_journal("events", Arc::new(events.clone()))
        .with_journal("ledger", Arc::new(ledger.clone()))
}

fn two() -> (MemoryJournal, MemoryJournal, Region) {
    let (events, ledger) = (MemoryJournal::new(), MemoryJournal::new());
    let region = start(both(), stores(&events, &ledger), 1, config());
    (events, ledger, region)
}

async fn all_held(region: &Region) {
    until("all shards are held", || region.status().shards_held == 8).await;
}

#[tokio::test]
async fn each_type_is_stored_in_its_own_journal_and_a_shard_counts_once() {
    let (events, ledger, region) = two();
    all_held(&region).await;
    let status = region.status();
    assert_eq!((status.shards_assigned, status.shards_held, status.shards_lost), (8, 8, 0));
    assert_eq!(clerk(&region, "x").get(Clerk::say("to the events")).await, ["to the events"]);
    assert_eq!(keeper(&region, "x").get(Clerk::say("to the ledger")).await, ["to the ledger"]);
    let clerk = persistence_id("x");
    let keeper = keeper(&region, "x").address().persistence_id().clone();
    assert_eq!(events.control().events(&clerk).len(), 1);
    assert_eq!(events.control().events(&keeper).len(), 0);
    assert_eq!(ledger.control().events(&keeper).len(), 1);
    assert_eq!(ledger.control().events(&clerk).len(), 0);
}

#[tokio::test]
async fn while_one_journal_is_away_the_types_of_the_other_go_on() {
    let (events, ledger, region) = two();
    all_held(&region).await;
    for n in 0..16 {
        keeper(&region, &n.to_string()).get(Clerk::say("before")).await;
    }
    ledger.control().set_down(Some("out to lunch"));
    for n in 0..16 {
        let name = n.to_string();
        let failure = keeper(&region, &name).fail(Clerk::say("lost")).await;
        assert!(matches!(failure, Failure::JournalFailed { outcome: Outcome::None, .. }), "{failure:?}");
        assert_eq!(clerk(&region, &name).get(Clerk::say("there")).await, ["there"]);
    }
    // Entities of a type whose journal is well are brought into memory meanwhile, too.
    assert_eq!(clerk(&region, "cold").get(Clerk::show()).await, lines([]));
    assert!(region.status().shards_held < 8, "a shard that waits for one of its journals is not held");
    ledger.control().set_down(None);
    all_held(&region).await;
    for n in 0..16 {
        let name = n.to_string();
        assert_eq!(keeper(&region, &name).get(Clerk::say("after")).await, ["before", "after"]);
    }
    // And the other way round, by a batch that gets lost.
    events.control().fail_next(Call::Write, Fault::RequestLost);
    assert_eq!(clerk(&region, "0").fail(Clerk::say("?")).await.outcome(), Outcome::Unknown);
    assert_eq!(keeper(&region, "0").get(Clerk::say("still")).await, ["before", "after", "still"]);
    assert_eq!(clerk(&region, "0").get(Clerk::show()).await, ["there"]);
}

#[tokio::test]
async fn a_shard_that_is_fenced_at_one_journal_goes_on_at_the_other() {
    let (_events, ledger, region) = two();
    all_held(&region).await;
    keeper(&region, "x").get(Clerk::say("ours")).await;
    clerk(&region, "x").get(Clerk::say("ours")).await;

    let mut registry = Registry::default();
    registry.actor::<Clerk<1>>().unwrap();
    let other = start(registry, Arc::new(ledger.clone()), 2, config());
    assert_eq!(keeper(&other, "x").get(Clerk::say("theirs")).await, ["ours", "theirs"]);

    let failure = keeper(&region, "x").fail(Clerk::say("too late")).await;
    assert_eq!(failure, Failure::ShardLost { outcome: Outcome::None });
    let failure = keeper(&region, "x").fail(Clerk::show()).await;
    assert!(matches!(failure, Failure::NoOwner { .. }), "{failure:?}");
    assert_eq!(clerk(&region, "x").get(Clerk::say("on")).await, ["ours", "on"]);
    until("it is known to be lost", || region.status().shards_lost == 1).await;
    let status = region.status();
    assert_eq!((status.shards_assigned, status.shards_held), (7, 7));

    // A new assignment brings it back at both.
    region.assign(config().shards.all(), Epoch::new(3, 1));
    all_held(&region).await;
    assert_eq!(keeper(&region, "x").get(Clerk::show()).await, ["ours", "theirs"]);
    assert_eq!(clerk(&region, "x").get(Clerk::show()).await, ["ours", "on"]);
    assert_eq!(region.status().shards_lost, 0);
}

#[tokio::test]
async fn a_shard_that_is_lost_at_both_journals_is_lost_once() {
    let (events, ledger, region) = two();
    all_held(&region).await;
    // So many names that every shard is touched at both journals.
    let names: Vec<String> = (0..64).map(|n| n.to_string()).collect();
    let other = start(both(), stores(&events, &ledger), 2, config());
    all_held(&other).await;
    for name in &names {
        clerk(&region, name).fail(Clerk::say("no")).await;
        keeper(&region, name).fail(Clerk::say("no")).await;
    }
    until("all shards are known to be lost", || region.status().shards_lost == 8).await;
    let status = region.status();
    assert_eq!((status.shards_assigned, status.shards_held, status.shards_lost), (0, 0, 8));
    assert_eq!(status.entities, 0);
}

#[tokio::test]
async fn a_store_that_the_node_does_not_have_is_named_with_those_that_it_has() {
    let writer = Writer { cluster: 1, incarnation: 1 };
    let refused = |registry: Registry, stores: Stores| {
        Region::start(Arc::new(registry), stores, writer, config()).expect_err("no such store").to_string()
    };
    let journal = || Arc::new(MemoryJournal::new());
    let journals = || Stores::default().with_journal("events", journal()).with_journal("ledger", journal());
    assert_eq!(
        refused(clerks(EntityOptions::default().journal("legder")), journals()),
        "entity type \"clerk\" asks for the journal \"legder\", which this node does not have; it has \
         \"events\", \"ledger\""
    );
    let files = journals().with_snapshots("files", Arc::new(MemorySnapshots::new()));
    assert_eq!(
        refused(clerks(EntityOptions::default().snapshots("flies")), files),
        "entity type \"clerk\" asks for the snapshot store \"flies\", which this node does not have; it has \
         \"files\""
    );
    assert_eq!(
        refused(clerks(EntityOptions::default()), Stores::default()),
        "entity type \"clerk\" asks for the journal \"default\", which this node does not have; it has none"
    );
}

#[tokio::test]
async fn a_region_without_entity_types_goes_on() {
    let region = start(Registry::default(), Arc::new(MemoryJournal::new()), 1, config());
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    all_held(&region).await;
    tokio::time::timeout(LONG, region.stop()).await.expect("it stops");
}
