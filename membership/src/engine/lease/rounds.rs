//! Quorum rounds: the proof, for many renewals at once, that this leader was still followed *after* they
//! arrived.
//!
//! ```text
//! Idle --somebody waits--> InFlight --completed--> Applying --applied so far--> Idle
//!                             |                     (now they are decided)
//!                             +------failed-----> Idle, and they wait again
//! ```
//!
//! Whoever arrives while a round is in flight waits for the next: that round began too early to prove
//! anything about them. One round at a time, so nothing grows beyond two renewals for each member.

use std::collections::BTreeMap;
use std::mem;

use super::RenewalNumber;
use crate::ids::{LogIndex, MemberId};

/// Counts the rounds of a process, across its terms, so that a round of an earlier term is never taken
/// for one of this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoundNumber(pub u64);

/// The renewals that share a round.
pub(super) type Batch = BTreeMap<MemberId, RenewalNumber>;

#[derive(Debug)]
pub(super) struct Rounds {
    last: RoundNumber,
    /// For the next round; for each member only its newest.
    waiting: Batch,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Idle,
    InFlight { round: RoundNumber, batch: Batch },
    Applying { needs: LogIndex, batch: Batch },
}

impl Rounds {
    pub(super) fn new() -> Self {
        Self { last: RoundNumber(0), waiting: Batch::new(), stage: Stage::Idle }
    }

    /// Puts a renewal in line. Answers which one loses its place: the older of two of one member.
    pub(super) fn join(&mut self, member: MemberId, number: RenewalNumber) -> Option<RenewalNumber> {
        let newest = self.waiting.get(&member).map_or(number, |waiting| number.max(*waiting));
        let former = self.waiting.insert(member, newest)?;
        Some(former.min(number))
    }

    /// Begins a round for all who wait, unless one is under way.
    pub(super) fn begin(&mut self) -> Option<RoundNumber> {
        match self.stage {
            Stage::Idle if !self.waiting.is_empty() => {
                let round = RoundNumber(self.last.0 + 1);
                self.last = round;
                self.stage = Stage::InFlight { round, batch: mem::take(&mut self.waiting) };
                Some(round)
            }
            Stage::Idle | Stage::InFlight { .. } | Stage::Applying { .. } => None,
        }
    }

    /// A majority still followed. The batch is decided once the leader's table is applied up to `needs`.
    pub(super) fn completed(&mut self, completed: RoundNumber, needs: LogIndex) {
        if let Some(batch) = self.land(completed) {
            self.stage = Stage::Applying { needs, batch };
        }
    }

    /// Nothing is known. Its renewals wait for another round; answers those that were overtaken meanwhile.
    pub(super) fn failed(&mut self, failed: RoundNumber) -> Batch {
        let mut overtaken = Batch::new();
        for (member, number) in self.land(failed).unwrap_or_default() {
            if let Some(loser) = self.join(member, number) {
                overtaken.insert(member, loser);
            }
        }
        overtaken
    }

    /// Hands out the batch that can be decided on a table applied up to `applied`, and the index that
    /// it had to reach.
    pub(super) fn decidable(&mut self, applied: LogIndex) -> Option<(LogIndex, Batch)> {
        match &mut self.stage {
            Stage::Applying { needs, batch } if *needs <= applied => {
                let decidable = (*needs, mem::take(batch));
                self.stage = Stage::Idle;
                Some(decidable)
            }
            Stage::Idle | Stage::InFlight { .. } | Stage::Applying { .. } => None,
        }
    }

    /// Ends everything that is under way, and hands out who was to be answered.
    pub(super) fn abandon(&mut self) -> impl Iterator<Item = (MemberId, RenewalNumber)> + use<> {
        let under_way = match mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Idle => Batch::new(),
            Stage::InFlight { batch, .. } | Stage::Applying { batch, .. } => batch,
        };
        under_way.into_iter().chain(mem::take(&mut self.waiting))
    }

    /// Takes the batch out of the round in flight, if it is this one. Any other is of the past.
    fn land(&mut self, landed: RoundNumber) -> Option<Batch> {
        match &mut self.stage {
            Stage::InFlight { round, batch } if *round == landed => {
                let batch = mem::take(batch);
                self.stage = Stage::Idle;
                Some(batch)
            }
            Stage::Idle | Stage::InFlight { .. } | Stage::Applying { .. } => None,
        }
    }
}
