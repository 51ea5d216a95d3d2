//! The region: the part of a node that takes a request for any entity and brings it to its shard.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use abide_persistence::engine::{Body, EntitySettings, Message, Running};
use abide_persistence::journal::{Epoch, Writer};
use abide_persistence::model::{Answer, Caller, Failure, Format, PersistentActor};
use abide_persistence::{EntityId, EntityType, PersistenceId, PersistenceIdHash, ShardCount, ShardId};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinHandle;

use super::ask::Ask;
use super::clock::Clock;
use super::door::Door;
use super::inbox::NotTaken;
use super::lane::{Lane, LaneContext, LaneStats, Letter, ParkedAt, Unpark};
use super::reference::EntityRef;
use super::stores::{Kinds, Stores, UnknownStore};
use super::watch::Watchers;
use super::watchdog::Watchdog;
use crate::engine::registry::{Registry, TypeIndex};
use crate::engine::shard::ParkedFor;

/// How a region works.
#[derive(Clone, Copy, Debug)]
pub struct RegionConfig {
    /// Number of shards; fixed when the journal was first used.
    pub shards: ShardCount,
    /// Tasks that run them. More than cores gains nothing; each costs wake-ups.
    pub lanes: NonZeroUsize,
    /// Most requests that wait at a lane's door; beyond it they are refused at once.
    pub inbox_capacity: usize,
    /// What holds for each entity.
    pub entity: EntitySettings,
    /// An entity that nobody asked for this long leaves memory.
    pub passivate_after: Duration,
    /// Most entities in memory, approximately; beyond it the least recently used leave. `None`: no limit.
    pub max_active_entities: Option<NonZeroUsize>,
    /// Most entities that recover at the same time.
    pub max_recoveries: NonZeroUsize,
    /// Longest wait for a turn to recover.
    pub recovery_permit_timeout: Duration,
    /// Longest wait for the journal to answer a claim or a batch. A batch that is not answered by then is
    /// unknown, and the next claim settles it.
    pub journal_timeout: Duration,
    /// Longest wait for a page of events, and for a snapshot store.
    pub recovery_event_timeout: Duration,
    /// An entity's code that runs for longer is named in the log.
    pub slow_handler: Duration,
}

/// An entity's name, with what follows from it computed once.
#[derive(Clone)]
pub struct Address {
    pub(crate) type_index: TypeIndex,
    pub(crate) hash: PersistenceIdHash,
    route: Route,
    persistence_id: PersistenceId,
}

/// Where a region finds an entity. Computed once for each address: divisions are not free.
#[derive(Clone, Copy, Debug)]
struct Route {
    /// The region that this holds for.
    region: u32,
    lane: u32,
    /// The place in the lane; see [`Lane`].
    at: u32,
}

impl Address {
    /// The name.
    pub fn persistence_id(&self) -> &PersistenceId {
        &self.persistence_id
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.persistence_id.fmt(f)
    }
}

/// A request on its way to a lane, with the address borrowed while it is handled on the spot.
#[derive(Debug)]
pub(crate) struct Request<A> {
    pub(crate) to: A,
    /// Its shard's place in the lane.
    pub(crate) at: usize,
    pub(crate) message: Message<Body>,
    pub(crate) caller: Option<Caller>,
    pub(crate) deadline: Option<Duration>,
}

impl Request<&Address> {
    /// The same, to be left in an inbox.
    pub(crate) fn kept(self) -> Request<Address> {
        let Self { to, at, message, caller, deadline } = self;
        Request { to: to.clone(), at, message, caller, deadline }
    }
}

/// Why a region has stopped by itself; the host must end the process.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// A lane panicked: a bug of Abide.
    #[error("a lane has panicked; its shards are served by nobody")]
    Panicked,
    /// Another cluster or process works on this journal.
    #[error("this node must stop: {0}")]
    Usurped(String),
}

/// What a region is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionStatus {
    /// Shards assigned to this node.
    pub shards_assigned: usize,
    /// Those that it has claimed and serves.
    pub shards_held: usize,
    /// Those that were taken from it by a newer owner.
    pub shards_lost: usize,
    /// Those that are parked: they wait for an operator.
    pub shards_parked: usize,
    /// Entities in memory.
    pub entities: usize,
    /// Entities that cannot be recovered.
    pub entities_parked: usize,
    /// Requests that wait at the lanes' doors.
    pub requests_waiting: usize,
    /// Recoveries under way or waiting for their turn.
    pub recoveries: usize,
    /// Those under way.
    pub recoveries_running: usize,
}

