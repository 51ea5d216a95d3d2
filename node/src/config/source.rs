//! Where a value came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File {
        /// Which file.
        path: PathBuf,
        /// Line, from 1. `None` if the file as a whole is meant.
        line: Option<usize>,
    },
    /// A variable of the environment, by its name.
    Variable(String),
    /// A flag of the command line, as the user typed it.
    Flag(String),
    /// Nobody set it, and the host program has a default of its own.
    Program,
    /// Nobody set it, and it follows another key, which is named.
    Follows(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
            Self::Program => f.write_str("default of the program"),
            Self::Follows(key) => write!(f, "follows {key}"),
        }
    }
}

/// The keys that somebody set, and who.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources(BTreeMap<&'static str, Source>);

impl Sources {
    pub(super) fn of(&self, key: &str) -> &Source {
        self.0.get(key).unwrap_or(&Source::Default)
    }

    pub(super) fn set(&mut self, key: &'static str, source: Source) {
        self.0.insert(key, source);
    }
}
