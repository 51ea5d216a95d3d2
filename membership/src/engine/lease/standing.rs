//! The lease as those see it who must check it before they act.
//!
//! A [`Lease`] is a small value to be copied to wherever work is done. It needs nobody to end it: each
//! holder of a copy reads the clocks and asks.

use super::LeaseConfig;
use crate::engine::clock::{BootTime, Clocks};

/// Leave to act, or the lack of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease(State);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Sole,
    Granted { sent: Clocks, config: LeaseConfig },
    Suspended(SuspensionCause),
}

/// What a lease allows at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Act. The lease ends at `until` unless it is extended.
    Held {
        /// The first moment at which the lease is over; [`BootTime::NEVER`] if nobody can take it away.
        until: BootTime,
    },
    /// Start nothing, answer nothing, keep everything: a new grant may resume it.
    Suspended(SuspensionCause),
}

/// Why a lease is not held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SuspensionCause {
    /// No grant has counted yet.
    Starting,
    /// The last grant ran out.
    Expired,
    /// The clocks moved apart, so nobody knows how long this machine stood still.
    ClockJumped,
}

impl Lease {
    /// The lease of a node without a cluster: nobody could take over, so nobody can take it away.
    pub const fn sole() -> Self {
        Self(State::Sole)
    }

    pub(super) const fn granted(sent: Clocks, config: LeaseConfig) -> Self {
        Self(State::Granted { sent, config })
    }

    pub(super) const fn suspended(cause: SuspensionCause) -> Self {
        Self(State::Suspended(cause))
    }

    /// Whether its holder may act. Asked before every handler, in a cluster or not.
    pub fn standing(&self, now: Clocks) -> Standing {
        match self.0 {
            State::Sole => Standing::Held { until: BootTime::NEVER },
            State::Granted { sent, config } => {
                let until = sent.boot + config.ttl;
                // Measured from the sending, not from the last look: many small jumps are one large one.
                if now.disagreement_since(sent) > config.clock_tolerance() {
                    Standing::Suspended(SuspensionCause::ClockJumped)
                } else if now.boot >= until {
                    Standing::Suspended(SuspensionCause::Expired)
                } else {
                    Standing::Held { until }
                }
            }
            State::Suspended(cause) => Standing::Suspended(cause),
        }
    }

    /// When a held lease ends by itself.
    pub(super) fn ends_at(&self) -> Option<BootTime> {
        match self.0 {
            State::Granted { sent, config } => Some(sent.boot + config.ttl),
            State::Sole | State::Suspended(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::clock::WallTime;

    fn clocks(boot_ms: u64, wall_ms: u64) -> Clocks {
        Clocks {
            boot: BootTime(Duration::from_millis(boot_ms)),
            wall: WallTime(Duration::from_millis(wall_ms)),
        }
    }

    /// Sent when the boot clock showed 1 s and the wall clock 90 s; lasts 2 s and tolerates 150 ms.
    fn check(boot_ms: u64, wall_ms: u64, expected: Standing) {
        let lease = Lease::granted(clocks(1_000, 90_000), LeaseConfig::default());
        assert_eq!(lease.standing(clocks(boot_ms, wall_ms)), expected);
    }

    #[test]
    fn a_lease_ends_by_itself_a_ttl_after_its_renewal_was_sent() {
        let until = clocks(3_000, 0).boot;
        check(1_000, 90_000, Standing::Held { until });
        check(2_999, 91_999, Standing::Held { until });
        check(3_000, 92_000, Standing::Suspended(SuspensionCause::Expired));
    }

    #[test]
    fn clocks_that_part_by_more_than_half_the_margin_end_it_in_either_direction() {
        let until = clocks(3_000, 0).boot;
        check(1_500, 90_650, Standing::Held { until });
        check(1_500, 90_651, Standing::Suspended(SuspensionCause::ClockJumped));
        check(1_500, 90_350, Standing::Held { until });
        check(1_500, 90_349, Standing::Suspended(SuspensionCause::ClockJumped));
    }

    #[test]
    fn the_lease_of_a_node_without_a_cluster_outlives_everything() {
        let forever = Standing::Held { until: BootTime::NEVER };
        assert_eq!(Lease::sole().standing(clocks(0, 0)), forever);
        assert_eq!(Lease::sole().standing(clocks(u64::MAX, 5)), forever);
    }
}
