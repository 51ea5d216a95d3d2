//! The stores of a node: which of the registered ones its entity types use, opened, and closed again.
//!
//! ```text
//!   registered ──choose──▶ those in use ──open──▶ generation ──▶ … ──▶ close
//!   by name      types,                  each once;            also if the start
//!                configuration           on a thread           fails half-way
//! ```
//!
//! A store that no type uses is not opened.

mod generation;
mod health;
mod redis;
mod registered;
mod waiting;

use std::sync::Arc;

use abide_http_api::{Check, Readiness};
use abide_persistence::journal::{Journal, SnapshotCriteria, SnapshotError, SnapshotStore};
use abide_persistence::{EntityId, EntityType, PersistenceId, ShardCount};
use abide_sharding::{Registry, Stores};
use tokio::runtime::Handle;

use crate::config::{Config, NO_SNAPSHOTS};
use crate::serve::StartError;

pub(crate) use generation::take_generation;
pub use health::StoreHealth;
pub(crate) use redis::open_with as open_redis_with;
use registered::listed;
pub(crate) use registered::{Cause, Open, Opened, Registered, Use};
pub(crate) use waiting::OPENING;
use waiting::until_open;

/// Those of the registered stores that are used, by their places; the default of each kind is the first.
#[derive(Debug, PartialEq, Eq)]
struct Chosen {
    journals: Vec<usize>,
    snapshots: Vec<usize>,
    /// Whether types that name no snapshot store have one.
    default_snapshots: bool,
}

/// The stores that a node uses.
#[derive(Default)]
pub(crate) struct OpenStores {
    journals: Vec<(String, Arc<dyn Journal>, StoreHealth)>,
    snapshots: Vec<(String, Arc<dyn SnapshotStore>, StoreHealth)>,
    default_snapshots: bool,
    /// Each as it was opened, to be closed.
    all: Vec<Opened>,
}

impl std::fmt::Debug for OpenStores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenStores")
            .field("journals", &self.journal_names())
            .field("snapshots", &self.snapshot_names())
            .finish_non_exhaustive()
    }
}

/// Opens what the types use, and puts into `open` what is to be closed, also if a store does not open or nobody
/// waits any more.
pub(crate) async fn open(
    registered: Registered,
    registry: &Registry,
    config: &Config,
    readiness: &Readiness,
    open: &mut OpenStores,
) -> Result<(), StartError> {
    let chosen = choose(&registered, registry, config).map_err(StartError::App)?;
    open.default_snapshots = chosen.default_snapshots;
    let mut waiting: Vec<_> = registered.stores.into_iter().map(Some).collect();
    let mut opened: Vec<Option<(String, Opened)>> = Vec::new();
    opened.resize_with(waiting.len(), || None);
    for &at in chosen.journals.iter().chain(&chosen.snapshots) {
        let Some(store) = waiting[at].take() else { continue };
        let has = match (chosen.journals.contains(&at), chosen.snapshots.contains(&at)) {
            (true, true) => Use::Both,
            (true, false) => Use::Journal,
            (false, _) => Use::Snapshots,
        };
        let name = store.name;
        let result = match store.open {
            // It may block as well as wait: the thread is its own.
            Open::Here(open) => {
                let config = config.clone();
                let done = tokio::task::spawn_blocking(move || open(&config)).await;
                done.unwrap_or_else(|panic| Err(panic.into()))
            }
            Open::Elsewhere(open) => until_open(&name, readiness, || open(config, has)).await,
        };
        match result {
            Ok(store) => {
                let health = registered.health.iter().find(|(of, _)| *of == name);
                let store = match health {
                    Some((_, health)) => Opened { health: [health.clone(), health.clone()], ..store },
                    None => store,
                };
                open.all.push(store.clone());
                opened[at] = Some((name, store));
            }
            Err(cause) => return Err(StartError::Store { name, cause }),
        }
    }
    let find = |at: &usize| opened[*at].clone();
    let journals = chosen.journals.iter().filter_map(find);
    open.journals =
        journals.filter_map(|(name, store)| Some((name, store.journal?, store.health[0].clone()))).collect();
    let snapshots = chosen.snapshots.iter().filter_map(find);
    open.snapshots = snapshots
        .filter_map(|(name, store)| Some((name, store.snapshots?, store.health[1].clone())))
        .collect();
    Ok(())
}

