//! The stores that a program could use, by name: those that come with Abide, and its own.

use std::error::Error;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use abide_persistence::journal::{Journal, SnapshotStore};
use abide_persistence::runtime::{
    EmbeddedOptions, EmbeddedStore, LocalFiles, MemoryJournal, MemorySnapshots,
};

use super::health::StoreHealth;
use super::waiting::Failed;
use crate::config::{Config, NO_SNAPSHOTS, StoreNames, is_name};

/// Why a store does not open; whatever can be shown.
pub(crate) type Cause = Box<dyn Error + Send + Sync>;

/// Opens a store of this machine or of the program.
pub(crate) type OpenHere = Box<dyn FnOnce(&Config) -> Result<Opened, Cause> + Send>;
/// What an attempt to open a store elsewhere comes to.
pub(crate) type Attempt = Pin<Box<dyn Future<Output = Result<Opened, Failed>> + Send>>;
/// Attempts to open a store that others keep, for this use.
pub(crate) type OpenElsewhere = Box<dyn Fn(&Config, Use) -> Attempt + Send + Sync>;

/// How a store is opened.
pub(crate) enum Open {
    /// On a thread that may block. What fails is final.
    Here(OpenHere),
    /// With patience: those who keep it may not be there yet.
    Elsewhere(OpenElsewhere),
}

/// A store that was opened, as what it can be used for.
#[derive(Clone, Default)]
pub(crate) struct Opened {
    pub(crate) journal: Option<Arc<dyn Journal>>,
    pub(crate) snapshots: Option<Arc<dyn SnapshotStore>>,
    /// What is to be closed beside the journal.
    pub(crate) also: Option<Arc<dyn Journal>>,
    /// How the journal shows in `/healthz`, and how the snapshots do.
    pub(crate) health: [StoreHealth; 2],
}

impl Opened {
    pub(crate) fn journal(journal: impl Journal) -> Self {
        Self { journal: Some(Arc::new(journal)), ..Self::default() }
    }

    pub(crate) fn snapshots(store: impl SnapshotStore) -> Self {
        Self { snapshots: Some(Arc::new(store)), ..Self::default() }
    }

    pub(crate) fn both<S: Journal + SnapshotStore>(store: S) -> Self {
        let store = Arc::new(store);
        Self { journal: Some(Arc::clone(&store) as _), snapshots: Some(store), ..Self::default() }
    }
}

/// What a store is registered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Journal,
    Snapshots,
    Both,
}

impl Use {
    pub(crate) fn of_journal(self) -> bool {
        matches!(self, Self::Journal | Self::Both)
    }

    pub(crate) fn of_snapshots(self) -> bool {
        matches!(self, Self::Snapshots | Self::Both)
    }
}

/// A store that may be opened.
pub(crate) struct Store {
    pub(crate) name: String,
    pub(crate) has: Use,
    pub(crate) open: Open,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("name", &self.name).field("has", &self.has).finish_non_exhaustive()
    }
}

/// All stores that a program could use. No two journals have one name, and no two snapshot stores.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) stores: Vec<Store>,
    /// What the program says of its checks, by store.
    pub(crate) health: Vec<(String, StoreHealth)>,
}

impl Default for Registered {
    fn default() -> Self {
        let store = |name: &str, has, open: Open| Store { name: name.to_owned(), has, open };
        let stores = vec![
            store("embedded", Use::Both, Open::Here(Box::new(open_embedded))),
            store("redis", Use::Both, Open::Elsewhere(Box::new(super::redis::open))),
            store(
                "memory",
                Use::Both,
                Open::Here(Box::new(|_| {
                    let journal = Opened::journal(MemoryJournal::new());
                    Ok(Opened { snapshots: Opened::snapshots(MemorySnapshots::new()).snapshots, ..journal })
                })),
            ),
            store("local-files", Use::Snapshots, Open::Here(Box::new(open_local_files))),
        ];
        Self { stores, health: Vec::new() }
    }
}

impl Registered {
    /// Adds a store.
    ///
    /// # Errors
    /// What is wrong with its name.
    pub(crate) fn add(&mut self, name: String, has: Use, open: Open) -> Result<(), String> {
        let kind = if has == Use::Snapshots { "snapshot store" } else { "journal" };
        if let Err(rule) = is_name(&name) {
            return Err(format!("the {kind} \"{name}\": its name {rule}"));
        }
        let names = self.names();
        let taken = (has.of_journal() && names.journals.contains(&name))
            || (has.of_snapshots() && names.snapshots.contains(&name));
        if taken {
            return Err(format!(
                "the {kind} \"{name}\" is there already; give each store a name of its own, other than {}",
                listed(if has == Use::Snapshots { &names.snapshots } else { &names.journals })
            ));
        }
        self.stores.push(Store { name, has, open });
        Ok(())
    }

    /// The names that the configuration may choose.
    pub(crate) fn names(&self) -> StoreNames {
        let names = |has: fn(Use) -> bool| -> Vec<String> {
            self.stores.iter().filter(|store| has(store.has)).map(|store| store.name.clone()).collect()
        };
        let mut snapshots = names(Use::of_snapshots);
        snapshots.push(NO_SNAPSHOTS.to_owned());
        StoreNames { journals: names(Use::of_journal), snapshots }
    }
}

pub(super) fn listed(names: &[String]) -> String {
    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

fn open_embedded(config: &Config) -> Result<Opened, Cause> {
    Ok(Opened::both(EmbeddedStore::open(config.journal_dir(), EmbeddedOptions::default())?))
}

fn open_local_files(config: &Config) -> Result<Opened, Cause> {
    let dir = config.snapshot_dir();
    if let Some(parent) = dir.parent() {
        make_dir(parent).map_err(|cause| {
            format!(
                "{}: the directory cannot be made ({cause}); check owner, mode and mount",
                parent.display()
            )
        })?;
    }
    Ok(Opened::snapshots(LocalFiles::open(dir)?))
}

/// Makes a directory that outlives a crash: each new one is synced in the one above.
fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.as_os_str().is_empty() || dir.is_dir() {
        return Ok(());
    }
    let above = dir.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_dir(above)?;
    fs::create_dir(dir)?;
    File::open(above)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(registered: &mut Registered, name: &str, has: Use) -> Result<(), String> {
        registered.add(name.to_owned(), has, Open::Here(Box::new(|_| Ok(Opened::default()))))
    }

    #[test]
    fn the_names_that_come_with_abide_are_those_that_the_configuration_knows() {
        let (mut ours, mut known) = (Registered::default().names(), StoreNames::default());
        for names in [&mut ours.journals, &mut ours.snapshots, &mut known.journals, &mut known.snapshots] {
            names.sort();
        }
        assert_eq!(ours, known);
    }

    #[test]
    fn a_name_stands_for_one_journal_and_for_one_snapshot_store() {
        let mut registered = Registered::default();
        assert_eq!(memory(&mut registered, "events", Use::Journal), Ok(()));
        assert_eq!(memory(&mut registered, "events", Use::Snapshots), Ok(()), "one name, two uses");
        for (name, has) in
            [("events", Use::Journal), ("events", Use::Both), ("memory", Use::Both), ("none", Use::Snapshots)]
        {
            let fault = memory(&mut registered, name, has).expect_err("it is taken");
            assert!(fault.contains(&format!("\"{name}\" is there already")), "{fault}");
        }
        let fault = memory(&mut registered, "", Use::Journal).expect_err("no name");
        assert!(fault.contains("must be 1 to 63 letters"), "{fault}");
    }
}
