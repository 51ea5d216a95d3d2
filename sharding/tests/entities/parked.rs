//! An entity that cannot be recovered waits for somebody; the others of its shard do not.

use std::sync::Arc;

use abide_persistence::ShardCount;
use abide_persistence::engine::Message;
use abide_persistence::model::{Failure, Format, Reply};
use abide_persistence::runtime::{Call, Fault, MemoryJournal, On};
use abide_sharding::{EntityOptions, RegionConfig};

use crate::stage::*;

#[tokio::test]
async fn a_parked_entity_is_released_once_the_journal_is_repaired_and_the_others_live_on() {
    let journal = MemoryJournal::new();
    // One shard: they are neighbours.
    let config = RegionConfig { shards: ShardCount::new(1).unwrap(), ..config() };
    let first = start(clerks(EntityOptions::default()), Arc::new(journal.clone()), 1, config);
    for name in ["broken", "sound"] {
        clerk(&first, name).get(Clerk::say("one")).await;
    }
    first.stop().await;

    let damaged = On::call(Call::Read).of(persistence_id("broken"));
    journal.control().faults().always(damaged, Fault::Damaged);
    let region = start(clerks(EntityOptions::default()), Arc::new(journal.clone()), 2, config);
    let broken = clerk(&region, "broken");
    for _ in 0..3 {
        let failure = broken.fail(Clerk::say("two")).await;
        assert!(
            matches!(&failure, Failure::Parked { reason } if reason.contains("on purpose")),
            "{failure:?}"
        );
        assert_eq!(clerk(&region, "sound").get(Clerk::show()).await, ["one"]);
    }
    until("it is counted", || region.status().entities_parked == 1).await;
    let parked = failed_recoveries("broken");
    assert_eq!(parked.len(), 1, "it is read once, not by every command: {parked:?}");

    // Released too early it is parked again, and says so again.
    let release = || async {
        region.ask(broken.address(), Message::Release, Format::Local, LONG).await.result.expect("it is heard")
    };
    assert!(matches!(release().await, Reply::Nothing));
    until("it was tried again", || failed_recoveries("broken").len() == 2).await;
    assert!(matches!(broken.fail(Clerk::show()).await, Failure::Parked { .. }));

    journal.control().faults().clear();
    assert!(matches!(broken.fail(Clerk::show()).await, Failure::Parked { .. }), "it does not come by itself");
    release().await;
    assert_eq!(broken.get(Clerk::say("two")).await, ["one", "two"]);
    assert_eq!(clerk(&region, "sound").get(Clerk::say("two")).await, ["one", "two"]);
    until("it is not counted any more", || region.status().entities_parked == 0).await;
}

#[tokio::test]
async fn releasing_one_that_is_not_parked_changes_nothing() {
    let region = start(clerks(EntityOptions::default()), Arc::new(MemoryJournal::new()), 1, config());
    let entity = clerk(&region, "fine");
    entity.get(Clerk::say("one")).await;
    entity.run(|this, _| this.seen.push("a note of this incarnation".to_owned())).await;
    let answer = region.ask(entity.address(), Message::Release, Format::Local, LONG).await;
    assert!(matches!(answer.result, Ok(Reply::Nothing)));
    let seen = entity.get(Clerk::seen()).await;
    assert!(seen.contains(&"a note of this incarnation".to_owned()), "it was not restarted: {seen:?}");
}
