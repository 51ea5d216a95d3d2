//! The promises that every store must keep, as tests that any store can be run through.
//!
//! Whoever writes a store runs the suite in the store's own tests: it needs a function that hands out the
//! store, and an executor, whichever the store works under. A case that finds a broken promise panics and says which.
//!
//! ```
//! use std::sync::Arc;
//! use abide_persistence::journal::{Journal, SnapshotStore};
//! use abide_persistence::runtime::{Faulty, MemoryJournal, MemorySnapshots};
//! use abide_persistence::testkit;
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! // In place of these two stands your store.
//! let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
//! let snapshots: Arc<dyn SnapshotStore> = Arc::new(MemorySnapshots::new());
//!
//! testkit::journal::run_all(|| std::future::ready(journal.clone())).await;
//! testkit::snapshots::run_all(|| std::future::ready(snapshots.clone())).await;
//!
//! // One case alone, while you look for what it found:
//! testkit::journal::fencing::a_deposed_owner_cannot_append(journal.clone()).await;
//! // How fast it is; printed, not judged.
//! testkit::rate::run("my store", &journal, 200).await;
//! # });
//! ```
//!
//! A store whose bytes a test can reach also runs [`snapshots::damage::run_all`].
//!
//! To have each case as a test of its own, go through [`journal::CASES`] and [`snapshots::CASES`], which give
//! names and functions. Cases draw fresh entities and ever higher claims, so the store may be the same each time;
//! it must not hold what another process wrote with this kit.
//!
//! | what | where |
//! | --- | --- |
//! | windows, pages, reads that decide | [`journal::reading`] |
//! | what a batch stores, odd ids and bytes | [`journal::writing`] |
//! | one writer: claims, batches in turn | [`journal::fencing`] |
//! | copies that arrive late, with the same bytes and with others | [`journal::late`] |
//! | answers that never come | [`journal::doubt`], with a [`Faulty`](crate::runtime::Faulty) store around yours |
//! | batches and owners in flight together | [`journal::races`] |
//! | deletion, and numbers that stay used | [`journal::deletion`] |
//! | the meta record | [`journal::meta`] |
//! | from one byte to ten million, 100 000 events in pages | [`journal::sizes`] |
//! | snapshots | [`snapshots`] |
//! | speed | [`rate`] |
//!
//! For cases of your own, [`Owner`] owns a shard, numbers its batches and checks what is there.
//!
//! Not here: what only a crash, a full disk or a network can show, and how much memory a store takes. Each store
//! has tests of its own for that; those of the embedded one, in `tests/embedded` and `tests/flat_memory.rs` of this
//! crate, show how: a copy of the directory after each acknowledgement, the log cut at every byte that matters, an
//! allocator that counts.

pub mod ids;
pub mod journal;
pub mod rate;
pub mod snapshots;

mod fresh;
mod owner;

pub use fresh::{SHARDS, event, fresh_claim, fresh_id, fresh_shard, fresh_writer, snapshot};
pub use owner::Owner;