/// An entity that cannot be recovered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedEntity {
    /// Its type.
    pub entity_type: EntityType,
    /// Its id.
    pub id: EntityId,
    /// Why, in words for an operator.
    pub reason: String,
}

/// A shard of which a journal has lost events, or holds what it did not write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedShard {
    /// The shard.
    pub shard: ShardId,
    /// Name of the journal.
    pub journal: String,
    /// Why, for an operator.
    pub cause: ParkedFor,
}

/// Brings requests to entities. Cheap to clone.
#[derive(Clone)]
pub struct Region(Arc<Inner>);

struct Inner {
    /// Tells its addresses from those of other regions.
    id: u32,
    registry: Arc<Registry>,
    kinds: Arc<Kinds>,
    _watchdog: Option<Watchdog>,
    watchers: Arc<Watchers>,
    /// Of those who may recover at the same time.
    permits: Arc<Semaphore>,
    config: RegionConfig,
    clock: Clock,
    lanes: Vec<(Arc<Door>, Arc<LaneStats>)>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    stopped: watch::Receiver<Option<Stopped>>,
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region").field("types", &self.0.registry).finish_non_exhaustive()
    }
}

impl Region {
    /// Starts the lanes on the current runtime. No shard is owned yet; see [`assign`](Self::assign).
    ///
    /// # Errors
    /// If a type asks for a store that is not among `stores`.
    pub fn start(
        registry: Arc<Registry>,
        stores: impl Into<Stores>,
        writer: Writer,
        config: RegionConfig,
    ) -> Result<Self, UnknownStore> {
        let kinds = Arc::new(Kinds::bind(&registry, &stores.into(), config.entity)?);
        let clock = Clock::start();
        let (report, stopped) = watch::channel(None);
        let permits = Arc::new(Semaphore::new(config.max_recoveries.get()));
        let watchers = Arc::new(Watchers::default());
        let mut lanes = Vec::new();
        let mut tasks = Vec::new();
        let mut watched = Vec::new();
        for index in 0..config.lanes.get() {
            let stats = Arc::new(LaneStats::default());
            let lane = Lane::new(LaneContext {
                index,
                config,
                clock,
                writer,
                kinds: Arc::clone(&kinds),
                runtime: Handle::current(),
                running: {
                    let running = Arc::<Running>::default();
                    watched.push(Arc::clone(&running));
                    running
                },
                permits: Arc::clone(&permits),
                stats: Arc::clone(&stats),
                watchers: Arc::clone(&watchers),
                stopped: report.clone(),
            });
            let door = Arc::new(Door::new(lane, config.inbox_capacity, report.clone()));
            let attended = Arc::clone(&door);
            tasks.push(tokio::spawn(async move { attended.attend().await }));
            lanes.push((door, stats));
        }
        let tasks = Mutex::new(tasks);
        let watchdog = Watchdog::start(watched, config.slow_handler)
            .inspect_err(|error| tracing::warn!(%error, "slow entities will not be named: no thread for it"))
            .ok();
        static REGIONS: AtomicU32 = AtomicU32::new(0);
        Ok(Self(Arc::new(Inner {
            id: REGIONS.fetch_add(1, Ordering::Relaxed),
            registry,
            kinds,
            _watchdog: watchdog,
            watchers,
            permits,
            config,
            clock,
            lanes,
            tasks,
            stopped,
        })))
    }

    /// Gives shards to this node at an epoch. It claims them at the journal and serves them then.
    pub fn assign(&self, shards: impl IntoIterator<Item = ShardId>, epoch: Epoch) {
        let mut by_lane = vec![Vec::new(); self.0.lanes.len()];
        for shard in shards {
            by_lane[self.lane(shard)].push(shard);
        }
        for ((door, _), shards) in self.0.lanes.iter().zip(by_lane) {
            door.bring_always(Letter::Assign { shards, epoch });
        }
    }

    /// Puts an entity's name together.
    ///
    /// # Errors
    /// [`Failure::UnknownType`] if nobody registered the type.
    pub fn address(&self, entity_type: &str, id: EntityId) -> Result<Address, Failure> {
        let type_index = self.0.registry.find(entity_type).ok_or(Failure::UnknownType)?;
        let persistence_id = PersistenceId::new(self.0.registry.entity_type(type_index), id);
        let hash = persistence_id.hash();
        Ok(Address { type_index, hash, route: self.route(type_index, hash), persistence_id })
    }

    fn route(&self, type_index: TypeIndex, hash: PersistenceIdHash) -> Route {
        let Inner { id, config, kinds, lanes, .. } = &*self.0;
        let shard = hash.shard(config.shards).0;
        let lanes = lanes.len() as u32;
        let journals = kinds.journals.len() as u32;
        let journal = kinds.get(type_index).journal as u32;
        Route { region: *id, lane: shard % lanes, at: shard / lanes * journals + journal }
    }

