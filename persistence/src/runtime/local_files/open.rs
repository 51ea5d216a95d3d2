//! Opening the directory: whose it is, and what its errors say to an operator.
//!
//! Invariant: nothing is ever created in a directory that holds something else.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use super::files::{Files, sync};

const MARKER: &str = "abide-snapshots";
const FORMAT: u32 = 1;
/// What is being written.
pub(super) const UNFINISHED: &str = "unfinished";

/// Why a directory of snapshots was not opened. Nothing that was stored has changed, whatever the variant.
#[derive(Debug, thiserror::Error)]
pub enum LocalFilesError {
    /// Another process works on it.
    #[error(
        "{path}: the snapshots are in use by another process; stop that one first, or give this node a directory \
         of its own"
    )]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// It is not there, and neither is the one that it would be created in.
    #[error(
        "{path}: the directory that it should be created in does not exist; create that one, or correct the path"
    )]
    NoParent {
        /// The directory.
        path: PathBuf,
    },
    /// It is a file, or one of those above it is.
    #[error("{path}: not a directory; give the path of a directory, or of one to be created")]
    NotADirectory {
        /// What was given.
        path: PathBuf,
    },
    /// This process may not write there.
    #[error(
        "{path}: the directory of snapshots cannot be written ({cause}); check owner, mode and mount of the directory"
    )]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Something else lives there.
    #[error(
        "{path}: not a directory of snapshots: no file {MARKER:?}, but {found:?}; give an empty directory, or the \
         right one"
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// One of the entries that were found.
        found: String,
    },
    /// A later version of Abide wrote it.
    #[error(
        "{path}: the snapshots have format {found}, this version knows up to {FORMAT}; start the version that \
         wrote them, or a later one"
    )]
    NewerFormat {
        /// The directory.
        path: PathBuf,
        /// The format that was found.
        found: u32,
    },
    /// The file that says what the directory is says something else.
    #[error("{path}: the file {MARKER:?} holds {found:?}; restore it, or move the directory away")]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What the file holds.
        found: String,
    },
    /// The system refused something else.
    #[error("{path}: the directory of snapshots could not be opened: {cause}")]
    Failed {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// Opens or creates the store in `dir`.
pub(super) fn open(dir: &Path) -> Result<Files, LocalFilesError> {
    let opening = Opening { dir };
    opening.directory()?;
    let lock = opening.marker()?;
    opening.clear_unfinished().map_err(|cause| opening.io(cause))?;
    Ok(Files::new(dir.to_owned(), lock))
}

struct Opening<'a> {
    dir: &'a Path,
}

impl Opening<'_> {
    fn directory(&self) -> Result<(), LocalFilesError> {
        match fs::metadata(self.dir) {
            Ok(found) if found.is_dir() => return Ok(()),
            Ok(_) => return Err(LocalFilesError::NotADirectory { path: self.dir.to_owned() }),
            Err(cause) if cause.kind() == ErrorKind::NotFound => {}
            Err(cause) => return Err(self.io(cause)),
        }
        // Not the ones above it too: where they are missing, most likely a disk is not mounted.
        fs::create_dir(self.dir).map_err(|cause| match cause.kind() {
            ErrorKind::NotFound => LocalFilesError::NoParent { path: self.dir.to_owned() },
            _ => self.io(cause),
        })?;
        let parent = match self.dir.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        sync(parent).map_err(|cause| self.io(cause))
    }

    /// Finds or writes the marker, and locks it.
    fn marker(&self) -> Result<File, LocalFilesError> {
        let path = self.dir.join(MARKER);
        if !path.try_exists().map_err(|cause| self.io(cause))? {
            self.check_empty()?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(|cause| self.io(cause))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LocalFilesError::Locked { path: self.dir.to_owned() });
            }
            Err(TryLockError::Error(cause)) => return Err(self.io(cause)),
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|cause| self.io(cause))?;
        if bytes.is_empty() {
            // New, or a start ended right here before.
            let written = file.write_all(format!("abide-snapshots format {FORMAT}\n").as_bytes());
            written
                .and_then(|()| file.sync_all())
                .and_then(|()| sync(self.dir))
                .map_err(|cause| self.io(cause))?;
            return Ok(file);
        }
        let found = String::from_utf8_lossy(&bytes).into_owned();
        match found.trim_end().strip_prefix("abide-snapshots format ").and_then(|format| format.parse().ok())
        {
            Some(FORMAT) => Ok(file),
            Some(found) if found > FORMAT => {
                Err(LocalFilesError::NewerFormat { path: self.dir.to_owned(), found })
            }
            Some(_) | None => Err(LocalFilesError::Damaged { path: self.dir.to_owned(), found }),
        }
    }

    fn check_empty(&self) -> Result<(), LocalFilesError> {
        for entry in fs::read_dir(self.dir).map_err(|cause| self.io(cause))? {
            let name = entry.map_err(|cause| self.io(cause))?.file_name();
            // `lost+found` stands in every fresh ext4 volume; the marker may just have been made by another.
            if name != "lost+found" && name != MARKER {
                let found = name.to_string_lossy().into_owned();
                return Err(LocalFilesError::Foreign { path: self.dir.to_owned(), found });
            }
        }
        Ok(())
    }

    /// Removes what a crash left half-written, and finds out whether anything can be written at all.
    fn clear_unfinished(&self) -> io::Result<()> {
        let unfinished = self.dir.join(UNFINISHED);
        match fs::create_dir(&unfinished) {
            Ok(()) => sync(self.dir)?,
            Err(cause) if cause.kind() == ErrorKind::AlreadyExists => {}
            Err(cause) => return Err(cause),
        }
        for entry in fs::read_dir(&unfinished)? {
            fs::remove_file(entry?.path())?;
        }
        let probe = unfinished.join("probe");
        File::create_new(&probe)?.sync_all()?;
        fs::remove_file(&probe)
    }

    fn io(&self, cause: io::Error) -> LocalFilesError {
        let path = self.dir.to_owned();
        match cause.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                LocalFilesError::NotWritable { path, cause }
            }
            ErrorKind::NotADirectory => LocalFilesError::NotADirectory { path },
            _ => LocalFilesError::Failed { path, cause },
        }
    }
}
