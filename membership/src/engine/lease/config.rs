//! How long a lease lasts, and what that must leave room for.

use std::time::Duration;

/// Room in a lease beyond elections and the pause between renewals: the renewal's way to the new leader,
/// its quorum round and its way back, on a machine that is busy because a leader just died.
const ROUND_TRIP_ROOM: Duration = Duration::from_millis(200);

/// Longest elections that a lease must outlive. Followers hold on to a leader that they heard lately, so a
/// fail-over takes about two; the third is for a vote that was split.
const ELECTIONS_TO_OUTLIVE: u32 = 3;

/// The least part of `ttl` that `margin` must be, as a divisor: half of it is for clocks that run at
/// unequal rates, and 1 in 200 is ten times what a disciplined clock may be off.
const MARGIN_DIVISOR: u32 = 100;

/// How long a member may act without hearing from the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseConfig {
    /// Life of a grant, counted from the sending of its renewal. Default: 2 s.
    /// Shorter heals a frozen or cut-off node sooner, and leaves less room for an election.
    pub ttl: Duration,
    /// Time between two renewals. Default: 250 ms. Longer saves quorum rounds, and leaves less of `ttl`
    /// when a leader dies just before a renewal.
    pub renew_every: Duration,
    /// What others wait beyond `ttl` before they take over. Default: 300 ms. One half is for clocks of
    /// unequal rates, the other for jumps too small to act upon. Longer heals later, and nothing else.
    pub margin: Duration,
}

impl Default for LeaseConfig {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(2),
            renew_every: Duration::from_millis(250),
            margin: Duration::from_millis(300),
        }
    }
}

impl LeaseConfig {
    /// Checks the settings against each other and against the longest time-out of an election. Reports
    /// every fault, so that whoever edits the file edits it once.
    pub fn validate(&self, election_max: Duration) -> Result<(), Vec<LeaseFault>> {
        let Self { ttl, renew_every, margin } = *self;
        let mut faults = Vec::new();

        let outlived = renew_every
            .saturating_add(election_max.saturating_mul(ELECTIONS_TO_OUTLIVE))
            .saturating_add(ROUND_TRIP_ROOM);
        if ttl <= outlived {
            faults.push(LeaseFault::TtlTooShort { ttl, renew_every, election_max, outlived });
        }
        if renew_every.is_zero() {
            faults.push(LeaseFault::RenewsWithoutPause);
        }
        let least = ttl / MARGIN_DIVISOR;
        if margin < least {
            faults.push(LeaseFault::MarginTooSmall { margin, ttl, least });
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Silence after which a member may be declared down.
    pub fn down_after(&self) -> Duration {
        self.ttl.saturating_add(self.margin)
    }

    /// How far boot clock and wall clock may move apart within one grant. A jump that is overlooked
    /// lengthens the lease by its own size, so it has to stay inside the margin.
    pub fn clock_tolerance(&self) -> Duration {
        self.margin / 2
    }
}

/// A rule that the settings break. Nothing was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeaseFault {
    /// The death of a leader would suspend healthy members.
    #[error(
        "ttl = {ttl:?} must be more than renew_every + 3 x election_max + 200ms = {outlived:?} \
         (renew_every = {renew_every:?}, election_max = {election_max:?})"
    )]
    TtlTooShort {
        /// The setting.
        ttl: Duration,
        /// The setting.
        renew_every: Duration,
        /// The longest time-out of an election, a setting of the log.
        election_max: Duration,
        /// What `ttl` has to be more than.
        outlived: Duration,
    },
    /// A node would do nothing but renew.
    #[error("renew_every = 0ns must be more than zero")]
    RenewsWithoutPause,
    /// A clock that is slightly slow would keep a lease beyond the member's being declared down.
    #[error("margin = {margin:?} must be at least ttl / 100 = {least:?} (ttl = {ttl:?})")]
    MarginTooSmall {
        /// The setting.
        margin: Duration,
        /// The setting.
        ttl: Duration,
        /// What `margin` has to be at least.
        least: Duration,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const ELECTION_MAX: Duration = Duration::from_millis(450);

    #[test]
    fn the_defaults_outlive_an_election() {
        assert_eq!(LeaseConfig::default().validate(ELECTION_MAX), Ok(()));
    }

    #[test]
    fn a_ttl_that_only_equals_what_it_must_outlive_is_refused() {
        let exactly = Duration::from_millis(250 + 3 * 450 + 200);
        let mut config = LeaseConfig { ttl: exactly, ..LeaseConfig::default() };
        let faults = config.validate(ELECTION_MAX).unwrap_err();
        assert_eq!(
            faults[0].to_string(),
            "ttl = 1.8s must be more than renew_every + 3 x election_max + 200ms = 1.8s \
             (renew_every = 250ms, election_max = 450ms)"
        );
        config.ttl += Duration::from_nanos(1);
        assert_eq!(config.validate(ELECTION_MAX), Ok(()));
    }

    #[test]
    fn every_fault_is_reported_at_once() {
        let zero = Duration::ZERO;
        let config = LeaseConfig { ttl: Duration::from_secs(1), renew_every: zero, margin: zero };
        assert!(matches!(
            config.validate(ELECTION_MAX).unwrap_err()[..],
            [
                LeaseFault::TtlTooShort { .. },
                LeaseFault::RenewsWithoutPause,
                LeaseFault::MarginTooSmall { .. }
            ]
        ));
    }

    #[test]
    fn an_absurd_election_is_a_fault_and_no_panic() {
        assert!(LeaseConfig::default().validate(Duration::MAX).is_err());
    }
}
