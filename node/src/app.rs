//! What a program serves: its entity types, and the stores that it has beside those of Abide.

use abide_persistence::journal::{Journal, SnapshotStore};
use abide_persistence::model::{EventSourced, EventSourcedActor, PersistentActor};
use abide_persistence::runtime::redis::options::RedisOptions;
use abide_sharding::{EntityOptions, Registry};

use crate::config::{Config, ProgramDefaults, StoreNames};
use crate::stores::{Cause, Open, Opened, Registered, StoreHealth, Use, open_redis_with, run_here};

/// The entity types and stores of a program. Made by [`main`](crate::main) and handed to its closure.
///
/// A store has a name. A type chooses one with [`EntityOptions::journal`] and [`EntityOptions::snapshots`];
/// types that choose none use `journal.store` and `snapshot.store` of the configuration. Where the
/// configuration does not say, [`default_journal`](Self::default_journal) and
/// [`default_snapshot_store`](Self::default_snapshot_store) do. A store that no type uses is not opened.
#[derive(Debug, Default)]
pub struct App {
    pub(crate) registry: Registry,
    pub(crate) stores: Registered,
    pub(crate) defaults: ProgramDefaults,
    /// Faults are shown together, at start.
    pub(crate) faults: Vec<String>,
}

impl App {
    /// Serves an [`EventSourced`] type.
    #[must_use]
    pub fn entity<T: EventSourced>(self) -> Self {
        self.entity_with::<T>(|options| options)
    }

    /// Serves a [`PersistentActor`] type.
    #[must_use]
    pub fn actor<A: PersistentActor>(self) -> Self {
        self.actor_with::<A>(|options| options)
    }

    /// Serves an [`EventSourced`] type with options, such as schemas for `/openapi.json`:
    /// `app.entity_with::<Door>(|options| options.schemas())`.
    #[must_use]
    pub fn entity_with<T: EventSourced>(
        self,
        options: impl FnOnce(EntityOptions<EventSourcedActor<T>>) -> EntityOptions<EventSourcedActor<T>>,
    ) -> Self {
        self.actor_with(options)
    }

    /// Serves a [`PersistentActor`] type with options.
    #[must_use]
    pub fn actor_with<A: PersistentActor>(
        mut self,
        options: impl FnOnce(EntityOptions<A>) -> EntityOptions<A>,
    ) -> Self {
        let registered = self.registry.actor_with::<A>(options(EntityOptions::default()));
        self.faults.extend(registered.err().map(|fault| fault.to_string()));
        self
    }

    /// Has a journal of one's own under this name.
    #[must_use]
    pub fn store(self, name: impl Into<String>, journal: impl Journal) -> Self {
        self.register(name, Use::Journal, here(move |_| Ok(Opened::journal(journal))))
    }

    /// Has a snapshot store of one's own under this name.
    #[must_use]
    pub fn snapshot_store(self, name: impl Into<String>, store: impl SnapshotStore) -> Self {
        self.register(name, Use::Snapshots, here(move |_| Ok(Opened::snapshots(store))))
    }

    /// Has a journal and snapshot store of this name on Redis, beside the one that the configuration may set up;
    /// the servers, and who connects to them, are the program's. If they are not there when the node starts, it
    /// waits for them, and `/readyz` tells so.
    ///
    /// ```no_run
    /// # use std::sync::Arc;
    /// use abide::persistence::runtime::redis::options::RedisOptions;
    /// use abide::persistence::runtime::redis::{Dial, Setup};
    ///
    /// # fn register(app: abide::App) -> Result<abide::App, Box<dyn std::error::Error>> {
    /// let orders = Setup { urls: vec!["redis://orders.example:6379".to_owned()], ..Setup::default() };
    /// let dial = Dial::new(&orders)?;
    /// let seeds = dial.seeds().to_vec();
    /// # Ok(
    /// app.redis_store("orders", RedisOptions::new(Arc::new(dial), seeds))
    /// # )
    /// # }
    /// ```
    #[must_use]
    pub fn redis_store(self, name: impl Into<String>, options: RedisOptions) -> Self {
        let open = move |_: &Config, _: Use| open_redis_with(&options);
        self.register(name, Use::Both, Open::Elsewhere(Box::new(open)))
    }

