//! What the benchmarks share: a region, entities of the two kinds, directories.

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use abide::demo::Counter;
use abide::persistence::codec::Event;
use abide::persistence::engine::EntitySettings;
use abide::persistence::journal::{Epoch, Journal, Writer};
use abide::persistence::model::{Context, PersistentActor, Recover, RecoveryContext, StashOverflow};
use abide::persistence::{EntityId, EntityType, ShardCount};
use abide::sharding::{Region, RegionConfig, Registry};
use tokio::runtime::Runtime;

pub(crate) const SHARDS: u32 = 1024;

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub(crate) fn region_config(journal: &dyn Journal) -> RegionConfig {
    RegionConfig {
        shards: ShardCount::new(SHARDS).unwrap(),
        lanes: NonZeroUsize::new(8).unwrap(),
        inbox_capacity: 100_000,
        entity: EntitySettings {
            stash_capacity: 4096,
            stash_overflow: StashOverflow::Fail,
            backoff: EntitySettings::default().backoff,
            journal: journal.limits(),
            page_events: 1000,
            page_bytes: 1 << 20,
        },
        passivate_after: Duration::from_secs(3600),
        max_active_entities: None,
        max_recoveries: NonZeroUsize::new(64).unwrap(),
        recovery_permit_timeout: Duration::from_secs(30),
        recovery_event_timeout: Duration::from_secs(30),
        slow_handler: Duration::from_millis(100),
        journal_timeout: Duration::from_secs(10),
    }
}

/// The region of a later generation on this journal; each is used once.
pub(crate) fn region_of(generation: u32, journal: Arc<dyn Journal>) -> Region {
    let mut registry = Registry::default();
    registry.entity::<Counter>().unwrap();
    registry.actor::<Line>().unwrap();
    let config = region_config(journal.as_ref());
    let writer = Writer { cluster: 1, incarnation: u128::from(generation) };
    let region = Region::start(Arc::new(registry), journal, writer, config).unwrap();
    region.assign(config.shards.all(), Epoch::new(generation, 1));
    region
}

/// Waits until all shards are claimed, which is no part of what is measured.
pub(crate) async fn all_held(region: &Region) {
    while region.status().shards_held < SHARDS as usize {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub(crate) fn is_quick() -> bool {
    std::env::var_os("ABIDE_FIGURES_QUICK").is_some()
}

/// So many, or a hundredth.
pub(crate) fn many(count: usize) -> usize {
    if is_quick() { count.div_ceil(100) } else { count }
}

pub(crate) fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// An actor that stores texts, one event for each command.
pub(crate) struct Line {
    texts: u64,
}

#[derive(serde::Deserialize)]
pub(crate) enum LineCommand {
    Store(String),
    StoreAsync(String),
    StoreMany(Vec<String>),
    Count,
}

#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Stored(pub(crate) String);

impl Event for Stored {
    fn name(&self) -> &'static str {
        "stored"
    }
}

impl PersistentActor for Line {
    const TYPE: EntityType = EntityType::new("line");
    type Command = LineCommand;
    type Event = Stored;
    type Reply = u64;
    type Rejection = ();
    type State = u64;
    type Message = Infallible;

    fn new(_: &EntityId) -> Self {
        Self { texts: 0 }
    }

    fn state(&self) -> &u64 {
        &self.texts
    }

    fn receive_command(&mut self, command: LineCommand, ctx: &mut Context<'_, Self>) {
        match command {
            LineCommand::Store(text) => ctx.persist(Stored(text), Self::stored),
            LineCommand::StoreAsync(text) => ctx.persist_async(Stored(text), Self::stored),
            LineCommand::StoreMany(texts) => {
                ctx.persist_all(texts.into_iter().map(Stored).collect(), |this, _, _| this.texts += 1);
                ctx.defer(|this, ctx| ctx.reply(this.texts));
            }
            LineCommand::Count => ctx.reply(self.texts),
        }
    }

    fn receive_recover(&mut self, item: Recover<Self>, _: &mut RecoveryContext<'_, Self>) {
        match item {
            Recover::Event(_) => self.texts += 1,
            Recover::Snapshot(texts) => self.texts = texts,
        }
    }
}

impl Line {
    fn stored(&mut self, _: &Stored, ctx: &mut Context<'_, Self>) {
        self.texts += 1;
        ctx.reply(self.texts);
    }
}
