//! The fence: the rule by which a journal lets exactly one writer into a shard.
//!
//! A journal keeps one [`Token`] for each shard. A *claim* moves it to a higher (epoch, session) and
//! sets batch 0. *Batch k* runs only at exactly (epoch, session, k − 1) and advances it. So a batch
//! runs at most once and in order, a late copy of anything changes nothing, and a deposed owner is
//! refused by the journal itself, without a clock.
//!
//! ```text
//!            claim(e, s) with (e, s) > token's            batch k at (e, s, k-1)
//! (e0,s0,b) ───────────────────────────────▶ (e, s, 0) ─────────────────────────▶ (e, s, 1) …
//! ```
//!
//! Pure: every store asks this one piece of code, or, where the check runs inside the store, imitates it.

use std::fmt;

/// `generation << 40 | log index` of the decision that made the owner; new whenever ownership changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

impl Epoch {
    const INDEX_BITS: u32 = 40;

    /// Mints an epoch.
    ///
    /// # Panics
    /// If the index needs more than 40 bits or the generation more than 24: at a million decisions a
    /// second the first takes twelve days of nothing else, and a wrapped epoch would unlock the fence.
    pub fn new(generation: u32, index: u64) -> Self {
        assert!(generation < 1 << 24, "generation {generation} needs more than 24 bits");
        assert!(index < 1 << Self::INDEX_BITS, "log index {index} needs more than 40 bits");
        Self(u64::from(generation) << Self::INDEX_BITS | index)
    }

    /// Counts the lives of the cluster on this journal.
    pub fn generation(self) -> u32 {
        (self.0 >> Self::INDEX_BITS) as u32
    }

    /// The log index inside the generation.
    pub fn index(self) -> u64 {
        self.0 & ((1 << Self::INDEX_BITS) - 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.generation(), self.index())
    }
}

/// Who writes: the cluster and the one start of a process that owns the shard. Opaque to a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Writer {
    /// The cluster.
    pub cluster: u128,
    /// The start of the process.
    pub incarnation: u128,
}

/// A claim of a shard within an epoch, numbered by the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Claim {
    /// The owner's epoch.
    pub epoch: Epoch,
    /// Which of the owner's claims at that epoch.
    pub session: u32,
}

impl Claim {
    /// The claim that settles what this one left in doubt.
    ///
    /// # Panics
    /// After 2³² claims within one epoch.
    #[must_use]
    pub fn again(self) -> Self {
        Self { epoch: self.epoch, session: self.session.checked_add(1).expect("2^32 claims at one epoch") }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.session)
    }
}

/// What a journal holds for a shard: the newest claim, who made it, and the last batch written under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// The newest claim.
    pub claim: Claim,
    /// The last batch stored under it; 0 before the first.
    pub batch: u64,
    /// Who claimed.
    pub writer: Writer,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.claim, self.batch)
    }
}

/// Under which claim and batch an event was written: what tells it from another one of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventToken {
    /// The claim.
    pub claim: Claim,
    /// The batch within it.
    pub batch: u64,
}

impl EventToken {
    /// That of no event.
    pub const NONE: Self = Self { claim: Claim { epoch: Epoch(0), session: 0 }, batch: 0 };
}

impl fmt::Display for EventToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.claim, self.batch)
    }
}

/// What a claim comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimVerdict {
    /// Store this token: the shard is the claimer's.
    Take(Token),
    /// This very claim was taken before and nothing was written since: a repeat after a lost answer.
    AlreadyTaken,
    /// A newer claim holds the shard, or batches were written since this one. Nothing changes.
    Fenced(Token),
    /// Two processes or clusters believe that they own this journal. The node must stop.
    Usurped(Usurped),
}

/// A sign that more than this cluster works on the journal; no time-out or retry mends that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Usurped {
    /// The token has the claimer's epoch under another start of a process.
    #[error("epoch {0} is also held by another process: is a data directory used twice?")]
    Incarnation(Epoch),
    /// The token has the claimer's generation under another cluster.
    #[error("generation {0} is also held by another cluster: two clusters share one journal")]
    Cluster(u32),
    /// The token's generation is above the claimer's.
    #[error(
        "the journal is at generation {theirs}, this node at {ours}: the cluster was formed anew elsewhere"
    )]
    Generation {
        /// Of the claimer.
        ours: u32,
        /// Of the token.
        theirs: u32,
    },
}

/// What a batch comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchVerdict {
    /// Store its writes, and this token, together.
    Write(Token),
    /// It is stored whole: a repeat after a lost answer.
    AlreadyWritten,
    /// Another claim holds the shard, or the number is out of turn. Nothing changes.
    Fenced(Option<Token>),
}

/// Judges a claim against what the journal holds.
pub fn judge_claim(held: Option<Token>, claim: Claim, writer: Writer) -> ClaimVerdict {
    let fresh = Token { claim, batch: 0, writer };
    let Some(held) = held else { return ClaimVerdict::Take(fresh) };
    let (ours, theirs) = (claim.epoch.generation(), held.claim.epoch.generation());
    if held.claim.epoch == claim.epoch && held.writer.incarnation != writer.incarnation {
        return ClaimVerdict::Usurped(Usurped::Incarnation(claim.epoch));
    }
    if ours == theirs && held.writer.cluster != writer.cluster {
        return ClaimVerdict::Usurped(Usurped::Cluster(ours));
    }
    if theirs > ours {
        return ClaimVerdict::Usurped(Usurped::Generation { ours, theirs });
    }
    if claim > held.claim {
        ClaimVerdict::Take(fresh)
    } else if held == fresh {
        ClaimVerdict::AlreadyTaken
    } else {
        ClaimVerdict::Fenced(held)
    }
}

