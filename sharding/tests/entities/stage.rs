//! An entity that does what its command says, and a region for it.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use abide_persistence::codec::Event;
use abide_persistence::engine::{Backoff, EntitySettings};
use abide_persistence::journal::{Epoch, Writer};
use abide_persistence::model::{Context, Failure, PersistentActor, Recover, RecoveryContext, Signal};
use abide_persistence::{EntityId, EntityType, PersistenceId, SequenceNr, ShardCount};
use abide_sharding::{AskError, EntityOptions, EntityRef, Region, RegionConfig, Registry, Stores};
use serde::{Deserialize, Deserializer, Serialize};

/// Runs inside the entity.
pub(crate) struct Code<const K: usize>(Box<Run<K>>);

type Run<const K: usize> = dyn FnOnce(&mut Clerk<K>, &mut Context<'_, Clerk<K>>) + Send;

impl<const K: usize> Code<K> {
    pub(crate) fn new(code: impl FnOnce(&mut Clerk<K>, &mut Context<'_, Clerk<K>>) + Send + 'static) -> Self {
        Self(Box::new(code))
    }
}

impl<'de, const K: usize> Deserialize<'de> for Code<K> {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("code comes from Rust only"))
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Said(pub(crate) String);

impl Event for Said {
    fn name(&self) -> &'static str {
        "said"
    }
}

/// Keeps what it was told. There are two types of them, so that each may have its own stores.
pub(crate) struct Clerk<const K: usize> {
    /// Its state: what was said.
    pub(crate) lines: Vec<String>,
    /// What this incarnation was told about itself, and what it noted.
    pub(crate) seen: Vec<String>,
    /// The last event of the snapshot that this incarnation began with.
    pub(crate) from_snapshot: u64,
    /// The events that it recovered from.
    pub(crate) replayed: u64,
    id: EntityId,
}

/// What clerks were told of failed recoveries, by id: the incarnations themselves are gone by then.
static FAILED_RECOVERIES: Mutex<Option<HashMap<String, Vec<String>>>> = Mutex::new(None);

/// Why the recoveries of the entity with this id failed; ids must differ between tests.
pub(crate) fn failed_recoveries(id: &str) -> Vec<String> {
    let failed = FAILED_RECOVERIES.lock().unwrap_or_else(PoisonError::into_inner);
    failed.as_ref().and_then(|failed| failed.get(id)).cloned().unwrap_or_default()
}

impl<const K: usize> PersistentActor for Clerk<K> {
    const TYPE: EntityType = EntityType::new(["clerk", "keeper"][K]);
    type Command = Code<K>;
    type Event = Said;
    type Reply = Vec<String>;
    type Rejection = String;
    type State = Vec<String>;
    type Message = Code<K>;

    fn new(id: &EntityId) -> Self {
        Self { lines: Vec::new(), seen: Vec::new(), from_snapshot: 0, replayed: 0, id: id.clone() }
    }

    fn state(&self) -> &Vec<String> {
        &self.lines
    }

    fn receive_command(&mut self, Code(code): Code<K>, ctx: &mut Context<'_, Self>) {
        code(self, ctx);
    }

    fn receive_recover(&mut self, item: Recover<Self>, ctx: &mut RecoveryContext<'_, Self>) {
        match item {
            Recover::Event(Said(line)) => {
                self.replayed += 1;
                self.lines.push(line);
            }
            Recover::Snapshot(lines) => {
                self.from_snapshot = ctx.last_sequence_nr().0;
                self.lines = lines;
            }
        }
    }

    fn receive_message(&mut self, Code(code): Code<K>, ctx: &mut Context<'_, Self>) {
        code(self, ctx);
    }

    fn receive_signal(&mut self, signal: Signal, _: &mut Context<'_, Self>) {
        self.seen.push(match signal {
            // Without the time of day.
            Signal::SnapshotSaved { sequence_nr, .. } => format!("saved {sequence_nr}"),
            Signal::SnapshotNotSaved { sequence_nr, reason } => format!("not saved {sequence_nr}: {reason}"),
            Signal::EventsDeleted { to } => format!("deleted {to}"),
            other => format!("{other:?}"),
        });
    }

    fn on_recovery_failure(&mut self, cause: &str, _: Option<SequenceNr>) {
        let mut failed = FAILED_RECOVERIES.lock().unwrap_or_else(PoisonError::into_inner);
        let of_id = failed.get_or_insert_default().entry(self.id.to_string()).or_default();
        of_id.push(cause.to_owned());
    }
}

impl<const K: usize> Clerk<K> {
    /// Stores a line and then answers with all of them.
    pub(crate) fn say(line: impl Into<String>) -> Code<K> {
        let line = line.into();
        Code::new(move |_, ctx| {
            ctx.persist(Said(line), |this, Said(line), ctx| {
                this.lines.push(line.clone());
                ctx.reply(this.lines.clone());
            });
        })
    }

    pub(crate) fn show() -> Code<K> {
        Code::new(|this, ctx| ctx.reply(this.lines.clone()))
    }

    pub(crate) fn seen() -> Code<K> {
        Code::new(|this, ctx| ctx.reply(this.seen.clone()))
    }

    /// Answers with the last event of its snapshot, and how many events it recovered from.
    pub(crate) fn recovered() -> Code<K> {
        Code::new(|this, ctx| ctx.reply(vec![this.from_snapshot.to_string(), this.replayed.to_string()]))
    }

    pub(crate) fn panic(what: &'static str) -> Code<K> {
        Code::new(move |_, _| panic!("{what}"))
    }
}

pub(crate) type ClerkRef = EntityRef<Clerk<0>>;
pub(crate) type KeeperRef = EntityRef<Clerk<1>>;

pub(crate) fn id(id: &str) -> EntityId {
    EntityId::new(id).expect("a good id")
}

pub(crate) fn persistence_id(of: &str) -> PersistenceId {
    PersistenceId::new(Clerk::<0>::TYPE, id(of))
}

/// Far longer than anything should take, so that what hangs fails.
pub(crate) const LONG: Duration = Duration::from_secs(20);

#[allow(async_fn_in_trait, reason = "only used here")]
pub(crate) trait Asking<const K: usize> {
    /// The reply; whatever else comes fails the test.
    async fn get(&self, code: Code<K>) -> Vec<String>;
    /// The failure; whatever else comes fails the test.
    async fn fail(&self, code: Code<K>) -> Failure;
    /// Runs code and waits until it has.
    async fn run(&self, code: impl FnOnce(&mut Clerk<K>, &mut Context<'_, Clerk<K>>) + Send + 'static);
    /// Looks at what the entity noted until this is so.
    async fn until_seen(&self, what: &str, is_so: impl Fn(&[String]) -> bool) -> Vec<String>;
}

impl<const K: usize> Asking<K> for EntityRef<Clerk<K>> {
    async fn get(&self, code: Code<K>) -> Vec<String> {
        self.ask_within(code, LONG).await.expect("a reply")
    }

    async fn fail(&self, code: Code<K>) -> Failure {
        match self.ask_within(code, LONG).await {
            Err(AskError::Failed(failure)) => failure,
            other => panic!("expected a failure, not {other:?}"),
        }
    }

    async fn run(&self, code: impl FnOnce(&mut Clerk<K>, &mut Context<'_, Clerk<K>>) + Send + 'static) {
        let done = self.ask_within(Code::new(code), LONG).await;
        assert_eq!(done, Err(AskError::NoReply), "it has nothing to say");
    }

    async fn until_seen(&self, what: &str, is_so: impl Fn(&[String]) -> bool) -> Vec<String> {
        let looked = tokio::time::timeout(LONG, async {
            loop {
                let seen = self.get(Clerk::seen()).await;
                if is_so(&seen) {
                    return seen;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        match looked.await {
            Ok(seen) => seen,
            Err(_) => panic!("{what} was not seen: {:?}", self.get(Clerk::seen()).await),
        }
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: impl fmt::Display, is_so: impl Fn() -> bool) {
    let waited = tokio::time::timeout(LONG, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "never: {what}");
}

pub(crate) fn config() -> RegionConfig {
    RegionConfig {
        shards: ShardCount::new(8).expect("in range"),
        lanes: NonZeroUsize::new(2).expect("not zero"),
        inbox_capacity: 10_000,
        entity: EntitySettings {
            stash_capacity: 1000,
            backoff: Backoff {
                min: Duration::from_millis(5),
                max: Duration::from_millis(50),
                factor: 2.0,
                jitter: 0.2,
            },
            page_events: 7,
            ..EntitySettings::default()
        },
        passivate_after: Duration::from_secs(3600),
        max_active_entities: None,
        max_recoveries: NonZeroUsize::new(4).expect("not zero"),
        recovery_permit_timeout: LONG,
        recovery_event_timeout: LONG,
        // Other tests' code may run for long on a busy machine.
        slow_handler: Duration::from_secs(3600),
        journal_timeout: Duration::from_secs(10),
    }
}

pub(crate) fn clerks(options: EntityOptions<Clerk<0>>) -> Registry {
    let mut registry = Registry::default();
    registry.actor_with(options).expect("the only type");
    registry
}

/// Starts a region that owns all shards.
pub(crate) fn start(
    registry: Registry,
    stores: impl Into<Stores>,
    generation: u32,
    config: RegionConfig,
) -> Region {
    let writer = Writer { cluster: 1, incarnation: u128::from(generation) };
    let region = Region::start(Arc::new(registry), stores, writer, config).expect("it has the stores");
    region.assign(config.shards.all(), Epoch::new(generation, 1));
    region
}

pub(crate) fn clerk(region: &Region, of: &str) -> ClerkRef {
    region.entity(id(of)).expect("a known type")
}

pub(crate) fn keeper(region: &Region, of: &str) -> KeeperRef {
    region.entity(id(of)).expect("a known type")
}

/// What they said, as numbers.
pub(crate) fn lines(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|number| number.to_string()).collect()
}
