//! Two types of entities that count and add up what they are told, a region for them, and a look at their keys.

use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use abide_chaos_tests::redis::view::slot_of;
use abide_chaos_tests::redis::{Ground, Node};
use abide_persistence::codec::Event;
use abide_persistence::engine::{Backoff, EntitySettings, Message};
use abide_persistence::journal::{Epoch, Journal, Writer};
use abide_persistence::model::{
    Context, Effect, EventSourced, EventSourcedActor, Failure, Format, PersistentActor, Recover,
    RecoveryContext, Signal,
};
use abide_persistence::runtime::redis::RedisStore;
use abide_persistence::{EntityId, EntityType, PersistenceId, ShardCount};
use abide_sharding::{AskError, EntityOptions, EntityRef, Region, RegionConfig, Registry, Stores};
use serde::{Deserialize, Serialize};

/// Far longer than anything should take, so that what hangs fails.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// How long a client waits.
pub(crate) const DEADLINE: Duration = Duration::from_secs(15);

/// Events between two snapshots.
pub(crate) const EVERY: NonZeroU64 = NonZeroU64::new(10).unwrap();

/// What both types are told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Stores one number.
    Add(u64),
    /// Stores so many ones, all or none.
    AddOnes(usize),
    /// Stores an event of so many bytes.
    Swell(usize),
    /// Stores a snapshot; only a diary does.
    Save,
    /// Answers only.
    Show,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Added {
    by: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    ballast: String,
}

impl Added {
    fn new(by: u64) -> Self {
        Self { by, ballast: String::new() }
    }

    fn swollen(bytes: usize) -> Self {
        Self { by: 0, ballast: "x".repeat(bytes) }
    }
}

impl Event for Added {
    fn name(&self) -> &'static str {
        "added"
    }
}

/// How much came, and what it adds up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Totals {
    pub(crate) events: u64,
    pub(crate) sum: u64,
}

impl Totals {
    pub(crate) fn ones(events: u64) -> Self {
        Self { events, sum: events }
    }

    fn add(&mut self, event: &Added) {
        self.events += 1;
        self.sum += event.by;
    }
}

/// The pure type.
#[derive(Serialize, Deserialize)]
pub(crate) struct Tally(Totals);

impl EventSourced for Tally {
    const TYPE: EntityType = EntityType::new("tally");
    type Command = Order;
    type Event = Added;
    type Reply = Totals;
    type Rejection = String;

    fn new(_: &EntityId) -> Self {
        Self(Totals::default())
    }

    fn handle(&self, order: Order) -> Effect<Self> {
        let events = match order {
            Order::Add(by) => vec![Added::new(by)],
            Order::AddOnes(count) => vec![Added::new(1); count],
            Order::Swell(bytes) => vec![Added::swollen(bytes)],
            Order::Show => return Effect::reply(self.0),
            Order::Save => return Effect::reject("a tally saves by itself".to_owned()),
        };
        Effect::persist_all(events).then_reply(|tally: &Self| tally.0)
    }

    fn apply(&mut self, event: &Added) {
        self.0.add(event);
    }
}

/// What a diary tells of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Told {
    pub(crate) totals: Totals,
    /// The last event of the snapshot that this incarnation began with.
    pub(crate) from_snapshot: u64,
    /// The events that it recovered from.
    pub(crate) replayed: u64,
    /// Commands that this incarnation has handled.
    pub(crate) handled: u64,
    /// The last events of the snapshots that were saved.
    pub(crate) saved: Vec<u64>,
}

/// The type with the other door.
pub(crate) struct Diary(Told);

impl PersistentActor for Diary {
    const TYPE: EntityType = EntityType::new("diary");
    type Command = Order;
    type Event = Added;
    type Reply = Told;
    type Rejection = String;
    type State = Totals;
    type Message = ();

    fn new(_: &EntityId) -> Self {
        let totals = Totals::default();
        Self(Told { totals, from_snapshot: 0, replayed: 0, handled: 0, saved: Vec::new() })
    }

    fn state(&self) -> &Totals {
        &self.0.totals
    }

    fn receive_command(&mut self, order: Order, ctx: &mut Context<'_, Self>) {
        self.0.handled += 1;
        let events = match order {
            Order::Add(by) => vec![Added::new(by)],
            Order::AddOnes(count) => vec![Added::new(1); count],
            Order::Swell(bytes) => vec![Added::swollen(bytes)],
            Order::Show => return ctx.reply(self.0.clone()),
            Order::Save => {
                ctx.save_snapshot(&self.0.totals);
                return ctx.reply(self.0.clone());
            }
        };
        let mut left = events.len();
        ctx.persist_all(events, move |this, event, ctx| {
            this.0.totals.add(event);
            left -= 1;
            if left == 0 {
                ctx.reply(this.0.clone());
            }
        });
    }

    fn receive_recover(&mut self, item: Recover<Self>, ctx: &mut RecoveryContext<'_, Self>) {
        match item {
            Recover::Event(event) => {
                self.0.replayed += 1;
                self.0.totals.add(&event);
            }
            Recover::Snapshot(totals) => {
                self.0.from_snapshot = ctx.last_sequence_nr().0;
                self.0.totals = totals;
            }
        }
    }

