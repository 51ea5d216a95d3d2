//! When to ask for a login again. Pure: the time comes in.

use std::time::{Duration, SystemTime};

use super::credentials::Validity;

/// Shortest pause: a source that hands out what has ended already is not asked without end.
const SHORTEST: Duration = Duration::from_millis(100);
/// Pause after the first failure, doubled by each further one.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Longest pause after a failure.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// How long to wait before the login is asked for again; `None` means that it never changes. A fifth of its
/// life is left for failures.
pub(super) fn pause(validity: Validity, now: SystemTime, failures: u32) -> Option<Duration> {
    let planned = match validity {
        Validity::Unlimited => return None,
        Validity::AskAgain(period) => period,
        Validity::Until(end) => end.duration_since(now).unwrap_or_default() / 5 * 4,
    };
    let retry = FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_RETRY);
    Some(if failures == 0 { planned.max(SHORTEST) } else { retry })
}

/// Whether a login may be used for a new connection without asking.
pub(super) fn is_good(validity: Validity, now: SystemTime) -> bool {
    match validity {
        Validity::Unlimited | Validity::AskAgain(_) => true,
        Validity::Until(end) => now < end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;
    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_token_is_renewed_while_a_fifth_of_its_life_is_left() {
        let hour = Validity::Until(NOW + 60 * MINUTE);
        assert_eq!(pause(hour, NOW, 0), Some(48 * MINUTE));
        assert!(is_good(hour, NOW + 59 * MINUTE) && !is_good(hour, NOW + 60 * MINUTE));
        assert_eq!(pause(hour, NOW + 61 * MINUTE, 0), Some(SHORTEST), "never without a pause");
    }

    #[test]
    fn failures_are_spread_out() {
        let validity = Validity::AskAgain(5 * MINUTE);
        let pauses: Vec<_> = (0..5).map(|failures| pause(validity, NOW, failures)).collect();
        let seconds = |count| Some(Duration::from_secs(count));
        assert_eq!(pauses, [seconds(300), seconds(1), seconds(2), seconds(4), seconds(8)]);
        assert_eq!(pause(validity, NOW, u32::MAX), Some(LONGEST_RETRY));
        assert_eq!(pause(Validity::Unlimited, NOW, 0), None);
    }
}
