//! A whole node in memory.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use abide_persistence::engine::Message;
use abide_persistence::journal::{Claim, Epoch, Journal, Writer};
use abide_persistence::model::{
    EventSourced, EventSourcedActor, Failure, Format, Payload, PersistentActor, Reply,
};
use abide_persistence::runtime::{Call, Fault, MemoryJournal, On};
use abide_persistence::{EntityId, PersistenceId, ShardCount};
use abide_sharding::{EntityRef, Region, Registry};
use serde_json::Value;

use super::http::Http;
use super::stored::{self, Record, Seen};
use crate::app::App;
use crate::config::Config;
use crate::serve::region_config;

/// Longest wait for an answer, many times what a working entity takes on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Few, so that a node starts at once; more than one, so that a fault of one shard leaves others alone.
fn shards() -> ShardCount {
    ShardCount::new(16).expect("in range")
}

/// The owner of all events that are there before the node.
const BEFORE: u32 = 1;

/// A node in memory, for integration tests: the journal is kept in memory and fails on demand, all else is
/// what serves in production.
///
/// It runs on the test's own runtime. End it with [`shutdown`](Self::shutdown), or with the runtime.
///
/// Its methods are for tests: they panic on what a test gets wrong, such as a type that was not added.
///
/// ```
/// use abide::demo::{Account, AccountCommand, Balance};
/// use abide::test::Node;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let node = Node::new(|app| app.entity::<Account>()).await;
/// let alice = node.entity::<Account>("alice");
/// assert_eq!(alice.ask(AccountCommand::Deposit { amount: 2 }).await, Ok(Balance { balance: 2 }));
/// assert_eq!(node.events(&alice).len(), 1);
/// node.shutdown().await;
/// # }
/// ```
pub struct Node {
    registry: Arc<Registry>,
    journal: MemoryJournal,
    /// Counts its lives; the upper part of its epochs.
    generation: u32,
    region: Region,
    http: Option<Http>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("types", &self.registry).finish_non_exhaustive()
    }
}

impl Node {
    /// Starts a node with the types that the closure adds, as [`abide::main`](crate::main) takes it.
    ///
    /// # Panics
    /// If two types have one name, or outside of a tokio runtime.
    pub async fn new(register: impl FnOnce(App) -> App) -> Self {
        let app = register(App::default());
        assert!(app.faults.is_empty(), "the program is at fault: {}", app.faults.join("; "));
        Self::on(MemoryJournal::new(), app.registry)
    }

    /// Starts a node for one type, over events that are there already.
    pub(super) async fn with_past<A: PersistentActor>(
        id: &EntityId,
        records: &[Record],
    ) -> Result<Self, String> {
        let journal = MemoryJournal::new();
        let claim = Claim { epoch: Epoch::new(BEFORE, 1), session: 1 };
        let persistence_id = PersistenceId::new(A::TYPE, id.clone());
        let owner = (claim, writer(BEFORE));
        stored::store(&journal, shards(), owner, &persistence_id, records).await?;
        let mut registry = Registry::default();
        registry.actor::<A>().map_err(|fault| fault.to_string())?;
        Ok(Self::on(journal, registry))
    }

    fn on(journal: MemoryJournal, registry: Registry) -> Self {
        let registry = Arc::new(registry);
        let generation = BEFORE + 1;
        let region = start(&registry, &journal, generation);
        Self { registry, journal, generation, region, http: None }
    }

    /// A reference to an [`EventSourced`] entity. It is good until the next [`restart`](Self::restart).
    ///
    /// # Panics
    /// If the type was not added to the node, or the id is not one.
    #[track_caller]
    pub fn entity<T: EventSourced>(&self, id: &str) -> EntityRef<EventSourcedActor<T>> {
        self.actor(id)
    }

    /// A reference to a [`PersistentActor`]. It is good until the next [`restart`](Self::restart).
    ///
    /// # Panics
    /// If the type was not added to the node, or the id is not one.
    #[track_caller]
    pub fn actor<A: PersistentActor>(&self, id: &str) -> EntityRef<A> {
        match self.region.entity::<A>(entity_id(id)) {
            Ok(entity) => entity,
            Err(_) => panic!(
                "the node has no type \"{}\"; add it where the node is made: app.entity::<…>() or app.actor::<…>()",
                A::TYPE.as_str()
            ),
        }
    }

    /// The events of an entity that are stored at this moment, and not deleted.
    ///
    /// What a command has persisted is there once the command is answered, if the answer came after the
    /// event, as it does of every [`EventSourced`] entity.
    ///
    /// # Panics
    /// If one of them cannot be read back.
    #[track_caller]
    pub fn events<A: PersistentActor>(&self, of: &EntityRef<A>) -> Vec<A::Event> {
        let read = |record: Record| record.event::<A::Event>();
        match self.records(of).and_then(|records| records.into_iter().map(read).collect()) {
            Ok(events) => events,
            Err(fault) => panic!("{}: {fault}", name(of)),
        }
    }

    pub(super) fn records<A: PersistentActor>(&self, of: &EntityRef<A>) -> Result<Vec<Record>, String> {
        let control = self.journal.control();
        control.events(of.address().persistence_id()).into_iter().map(Record::from_bytes).collect()
    }

    /// An entity's state as `GET` shows it.
    ///
    /// # Panics
    /// If it cannot be shown, with the failure.
    pub async fn state<A: PersistentActor>(&self, of: &EntityRef<A>) -> Value {
        match self.read_state(of).await {
            Ok(state) => state.into_json(),
            Err(fault) => panic!("the state of {} cannot be read: {fault}", name(of)),
        }
    }

