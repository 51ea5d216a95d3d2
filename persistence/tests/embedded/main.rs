//! What only a restart, a damaged file, a crash or a full disk shows of the embedded store.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

mod boundaries;
mod crash;
mod format;
mod full_disk;
mod opening;
mod restart;
#[path = "../support/small_disk.rs"]
mod small_disk;

use std::path::Path;
use std::sync::Arc;

use abide_persistence::journal::Journal;
use abide_persistence::runtime::{EmbeddedOptions, EmbeddedStore, OpenError};

fn open(dir: &Path) -> Result<EmbeddedStore, OpenError> {
    EmbeddedStore::open(dir, EmbeddedOptions { cache_bytes: 8 << 20, ..EmbeddedOptions::default() })
}

fn journal(store: &EmbeddedStore) -> Arc<dyn Journal> {
    Arc::new(store.clone())
}
