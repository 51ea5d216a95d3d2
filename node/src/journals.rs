//! The journals that a node can be started on, by name, and what happens when one is first used.

use std::sync::Arc;

use abide_persistence::ShardCount;
use abide_persistence::journal::{Journal, JournalMeta, StoreError};
use abide_persistence::runtime::{EmbeddedOptions, EmbeddedStore, MemoryJournal, OpenError};

use crate::config::Config;

/// The names that `[journal] store` may have.
pub(crate) const NAMES: [&str; 2] = ["embedded", "memory"];

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The configuration names one that does not exist; refused before by validation.
    #[error("there is no journal called \"{0}\"")]
    Unknown(String),
    /// It was first used with another setting, which is part of where every event lies.
    #[error(
        "the journal was first used with {setting} = {theirs}, the configuration says {ours}; \
         set it back, because events would be looked for in the wrong place"
    )]
    Mismatch {
        /// Which setting.
        setting: &'static str,
        /// In the configuration.
        ours: String,
        /// In the journal.
        theirs: String,
    },
    /// Somebody else started on it at the same moment.
    #[error("another process has started on this journal at the same moment; only one may use it")]
    Race,
    /// It has had more starts than generations can be counted.
    #[error("the journal was started 16 777 215 times; no further generation can be counted")]
    GenerationsUsedUp,
    /// It does not work.
    #[error("the journal does not work: {0}")]
    Failed(#[from] StoreError),
}

/// Opens the journal that the configuration names. Blocks.
pub(crate) fn open(config: &Config) -> Result<Arc<dyn Journal>, JournalError> {
    match config.journal.store.as_str() {
        "embedded" => {
            let dir = config.journal_dir();
            Ok(Arc::new(EmbeddedStore::open(&dir, EmbeddedOptions::default())?))
        }
        "memory" => Ok(Arc::new(MemoryJournal::new())),
        other => Err(JournalError::Unknown(other.to_owned())),
    }
}

/// Checks what the journal was first used with, and takes the next generation: without a cluster that
/// agrees on epochs, each start makes its own above all earlier ones.
pub(crate) async fn take_generation(
    journal: &dyn Journal,
    shards: ShardCount,
) -> Result<JournalMeta, JournalError> {
    let found = journal.meta().await?;
    let next = match &found {
        None => JournalMeta {
            format: JournalMeta::FORMAT,
            shards,
            hash: JournalMeta::HASH.to_owned(),
            cluster: rand::random(),
            generation: 1,
        },
        Some(meta) => {
            same("its format", JournalMeta::FORMAT, meta.format)?;
            same("sharding.shards", shards.get(), meta.shards.get())?;
            same("its shard hash", JournalMeta::HASH, meta.hash.as_str())?;
            let generation = meta.generation + 1;
            if generation >= 1 << 24 {
                return Err(JournalError::GenerationsUsedUp);
            }
            JournalMeta { generation, ..meta.clone() }
        }
    };
    if journal.replace_meta(found, next.clone()).await? { Ok(next) } else { Err(JournalError::Race) }
}

fn same<T: PartialEq + ToString>(setting: &'static str, ours: T, theirs: T) -> Result<(), JournalError> {
    if ours == theirs {
        return Ok(());
    }
    Err(JournalError::Mismatch { setting, ours: ours.to_string(), theirs: theirs.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shards(count: u32) -> ShardCount {
        ShardCount::new(count).expect("in range")
    }

    #[tokio::test]
    async fn each_start_takes_the_next_generation_of_the_same_cluster() {
        let journal = MemoryJournal::new();
        let first = take_generation(&journal, shards(16)).await.expect("a fresh journal");
        let second = take_generation(&journal, shards(16)).await.expect("the same settings");
        assert_eq!((first.generation, second.generation), (1, 2));
        assert_eq!(first.cluster, second.cluster);
    }

    #[tokio::test]
    async fn another_number_of_shards_is_refused_with_both_numbers() {
        let journal = MemoryJournal::new();
        take_generation(&journal, shards(16)).await.expect("a fresh journal");
        let error = take_generation(&journal, shards(32)).await.expect_err("it must be refused").to_string();
        assert!(error.contains("sharding.shards = 16, the configuration says 32"), "{error}");
    }
}
