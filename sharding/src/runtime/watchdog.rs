//! Looks for entities whose code runs for too long, and names them.
//!
//! An entity's code must be short: while it runs, nobody else of its lane does. A thread of its own looks,
//! because code that blocks may hold every thread of the runtime.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use abide_persistence::engine::{RunMark, Running};

/// Ends the thread when it is dropped.
pub(crate) struct Watchdog(#[expect(dead_code, reason = "its end is what counts")] SyncSender<()>);

impl fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watchdog")
    }
}

impl Watchdog {
    /// Watches lanes for code that runs for `limit`.
    pub(crate) fn start(lanes: Vec<Arc<Running>>, limit: Duration) -> std::io::Result<Self> {
        let (alive, ended) = sync_channel(1);
        std::thread::Builder::new()
            .name("abide-watchdog".to_owned())
            .spawn(move || watch(&lanes, limit, &ended))?;
        Ok(Self(alive))
    }
}

/// A run that was seen before.
#[derive(Clone, Copy, Default)]
struct Seen {
    mark: RunMark,
    looks: u32,
}

/// Looks at a run until it is told of: a quarter of the limit apart, so that it is not told of much late.
const LOOKS: u32 = 4;

fn watch(lanes: &[Arc<Running>], limit: Duration, ended: &Receiver<()>) {
    let pause = (limit / LOOKS).max(Duration::from_millis(1));
    let mut seen = vec![Seen::default(); lanes.len()];
    while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        for (running, seen) in lanes.iter().zip(&mut seen) {
            let mark = running.mark();
            if !mark.is_running() || mark != seen.mark {
                *seen = Seen { mark, looks: 0 };
                continue;
            }
            seen.looks += 1;
            // At the limit, and then ever more seldom: one that never ends must not fill the log.
            if seen.looks >= LOOKS && (seen.looks / LOOKS).is_power_of_two() && seen.looks % LOOKS == 0 {
                let Some(entity) = running.name(mark) else { continue };
                if seen.looks == LOOKS {
                    metrics::counter!("abide_slow_handlers_total").increment(1);
                }
                tracing::warn!(
                    entity,
                    for_at_least = ?pause * seen.looks,
                    "the entity's code is slow or blocks, and nobody else of its lane runs meanwhile; let it \
                     wait with pipe_to_self"
                );
            }
        }
    }
}