    /// How a store shows in `/healthz`, whoever it comes from.
    #[must_use]
    pub fn health(mut self, store: impl Into<String>, health: StoreHealth) -> Self {
        self.stores.health.push((store.into(), health));
        self
    }

    /// Has a journal under this name that is opened when the node starts, if a type uses it. If it does not
    /// open, the node does not start and says why.
    ///
    /// The closure has a thread of its own for that: it may wait for a future, block, or do both.
    ///
    /// ```no_run
    /// # use abide::persistence::runtime::{EmbeddedOptions, EmbeddedStore, OpenError};
    /// # fn register(app: abide::App) -> abide::App {
    /// app.open_store("archive", |config| async move {
    ///     EmbeddedStore::open(config.node.data_dir.join("archive"), EmbeddedOptions::default())
    /// })
    /// # }
    /// ```
    #[must_use]
    pub fn open_store<J, E, F>(
        self,
        name: impl Into<String>,
        open: impl FnOnce(Config) -> F + Send + 'static,
    ) -> Self
    where
        J: Journal,
        E: Into<Cause>,
        F: Future<Output = Result<J, E>>,
    {
        self.open_with(name, Use::Journal, open, Opened::journal)
    }

    /// The same for a snapshot store.
    #[must_use]
    pub fn open_snapshot_store<S, E, F>(
        self,
        name: impl Into<String>,
        open: impl FnOnce(Config) -> F + Send + 'static,
    ) -> Self
    where
        S: SnapshotStore,
        E: Into<Cause>,
        F: Future<Output = Result<S, E>>,
    {
        self.open_with(name, Use::Snapshots, open, Opened::snapshots)
    }

    /// The same for a store that is both: a journal and a snapshot store of this name, opened once.
    #[must_use]
    pub fn open_journal_and_snapshots<S, E, F>(
        self,
        name: impl Into<String>,
        open: impl FnOnce(Config) -> F + Send + 'static,
    ) -> Self
    where
        S: Journal + SnapshotStore,
        E: Into<Cause>,
        F: Future<Output = Result<S, E>>,
    {
        self.open_with(name, Use::Both, open, Opened::both)
    }

    /// The journal of types that name none, unless the configuration sets `journal.store`.
    #[must_use]
    pub fn default_journal(mut self, name: impl Into<String>) -> Self {
        self.defaults.journal = Some(name.into());
        self
    }

    /// The snapshot store of types that name none, unless the configuration sets `snapshot.store`. "none"
    /// lets them have none.
    #[must_use]
    pub fn default_snapshot_store(mut self, name: impl Into<String>) -> Self {
        self.defaults.snapshots = Some(name.into());
        self
    }

    /// The stores that the configuration may choose: those of Abide, and those of this program.
    pub fn store_names(&self) -> StoreNames {
        self.stores.names()
    }

    /// The configuration with this program's defaults, where nobody set anything else.
    #[must_use]
    pub fn settle(&self, config: &Config) -> Config {
        let mut settled = config.clone();
        settled.settle(&self.defaults, &self.store_names());
        settled
    }

    fn open_with<S, E, F>(
        self,
        name: impl Into<String>,
        has: Use,
        open: impl FnOnce(Config) -> F + Send + 'static,
        opened: impl FnOnce(S) -> Opened + Send + 'static,
    ) -> Self
    where
        E: Into<Cause>,
        F: Future<Output = Result<S, E>>,
    {
        let open = move |config: &Config| {
            let opening = open(config.clone());
            run_here(async { opening.await.map_err(Into::into) }).map(opened)
        };
        self.register(name, has, here(open))
    }

    fn register(mut self, name: impl Into<String>, has: Use, open: Open) -> Self {
        let added = self.stores.add(name.into(), has, open);
        self.faults.extend(added.err());
        self
    }
}

fn here(open: impl FnOnce(&Config) -> Result<Opened, Cause> + Send + 'static) -> Open {
    Open::Here(Box::new(open))
}
