//! The member's side of the lease: asks for it, and knows until when it lasts.
//!
//! Pure: told what happened and what both clocks show, it answers with what to do. It never shortens a
//! lease on anybody's word; only time, or clocks that disagree, end one.
//!
//! ```text
//! Suspended --a grant counts--> Held --ttl after the sending, or the clocks part--> Suspended
//! ```
//!
//! Invariant: a lease ends `ttl` after the *sending* of a renewal that was granted, and the own table was
//! applied as far as that grant says before the lease counted.

use std::collections::VecDeque;

use super::{Grant, Lease, LeaseConfig, Renewal, RenewalNumber, Standing, SuspensionCause};
use crate::engine::clock::{BootTime, Clocks};
use crate::ids::{LogIndex, MemberId};

/// Renewals that are remembered at most. Those that still matter are as many as fit into a `ttl`, eight
/// by default; only a storm of leader changes brings more, and then the oldest are worth the least.
const MAX_REMEMBERED: usize = 64;

/// What the holder is told. Time passes with each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// [`Holder::next_wake`] has come.
    Tick,
    /// Another leader is known. What is under way may have died with the former one.
    LeaderChanged,
    /// A grant arrived: late, twice or for somebody else is all the same.
    Granted(Grant),
    /// The own table is applied this far.
    Applied(LogIndex),
}

/// What the holder wants done. A lease in it is a copy for those who check it before they act; it stands
/// until the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Send this to the leader, now: the lease is counted from this moment. Without a leader, drop it.
    Renew(Renewal),
    /// The lease goes on for longer.
    Extend(Lease),
    /// The lease is held, after it was not. What the table gave to others meanwhile is to be dropped
    /// first.
    Resume(Lease),
    /// The lease is over. The copies have found out by themselves, or will on their next look.
    Suspend(Lease),
}

/// See the [module](self).
#[derive(Debug)]
pub struct Holder {
    member: MemberId,
    config: LeaseConfig,
    lease: Lease,
    /// How far the own table is applied.
    applied: LogIndex,
    /// In the order of their sending. All are newer than the one that the lease rests on, so an older
    /// grant finds nothing that it could extend.
    renewals: VecDeque<Sent>,
    last_number: RenewalNumber,
    renew_at: BootTime,
}

/// A renewal on its way.
#[derive(Debug)]
struct Sent {
    number: RenewalNumber,
    at: Clocks,
    grant: Answer,
}

#[derive(Debug)]
enum Answer {
    Awaited,
    /// Granted, and counts once the own table is applied this far.
    NeedsTable(LogIndex),
}

impl Holder {
    /// A member that has just started: it holds nothing and renews at the first tick.
    pub fn new(member: MemberId, config: LeaseConfig, applied: LogIndex, now: Clocks) -> Self {
        Self {
            member,
            config,
            lease: Lease::suspended(SuspensionCause::Starting),
            applied,
            renewals: VecDeque::new(),
            last_number: RenewalNumber(0),
            renew_at: now.boot,
        }
    }

    /// Whether the member may act.
    pub fn standing(&self, now: Clocks) -> Standing {
        self.lease.standing(now)
    }

    /// When to come back with a [`Event::Tick`] if nothing happens before.
    pub fn next_wake(&self) -> BootTime {
        self.lease.ends_at().map_or(self.renew_at, |end| end.min(self.renew_at))
    }

    /// Takes in what happened. Time comes in and orders go out as values.
    #[must_use = "effects are orders; dropping them loses renewals"]
    pub fn on_event(&mut self, now: Clocks, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.end_if_over(now, &mut effects);
        match event {
            Event::Tick => {}
            Event::LeaderChanged => self.renew_at = now.boot,
            Event::Granted(grant) => self.note(grant),
            Event::Applied(index) => self.applied = self.applied.max(index),
        }
        self.count_grants(now, &mut effects);
        self.renew_if_due(now, &mut effects);
        effects
    }

    /// Makes a loss lasting: without this, clocks that jump back would bring the lease back.
    fn end_if_over(&mut self, now: Clocks, effects: &mut Vec<Effect>) {
        let (Some(_), Standing::Suspended(cause)) = (self.lease.ends_at(), self.standing(now)) else {
            return;
        };
        self.lease = Lease::suspended(cause);
        effects.push(Effect::Suspend(self.lease));
        if cause == SuspensionCause::ClockJumped {
            // Nobody knows how long ago these were sent.
            self.renewals.clear();
            self.renew_at = now.boot;
        }
    }

    fn note(&mut self, Grant { member, number, table_index }: Grant) {
        if member != self.member {
            return; // for a former process of this node: its number is not ours
        }
        if let Some(sent) = self.renewals.iter_mut().find(|sent| sent.number == number) {
            sent.grant = Answer::NeedsTable(table_index);
        }
    }

    /// Lets the newest grant count whose table index is applied. Newer ones go on waiting for theirs: a
    /// table that is always a little behind must not keep every grant from counting.
    fn count_grants(&mut self, now: Clocks, effects: &mut Vec<Effect>) {
        let counts = |sent: &Sent| match sent.grant {
            Answer::Awaited => false,
            Answer::NeedsTable(index) => index <= self.applied,
        };
        let Some(newest) = self.renewals.iter().rposition(counts) else {
            return;
        };
        let lease = Lease::granted(self.renewals[newest].at, self.config);
        self.renewals.drain(..=newest);
        if let Standing::Suspended(_) = lease.standing(now) {
            return; // came too late, or the clocks jumped on its way
        }
        effects.push(match self.standing(now) {
            Standing::Held { .. } => Effect::Extend(lease),
            Standing::Suspended(_) => Effect::Resume(lease),
        });
        self.lease = lease;
    }

    fn renew_if_due(&mut self, now: Clocks, effects: &mut Vec<Effect>) {
        if now.boot < self.renew_at {
            return;
        }
        let over = |sent: &Sent| sent.at.boot + self.config.ttl <= now.boot;
        while self.renewals.front().is_some_and(over) || self.renewals.len() >= MAX_REMEMBERED {
            self.renewals.pop_front();
        }
        let number = RenewalNumber(self.last_number.0 + 1);
        self.last_number = number;
        self.renewals.push_back(Sent { number, at: now, grant: Answer::Awaited });
        self.renew_at = now.boot + self.config.renew_every;
        effects.push(Effect::Renew(Renewal { member: self.member, number, applied: self.applied }));
    }
}

#[cfg(test)]
mod tests;
