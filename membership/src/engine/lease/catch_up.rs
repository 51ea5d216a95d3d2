//! Whether a member's table keeps up with what it is granted.
//!
//! A member that renews and whose table stands still would be Up for ever and of no use: no grant of its
//! counts. So the leader takes a mark, the table index of a grant, and waits for a renewal that shows it
//! applied. One mark at a time: a table that is always a little behind passes each of them in time,
//! while the newest grant's index would always be ahead of it.

use std::time::Duration;

use crate::engine::clock::BootTime;
use crate::ids::LogIndex;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CatchUp {
    /// Has shown every mark applied.
    Level,
    /// Was granted `mark` at `since` and has not shown it applied yet.
    Behind { mark: LogIndex, since: BootTime },
}

impl CatchUp {
    /// Takes a new mark, unless an older one is still to be reached.
    pub(super) fn granted(&mut self, now: BootTime, table_index: LogIndex) {
        match self {
            Self::Level => *self = Self::Behind { mark: table_index, since: now },
            Self::Behind { .. } => {}
        }
    }

    /// Hears how far the member has applied, and answers whether it keeps up.
    pub(super) fn keeps_up(&mut self, now: BootTime, applied: LogIndex, patience: Duration) -> bool {
        match *self {
            Self::Behind { mark, since } if applied < mark => now.since(since) <= patience,
            Self::Behind { .. } | Self::Level => {
                *self = Self::Level;
                true
            }
        }
    }

    /// Forgives the time that has passed: the leader itself was away.
    pub(super) fn restart(&mut self, now: BootTime) {
        match self {
            Self::Level => {}
            Self::Behind { since, .. } => *since = now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);

    fn at(secs: u64) -> BootTime {
        BootTime(Duration::from_secs(secs))
    }

    #[test]
    fn a_table_that_stands_still_stops_counting_after_the_patience() {
        let mut table = CatchUp::Level;
        table.granted(at(10), LogIndex(100));
        assert!(table.keeps_up(at(12), LogIndex(99), PATIENCE));
        table.granted(at(12), LogIndex(200));
        assert!(!table.keeps_up(at(13), LogIndex(99), PATIENCE));
        assert!(table.keeps_up(at(14), LogIndex(100), PATIENCE), "it caught up with its mark");
    }

    #[test]
    fn a_table_that_is_always_a_little_behind_keeps_up() {
        let mut table = CatchUp::Level;
        for second in 0..60 {
            table.granted(at(second), LogIndex(100 * second));
            // one second behind, for ever
            assert!(table.keeps_up(at(second), LogIndex((100 * second).saturating_sub(100)), PATIENCE));
        }
    }
}
