//! The leader's side of the lease: grants it, and declares members down that let it run out.
//!
//! Pure, and the only place where either is decided. It runs on every node and rests while another leads.
//!
//! ```text
//! Following --Elected--> Leading --Deposed--> Following
//! ```
//!
//! Invariants: a renewal is granted only after a majority was heard that still followed this leader when
//! the renewal was already here, and on a table that shows all that was committed by then. A Down that
//! rests on silence is proposed only when every lease that this leader or a former one may have granted
//! has run out. Every renewal is answered exactly once.

use super::roll::Roll;
use super::rounds::{RoundNumber, Rounds};
use super::{Grant, LeaseConfig, Refusal, RefusalReason, Renewal, RenewalNumber};
use crate::engine::clock::BootTime;
use crate::ids::{LogIndex, MemberId};

/// What the grantor is told. The order matters: renewals that have arrived come before a tick, and a
/// committed entry comes with its own index, not with that of a later one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// [`Grantor::next_wake`] has come. Only here is anybody declared down for being silent.
    Tick,
    /// This node leads.
    Elected {
        /// Place of the entry with which this leader began its term. Only a table that contains it
        /// contains everything that former leaders committed.
        own_entry: LogIndex,
        /// How far the table is applied.
        applied: LogIndex,
        /// Who that table says is not Down, in the order of their registration: of two incarnations of
        /// one node, the later supersedes the earlier.
        members: Vec<MemberId>,
    },
    /// This node leads no more.
    Deposed,
    /// A renewal arrived.
    Received(Renewal),
    /// A majority still followed at some time after the round was begun.
    RoundCompleted {
        /// The round.
        round: RoundNumber,
        /// Everything that was committed before the round began lies at or below this index.
        read_index: LogIndex,
    },
    /// A round came to nothing.
    RoundFailed {
        /// The round.
        round: RoundNumber,
    },
    /// The table is applied up to and including this entry.
    Applied {
        /// Place of the entry.
        index: LogIndex,
        /// What it changed among the members, if anything.
        change: Option<Change>,
    },
    /// This member needs no wait: its process is surely dead, or it owns nothing and asks to leave.
    Gone(MemberId),
}

/// What an entry changed among the members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The member is Up. Other incarnations of its node are superseded, and stay until they are Down.
    Registered(MemberId),
    /// The member is Down.
    Down(MemberId),
}

/// What the grantor wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Ask a majority, from now on, whether it still follows this leader. Ends in
    /// [`Event::RoundCompleted`] or [`Event::RoundFailed`], one of them.
    BeginRound(RoundNumber),
    /// Answer the member.
    Grant(Grant),
    /// Answer the member.
    Refuse(Refusal),
    /// Put Down for this member into the log, and keep at it until it is committed or this node is
    /// deposed: the member gets no grant any more.
    ProposeDown(MemberId),
}

/// See the [module](self).
#[derive(Debug)]
pub struct Grantor {
    config: LeaseConfig,
    rounds: Rounds,
    role: Role,
}

#[derive(Debug)]
enum Role {
    Following,
    Leading(Term),
}

/// What is known only while leading.
#[derive(Debug)]
struct Term {
    own_entry: LogIndex,
    applied: LogIndex,
    roll: Roll,
    /// The last time that this node was surely awake.
    ticked: BootTime,
}

impl Grantor {
    /// A node that does not lead yet.
    pub fn new(config: LeaseConfig) -> Self {
        Self { config, rounds: Rounds::new(), role: Role::Following }
    }

    /// When to come back with a [`Event::Tick`] if nothing happens before; `None` while following.
    pub fn next_wake(&self) -> Option<BootTime> {
        match &self.role {
            Role::Following => None,
            Role::Leading(term) => Some(term.next_wake(&self.config)),
        }
    }

