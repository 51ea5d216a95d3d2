//! The stores of a node, by name, and which of them each entity type uses.

use std::fmt;
use std::sync::Arc;

use abide_persistence::engine::{EntitySettings, EntityStore};
use abide_persistence::journal::{Journal, SnapshotStore};

use crate::engine::registry::{NewStore, Registry, SnapshotChoice, TypeIndex};

/// The journals and snapshot stores that a node has, by name. The first of each is the default.
#[derive(Clone, Default)]
pub struct Stores {
    journals: Vec<(String, Arc<dyn Journal>)>,
    snapshots: Vec<(String, Arc<dyn SnapshotStore>)>,
    no_default_snapshots: bool,
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn names<S>(stores: &[(String, S)]) -> Vec<&str> {
            stores.iter().map(|(name, _)| name.as_str()).collect()
        }
        f.debug_struct("Stores")
            .field("journals", &names(&self.journals))
            .field("snapshots", &names(&self.snapshots))
            .finish()
    }
}

impl<J: Journal> From<Arc<J>> for Stores {
    fn from(journal: Arc<J>) -> Self {
        Self::default().with_journal("default", journal)
    }
}

impl From<Arc<dyn Journal>> for Stores {
    fn from(journal: Arc<dyn Journal>) -> Self {
        Self::default().with_journal("default", journal)
    }
}

impl Stores {
    /// Adds a journal; the first one is the default.
    #[must_use]
    pub fn with_journal(mut self, name: impl Into<String>, journal: Arc<dyn Journal>) -> Self {
        self.journals.push((name.into(), journal));
        self
    }

    /// Adds a snapshot store; the first one is the default. Without any, no entity has snapshots.
    #[must_use]
    pub fn with_snapshots(mut self, name: impl Into<String>, store: Arc<dyn SnapshotStore>) -> Self {
        self.snapshots.push((name.into(), store));
        self
    }

    /// Types that name no snapshot store have none, whatever stores are added for those that do.
    #[must_use]
    pub fn without_default_snapshots(mut self) -> Self {
        self.no_default_snapshots = true;
        self
    }

    /// The journals with their names.
    pub fn journals(&self) -> impl Iterator<Item = (&str, &Arc<dyn Journal>)> {
        self.journals.iter().map(|(name, journal)| (name.as_str(), journal))
    }
}

/// A type asks for a store that the node does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "entity type \"{entity_type}\" asks for the {kind} \"{name}\", which this node does not have; {known}"
)]
pub struct UnknownStore {
    entity_type: &'static str,
    kind: &'static str,
    name: String,
    known: String,
}

/// One entity type on its stores.
pub(crate) struct Bound {
    /// By its place in [`Kinds::journals`].
    pub(crate) journal: usize,
    pub(crate) snapshots: Option<Arc<dyn SnapshotStore>>,
    /// The snapshot store is the journal too.
    pub(crate) is_one_store: bool,
    new_store: NewStore,
}

/// All entity types on their stores.
pub(crate) struct Kinds {
    bound: Vec<Bound>,
    /// The journals that types use, and no others: a shard is claimed at each of them.
    pub(crate) journals: Vec<Arc<dyn Journal>>,
    /// Their names.
    pub(crate) journal_names: Vec<String>,
}

impl Kinds {
    pub(crate) fn bind(
        registry: &Registry,
        stores: &Stores,
        settings: EntitySettings,
    ) -> Result<Self, UnknownStore> {
        let mut kinds = Self { bound: Vec::new(), journals: Vec::new(), journal_names: Vec::new() };
        let mut used = Vec::new();
        for kind in registry.kinds() {
            let choice = kind.stores();
            let journal = find(&stores.journals, choice.journal.as_deref(), kind.name(), "journal")?;
            let snapshots = match &choice.snapshots {
                SnapshotChoice::None => None,
                SnapshotChoice::Default if stores.no_default_snapshots || stores.snapshots.is_empty() => None,
                SnapshotChoice::Default => {
                    Some(find(&stores.snapshots, None, kind.name(), "snapshot store")?)
                }
                SnapshotChoice::Named(name) => {
                    Some(find(&stores.snapshots, Some(name), kind.name(), "snapshot store")?)
                }
            };
            let place = used.iter().position(|known| *known == journal).unwrap_or_else(|| {
                used.push(journal);
                kinds.add_journal(&stores.journals[journal]);
                used.len() - 1
            });
            let settings = EntitySettings { journal: kinds.journals[place].limits(), ..settings };
            let snapshot_store = snapshots.map(|at| Arc::clone(&stores.snapshots[at].1));
            let id = kinds.journals[place].store_id();
            let is_one_store =
                id.is_some() && id == snapshot_store.as_ref().and_then(|snapshots| snapshots.store_id());
            kinds.bound.push(Bound {
                journal: place,
                snapshots: snapshot_store,
                is_one_store,
                new_store: kind.bind(settings, snapshots.is_some()),
            });
        }
        // Shards are claimed at a journal even if nobody lives in them.
        if registry.is_empty()
            && let Some(first) = stores.journals.first()
        {
            kinds.add_journal(first);
        }
        Ok(kinds)
    }

    fn add_journal(&mut self, (name, journal): &(String, Arc<dyn Journal>)) {
        self.journal_names.push(name.clone());
        self.journals.push(Arc::clone(journal));
    }

    pub(crate) fn get(&self, index: TypeIndex) -> &Bound {
        &self.bound[usize::from(index.0)]
    }

    pub(crate) fn journal_of(&self, index: TypeIndex) -> &Arc<dyn Journal> {
        &self.journals[self.get(index).journal]
    }
}

impl Bound {
    pub(crate) fn new_store(&self) -> Box<dyn EntityStore> {
        (self.new_store)()
    }
}

fn find<S>(
    stores: &[(String, S)],
    name: Option<&str>,
    entity_type: &'static str,
    kind: &'static str,
) -> Result<usize, UnknownStore> {
    let found = match name {
        None => (!stores.is_empty()).then_some(0),
        Some(name) => stores.iter().position(|(known, _)| known == name),
    };
    found.ok_or_else(|| {
        let names: Vec<_> = stores.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let known =
            if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
        UnknownStore { entity_type, kind, name: name.unwrap_or("default").to_owned(), known }
    })
}