    fn receive_signal(&mut self, signal: Signal, _: &mut Context<'_, Self>) {
        if let Signal::SnapshotSaved { sequence_nr, .. } = signal {
            self.0.saved.push(sequence_nr.0);
        }
    }
}

pub(crate) type TallyRef = EntityRef<EventSourcedActor<Tally>>;
pub(crate) type DiaryRef = EntityRef<Diary>;

pub(crate) fn id(of: &str) -> EntityId {
    EntityId::new(of).unwrap()
}

pub(crate) fn config(shards: u32) -> RegionConfig {
    RegionConfig {
        shards: ShardCount::new(shards).unwrap(),
        lanes: NonZeroUsize::new(2).unwrap(),
        inbox_capacity: 10_000,
        entity: EntitySettings {
            backoff: Backoff {
                min: Duration::from_millis(5),
                max: Duration::from_millis(50),
                factor: 2.0,
                jitter: 0.2,
            },
            page_events: 50,
            ..EntitySettings::default()
        },
        passivate_after: Duration::from_secs(3600),
        max_active_entities: None,
        max_recoveries: NonZeroUsize::new(4).unwrap(),
        recovery_permit_timeout: LONG,
        recovery_event_timeout: LONG,
        slow_handler: Duration::from_secs(3600),
        journal_timeout: Duration::from_secs(10),
    }
}

/// A region of all shards on a store. Tallies take snapshots and delete what two of them contain; diaries save
/// when they are told to.
pub(crate) fn start(store: &RedisStore, generation: u32, config: RegionConfig) -> Region {
    let mut registry = Registry::default();
    registry.entity_with::<Tally>(EntityOptions::default().snapshot_every(EVERY).delete_events()).unwrap();
    registry.actor::<Diary>().unwrap();
    let stores = Stores::default()
        .with_journal("redis", Arc::new(store.clone()))
        .with_snapshots("redis", Arc::new(store.clone()));
    let writer = Writer { cluster: 1, incarnation: u128::from(generation) };
    let region = Region::start(Arc::new(registry), stores, writer, config).unwrap();
    region.assign(config.shards.all(), Epoch::new(generation, 1));
    region
}

/// Ends both.
pub(crate) async fn end(region: Region, store: RedisStore) {
    region.stop().await;
    store.close().await;
}

pub(crate) fn tally(region: &Region, of: &str) -> TallyRef {
    region.entity(id(of)).unwrap()
}

pub(crate) fn diary(region: &Region, of: &str) -> DiaryRef {
    region.entity(id(of)).unwrap()
}

/// The reply; whatever else comes fails the test.
pub(crate) async fn get<A>(entity: &EntityRef<A>, order: Order) -> A::Reply
where
    A: PersistentActor<Command = Order>,
{
    match entity.ask_within(order, LONG).await {
        Ok(reply) => reply,
        Err(AskError::Failed(failure)) => panic!("{}: {failure:?}", entity.address().persistence_id()),
        Err(_) => panic!("{}: no reply", entity.address().persistence_id()),
    }
}

/// The failure; whatever else comes fails the test.
pub(crate) async fn fail<A>(entity: &EntityRef<A>, order: Order) -> Failure
where
    A: PersistentActor<Command = Order>,
{
    match entity.ask_within(order, LONG).await {
        Err(AskError::Failed(failure)) => failure,
        Err(_) => panic!("{}: no failure", entity.address().persistence_id()),
        Ok(_) => panic!("{}: a reply", entity.address().persistence_id()),
    }
}

/// What reading the state says, without a command.
pub(crate) async fn read_state<A: PersistentActor>(
    region: &Region,
    entity: &EntityRef<A>,
) -> Result<(), Failure> {
    let answer = region.ask(entity.address(), Message::ReadState, Format::Json, LONG).await;
    answer.result.map(drop).map_err(|failure| *failure)
}

/// A key of an entity's shard, by what stands behind the shard's name.
pub(crate) fn key(config: RegionConfig, of: &PersistenceId, kind: &str) -> String {
    format!("{{abide:{}}}:{kind}", of.hash().shard(config.shards).0)
}

/// The key of an entity's events.
pub(crate) fn stream(config: RegionConfig, of: &PersistenceId) -> String {
    key(config, of, &format!("e:{of}"))
}

/// The server that has a key.
pub(crate) async fn server<'a>(ground: &'a Ground, key: &str) -> &'a Node {
    ground.primary_of(slot_of(key.as_bytes())).await.unwrap()
}

/// Asks until the answer is as it should be.
pub(crate) async fn until<T: std::fmt::Debug>(
    what: &str,
    ask: impl AsyncFn() -> T,
    is_so: impl Fn(&T) -> bool,
) -> T {
    let mut last = None;
    let waited = tokio::time::timeout(LONG, async {
        loop {
            let found = ask().await;
            if is_so(&found) {
                return found;
            }
            last = Some(found);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    match waited.await {
        Ok(found) => found,
        Err(_) => panic!("never: {what}; at last {last:?}"),
    }
}