fn choose(registered: &Registered, registry: &Registry, config: &Config) -> Result<Chosen, String> {
    let mut chosen = Chosen { journals: Vec::new(), snapshots: Vec::new(), default_snapshots: false };
    let names = registered.names();
    for (store, _) in &registered.health {
        if ![&names.journals, &names.snapshots].iter().any(|known| known.contains(store)) {
            return Err(format!(
                "app.health(\"{store}\", …): there is no store of that name; there are {}",
                listed(&names.journals)
            ));
        }
    }
    // The default first, wherever it is asked for.
    let mut journals: Vec<_> = registry.journals().collect();
    journals.sort_by_key(|(_, name)| name.is_some());
    for (entity_type, name) in journals {
        let at =
            find(registered, Use::of_journal, name.unwrap_or(&config.journal.store)).ok_or_else(|| {
                unknown(
                    entity_type,
                    "journal",
                    name,
                    ("journal.store", &config.journal.store),
                    &names.journals,
                )
            })?;
        if !chosen.journals.contains(&at) {
            chosen.journals.push(at);
        }
    }
    let mut snapshots: Vec<_> = registry.snapshot_stores().collect();
    snapshots.sort_by_key(|(_, name)| name.is_some());
    for (entity_type, name) in snapshots {
        if name.unwrap_or(&config.snapshot.store) == NO_SNAPSHOTS {
            match name {
                None => continue,
                Some(_) => {
                    return Err(format!(
                        "entity type \"{entity_type}\" asks for the snapshot store \"{NO_SNAPSHOTS}\"; \
                         say without_snapshots() instead"
                    ));
                }
            }
        }
        let asked = name.unwrap_or(&config.snapshot.store);
        let at = find(registered, Use::of_snapshots, asked).ok_or_else(|| {
            let default = ("snapshot.store", config.snapshot.store.as_str());
            unknown(entity_type, "snapshot store", name, default, &names.snapshots)
        })?;
        chosen.default_snapshots |= name.is_none();
        if !chosen.snapshots.contains(&at) {
            chosen.snapshots.push(at);
        }
    }
    Ok(chosen)
}

fn find(registered: &Registered, has: fn(Use) -> bool, name: &str) -> Option<usize> {
    registered.stores.iter().position(|store| has(store.has) && store.name == name)
}

fn unknown(
    entity_type: EntityType,
    kind: &str,
    name: Option<&str>,
    (key, default): (&str, &str),
    known: &[String],
) -> String {
    let known = listed(known);
    match name {
        Some(name) => format!(
            "entity type \"{entity_type}\" asks for the {kind} \"{name}\", which nobody registered; there are {known}"
        ),
        None => format!("{key} = \"{default}\": there is no {kind} of that name; there are {known}"),
    }
}

impl OpenStores {
    /// As a region takes them.
    pub(crate) fn for_region(&self) -> Stores {
        let mut stores = Stores::default();
        for (name, journal, _) in &self.journals {
            stores = stores.with_journal(name, Arc::clone(journal));
        }
        for (name, snapshots, _) in &self.snapshots {
            stores = stores.with_snapshots(name, Arc::clone(snapshots));
        }
        if self.default_snapshots { stores } else { stores.without_default_snapshots() }
    }

    pub(crate) fn journals(&self) -> impl Iterator<Item = (&str, &dyn Journal)> {
        self.journals.iter().map(|(name, journal, _)| (name.as_str(), journal.as_ref()))
    }

    pub(crate) fn journal_names(&self) -> Vec<&str> {
        self.journals.iter().map(|(name, ..)| name.as_str()).collect()
    }

