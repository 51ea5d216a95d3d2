//! A circuit breaker: leaves a server alone for a while once it has stopped answering.
//!
//! ```text
//!            so many time-outs in a row               the pause is over, one call goes
//!   closed ─────────────────────────────▶ open ◀─────────────────────────────────────▶ half-open
//!      ▲                                    │     the probe timed out, or said nothing    │
//!      └────────────────────────────────────┴───────────────── an answer ─────────────────┘
//! ```
//!
//! A failure is a call that reached its time-out. A refusal is an answer: whoever refuses is there. A call
//! that was begun before the breaker opened says nothing about the probe if it times out late; if it is
//! answered, the server answers.
//!
//! Pure: the time comes in, since the start of the process. A probe counts for one pause at most: whoever
//! took it and never came back holds up nobody for longer.
//!
//! Invariant: while it is not closed, at most one call is let through in each pause.

use std::time::Duration;

/// Longest wait before asking what came of a probe.
const PROBE_NEWS: Duration = Duration::from_secs(1);

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Called {
    /// An answer came, whatever it said.
    Answered,
    /// None came before the time-out.
    TimedOut,
}

/// Leave to make one call. Hand it back with what became of the call; one that is dropped says nothing.
#[derive(Debug, PartialEq, Eq)]
pub struct Leave {
    /// The pause in which it was given; 0 while the breaker was closed for the first time.
    round: u64,
}

/// A circuit breaker.
#[derive(Clone, Debug)]
pub struct Breaker {
    max_failures: u32,
    reset_timeout: Duration,
    state: State,
    /// Counts openings and probes, so that a late answer is not taken for that of a newer call.
    round: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// After so many time-outs in a row.
    Closed { failures: u32 },
    /// Nobody calls before `until`; then one call may.
    Open { until: Duration },
    /// One call is under way; if nothing is heard of it, the next goes at `until`.
    Probing { until: Duration },
}

impl Breaker {
    /// A closed one. It opens after `max_failures` calls in a row that reached their time-out, 0 counting as 1,
    /// and lets nobody call for `reset_timeout` then; a probe may take as long.
    pub fn new(max_failures: u32, reset_timeout: Duration) -> Self {
        Self { max_failures, reset_timeout, state: State::Closed { failures: 0 }, round: 0 }
    }

    /// Asks for leave to call.
    ///
    /// # Errors
    /// How long to wait before asking again.
    pub fn may_call(&mut self, now: Duration) -> Result<Leave, Duration> {
        match self.rests(now) {
            None => {}
            Some(Duration::ZERO) => {
                self.round += 1;
                self.state = State::Probing { until: now + self.reset_timeout };
            }
            Some(left) => return Err(left),
        }
        Ok(Leave { round: self.round })
    }

    /// What became of a call.
    pub fn called(&mut self, now: Duration, leave: Leave, called: Called) {
        match (called, self.state) {
            (Called::Answered, _) => self.state = State::Closed { failures: 0 },
            // It belongs to a time before the last pause.
            (Called::TimedOut, _) if leave.round != self.round => {}
            (Called::TimedOut, State::Closed { failures }) => {
                let failures = failures + 1;
                if failures < self.max_failures {
                    self.state = State::Closed { failures };
                } else {
                    self.open(now);
                }
            }
            (Called::TimedOut, State::Probing { .. }) => self.open(now),
            // Opening ends a round, so nobody has leave of this one.
            (Called::TimedOut, State::Open { .. }) => {}
        }
    }

