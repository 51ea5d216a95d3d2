//! When requests start, and which of them count.
//!
//! Pure but for one counter that the workers share: told the time, it says when the next request is due.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::ensure;
use tokio::time::Instant;

use super::args::BenchArgs;

pub(super) struct Plan {
    begin: Instant,
    measured_from: Instant,
    /// No request starts from here on.
    end: Option<Instant>,
    /// Most measured requests.
    limit: Option<u64>,
    /// Requests each second; `None`: as fast as the answers come.
    rate: Option<f64>,
    /// Numbers requests: all of them at a rate, else only the measured.
    next: AtomicU64,
}

/// One request to be made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Start {
    /// When it is due; in the past if the load is ahead of the connections.
    pub(super) at: Instant,
    /// Whether it counts, or only warms up.
    pub(super) measured: bool,
}

impl Plan {
    pub(super) fn new(args: &BenchArgs, begin: Instant) -> anyhow::Result<Self> {
        let positive = |rate: f64| rate.is_finite() && rate > 0.0;
        ensure!(args.rate.is_none_or(positive), "--rate must be above 0");
        // A year: beyond any use, and far from where a clock overflows.
        let longest = Duration::from_secs(365 * 24 * 3600);
        let measure_for = args.measure_for();
        ensure!(args.warmup <= longest && measure_for.is_none_or(|time| time <= longest), "at most a year");
        ensure!(measure_for.is_none_or(|time| !time.is_zero()), "--duration must be above 0");
        let measured_from = begin + args.warmup;
        let end = measure_for.map(|time| measured_from + time);
        let limit = args.requests.map(|requests| requests.get());
        Ok(Self { begin, measured_from, end, limit, rate: args.rate, next: AtomicU64::new(0) })
    }

    /// The next request; `None` when there is none any more.
    pub(super) fn next(&self, now: Instant) -> Option<Start> {
        if self.ended(now) {
            return None;
        }
        let Some(rate) = self.rate else {
            let measured = now >= self.measured_from;
            let counts = || self.limit.is_none_or(|limit| self.next.fetch_add(1, Ordering::Relaxed) < limit);
            return (!measured || counts()).then_some(Start { at: now, measured });
        };
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if self.limit.is_some_and(|limit| number >= self.warmup_requests(rate) + limit) {
            return None;
        }
        // As a float, for one second too many at a tiny rate is longer than a Duration holds.
        let seconds = number as f64 / rate;
        let at = Duration::try_from_secs_f64(seconds).ok().and_then(|after| self.begin.checked_add(after))?;
        let measured = number >= self.warmup_requests(rate);
        (!self.ended(at)).then_some(Start { at, measured })
    }

    /// How many measured requests were due until then; `None` without a rate.
    pub(super) fn due(&self, until: Instant) -> Option<u64> {
        let rate = self.rate?;
        let until = self.end.map_or(until, |end| end.min(until));
        let all = ((until - self.begin).as_secs_f64() * rate).ceil() as u64;
        let measured = all.saturating_sub(self.warmup_requests(rate));
        Some(self.limit.map_or(measured, |limit| measured.min(limit)))
    }

    /// How long was measured until then.
    pub(super) fn measured(&self, until: Instant) -> Duration {
        until.saturating_duration_since(self.measured_from)
    }

    fn ended(&self, now: Instant) -> bool {
        self.end.is_some_and(|end| now >= end)
    }

    fn warmup_requests(&self, rate: f64) -> u64 {
        ((self.measured_from - self.begin).as_secs_f64() * rate).ceil() as u64
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;
    use crate::bench::tests::args;

    fn starts(plan: &Plan, now: Instant) -> Vec<Start> {
        std::iter::from_fn(|| plan.next(now)).take(100).collect()
    }

    #[test]
    fn at_a_rate_requests_are_due_at_equal_distances_and_none_at_the_end() {
        let begin = Instant::now();
        let ms = |ms| begin + Duration::from_millis(ms);
        let rate = BenchArgs { rate: Some(10.0), duration: Some(Duration::from_millis(400)), ..args() };
        let plan = Plan::new(&BenchArgs { warmup: Duration::from_millis(200), ..rate }, begin).unwrap();
        let expected: Vec<_> = (0..6).map(|n| Start { at: ms(n * 100), measured: n >= 2 }).collect();
        assert_eq!(starts(&plan, begin), expected);
        assert_eq!(plan.due(ms(450)), Some(3));
        assert_eq!(plan.due(ms(9000)), Some(4));
        assert_eq!(plan.next(ms(600)), None);
    }

    #[test]
    fn as_many_are_measured_as_were_asked_for() {
        let begin = Instant::now();
        let requests = NonZeroU64::new(3);
        let closed = BenchArgs { requests, warmup: Duration::from_millis(1), ..args() };
        let open = BenchArgs { rate: Some(2000.0), ..closed.clone() };

        let plan = Plan::new(&closed, begin).unwrap();
        assert_eq!(plan.next(begin), Some(Start { at: begin, measured: false }));
        let warm = begin + Duration::from_millis(1);
        assert_eq!(starts(&plan, warm), [Start { at: warm, measured: true }; 3]);

        let measured: Vec<_> =
            starts(&Plan::new(&open, begin).unwrap(), begin).iter().map(|start| start.measured).collect();
        assert_eq!(measured, [false, false, true, true, true]);
    }

    #[test]
    fn a_rate_that_means_nothing_is_refused() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Plan::new(&BenchArgs { rate: Some(rate), ..args() }, Instant::now()).is_err());
        }
    }
}