    pub(super) async fn read_state<A: PersistentActor>(&self, of: &EntityRef<A>) -> Result<Seen, String> {
        let asked = self.region.ask(of.address(), Message::ReadState, Format::Json, PATIENCE).await;
        match asked.result {
            Ok(Reply::Value(Payload::Json(json))) => Seen::from_bytes(json),
            Ok(other) => Err(format!("it was answered with {other:?}")),
            Err(failure) => Err(match *failure {
                Failure::Parked { reason } => reason,
                other => other.to_string(),
            }),
        }
    }

    /// The next writes fail, so many batches of them: nothing is stored, and their callers learn that.
    pub fn fail_next(&self, writes: u64) {
        self.journal.control().faults().next(writes, Call::Write, Fault::Refused);
    }

    /// The same for the next writes of one entity. Others whose events are in the same batch fail with it.
    pub fn fail_next_of<A: PersistentActor>(&self, entity: &EntityRef<A>, writes: u64) {
        self.journal.control().faults().next(
            writes,
            On::call(Call::Write).of(entity.address().persistence_id().clone()),
            Fault::Refused,
        );
    }

    /// The journal rejects all that is in the next batches, so many of them, as a store does with what it
    /// will never take: nothing is stored.
    pub fn reject_next(&self, writes: u64) {
        self.journal.control().faults().next(writes, Call::Write, Fault::Rejected);
    }

    /// The same for the next writes of one entity alone; the rest of the batch is stored.
    pub fn reject_next_of<A: PersistentActor>(&self, entity: &EntityRef<A>, writes: u64) {
        self.journal.control().faults().next(
            writes,
            On::call(Call::Write).of(entity.address().persistence_id().clone()),
            Fault::Rejected,
        );
    }

    /// The answers to the next writes are lost: the events are stored, and their callers learn only that
    /// they may be.
    pub fn lose_next_answers(&self, writes: u64) {
        self.journal.control().faults().next(writes, Call::Write, Fault::AnswerLost);
    }

    /// The same for the next writes of one entity, and what is in the same batch.
    pub fn lose_next_answers_of<A: PersistentActor>(&self, entity: &EntityRef<A>, writes: u64) {
        self.journal.control().faults().next(
            writes,
            On::call(Call::Write).of(entity.address().persistence_id().clone()),
            Fault::AnswerLost,
        );
    }

    /// The next reads of events fail, so many of them. An entity that recovers tries again.
    pub fn fail_next_reads(&self, reads: u64) {
        self.journal.control().faults().next(reads, Call::Read, Fault::Refused);
    }

    /// The same for the next reads of one entity's events.
    pub fn fail_next_reads_of<A: PersistentActor>(&self, entity: &EntityRef<A>, reads: u64) {
        self.journal.control().faults().next(
            reads,
            On::call(Call::Read).of(entity.address().persistence_id().clone()),
            Fault::Refused,
        );
    }

    /// Serves HTTP on a free port of this machine, and says where: `http://127.0.0.1:<port>`. Asked again,
    /// it says the same.
    ///
    /// # Panics
    /// If no port is to be had.
    pub async fn http(&mut self) -> String {
        if self.http.is_none() {
            self.listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await;
        }
        let address = self.http.as_ref().map(Http::address);
        address.map(|address| format!("http://{address}")).unwrap_or_default()
    }

    async fn listen(&mut self, address: SocketAddr) {
        match Http::start(&self.region, address).await {
            Ok(http) => self.http = Some(http),
            Err(cause) => panic!("the node cannot listen on {address}: {cause}"),
        }
    }

    /// Drops all entities from memory, as a restart of the process does, and keeps the journal: what was
    /// stored is recovered, what was only in memory is gone. References made before are dead; HTTP serves on
    /// at the same address. Faults that were ordered and have not come yet stay ordered.
    ///
    /// # Panics
    /// If the port of its listener was taken meanwhile.
    pub async fn restart(&mut self) {
        let http = self.http.take();
        let address = http.as_ref().map(Http::address);
        if let Some(http) = http {
            http.stop().await;
        }
        self.region.stop().await;
        self.generation += 1;
        self.region = start(&self.registry, &self.journal, self.generation);
        if let Some(address) = address {
            self.listen(address).await;
        }
    }

    /// Ends it in order: running requests are answered, writes finish, then all is dropped.
    pub async fn shutdown(self) {
        if let Some(http) = self.http {
            http.stop().await;
        }
        self.region.stop().await;
        self.journal.close().await;
    }
}

fn writer(generation: u32) -> Writer {
    Writer { cluster: 1, incarnation: u128::from(generation) }
}

/// The only place here that knows how a region is started.
fn start(registry: &Arc<Registry>, journal: &MemoryJournal, generation: u32) -> Region {
    let mut config = Config::default();
    config.sharding.shards = shards();
    config.sharding.lanes = 1;
    // A test that makes a write fail asks again at once.
    config.entity.backoff_min = Duration::from_millis(1);
    config.entity.backoff_max = Duration::from_millis(20);
    let config = region_config(&config, journal.limits());
    let region = Region::start(Arc::clone(registry), Arc::new(journal.clone()), writer(generation), config)
        .unwrap_or_else(|fault| panic!("the program is at fault: {fault}"));
    region.assign(shards().all(), Epoch::new(generation, 1));
    region
}

#[track_caller]
pub(super) fn entity_id(id: &str) -> EntityId {
    match EntityId::new(id) {
        Ok(id) => id,
        Err(fault) => panic!("{id:?} is no entity id: {fault}"),
    }
}

pub(super) fn name<A: PersistentActor>(entity: &EntityRef<A>) -> String {
    entity.address().persistence_id().to_string()
}
