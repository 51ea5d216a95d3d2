//! The entity whose commands are measured: it keeps texts, one event of 200 bytes for each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use abide::persistence::codec::Event;
use abide::persistence::envelope::StoredEvent;
use abide::persistence::journal::{Claim, Epoch, Journal, Writer};
use abide::persistence::model::{Effect, EventSourced, EventSourcedActor};
use abide::persistence::{EntityId, EntityType, PersistenceId, ShardCount};
use abide::sharding::{EntityRef, Region, RegionConfig, Registry};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::common::{all_held, region_config};

/// As many as a node has by default.
pub(crate) use crate::common::SHARDS;

/// Bytes of payload of each event.
pub(crate) const PAYLOAD: usize = 200;

/// How many texts were noted.
#[derive(Serialize, Deserialize)]
pub(crate) struct Notes(u64);

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Note {
    /// Notes a text.
    Write { text: String },
    /// Notes texts, all at once.
    WriteMany { texts: Vec<String> },
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Noted(String);

impl Event for Noted {
    fn name(&self) -> &'static str {
        "noted"
    }
}

impl EventSourced for Notes {
    const TYPE: EntityType = EntityType::new("notes");
    type Command = Note;
    type Event = Noted;
    type Reply = u64;
    type Rejection = ();

    fn new(_: &EntityId) -> Self {
        Self(0)
    }

    fn handle(&self, command: Note) -> Effect<Self> {
        let count = |notes: &Self| notes.0;
        match command {
            Note::Write { text } => Effect::persist(Noted(text)).then_reply(count),
            Note::WriteMany { texts } => Effect::persist_all(texts.into_iter().map(Noted)).then_reply(count),
        }
    }

    fn apply(&mut self, _: &Noted) {
        self.0 += 1;
    }
}

pub(crate) type NotesRef = EntityRef<EventSourcedActor<Notes>>;

/// A text whose event has the payload: JSON puts quotes around it.
pub(crate) fn text() -> String {
    "x".repeat(PAYLOAD - 2)
}

pub(crate) fn id(n: usize) -> PersistenceId {
    PersistenceId::new(Notes::TYPE, EntityId::new(&format!("{n:016}")).unwrap())
}

pub(crate) fn writer() -> Writer {
    Writer { cluster: 1, incarnation: 1 }
}

/// The claim under which figures write that have no region.
pub(crate) fn claim() -> Claim {
    Claim { epoch: Epoch::new(1, 1), session: 1 }
}

/// An event as an entity would have stored it.
pub(crate) fn event(number: u64) -> Bytes {
    let stored = StoredEvent {
        sequence_nr: number,
        payload: serde_json::to_vec(&Noted(text())).unwrap().into(),
        codec: abide::persistence::codec::JSON,
        name: "noted".to_owned(),
        version: 1,
        time_ms: 1_795_000_000_000,
        epoch: claim().epoch.0,
        session: claim().session,
        batch: 1000,
        ..StoredEvent::default()
    };
    assert_eq!(stored.payload.len(), PAYLOAD);
    stored.to_bytes()
}

/// A region on a journal that is new, with all its shards claimed.
pub(crate) async fn region(journal: Arc<dyn Journal>) -> Region {
    let mut registry = Registry::default();
    registry.entity::<Notes>().unwrap();
    let shards = ShardCount::new(SHARDS).unwrap();
    let config = RegionConfig { slow_handler: Duration::from_secs(1), ..region_config(&*journal) };
    let region = Region::start(Arc::new(registry), journal, writer(), config).unwrap();
    region.assign(shards.all(), claim().epoch);
    all_held(&region).await;
    region
}

pub(crate) fn entities(region: &Region, count: usize) -> Vec<NotesRef> {
    (0..count).map(|n| region.entity(id(n).id).unwrap()).collect()
}

/// A caller who has one text noted after the other, by one entity or another, until the turn ends.
pub(crate) async fn call(entities: Arc<Vec<NotesRef>>, caller: usize, until: Instant) -> usize {
    let mut done = 0;
    while Instant::now() < until {
        let entity = &entities[(caller * 7919 + done * 31) % entities.len()];
        entity.ask(Note::Write { text: text() }).await.unwrap();
        done += 1;
    }
    done
}