/// Judges batch `number` of `claim` against what the journal holds.
pub fn judge_batch(held: Option<Token>, claim: Claim, number: u64, writer: Writer) -> BatchVerdict {
    match held {
        Some(held) if held.claim == claim && held.writer == writer => {
            if held.batch == number {
                BatchVerdict::AlreadyWritten
            } else if held.batch.checked_add(1) == Some(number) {
                BatchVerdict::Write(Token { batch: number, ..held })
            } else {
                BatchVerdict::Fenced(Some(held))
            }
        }
        other => BatchVerdict::Fenced(other),
    }
}

/// Whether a read by the holder of `claim` may decide anything: a stale server answers with another token.
pub fn may_decide(held: Option<Token>, claim: Claim) -> bool {
    held.is_some_and(|held| held.claim == claim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Writer = Writer { cluster: 1, incarnation: 10 };
    const THEM: Writer = Writer { cluster: 1, incarnation: 20 };

    fn claim(generation: u32, index: u64, session: u32) -> Claim {
        Claim { epoch: Epoch::new(generation, index), session }
    }

    fn token(claim: Claim, batch: u64) -> Token {
        Token { claim, batch, writer: US }
    }

    #[test]
    fn only_a_strictly_higher_claim_takes_the_shard() {
        let held = Some(token(claim(1, 5, 2), 3));
        let take = |claim| ClaimVerdict::Take(token(claim, 0));
        assert_eq!(judge_claim(None, claim(1, 1, 1), US), take(claim(1, 1, 1)));
        assert_eq!(judge_claim(held, claim(1, 5, 3), US), take(claim(1, 5, 3)));
        assert_eq!(judge_claim(held, claim(1, 6, 1), US), take(claim(1, 6, 1)));
        assert_eq!(judge_claim(held, claim(2, 1, 1), US), take(claim(2, 1, 1)));
        for late in [claim(1, 5, 1), claim(1, 4, 9), claim(1, 5, 2)] {
            assert_eq!(judge_claim(held, late, US), ClaimVerdict::Fenced(token(claim(1, 5, 2), 3)));
        }
    }

    #[test]
    fn a_late_copy_of_a_claim_does_not_reopen_its_first_batch() {
        let again = claim(1, 5, 2);
        assert_eq!(judge_claim(Some(token(again, 0)), again, US), ClaimVerdict::AlreadyTaken);
        assert_eq!(judge_claim(Some(token(again, 1)), again, US), ClaimVerdict::Fenced(token(again, 1)));
    }

    #[test]
    fn two_owners_of_one_journal_are_told_apart() {
        let held = Some(token(claim(3, 5, 1), 0));
        assert_eq!(
            judge_claim(held, claim(3, 5, 2), THEM),
            ClaimVerdict::Usurped(Usurped::Incarnation(Epoch::new(3, 5)))
        );
        let other = Writer { cluster: 2, incarnation: 30 };
        assert_eq!(judge_claim(held, claim(3, 9, 1), other), ClaimVerdict::Usurped(Usurped::Cluster(3)));
        assert_eq!(
            judge_claim(held, claim(2, 9, 1), US),
            ClaimVerdict::Usurped(Usurped::Generation { ours: 2, theirs: 3 })
        );
        assert_eq!(
            judge_claim(held, claim(4, 1, 1), other),
            ClaimVerdict::Take(Token { claim: claim(4, 1, 1), batch: 0, writer: other })
        );
    }

    #[test]
    fn a_batch_runs_once_and_in_turn() {
        let ours = claim(1, 5, 1);
        let held = Some(token(ours, 7));
        assert_eq!(judge_batch(held, ours, 8, US), BatchVerdict::Write(token(ours, 8)));
        assert_eq!(judge_batch(held, ours, 7, US), BatchVerdict::AlreadyWritten);
        for out_of_turn in [6, 9, 0] {
            assert_eq!(judge_batch(held, ours, out_of_turn, US), BatchVerdict::Fenced(held));
        }
        assert_eq!(judge_batch(None, ours, 1, US), BatchVerdict::Fenced(None));
    }

    #[test]
    fn a_deposed_owner_cannot_append() {
        let newer = Some(token(claim(1, 6, 1), 0));
        assert_eq!(judge_batch(newer, claim(1, 5, 1), 8, US), BatchVerdict::Fenced(newer));
        assert_eq!(judge_batch(newer, claim(1, 6, 1), 1, THEM), BatchVerdict::Fenced(newer));
    }

    #[test]
    fn neighbouring_epochs_stay_apart_at_the_highest_generation() {
        let (a, b) = (Epoch::new((1 << 24) - 1, 1), Epoch::new((1 << 24) - 1, 2));
        assert!(a < b);
        assert_eq!((b.generation(), b.index()), ((1 << 24) - 1, 2));
    }
}
