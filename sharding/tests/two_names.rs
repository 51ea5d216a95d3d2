//! One store under two names: the node must notice, because each name would take the other's claims and
//! batches for its own and acknowledge what was never written.

#![allow(missing_docs, clippy::expect_used, reason = "a test")]

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use abide_persistence::codec::Event;
use abide_persistence::engine::EntitySettings;
use abide_persistence::journal::{Epoch, Writer};
use abide_persistence::model::{Effect, EventSourced, EventSourcedActor};
use abide_persistence::runtime::MemoryJournal;
use abide_persistence::{EntityId, EntityType, ShardCount};
use abide_sharding::{EntityOptions, Region, RegionConfig, Registry, Stopped, Stores};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Added(i64);

impl Event for Added {
    fn name(&self) -> &'static str {
        "added"
    }
}

#[derive(Serialize, Deserialize)]
struct Sum<const AUDITED: bool>(i64);

impl<const AUDITED: bool> EventSourced for Sum<AUDITED> {
    const TYPE: EntityType = EntityType::new(if AUDITED { "audited" } else { "plain" });
    type Command = i64;
    type Event = Added;
    type Reply = i64;
    type Rejection = ();

    fn new(_: &EntityId) -> Self {
        Self(0)
    }

    fn handle(&self, by: i64) -> Effect<Self> {
        Effect::persist(Added(by)).then_reply(|sum: &Self| sum.0)
    }

    fn apply(&mut self, Added(by): &Added) {
        self.0 += by;
    }
}

#[tokio::test]
async fn one_store_under_two_names_stops_the_node_and_acknowledges_nothing_that_is_not_there() {
    let journal = MemoryJournal::new();
    let config = RegionConfig {
        shards: ShardCount::new(1).expect("in range"),
        lanes: NonZeroUsize::MIN,
        inbox_capacity: 1000,
        entity: EntitySettings::default(),
        passivate_after: Duration::from_secs(3600),
        max_active_entities: None,
        max_recoveries: NonZeroUsize::MIN,
        recovery_permit_timeout: Duration::from_secs(30),
        recovery_event_timeout: Duration::from_secs(30),
        journal_timeout: Duration::from_secs(10),
        slow_handler: Duration::from_millis(100),
    };
    let mut registry = Registry::default();
    registry.entity_with::<Sum<false>>(EntityOptions::default().journal("events")).expect("one type");
    registry.entity_with::<Sum<true>>(EntityOptions::default().journal("audit")).expect("another");
    let stores = Stores::default()
        .with_journal("events", Arc::new(journal.clone()))
        .with_journal("audit", Arc::new(journal.clone()));
    let writer = Writer { cluster: 1, incarnation: 1 };
    let region = Region::start(Arc::new(registry), stores, writer, config).expect("both are there");
    region.assign(config.shards.all(), Epoch::new(1, 1));

    let id = || EntityId::new("x").expect("an id");
    let plain = region.entity::<EventSourcedActor<Sum<false>>>(id()).expect("registered");
    let audited = region.entity::<EventSourcedActor<Sum<true>>>(id()).expect("registered");
    let asked = [
        (plain.address(), plain.ask_within(5, Duration::from_secs(5)).await.is_ok()),
        (audited.address(), audited.ask_within(7, Duration::from_secs(5)).await.is_ok()),
    ];
    for (address, acknowledged) in asked {
        let stored = journal.control().events(address.persistence_id()).len();
        assert_eq!(stored, usize::from(acknowledged), "of {address:?}");
    }
    assert!(matches!(region.stopped().await, Stopped::Usurped(_)));
}
