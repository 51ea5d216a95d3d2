//! Reads the clocks for the engine, which has none.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use abide_persistence::engine::Now;

/// The moment that a process counts its time from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this is where the time comes from")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn since_start(self) -> Duration {
        self.0.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "this is where the time comes from")]
    pub(crate) fn now(self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { since_start: self.since_start(), wall_ms: wall.as_millis() as u64 }
    }

    pub(crate) fn instant(self, since_start: Duration) -> Instant {
        self.0 + since_start
    }
}
