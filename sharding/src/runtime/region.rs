//! The region: the part of a node that takes a request for any entity and brings it to its shard.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use abide_persistence::engine::{Body, EntitySettings, Message};
use abide_persistence::journal::{Epoch, Journal, Writer};
use abide_persistence::model::{Answer, Caller, Failure, Format, PersistentActor};
use abide_persistence::{EntityId, EntityType, PersistenceId, PersistenceIdHash, ShardCount, ShardId};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use super::ask::Ask;
use super::clock::Clock;
use super::inbox::{Inbox, NotTaken};
use super::lane::{Lane, LaneContext, LaneStats, Letter};
use super::reference::EntityRef;
use crate::engine::registry::{Registry, TypeIndex};
use crate::engine::shard::Delivery;

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
    /// Longest wait for a page of events.
    pub recovery_event_timeout: Duration,
}

/// An entity's name, with what follows from it computed once.
#[derive(Clone)]
pub struct Address {
    pub(crate) type_index: TypeIndex,
    pub(crate) hash: PersistenceIdHash,
    persistence_id: PersistenceId,
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
    /// Those that were taken from it by a newer owner, or that disagree with the journal.
    pub shards_lost: usize,
    /// Entities in memory.
    pub entities: usize,
    /// Entities that cannot be recovered.
    pub entities_parked: usize,
    /// Requests that wait at the lanes' doors.
    pub requests_waiting: usize,
    /// Recoveries under way or waiting for their turn.
    pub recoveries: usize,
}

/// Brings requests to entities. Cheap to clone.
#[derive(Clone)]
pub struct Region(Arc<Inner>);

struct Inner {
    registry: Arc<Registry>,
    config: RegionConfig,
    clock: Clock,
    lanes: Vec<(Arc<Inbox<Letter>>, Arc<LaneStats>)>,
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
    pub fn start(
        registry: Arc<Registry>,
        journal: Arc<dyn Journal>,
        writer: Writer,
        config: RegionConfig,
    ) -> Self {
        let clock = Clock::start();
        let (report, stopped) = watch::channel(None);
        let permits = Arc::new(Semaphore::new(config.max_recoveries.get()));
        let report = Arc::new(report);
        let mut lanes = Vec::new();
        let mut tasks = Vec::new();
        for index in 0..config.lanes.get() {
            let inbox = Arc::new(Inbox::new(config.inbox_capacity));
            let stats = Arc::new(LaneStats::default());
            let lane = Lane::new(LaneContext {
                index,
                config,
                clock,
                writer,
                registry: Arc::clone(&registry),
                journal: Arc::clone(&journal),
                permits: Arc::clone(&permits),
                inbox: Arc::clone(&inbox),
                stats: Arc::clone(&stats),
                stopped: Arc::clone(&report),
            });
            let report = Arc::clone(&report);
            let closing = Arc::clone(&inbox);
            tasks.push(tokio::spawn(async move {
                // The outer task outlives a panic of the lane, closes the door and tells.
                if tokio::spawn(lane.run()).await.is_err_and(|error| error.is_panic()) {
                    report.send_replace(Some(Stopped::Panicked));
                }
                closing.close();
            }));
            lanes.push((inbox, stats));
        }
        let tasks = Mutex::new(tasks);
        Self(Arc::new(Inner { registry, config, clock, lanes, tasks, stopped }))
    }

    /// Gives shards to this node at an epoch. It claims them at the journal and serves them then.
    pub fn assign(&self, shards: impl IntoIterator<Item = ShardId>, epoch: Epoch) {
        let mut by_lane = vec![Vec::new(); self.0.lanes.len()];
        for shard in shards {
            by_lane[self.lane(shard)].push(shard);
        }
        for ((inbox, _), shards) in self.0.lanes.iter().zip(by_lane) {
            inbox.put_always(Letter::Assign { shards, epoch });
        }
    }

    /// Puts an entity's name together.
    ///
    /// # Errors
    /// [`Failure::UnknownType`] if nobody registered the type.
    pub fn address(&self, entity_type: &str, id: EntityId) -> Result<Address, Failure> {
        let type_index = self.0.registry.find(entity_type).ok_or(Failure::UnknownType)?;
        let persistence_id = PersistenceId::new(self.0.registry.entity_type(type_index), id);
        Ok(Address { type_index, hash: persistence_id.hash(), persistence_id })
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
        let (shard, letter) = self.letter(to, message, caller, deadline);
        let (inbox, _) = &self.0.lanes[self.lane(shard)];
        if let Err((letter, why)) = inbox.put(letter) {
            refuse(letter, &why, inbox.capacity());
        }
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

    pub(crate) fn send_all<'a>(&self, requests: impl Iterator<Item = (&'a Address, Message<Body>, Caller)>) {
        let mut by_lane: Vec<Vec<Letter>> = Vec::new();
        by_lane.resize_with(self.0.lanes.len(), Vec::new);
        for (to, message, caller) in requests {
            let (shard, letter) = self.letter(to, message, Some(caller), None);
            by_lane[self.lane(shard)].push(letter);
        }
        for ((inbox, _), mut letters) in self.0.lanes.iter().zip(by_lane) {
            if !letters.is_empty()
                && let Err(why) = inbox.put_all(&mut letters)
            {
                letters.into_iter().for_each(|letter| refuse(letter, &why, inbox.capacity()));
            }
        }
    }

    /// What the region is doing.
    pub fn status(&self) -> RegionStatus {
        let mut status = RegionStatus::default();
        for (inbox, stats) in &self.0.lanes {
            status.shards_assigned += stats.shards_assigned.load(Ordering::Relaxed);
            status.shards_held += stats.shards_held.load(Ordering::Relaxed);
            status.shards_lost += stats.shards_lost.load(Ordering::Relaxed);
            status.entities += stats.entities.load(Ordering::Relaxed);
            status.entities_parked += stats.entities_parked.load(Ordering::Relaxed);
            status.recoveries += stats.recoveries.load(Ordering::Relaxed);
            status.requests_waiting += inbox.len();
        }
        status
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
        for (inbox, _) in &self.0.lanes {
            inbox.put_always(Letter::Stop);
        }
        let tasks = std::mem::take(&mut *self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            // The outer task only fails if the runtime goes away, and then there is nothing to wait for.
            let _ = task.await;
        }
    }

    fn letter(
        &self,
        to: &Address,
        message: Message<Body>,
        caller: Option<Caller>,
        deadline: Option<Duration>,
    ) -> (ShardId, Letter) {
        let shard = to.hash.shard(self.0.config.shards);
        let delivery = Delivery {
            entity_type: to.type_index,
            hash: to.hash,
            id: to.persistence_id.id.clone(),
            message,
            caller,
            deadline,
        };
        (shard, Letter::Deliver { shard, delivery })
    }

    fn lane(&self, shard: ShardId) -> usize {
        shard.0 as usize % self.0.lanes.len()
    }
}

fn refuse(letter: Letter, why: &NotTaken, capacity: usize) {
    if let Letter::Deliver { delivery: Delivery { caller: Some(caller), .. }, .. } = letter {
        caller.answer(Answer::failed(match why {
            NotTaken::Full => Failure::NodeBusy { capacity },
            NotTaken::Closed => Failure::ShuttingDown,
        }));
    }
}
