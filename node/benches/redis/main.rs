//! The figures of the Redis store in `docs/performance.md`: each one a ratio of two things measured in this one
//! run, on real servers that it starts for itself.
//!
//! ```sh
//! cargo bench -p abide --bench redis              # all but "coerce"
//! cargo bench -p abide --bench redis -- entities  # those whose name contains "entities"
//! cargo bench -p abide --bench redis -- coerce    # builds and runs a program on another crate
//! ABIDE_FIGURES_QUICK=1 cargo bench …             # one short turn: tells only that they run
//! ```
//!
//! Unless a figure says otherwise: three primaries with a replica each, AOF every second, events of 200 bytes
//! of payload. Turns of ours and of the baseline alternate, and the medians are compared: servers, replicas and
//! clients share the cores.
//!
//! - [`turns`]: measuring in turns, and what is printed;
//! - [`servers`]: the servers, and what they count;
//! - [`notes`]: the entity whose commands are measured;
//! - [`bare`]: the client to compare with, which sends the same scripts and nothing else;
//! - the others: a figure or two each.

#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, reason = "a benchmark")]

mod bare;
mod coerce;
#[allow(dead_code, reason = "other figures use all of it")]
#[path = "../common/mod.rs"]
mod common;
mod entities;
mod http;
mod journal;
mod memory;
mod notes;
mod reads;
mod servers;
mod turns;
mod work;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    // `cargo bench` adds --bench.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let figures: [(&str, fn()); 8] = [
        ("journal", journal::journal),
        ("entities", entities::entities),
        ("hot", entities::hot),
        ("http", http::http),
        ("work", work::work),
        ("memory", memory::memory),
        ("reads", reads::reads),
        (coerce::NAME, coerce::coerce),
    ];
    for (name, figure) in figures {
        let is_wanted = wanted.iter().any(|word| name.contains(word.as_str()));
        if is_wanted || (wanted.is_empty() && name != coerce::NAME) {
            figure();
        }
    }
}
