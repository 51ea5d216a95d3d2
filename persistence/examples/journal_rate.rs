//! How fast the stores that come with Abide are, by the testkit's rate suite.
//!
//! Run: `cargo run --release -p abide-persistence --example journal_rate -- <directory on a real disk> [events]`

use std::sync::Arc;

use abide_persistence::journal::Journal;
use abide_persistence::runtime::{EmbeddedOptions, EmbeddedStore, MemoryJournal};
use abide_persistence::testkit::rate;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().unwrap_or_else(|| ".".to_owned());
    let events = arguments.next().map_or(10_000, |events| events.parse().expect("a number of events"));
    let dir = tempfile::tempdir_in(dir).expect("a directory");
    let store = EmbeddedStore::open(dir.path(), EmbeddedOptions::default()).expect("opens");
    let (memory, embedded): (Arc<dyn Journal>, Arc<dyn Journal>) =
        (Arc::new(MemoryJournal::new()), Arc::new(store.clone()));
    rate::run("memory", &memory, events).await;
    rate::run("embedded", &embedded, events).await;
    store.close().await;
}