    /// How long calls are refused from now on; `None` if it is closed, zero if a probe is due. While one is
    /// under way nobody knows, and it is worth asking again soon.
    pub fn rests(&self, now: Duration) -> Option<Duration> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { until } => Some(until.saturating_sub(now)),
            State::Probing { until } => Some(until.saturating_sub(now).min(PROBE_NEWS)),
        }
    }

    fn open(&mut self, now: Duration) {
        self.round += 1;
        self.state = State::Open { until: now + self.reset_timeout };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random and are the same every time.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % limit
        }
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn breaker(max_failures: u32) -> Breaker {
        Breaker::new(max_failures, at(30))
    }

    /// Opens it at this time.
    fn open(max_failures: u32, now: Duration) -> Breaker {
        let mut breaker = breaker(max_failures);
        for _ in 0..max_failures {
            let leave = breaker.may_call(now).expect("closed");
            breaker.called(now, leave, Called::TimedOut);
        }
        assert_eq!(breaker.rests(now), Some(at(30)));
        breaker
    }

    #[test]
    fn so_many_time_outs_in_a_row_open_it() {
        let mut breaker = breaker(3);
        for called in
            [Called::TimedOut, Called::TimedOut, Called::Answered, Called::TimedOut, Called::TimedOut]
        {
            let leave = breaker.may_call(at(1)).expect("closed");
            breaker.called(at(1), leave, called);
            assert_eq!(breaker.rests(at(1)), None);
        }
        let leave = breaker.may_call(at(2)).expect("closed");
        breaker.called(at(12), leave, Called::TimedOut);
        assert_eq!(breaker.may_call(at(13)), Err(at(29)), "30 s from the last time-out on");
    }

    #[test]
    fn when_the_pause_is_over_one_call_is_let_through() {
        let mut breaker = open(10, at(5));
        assert_eq!(breaker.may_call(at(34)), Err(at(1)));
        assert_eq!(breaker.rests(at(35)), Some(Duration::ZERO));
        let probe = breaker.may_call(at(35)).expect("the probe");
        assert_eq!(breaker.may_call(at(35)), Err(PROBE_NEWS), "only one");
        breaker.called(at(36), probe, Called::Answered);
        assert_eq!(breaker.rests(at(36)), None);
        breaker.may_call(at(36)).expect("closed");
    }

    #[test]
    fn a_probe_that_times_out_opens_it_for_another_pause() {
        let mut breaker = open(10, at(0));
        let probe = breaker.may_call(at(30)).expect("the probe");
        breaker.called(at(40), probe, Called::TimedOut);
        assert_eq!(breaker.may_call(at(69)), Err(at(1)));
        breaker.may_call(at(70)).expect("the next probe");
    }

    #[test]
    fn a_probe_that_is_never_heard_of_holds_up_nobody_for_longer_than_a_pause() {
        let mut breaker = open(10, at(0));
        let _never_heard_of = breaker.may_call(at(30)).expect("the probe");
        assert_eq!(breaker.may_call(at(59)), Err(at(1)));
        let next = breaker.may_call(at(60)).expect("the next probe");
        breaker.called(at(61), next, Called::Answered);
        assert_eq!(breaker.rests(at(61)), None);
    }

    #[test]
    fn calls_of_before_neither_prolong_the_pause_nor_fail_the_probe() {
        let mut breaker = breaker(1);
        let mut late: Vec<Leave> = (0..4).map(|_| breaker.may_call(at(0)).expect("closed")).collect();
        breaker.called(at(10), late.remove(0), Called::TimedOut);
        breaker.called(at(20), late.remove(0), Called::TimedOut);
        assert_eq!(breaker.rests(at(20)), Some(at(20)), "since the first");
        let first = breaker.may_call(at(40)).expect("the probe");
        breaker.called(at(41), late.remove(0), Called::TimedOut);
        assert_eq!(breaker.rests(at(41)), Some(PROBE_NEWS), "the probe is under way");
        let second = breaker.may_call(at(70)).expect("the next probe");
        breaker.called(at(71), first, Called::TimedOut);
        assert_eq!(breaker.rests(at(71)), Some(PROBE_NEWS), "the next probe is under way");
        breaker.called(at(72), late.remove(0), Called::Answered);
        assert_eq!(breaker.rests(at(72)), None, "whoever answers is there");
        breaker.called(at(73), second, Called::TimedOut);
        assert_eq!(breaker.rests(at(73)), Some(at(30)), "one is enough here");
    }

    /// Whatever happens in whatever order: it opens only after so many time-outs without an answer between
    /// them, lets one call through in a pause, and always lets one through again.
    #[test]
    fn a_random_walk_keeps_the_promises() {
        for seed in 0..200 {
            let mut dice = Dice(seed);
            let max_failures = 1 + dice.below(5) as u32;
            let mut breaker = breaker(max_failures);
            let mut now = at(0);
            let mut under_way: Vec<Leave> = Vec::new();
            let mut in_a_row = 0;
            let mut last_probe: Option<Duration> = None;
            for _ in 0..400 {
                let was = breaker.rests(now);
                match dice.below(4) {
                    0 => now += Duration::from_millis(dice.below(20_000)),
                    1 => match breaker.may_call(now) {
                        Ok(leave) => {
                            if was.is_some() {
                                let pause = last_probe.is_none_or(|last| now >= last + at(30));
                                assert!(pause, "seed {seed}: two probes in one pause");
                                last_probe = Some(now);
                            }
                            under_way.push(leave);
                        }
                        Err(left) => {
                            assert_eq!(was, Some(left));
                            assert!(left > at(0) && left <= at(30), "seed {seed}: {left:?}");
                            assert!(breaker.clone().may_call(now + at(30)).is_ok(), "seed {seed}: for ever");
                        }
                    },
                    _ if under_way.is_empty() => {}
                    outcome => {
                        let leave = under_way.swap_remove(dice.below(under_way.len() as u64) as usize);
                        if outcome == 2 {
                            breaker.called(now, leave, Called::Answered);
                            in_a_row = 0;
                            last_probe = None;
                            assert_eq!(breaker.rests(now), None, "seed {seed}: an answer closes it");
                        } else {
                            breaker.called(now, leave, Called::TimedOut);
                            in_a_row += 1;
                            let opened = was.is_none() && breaker.rests(now).is_some();
                            assert!(!opened || in_a_row >= max_failures, "seed {seed}: too soon");
                        }
                    }
                }
            }
        }
    }
}
