//! The promises that every store must keep, as tests that any store can be run through.
//!
//! ```text
//! testkit::journal::run_all(|| async { Arc::new(my_journal().await) as Arc<dyn Journal> }).await;
//! testkit::snapshots::run_all(|| async { Arc::new(my_snapshots().await) as Arc<dyn SnapshotStore> }).await;
//! ```
//!
//! Each case is a named function that panics where the promise is broken. Cases draw fresh entities and
//! ever higher claims, so the store may be the same each time; it must not hold what another process
//! wrote with this kit.
//!
//! Not here: what only a crash, a full disk or a network can show. Each store has tests of its own for that.

pub mod journal;
pub mod snapshots;

mod fresh;
mod owner;

pub use fresh::{SHARDS, event, fresh_claim, fresh_id, fresh_shard, fresh_writer, snapshot};
pub use owner::Owner;
