//! Time as the engines see it: readings that somebody else took.
//!
//! Two clocks, two types. Waits are measured on the boot clock; the wall clock is only a witness against
//! it, and no deadline is ever a time of day.

use std::ops::Add;
use std::time::Duration;

/// A reading of a clock that never jumps and goes on while the machine sleeps (`CLOCK_BOOTTIME`), since an
/// arbitrary origin of this machine. Meaningless on any other.
///
/// The usual monotonic clock will not do: it stands still in a suspended machine, and a lease that was
/// measured on it would still be held after the others have waited it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootTime(pub Duration);

impl BootTime {
    /// Later than any reading.
    pub const NEVER: Self = Self(Duration::MAX);

    /// Time passed since `earlier`; zero if that lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Stops at [`BootTime::NEVER`]: an absurd setting means "never", not a panic.
impl Add<Duration> for BootTime {
    type Output = Self;

    fn add(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(wait))
    }
}

/// A reading of the time of day, since the Unix epoch. It can jump, and that is what it is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(pub Duration);

/// Both clocks, read one directly after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Clocks {
    /// What deadlines are measured on.
    pub boot: BootTime,
    /// What the boot clock is checked against.
    pub wall: WallTime,
}

impl Clocks {
    /// How far the clocks have moved apart since `earlier`, in either direction.
    ///
    /// A hypervisor that freezes a guest may stop its boot clock as well; the first to tell the guest is
    /// then whoever puts its wall clock right.
    pub fn disagreement_since(self, earlier: Self) -> Duration {
        // wall - earlier.wall against boot - earlier.boot, rearranged so that nothing goes below zero
        let by_wall = self.wall.0.saturating_add(earlier.boot.0);
        let by_boot = earlier.wall.0.saturating_add(self.boot.0);
        by_wall.abs_diff(by_boot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clocks(boot_ms: u64, wall_ms: u64) -> Clocks {
        Clocks {
            boot: BootTime(Duration::from_millis(boot_ms)),
            wall: WallTime(Duration::from_millis(wall_ms)),
        }
    }

    #[test]
    fn clocks_that_advance_alike_agree_and_a_jump_shows_in_either_direction() {
        let check = |boot, wall, apart| {
            let found = clocks(boot, wall).disagreement_since(clocks(1_000, 50_000));
            assert_eq!(found, Duration::from_millis(apart));
        };
        check(1_000, 50_000, 0);
        check(4_000, 53_000, 0);
        check(4_000, 60_000, 7_000);
        check(4_000, 49_000, 4_000);
    }
}