    pub(crate) fn snapshot_names(&self) -> Vec<&str> {
        self.snapshots.iter().map(|(name, ..)| name.as_str()).collect()
    }

    /// Whether each works, by name.
    pub(crate) fn checks(&self, shards: ShardCount) -> Vec<Check> {
        let mut checks = Vec::new();
        for (name, journal, health) in &self.journals {
            let journal = Arc::clone(journal);
            let check = Check::new(health.check_name("journal", name), move || {
                let health = journal.health();
                async move { health.await.map_err(|error| error.to_string()) }
            });
            checks.push(health.dress(check, "journal"));
        }
        for (name, store, health) in &self.snapshots {
            let store = Arc::clone(store);
            let check =
                Check::new(health.check_name("snapshot", name), move || probe(store.as_ref(), shards));
            checks.push(health.dress(check, "snapshot"));
        }
        checks
    }

    /// Writes what is still in hand and lets go of all stores, one after the other.
    pub(crate) async fn close(self) {
        for store in &self.all {
            if let Some(journal) = &store.journal {
                journal.close().await;
            }
            // A store for snapshots alone may hold connections all the same.
            if let Some(also) = &store.also {
                also.close().await;
            }
        }
        // A snapshot store is closed by its last user, who may wait for its threads.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}

/// Asks a snapshot store for what nobody has saved: it works if it says so.
fn probe(
    store: &dyn SnapshotStore,
    shards: ShardCount,
) -> impl Future<Output = Result<(), String>> + Send + use<> {
    const NOBODY: EntityType = EntityType::new("abide-health");
    let id = EntityId::new("nobody").map(|id| PersistenceId::new(NOBODY, id));
    let asked = id.map(|id| store.load(id.hash().shard(shards), id, SnapshotCriteria::ANY));
    async move {
        match asked.map_err(|error| error.to_string())?.await {
            Ok(_) | Err(SnapshotError::Damaged { .. }) => Ok(()),
            Err(SnapshotError::Failed(error)) => Err(error.to_string()),
        }
    }
}

/// Runs what opens a store to its end, on this thread, which may block.
pub(crate) fn run_here<S>(opening: impl Future<Output = Result<S, Cause>>) -> Result<S, Cause> {
    Handle::current().block_on(opening)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::App;
    use crate::demo::{Account, Counter, Ledger};

    /// The names of what is chosen, journals first.
    fn chosen(app: App, snapshot_store: &str) -> (Vec<String>, Vec<String>, bool) {
        let mut config = Config::default();
        config.snapshot.store = snapshot_store.to_owned();
        let chosen = choose(&app.stores, &app.registry, &config).expect("all are there");
        let names = |places: Vec<usize>| -> Vec<String> {
            places.into_iter().map(|at| app.stores.stores[at].name.clone()).collect()
        };
        (names(chosen.journals), names(chosen.snapshots), chosen.default_snapshots)
    }

    #[test]
    fn the_default_stands_first_and_what_no_type_uses_is_left_out() {
        let all = App::default()
            .entity_with::<Account>(|options| options.journal("memory").snapshots("memory"))
            .entity::<Counter>()
            .actor_with::<Ledger>(|options| options.journal("embedded").without_snapshots());
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let expected = (names(&["embedded", "memory"]), names(&["local-files", "memory"]), true);
        assert_eq!(chosen(all, "local-files"), expected);
        let named =
            App::default().entity_with::<Account>(|options| options.journal("memory").snapshots("memory"));
        assert_eq!(chosen(named, "local-files"), (names(&["memory"]), names(&["memory"]), false));
        let none = App::default().entity::<Counter>();
        assert_eq!(chosen(none, "none"), (names(&["embedded"]), names(&[]), false));
    }

    #[test]
    fn a_type_that_asks_for_none_by_name_is_told_how_to_say_so() {
        let app = App::default().entity_with::<Account>(|options| options.snapshots("none"));
        let fault = choose(&app.stores, &app.registry, &Config::default()).expect_err("no store");
        assert!(fault.contains("without_snapshots()"), "{fault}");
    }
}