    /// Where to bring a request: the lane, and the place in it.
    fn find(&self, to: &Address) -> (usize, usize) {
        let mut route = to.route;
        if route.region != self.0.id {
            // An address of another region of this process, as after a restart in a test.
            route = self.route(to.type_index, to.hash);
        }
        (route.lane as usize, route.at as usize)
    }

    /// A reference to an entity.
    ///
    /// # Errors
    /// [`Failure::UnknownType`] if nobody registered the type.
    pub fn entity<A: PersistentActor>(&self, id: EntityId) -> Result<EntityRef<A>, Failure> {
        let address = self.address(A::TYPE.as_str(), id)?;
        Ok(EntityRef::new(self.clone(), address))
    }

    /// The registered types.
    pub fn entity_types(&self) -> impl Iterator<Item = EntityType> + '_ {
        self.0.registry.entity_types()
    }

    /// Sends a request. Whatever becomes of it, the caller is answered.
    pub fn send(
        &self,
        to: &Address,
        message: Message<Body>,
        caller: Option<Caller>,
        deadline: Option<Duration>,
    ) {
        let (lane, at) = self.find(to);
        let request = Request { to, at, message, caller, deadline };
        self.bring(lane, std::iter::once(request));
    }

    /// Sends a request and waits for the answer, at most this long.
    pub async fn ask(&self, to: &Address, message: Message<Body>, format: Format, limit: Duration) -> Answer {
        let (mut ask, waiting) = Ask::new();
        let deadline = self.0.clock.since_start() + limit;
        self.send(to, message, Some(Caller::new(waiting, 0, format)), Some(deadline));
        match tokio::time::timeout(limit, &mut ask).await {
            Ok(answer) => answer,
            Err(_) => Answer::failed(ask.give_up()),
        }
    }

    pub(crate) fn send_all<'a>(
        &self,
        requests: impl ExactSizeIterator<Item = (&'a Address, Message<Body>, Caller)>,
    ) {
        // Twice a fair share, so that hardly any has to grow.
        let room = 2 * requests.len().div_ceil(self.0.lanes.len());
        let mut by_lane: Vec<Vec<Request<&Address>>> = Vec::with_capacity(self.0.lanes.len());
        by_lane.resize_with(self.0.lanes.len(), || Vec::with_capacity(room));
        for (to, message, caller) in requests {
            let (lane, at) = self.find(to);
            by_lane[lane].push(Request { to, at, message, caller: Some(caller), deadline: None });
        }
        for (lane, requests) in by_lane.into_iter().enumerate() {
            if !requests.is_empty() {
                self.bring(lane, requests.into_iter());
            }
        }
    }

    /// What the region is doing.
    pub fn status(&self) -> RegionStatus {
        let mut status = RegionStatus::default();
        for (door, stats) in &self.0.lanes {
            status.shards_assigned += stats.shards_assigned.load(Ordering::Relaxed);
            status.shards_held += stats.shards_held.load(Ordering::Relaxed);
            status.shards_lost += stats.shards_lost.load(Ordering::Relaxed);
            status.shards_parked += stats.shards_parked.load(Ordering::Relaxed);
            status.entities += stats.entities.load(Ordering::Relaxed);
            status.entities_parked += stats.entities_parked.load(Ordering::Relaxed);
            status.recoveries += stats.recoveries.load(Ordering::Relaxed);
            status.requests_waiting += door.waiting();
        }
        let turns = self.0.config.max_recoveries.get().saturating_sub(self.0.permits.available_permits());
        // The two are not of one moment.
        status.recoveries_running = turns.min(status.recoveries);
        status
    }

    /// The entities of this node that are parked, up to `most`; in no order that means anything.
    ///
    /// # Errors
    /// [`Failure::NodeBusy`] if a lane has as much before its door as it may.
    pub async fn parked(&self, most: usize) -> Result<Vec<ParkedEntity>, Failure> {
        let mut parked = Vec::new();
        for (door, _) in &self.0.lanes {
            let room = most - parked.len();
            if room == 0 {
                break;
            }
            let shown = ask_lane(door, |to| Letter::ShowParked { most: room, to }).await?;
            parked.extend(shown.into_iter().map(|(entity_type, id, reason)| ParkedEntity {
                entity_type: self.0.registry.entity_type(entity_type),
                id,
                reason,
            }));
        }
        Ok(parked)
    }

    /// The shards of this node that are parked, up to `most`: a journal has lost events of them, or holds what
    /// it did not write.
    ///
    /// # Errors
    /// As of [`parked`](Self::parked).
    pub async fn parked_shards(&self, most: usize) -> Result<Vec<ParkedShard>, Failure> {
        let mut parked = Vec::new();
        for (door, _) in &self.0.lanes {
            let room = most - parked.len();
            if room == 0 {
                break;
            }
            let shown = ask_lane(door, |to| Letter::ShowParkedShards { most: room, to }).await?;
            parked.extend(shown.into_iter().map(|found| self.parked_shard(found)));
        }
        Ok(parked)
    }

    /// Goes on with what is left of a parked shard, at every journal that has lost events of it: it is claimed
    /// as if nothing were known of it. Hands back what was lost; nothing, if the shard is not parked for a loss.
    ///
    /// # Errors
    /// As of [`parked`](Self::parked).
    ///
    /// # Panics
    /// If there is no such shard.
    pub async fn accept_loss(&self, shard: ShardId) -> Result<Vec<ParkedShard>, Failure> {
        self.unpark(shard, Unpark::AcceptLoss).await
    }

    /// Lets a parked shard try again, at every journal where it is parked: it is claimed with all that is known
    /// of it. If the claim finds the same, it is parked again. Hands back why it was parked; nothing, if it
    /// was not.
    ///
    /// # Errors
    /// As of [`parked`](Self::parked).
    ///
    /// # Panics
    /// If there is no such shard.
    pub async fn release_shard(&self, shard: ShardId) -> Result<Vec<ParkedShard>, Failure> {
        self.unpark(shard, Unpark::Release).await
    }

    async fn unpark(&self, shard: ShardId, how: Unpark) -> Result<Vec<ParkedShard>, Failure> {
        assert!(shard.0 < self.0.config.shards.get(), "there is no shard {shard}");
        let (door, _) = &self.0.lanes[self.lane(shard)];
        let unparked = ask_lane(door, |to| Letter::Unpark { shard, how, to }).await?;
        Ok(unparked.into_iter().map(|found| self.parked_shard(found)).collect())
    }

    fn parked_shard(&self, (shard, journal, cause): ParkedAt) -> ParkedShard {
        ParkedShard { shard, journal: self.0.kinds.journal_names[journal].clone(), cause }
    }

    /// Ends when the region cannot go on by itself.
    pub async fn stopped(&self) -> Stopped {
        let mut stopped = self.0.stopped.clone();
        loop {
            let reason = stopped.borrow_and_update().clone();
            match reason {
                Some(reason) => return reason,
                None if stopped.changed().await.is_err() => std::future::pending().await,
                None => {}
            }
        }
    }

    /// Handles what was sent before, waits for the writes, then drops all entities. What is sent
    /// afterwards is refused.
    pub async fn stop(&self) {
        for (door, _) in &self.0.lanes {
            door.bring_always(Letter::Stop);
        }
        let tasks = std::mem::take(&mut *self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            // The outer task only fails if the runtime goes away, and then there is nothing to wait for.
            let _ = task.await;
        }
    }

    fn bring<'a>(&self, lane: usize, requests: impl Iterator<Item = Request<&'a Address>>) {
        let (door, _) = &self.0.lanes[lane];
        if let Err((letters, why)) = door.bring(requests) {
            letters.into_iter().for_each(|letter| refuse(letter, &why, door.capacity()));
        }
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.0.registry
    }

    pub(super) fn config(&self) -> &RegionConfig {
        &self.0.config
    }

    pub(super) fn kinds(&self) -> &Kinds {
        &self.0.kinds
    }

    pub(super) fn watchers(&self) -> &Arc<Watchers> {
        &self.0.watchers
    }

    fn lane(&self, shard: ShardId) -> usize {
        shard.0 as usize % self.0.lanes.len()
    }
}

/// Asks a lane something; one that has ended has nothing to tell.
async fn ask_lane<T>(
    door: &Door,
    letter: impl FnOnce(oneshot::Sender<Vec<T>>) -> Letter,
) -> Result<Vec<T>, Failure> {
    // Whoever asks again and again while a lane is held up must not fill its inbox.
    if door.waiting() >= door.capacity() {
        return Err(Failure::NodeBusy { capacity: door.capacity() });
    }
    let (to, told) = oneshot::channel();
    door.bring_always(letter(to));
    Ok(told.await.unwrap_or_default())
}

fn refuse(letter: Letter, why: &NotTaken, capacity: usize) {
    if let Letter::Deliver(Request { caller: Some(caller), .. }) = letter {
        caller.answer(Answer::failed(match why {
            NotTaken::Full => Failure::NodeBusy { capacity },
            NotTaken::Closed => Failure::ShuttingDown,
        }));
    }
}
