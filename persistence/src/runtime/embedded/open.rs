//! Opening the directory: whose it is, whether it is whole, and what its errors say to an operator.
//!
//! ```text
//! <dir>/abide-journal   "abide-journal format 1"; also carries the lock of the one process that may be here
//! <dir>/db              the engine's database
//! <dir>/db.creating     the same before it is complete; may be removed
//! <dir>/acknowledged    the mark, see `mark`
//! ```
//!
//! Invariants: nothing is ever created over something that was there. A database exists under its name only
//! once it is complete.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use fjall::config::PartitioningPolicy;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};

use super::disk::{Disk, Fault, describe, is_damage};
use super::ids;
use super::journal_files::Found;
use super::layout::{
    COMMITS_KEY, EVENTS, IDS, META, SHARD_PREFIX, SNAPSHOTS, STREAMS, decode_token, number, shard_of,
};
use super::mark::{self, Mark};
use super::{EmbeddedOptions, journal_files};
use crate::ids::ShardId;
use crate::journal::Token;

const MARKER: &str = "abide-journal";
const FORMAT: u32 = 1;
const DATABASE: &str = "db";
const CREATING: &str = "db.creating";

/// Memtable of the events: what a crash leaves to replay, and half of what a load costs in memory.
const EVENTS_MEMTABLE_BYTES: u64 = 32 << 20;
/// Memtable of the others. A commit's counter goes to `meta`, so it is written often and holds little.
const OTHER_MEMTABLE_BYTES: u64 = 8 << 20;
/// Journal files beyond this are emptied into tables; bounds the time of a start.
const MAX_JOURNAL_BYTES: u64 = 192 << 20;

/// Why an embedded store was not opened. Whatever the variant, nothing was changed, but for a commit that was
/// torn by a crash and is cut off.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process works on it.
    #[error(
        "{path}: the journal is in use by another process; stop that one first, or give this node a directory of its own"
    )]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// This process may not write there.
    #[error(
        "{path}: the journal's directory cannot be written ({cause}); check owner, mode and mount of the directory"
    )]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Something else lives there.
    #[error(
        "{path}: not a journal: no file {MARKER:?}, but {found:?}; give an empty directory, or the right one"
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// One of the entries that were found.
        found: String,
    },
    /// A later version of Abide wrote it.
    #[error(
        "{path}: the journal has format {found}, this version knows up to {FORMAT}; start the version that wrote it, or a later one"
    )]
    NewerFormat {
        /// The directory.
        path: PathBuf,
        /// The format that was found.
        found: u32,
    },
    /// What is stored is not what was written.
    #[error("{path}: the journal is damaged: {what}; check the disk and restore the directory from a backup")]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// Acknowledged commits are gone.
    #[error(
        "{path}: the journal has lost acknowledged events: {acknowledged} commits were acknowledged, {found} are there; \
         restore the whole directory from a backup, or, to accept the loss, delete the file {:?} in it",
        mark::FILE
    )]
    BehindMark {
        /// The directory.
        path: PathBuf,
        /// Commits that were acknowledged.
        acknowledged: u64,
        /// Commits that the database knows of.
        found: u64,
    },
    /// The system refused something else.
    #[error("{path}: the journal could not be opened: {cause}")]
    Failed {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// All that a start finds.
pub(super) struct Opened {
    pub(super) disk: Disk,
    pub(super) tokens: HashMap<ShardId, Token>,
    pub(super) commits: u64,
    pub(super) mark: Mark,
}

/// Opens or creates the store in `dir`.
pub(super) fn open(dir: &Path, options: &EmbeddedOptions) -> Result<Opened, OpenError> {
    let opening = Opening { dir, options };
    let lock = opening.marker()?;
    opening.database_is_there()?;
    let database = dir.join(DATABASE);
    match journal_files::look(&database).map_err(|cause| opening.io(cause))? {
        Found::Whole => {}
        Found::Torn { path, at } => journal_files::cut(&path, at).map_err(|cause| opening.io(cause))?,
        Found::Broken(what) => return Err(opening.damaged(what)),
    }
    let db = opening.engine(&database)?;
    let disk = opening.disk(db, lock)?;
    let (mark, acknowledged) = Mark::open(dir).map_err(|cause| opening.io(cause))?;
    let commits = opening.commits(&disk)?;
    match acknowledged {
        Some(acknowledged) if acknowledged > commits => {
            Err(OpenError::BehindMark { path: dir.to_owned(), acknowledged, found: commits })
        }
        _ => {
            ids::complete(&disk).map_err(|fault| opening.fault(fault))?;
            Ok(Opened { tokens: opening.tokens(&disk)?, disk, commits, mark })
        }
    }
}

struct Opening<'a> {
    dir: &'a Path,
    options: &'a EmbeddedOptions,
}

