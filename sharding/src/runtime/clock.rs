//! Reads the clocks for the engine, which has none.
//!
//! A request that is handled on the spot takes a few hundred nanoseconds, and the exact time a tenth of that.
//! So there is also a rough time: that of the kernel's last tick, some milliseconds old and never ahead.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use abide_persistence::engine::Now;

/// The moment that a process counts its time from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    rough: rough::Clock,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this is where the time comes from")]
    pub(crate) fn start() -> Self {
        // In this order: the rough time counts from a moment that is not before the other.
        let start = Instant::now();
        Self { start, rough: rough::Clock::start() }
    }

    pub(crate) fn since_start(self) -> Duration {
        self.start.elapsed()
    }

    /// At most [`roughness`](Self::roughness) behind [`since_start`](Self::since_start).
    pub(crate) fn roughly_since_start(self) -> Duration {
        self.rough.since_start()
    }

    pub(crate) fn roughness(self) -> Duration {
        self.rough.tick
    }

    #[expect(clippy::disallowed_methods, reason = "this is where the time comes from")]
    pub(crate) fn now(self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { since_start: self.since_start(), wall_ms: wall.as_millis() as u64 }
    }

    pub(crate) fn instant(self, since_start: Duration) -> Instant {
        self.start + since_start
    }
}

#[cfg(target_os = "linux")]
mod rough {
    use std::time::Duration;

    use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};

    #[derive(Clone, Copy, Debug)]
    pub(super) struct Clock {
        start: Duration,
        pub(super) tick: Duration,
    }

    impl Clock {
        pub(super) fn start() -> Self {
            let start = duration(clock_gettime(ClockId::Monotonic));
            Self { start, tick: duration(clock_getres(ClockId::MonotonicCoarse)) }
        }

        pub(super) fn since_start(self) -> Duration {
            duration(clock_gettime(ClockId::MonotonicCoarse)).saturating_sub(self.start)
        }
    }

    fn duration(time: Timespec) -> Duration {
        // Neither is negative: it counts from the start of the machine.
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
}

/// Where there is no such clock, the exact one.
#[cfg(not(target_os = "linux"))]
mod rough {
    use std::time::{Duration, Instant};

    #[derive(Clone, Copy, Debug)]
    pub(super) struct Clock {
        start: Instant,
        pub(super) tick: Duration,
    }

    impl Clock {
        #[expect(clippy::disallowed_methods, reason = "this is where the time comes from")]
        pub(super) fn start() -> Self {
            Self { start: Instant::now(), tick: Duration::ZERO }
        }

        pub(super) fn since_start(self) -> Duration {
            self.start.elapsed()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rough_time_is_never_ahead_and_never_far_behind() {
        let clock = Clock::start();
        let end = Duration::from_millis(30);
        let mut rough = Duration::ZERO;
        while rough < end {
            let before = clock.since_start();
            rough = clock.roughly_since_start();
            assert!(rough <= clock.since_start(), "{rough:?}");
            // Twice: a tick may come late.
            assert!(rough + 2 * clock.roughness() >= before, "{rough:?} after {before:?}");
        }
    }
}
