//! Lays the sources over each other and gathers what is wrong with any of them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use super::fault::{ConfigErrors, ConfigFault};
use super::file;
use super::secret;
use super::source::Source;
use super::suggest::unknown;
use super::tree::{Config, SECTIONS, keys};
use super::value::{Raw, quoted};

/// What the names of our variables begin with. A single underscore is not ours: `ABIDE_PORT` is what
/// Kubernetes makes of a service called `abide`.
const PREFIX: &str = "ABIDE__";

/// Everything that a configuration is made of. Nothing else is looked at.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// The file, if there is one; then it must be readable.
    pub file: Option<PathBuf>,
    /// The environment, as `std::env::vars_os()` gives it; variables of others are passed over.
    pub environment: Vec<(OsString, OsString)>,
    /// What the command line sets; of two for one key the later wins.
    pub flags: Vec<Override>,
    /// The stores that exist; [`App::store_names`](crate::App::store_names) tells those of a program.
    pub stores: StoreNames,
}

/// The names that stores may be called by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreNames {
    /// Of `journal.store`.
    pub journals: Vec<String>,
    /// Of `snapshot.store`.
    pub snapshots: Vec<String>,
}

/// Those that come with Abide.
impl Default for StoreNames {
    fn default() -> Self {
        Self {
            journals: ["embedded", "memory", "redis"].map(str::to_owned).to_vec(),
            snapshots: ["embedded", "memory", "redis", "local-files", NO_SNAPSHOTS]
                .map(str::to_owned)
                .to_vec(),
        }
    }
}

/// The `snapshot.store` that is none.
pub(crate) const NO_SNAPSHOTS: &str = "none";

/// One value that the command line sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// `section.key`.
    pub key: String,
    /// The value, without quotes.
    pub value: String,
    /// The flag, as it is to be named in faults: `--listen`.
    pub source: String,
}

impl Override {
    /// What a flag of its own sets.
    pub fn new(key: &str, value: impl ToString, source: &str) -> Self {
        Self { key: key.to_owned(), value: value.to_string(), source: source.to_owned() }
    }
}

/// Reads the argument of `--set section.key=value`.
impl FromStr for Override {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                Ok(Self::new(key.trim(), value.trim(), &format!("--set {}", key.trim())))
            }
            _ => Err("expected section.key=value, such as http.listen=127.0.0.1:0".to_owned()),
        }
    }
}

/// A value that somebody wrote for a key that may or may not exist.
pub(super) struct Setting {
    pub(super) key: String,
    pub(super) raw: Raw,
    /// As it was written, for faults.
    pub(super) shown: Option<String>,
    pub(super) source: Source,
}

impl Config {
    /// Reads and validates everything.
    ///
    /// # Errors
    /// Every fault of every source, in the order file, environment, flags, rules between keys.
    pub fn load(inputs: &Inputs) -> Result<Self, ConfigErrors> {
        let mut config = Self::default();
        let mut settings = Vec::new();
        let mut faults = Vec::new();
        if let Some(path) = &inputs.file {
            match std::fs::read_to_string(path) {
                Ok(text) => (settings, faults) = file::settings(path, &text),
                Err(error) => faults.push(ConfigFault {
                    key: String::new(),
                    value: None,
                    rule: format!("cannot be read: {error}"),
                    source: Source::File { path: path.clone(), line: None },
                }),
            }
        }
        settings.extend(variables(&inputs.environment));
        settings.extend(inputs.flags.iter().map(flag));
        for setting in settings {
            faults.extend(config.apply(setting).err());
        }
        faults.extend(config.relations(&inputs.stores, &faults));
        ConfigErrors::check(faults).map(|()| config)
    }

    /// Sets one value, which takes precedence over what was set before.
    fn apply(&mut self, setting: Setting) -> Result<(), ConfigFault> {
        let Setting { key: path, raw, shown, source } = setting;
        let rule = match keys().find(|key| key.path == path) {
            None if SECTIONS.iter().any(|(section, _)| *section == path) => {
                Err(format!("a section, not a key; set {path}.… instead"))
            }
            None => Err(unknown(&path, |key| match &source {
                Source::Variable(_) => variable(key),
                _ => key.to_owned(),
            })),
            Some(key) => match (key.read)(self, &raw) {
                None => Err(match raw.kind() {
                    Some(kind) => format!("must be {}; found {kind}", key.expected),
                    None => format!("must be {}", key.expected),
                }),
                Some(()) => {
                    self.sources.set(key.path, source.clone());
                    (key.check)(self)
                }
            },
        };
        rule.map_err(|rule| ConfigFault { key: path, value: shown, rule, source })
    }
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_uppercase())
}

fn variables(environment: &[(OsString, OsString)]) -> Vec<Setting> {
    let ours = |(name, value): &(OsString, OsString)| {
        let name = name.to_string_lossy();
        let key = name.strip_prefix(PREFIX)?.replace("__", ".").to_lowercase();
        let source = Source::Variable(name.to_string());
        let shown = Some(secret::hidden(&key, &quoted(&value.to_string_lossy())));
        let raw = value
            .to_str()
            .map_or(Raw::Other("bytes that are not UTF-8"), |text| Raw::Untyped(text.to_owned()));
        Some(Setting { key, raw, shown, source })
    };
    let mut settings: Vec<_> = environment.iter().filter_map(ours).collect();
    // The system keeps them in no order that means anything.
    settings.sort_by(|a, b| a.key.cmp(&b.key));
    settings
}

fn flag(set: &Override) -> Setting {
    Setting {
        key: set.key.clone(),
        raw: Raw::Untyped(set.value.clone()),
        shown: Some(secret::hidden(&set.key, &quoted(&set.value))),
        source: Source::Flag(set.source.clone()),
    }
}
