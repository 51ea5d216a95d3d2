//! A journal that comes back with less than it had acknowledged: its shard is parked, and nothing is written
//! over what may still lie somewhere.

use std::sync::Arc;

use abide_persistence::ShardCount;
use abide_persistence::engine::Message;
use abide_persistence::journal::{Claim, Epoch, Known};
use abide_persistence::model::{Failure, Format, Outcome};
use abide_persistence::runtime::MemoryJournal;
use abide_sharding::{EntityOptions, Loss, ParkedFor, Region, RegionConfig, Stores};

use crate::stage::*;

const LOST: Failure = Failure::EventsLost { outcome: Outcome::None };

fn one_shard() -> RegionConfig {
    RegionConfig { shards: ShardCount::new(1).unwrap(), ..config() }
}

/// What was acknowledged to the first owner.
fn known(batch: u64) -> Known {
    Known { claim: Claim { epoch: Epoch::new(1, 1), session: 1 }, batch }
}

async fn shards_parked(region: &Region, shards: usize) {
    until("so many shards are parked", || region.status().shards_parked == shards).await;
}

#[tokio::test]
async fn an_owner_that_finds_less_than_was_acknowledged_parks_the_shard_and_goes_on_when_told_to() {
    let journal = MemoryJournal::new();
    let region = start(clerks(EntityOptions::default()), Arc::new(journal.clone()), 1, config());
    let (entity, shards) = (clerk(&region, "x"), config().shards);
    let elsewhere = (0..).map(|n| n.to_string());
    let elsewhere = elsewhere
        .into_iter()
        .find(|of| persistence_id(of).hash().shard(shards) != persistence_id("x").hash().shard(shards))
        .map(|of| clerk(&region, &of))
        .unwrap();
    entity.get(Clerk::say("one")).await;
    elsewhere.get(Clerk::say("one")).await;
    let backup = journal.control().backup();
    entity.get(Clerk::say("two")).await;
    journal.control().restore(&backup);

    assert_eq!(entity.fail(Clerk::say("three")).await, LOST);
    assert_eq!(entity.fail(Clerk::say("four")).await, LOST);
    let state = region.ask(entity.address(), Message::ReadState, Format::Json, LONG).await;
    assert_eq!(*state.result.expect_err("not even that"), LOST);
    assert_eq!(journal.control().events(&persistence_id("x")).len(), 1, "nothing was written over it");
    shards_parked(&region, 1).await;
    let status = region.status();
    assert_eq!((status.shards_held, status.shards_assigned, status.shards_lost), (7, 7, 0));
    assert_eq!(elsewhere.get(Clerk::say("two")).await, ["one", "two"], "the other shards live");

    let shard = persistence_id("x").hash().shard(shards);
    let parked = region.parked_shards(10).await.unwrap();
    let held = journal.control().token(shard);
    assert_eq!((held.unwrap().claim, held.unwrap().batch), (known(1).claim, 1));
    assert_eq!(parked.len(), 1);
    assert_eq!((parked[0].shard, parked[0].journal.as_str()), (shard, "default"));
    assert_eq!(parked[0].cause, ParkedFor::Loss(Loss { known: known(2), held }));
    assert_eq!(region.parked_shards(0).await.unwrap(), []);

    assert_eq!(region.accept_loss(shard).await.unwrap(), parked);
    assert_eq!(region.accept_loss(shard).await.unwrap(), [], "once");
    assert_eq!(entity.get(Clerk::say("three")).await, ["one", "three"]);
    shards_parked(&region, 0).await;
    assert_eq!(region.status().shards_held, 8);
}

#[tokio::test]
async fn a_recovery_from_an_emptied_journal_does_not_begin_anew() {
    let journal = MemoryJournal::new();
    let empty = journal.control().backup();
    let region = start(clerks(EntityOptions::default()), Arc::new(journal.clone()), 1, one_shard());
    clerk(&region, "x").get(Clerk::say("one")).await;
    journal.control().restore(&empty);
    // Nothing has been written since; it is the reading that finds nothing.
    assert_eq!(clerk(&region, "cold").fail(Clerk::show()).await, LOST);
    shards_parked(&region, 1).await;
    let parked = region.parked_shards(10).await.unwrap();
    assert_eq!(parked[0].cause, ParkedFor::Loss(Loss { known: known(1), held: None }));
    region.assign(one_shard().shards.all(), Epoch::new(1, 2));
    shards_parked(&region, 1).await;
    assert_eq!(clerk(&region, "x").fail(Clerk::show()).await, LOST, "a new assignment finds the same");
    region.stop().await;
}

#[tokio::test]
async fn a_loss_at_one_journal_is_no_loss_at_the_other() {
    let (events, ledger) = (MemoryJournal::new(), MemoryJournal::new());
    let mut registry = clerks(EntityOptions::default());
    registry.actor_with::<Clerk<1>>(EntityOptions::default().journal("ledger")).unwrap();
    let stores = Stores::default()
        .with_journal("events", Arc::new(events.clone()))
        .with_journal("ledger", Arc::new(ledger.clone()));
    let empty = ledger.control().backup();
    let region = start(registry, stores, 1, one_shard());
    clerk(&region, "x").get(Clerk::say("one")).await;
    keeper(&region, "x").get(Clerk::say("one")).await;
    ledger.control().restore(&empty);
    assert_eq!(keeper(&region, "x").fail(Clerk::say("two")).await, LOST);
    assert_eq!(clerk(&region, "x").get(Clerk::say("two")).await, ["one", "two"]);
    let parked = region.parked_shards(10).await.unwrap();
    assert_eq!(parked.iter().map(|parked| parked.journal.as_str()).collect::<Vec<_>>(), ["ledger"]);
    region.accept_loss(parked[0].shard).await.unwrap();
    assert_eq!(keeper(&region, "x").get(Clerk::say("two")).await, ["two"]);
    assert_eq!(clerk(&region, "x").get(Clerk::say("three")).await, ["one", "two", "three"]);
}
