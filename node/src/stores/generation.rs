//! What journals were first used with, and which of their lives begins: without a cluster that agrees on
//! epochs, each start makes its own above all earlier ones, at every journal.
//!
//! Invariant: the generation is above all that any of the journals knows when the first of them is told. A
//! crash before the last was told leaves them apart; the next start is above all again.

use abide_persistence::ShardCount;
use abide_persistence::journal::{Journal, JournalMeta, StoreError};

use crate::serve::StartError;

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
enum JournalError {
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

/// Checks what each journal was first used with, and takes the next generation of all of them.
pub(crate) async fn take_generation<'a>(
    journals: impl Iterator<Item = (&'a str, &'a dyn Journal)>,
    shards: ShardCount,
) -> Result<JournalMeta, StartError> {
    let unusable =
        |name: &str, cause: JournalError| StartError::Store { name: name.to_owned(), cause: Box::new(cause) };
    let mut found = Vec::new();
    for (name, journal) in journals {
        let meta = journal.meta().await.map_err(|error| unusable(name, error.into()))?;
        if let Some(meta) = &meta {
            check(meta, shards).map_err(|fault| unusable(name, fault))?;
        }
        found.push((name, journal, meta));
    }
    let known = || found.iter().filter_map(|(_, _, meta)| meta.as_ref());
    let cluster = known().map(|meta| meta.cluster).next().unwrap_or_else(rand::random);
    let next = JournalMeta {
        format: JournalMeta::FORMAT,
        shards,
        hash: JournalMeta::HASH.to_owned(),
        cluster,
        generation: known().map(|meta| meta.generation).max().unwrap_or(0) + 1,
    };
    for (name, journal, meta) in found {
        if next.generation >= 1 << 24 {
            return Err(unusable(name, JournalError::GenerationsUsedUp));
        }
        if meta.as_ref().is_some_and(|meta| meta.cluster != cluster) {
            tracing::warn!(
                journal = name,
                "the journal was used apart from the others before; now it is one of them"
            );
        }
        match journal.replace_meta(meta, next.clone()).await {
            Ok(true) => {}
            Ok(false) => return Err(unusable(name, JournalError::Race)),
            Err(error) => return Err(unusable(name, error.into())),
        }
    }
    Ok(next)
}

fn check(found: &JournalMeta, shards: ShardCount) -> Result<(), JournalError> {
    same("its format", JournalMeta::FORMAT, found.format)?;
    same("sharding.shards", shards.get(), found.shards.get())?;
    same("its shard hash", JournalMeta::HASH, found.hash.as_str())
}

fn same<T: PartialEq + ToString>(setting: &'static str, ours: T, theirs: T) -> Result<(), JournalError> {
    if ours == theirs {
        return Ok(());
    }
    Err(JournalError::Mismatch { setting, ours: ours.to_string(), theirs: theirs.to_string() })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use abide_persistence::runtime::{Call, Fault, MemoryJournal, On};

    use super::*;

    fn shards(count: u32) -> ShardCount {
        ShardCount::new(count).expect("in range")
    }

    async fn take(journals: &[&MemoryJournal], count: u32) -> Result<JournalMeta, StartError> {
        let named = ["a", "b", "c"].into_iter().zip(journals.iter().map(|journal| *journal as &dyn Journal));
        take_generation(named, shards(count)).await
    }

    async fn generation(journal: &MemoryJournal) -> Option<u32> {
        journal.meta().await.expect("it works").map(|meta| meta.generation)
    }

    #[tokio::test]
    async fn each_start_takes_the_next_generation_of_the_same_cluster() {
        let journal = MemoryJournal::new();
        let first = take(&[&journal], 16).await.expect("a fresh journal");
        let second = take(&[&journal], 16).await.expect("the same settings");
        assert_eq!((first.generation, second.generation), (1, 2));
        assert_eq!(first.cluster, second.cluster);
    }

    #[tokio::test]
    async fn the_generation_is_above_that_of_every_journal() {
        let (a, b, c) = (MemoryJournal::new(), MemoryJournal::new(), MemoryJournal::new());
        take(&[&a], 16).await.expect("a fresh journal");
        take(&[&b], 16).await.expect("a fresh journal");
        take(&[&b], 16).await.expect("the second start");
        let together = take(&[&a, &b, &c], 16).await.expect("three journals");
        assert_eq!(together.generation, 3);
        for journal in [&a, &b, &c] {
            assert_eq!(journal.meta().await.expect("it works"), Some(together.clone()));
        }
    }

    #[tokio::test]
    async fn a_start_that_ended_between_two_journals_is_gone_beyond() {
        let (a, b) = (MemoryJournal::new(), MemoryJournal::new());
        take(&[&a, &b], 16).await.expect("fresh journals");
        // The second thing that is asked of its meta record: the first is to read it.
        let asked = AtomicUsize::new(0);
        let replacing = On::call(Call::Meta).that(move |_| asked.fetch_add(1, Ordering::Relaxed) == 1);
        b.control().faults().next(1, replacing, Fault::Refused);
        let failed = take(&[&a, &b], 16).await.expect_err("the second journal fails").to_string();
        assert!(failed.contains("\"b\""), "{failed}");
        assert_eq!((generation(&a).await, generation(&b).await), (Some(2), Some(1)));
        assert_eq!(take(&[&a, &b], 16).await.expect("it works again").generation, 3);
        assert_eq!((generation(&a).await, generation(&b).await), (Some(3), Some(3)));
    }

    #[tokio::test]
    async fn journals_of_two_clusters_become_one() {
        let (a, b) = (MemoryJournal::new(), MemoryJournal::new());
        let own = take(&[&a], 16).await.expect("a fresh journal");
        let other = take(&[&b], 16).await.expect("a fresh journal");
        assert_ne!(own.cluster, other.cluster);
        let together = take(&[&a, &b], 16).await.expect("both");
        assert_eq!((together.cluster, together.generation), (own.cluster, 2));
    }

    #[tokio::test]
    async fn another_number_of_shards_is_refused_with_both_numbers_and_nothing_is_taken() {
        let (a, b) = (MemoryJournal::new(), MemoryJournal::new());
        take(&[&b], 16).await.expect("a fresh journal");
        let error = take(&[&a, &b], 32).await.expect_err("it must be refused").to_string();
        assert!(error.contains("sharding.shards = 16, the configuration says 32"), "{error}");
        assert_eq!((generation(&a).await, generation(&b).await), (None, Some(1)));
    }
}