    /// Takes in what happened. Time comes in and orders go out as values.
    #[must_use = "effects are orders; dropping them leaves renewals without an answer"]
    pub fn on_event(&mut self, now: BootTime, event: Event) -> Vec<Effect> {
        let Self { config, rounds, role } = self;
        if let Role::Leading(term) = role {
            term.notice_absence(now, config);
        }
        match (&mut *role, event) {
            (_, Event::Elected { own_entry, applied, members }) => {
                let mut roll = Roll::new(*config);
                for member in members {
                    roll.register(now, member);
                }
                *role = Role::Leading(Term { own_entry, applied, roll, ticked: now });
                abandon(rounds)
            }
            (_, Event::Deposed) => {
                *role = Role::Following;
                abandon(rounds)
            }
            (Role::Leading(term), Event::Tick) => {
                term.ticked = now;
                let silent = term.roll.condemn_silent(now).into_iter().map(Effect::ProposeDown);
                silent.chain(begin(rounds)).collect()
            }
            (Role::Leading(term), Event::Received(renewal)) => term.receive(now, renewal, rounds),
            (Role::Leading(term), Event::RoundCompleted { round, read_index }) => {
                rounds.completed(round, read_index.max(term.own_entry));
                term.decide(now, rounds)
            }
            (Role::Leading(_), Event::RoundFailed { round }) => {
                // The next tick begins another: at once would be a busy loop while no majority answers.
                let overtaken = rounds.failed(round).into_iter();
                overtaken.map(|(member, number)| refuse(member, number, RefusalReason::Overtaken)).collect()
            }
            (Role::Leading(term), Event::Applied { index, change }) => {
                match change {
                    Some(Change::Registered(member)) => term.roll.register(now, member),
                    Some(Change::Down(member)) => term.roll.remove(member),
                    None => {}
                }
                term.applied = term.applied.max(index);
                term.decide(now, rounds)
            }
            (Role::Leading(term), Event::Gone(member)) => {
                let condemned = term.roll.condemn(member).then_some(Effect::ProposeDown(member));
                condemned.into_iter().collect()
            }
            (Role::Following, Event::Received(Renewal { member, number, .. })) => {
                vec![refuse(member, number, RefusalReason::NotLeader)]
            }
            // Echoes of a term that is over, and the log as every node sees it.
            (
                Role::Following,
                Event::Tick
                | Event::RoundCompleted { .. }
                | Event::RoundFailed { .. }
                | Event::Applied { .. }
                | Event::Gone(_),
            ) => Vec::new(),
        }
    }
}

impl Term {
    fn next_wake(&self, config: &LeaseConfig) -> BootTime {
        let tick = self.ticked + config.renew_every;
        self.roll.next_verdict().map_or(tick, |verdict| verdict.min(tick))
    }

    /// A leader that was stopped, or starved, finds its timers run out before it has read what arrived
    /// meanwhile. One tick too late, and nobody's silence is held against him.
    fn notice_absence(&mut self, now: BootTime, config: &LeaseConfig) {
        if now > self.next_wake(config) + config.renew_every {
            self.roll.restart_waits(now);
            self.ticked = now;
        }
    }

    fn receive(&mut self, now: BootTime, renewal: Renewal, rounds: &mut Rounds) -> Vec<Effect> {
        let Renewal { member, number, applied: _ } = renewal;
        if let Err(reason) = self.roll.hear(now, renewal) {
            return vec![refuse(member, number, reason)];
        }
        let overtaken = rounds.join(member, number);
        let overtaken = overtaken.map(|older| refuse(member, older, RefusalReason::Overtaken));
        overtaken.into_iter().chain(begin(rounds)).collect()
    }

    /// Answers the renewals of a completed round once the table shows what was committed before it, and
    /// begins the next. Whether a member may be granted is asked now, not when its renewal came: a Down
    /// may have been proposed or applied since.
    fn decide(&mut self, now: BootTime, rounds: &mut Rounds) -> Vec<Effect> {
        let Some((table_index, batch)) = rounds.decidable(self.applied) else {
            return Vec::new();
        };
        let mut effects = Vec::with_capacity(batch.len() + 1);
        for (member, number) in batch {
            effects.push(match self.roll.may_be_granted(member) {
                Ok(()) => {
                    self.roll.granted(now, member, table_index);
                    Effect::Grant(Grant { member, number, table_index })
                }
                Err(reason) => refuse(member, number, reason),
            });
        }
        effects.extend(begin(rounds));
        effects
    }
}

fn begin(rounds: &mut Rounds) -> Option<Effect> {
    rounds.begin().map(Effect::BeginRound)
}

fn abandon(rounds: &mut Rounds) -> Vec<Effect> {
    let orphans = rounds.abandon();
    orphans.map(|(member, number)| refuse(member, number, RefusalReason::NotLeader)).collect()
}

fn refuse(member: MemberId, number: RenewalNumber, reason: RefusalReason) -> Effect {
    Effect::Refuse(Refusal { member, number, reason })
}

#[cfg(test)]
mod tests;