impl Opening<'_> {
    /// Finds or writes the marker, and locks it.
    fn marker(&self) -> Result<File, OpenError> {
        fs::create_dir_all(self.dir).map_err(|cause| self.io(cause))?;
        let path = self.dir.join(MARKER);
        if !path.try_exists().map_err(|cause| self.io(cause))? {
            self.write_marker(&path)?;
        }
        let mut file =
            OpenOptions::new().read(true).write(true).open(&path).map_err(|cause| self.io(cause))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { path: self.dir.to_owned() }),
            Err(TryLockError::Error(cause)) => return Err(self.io(cause)),
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|cause| self.io(cause))?;
        match text.trim_end().strip_prefix("abide-journal format ").and_then(|format| format.parse().ok()) {
            Some(FORMAT) => Ok(file),
            Some(found) if found > FORMAT => Err(OpenError::NewerFormat { path: self.dir.to_owned(), found }),
            Some(_) | None => Err(self.damaged(format!("the file {MARKER:?} holds {text:?}"))),
        }
    }

    /// Makes an empty directory ours.
    fn write_marker(&self, path: &Path) -> Result<(), OpenError> {
        let new = self.dir.join(format!("{MARKER}.new"));
        for entry in fs::read_dir(self.dir).map_err(|cause| self.io(cause))? {
            let name = entry.map_err(|cause| self.io(cause))?.file_name();
            // `lost+found` stands in every fresh ext4 volume; a `.new` is ours, from a crash right here.
            if name != "lost+found" && Some(name.as_os_str()) != new.file_name() {
                let found = name.to_string_lossy().into_owned();
                return Err(OpenError::Foreign { path: self.dir.to_owned(), found });
            }
        }
        let written = File::create(&new).and_then(|mut file| {
            file.write_all(format!("abide-journal format {FORMAT}\n").as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, path)?;
            sync_dir(self.dir)
        });
        written.map_err(|cause| self.io(cause))
    }

    /// Creates the database at first use; finds out if it is gone later.
    fn database_is_there(&self) -> Result<(), OpenError> {
        let database = self.dir.join(DATABASE);
        let exists = |path: &Path| path.try_exists().map_err(|cause| self.io(cause));
        if exists(&database)? {
            // Without this file the engine would take the directory for a new one.
            return match exists(&database.join("version"))? {
                true => Ok(()),
                false => Err(self.damaged(format!("{DATABASE}/version is missing"))),
            };
        }
        if exists(&self.dir.join(mark::FILE))? {
            return Err(self.damaged(format!("the directory {DATABASE} is missing")));
        }
        let creating = self.dir.join(CREATING);
        if exists(&creating)? {
            fs::remove_dir_all(&creating).map_err(|cause| self.io(cause))?;
        }
        let db = self.engine(&creating)?;
        for name in [EVENTS, STREAMS, SNAPSHOTS, META, IDS] {
            db.keyspace(name, || keyspace_options(name)).map_err(|cause| self.engine_error(cause))?;
        }
        db.persist(PersistMode::SyncAll).map_err(|cause| self.engine_error(cause))?;
        drop(db);
        fs::rename(&creating, &database).and_then(|()| sync_dir(self.dir)).map_err(|cause| self.io(cause))
    }

    fn engine(&self, path: &Path) -> Result<Database, OpenError> {
        let builder = Database::builder(path)
            .cache_size(self.options.cache_bytes)
            .max_journaling_size(MAX_JOURNAL_BYTES)
            .journal_compression(fjall::CompressionType::None);
        // Over files that are not what it wrote, the engine may panic as well as fail.
        match catch_unwind(AssertUnwindSafe(|| builder.open())) {
            Ok(opened) => opened.map_err(|cause| self.engine_error(cause)),
            Err(_) => Err(self.damaged("the storage engine panicked over its files".to_owned())),
        }
    }

    fn disk(&self, db: Database, lock: File) -> Result<Disk, OpenError> {
        let keyspace = |name: &str| -> Result<Keyspace, OpenError> {
            // Asking for one that is not there would create it, empty.
            if !db.keyspace_exists(name) {
                return Err(self.damaged(format!("the keyspace {name:?} is missing")));
            }
            db.keyspace(name, || keyspace_options(name)).map_err(|cause| self.engine_error(cause))
        };
        Ok(Disk {
            events: keyspace(EVENTS)?,
            streams: keyspace(STREAMS)?,
            snapshots: keyspace(SNAPSHOTS)?,
            meta: keyspace(META)?,
            ids: db.keyspace(IDS, || keyspace_options(IDS)).map_err(|cause| self.engine_error(cause))?,
            db,
            _lock: lock,
        })
    }

    fn commits(&self, disk: &Disk) -> Result<u64, OpenError> {
        let value = disk.view().get(&disk.meta, COMMITS_KEY).map_err(|cause| self.engine_error(cause))?;
        match value {
            None => Ok(0),
            Some(value) => number(&value)
                .ok_or_else(|| self.damaged("the number of the last commit is unreadable".into())),
        }
    }

    fn tokens(&self, disk: &Disk) -> Result<HashMap<ShardId, Token>, OpenError> {
        let row = |row: fjall::Guard| {
            let (key, value) = row.into_inner().map_err(|cause| self.engine_error(cause))?;
            let token = shard_of(&key).zip(decode_token(&value));
            token.ok_or_else(|| self.damaged("the claim of a shard is unreadable".to_owned()))
        };
        disk.view().prefix(&disk.meta, SHARD_PREFIX).map(row).collect()
    }

    fn fault(&self, fault: Fault) -> OpenError {
        match fault {
            Fault::Engine(cause) => self.engine_error(cause),
            Fault::Damaged(what) => self.damaged(what),
        }
    }

    fn damaged(&self, what: String) -> OpenError {
        OpenError::Damaged { path: self.dir.to_owned(), what }
    }

    fn io(&self, cause: io::Error) -> OpenError {
        let path = self.dir.to_owned();
        match cause.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                OpenError::NotWritable { path, cause }
            }
            _ => OpenError::Failed { path, cause },
        }
    }

    fn engine_error(&self, cause: fjall::Error) -> OpenError {
        match cause {
            fjall::Error::Locked => OpenError::Locked { path: self.dir.to_owned() },
            fjall::Error::Io(cause) | fjall::Error::Storage(fjall::LsmError::Io(cause)) => self.io(cause),
            other if is_damage(&other) => self.damaged(describe(&other)),
            other => self.io(io::Error::other(describe(&other))),
        }
    }
}

fn keyspace_options(name: &str) -> KeyspaceCreateOptions {
    let memtable = if name == EVENTS { EVENTS_MEMTABLE_BYTES } else { OTHER_MEMTABLE_BYTES };
    // Index and filter of a table in parts of a block each, not as one: those of a large table take 500 KB,
    // which a read of a few events would fetch first.
    KeyspaceCreateOptions::default()
        .max_memtable_size(memtable)
        .index_block_partitioning_policy(PartitioningPolicy::all(true))
        .filter_block_partitioning_policy(PartitioningPolicy::all(true))
}

/// Makes new names in a directory durable.
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
