//! The fence: the rule by which a journal lets exactly one writer into a shard.
//!
//! A journal keeps one [`Token`] for each shard. A *claim* moves it to a higher (epoch, session) and
//! sets batch 0. *Batch k* runs only at exactly (epoch, session, k − 1) and advances it. So a batch
//! runs at most once and in order, a late copy of anything changes nothing, and a deposed owner is
//! refused by the journal itself, without a clock.
//!
//! A token only ever rises. So whoever was told of one, and finds a lower one or none, knows that the
//! journal has *lost* something: a claimer says the least that must be there ([`Known`]), and a batch
//! implies it, because batch k is sent only after (epoch, session, k − 1) was acknowledged. A loss is
//! never written over.
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

/// What somebody knows a journal to hold for a shard, because it was acknowledged. A journal that holds
/// less has lost something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Known {
    /// The claim.
    pub claim: Claim,
    /// The last batch that was acknowledged under it; 0 before the first.
    pub batch: u64,
}

impl Known {
    /// That somebody has claimed the shard at this epoch, and no more than that.
    pub fn claimed_at(epoch: Epoch) -> Self {
        Self { claim: Claim { epoch, session: 0 }, batch: 0 }
    }

    /// Whether a journal that holds this has lost nothing of what is known.
    pub fn is_held_by(self, held: Option<Token>) -> bool {
        held.is_some_and(|held| Self { claim: held.claim, batch: held.batch } >= self)
    }
}

impl fmt::Display for Known {
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
    /// The journal holds less than the claimer knows of. Nothing changes.
    Lost {
        /// What it holds.
        held: Option<Token>,
        /// What the claimer knows of.
        least: Known,
    },
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
    /// Another claim holds the shard, or the number was used before. Nothing changes.
    Fenced(Token),
    /// The journal holds less than was acknowledged before this batch was sent, or nothing. Nothing changes.
    Lost(Option<Token>),
}

/// Judges a claim against what the journal holds. `least` is what the claimer knows that to be, if
/// anything.
///
/// The first that is true decides; (e, s) is the claim, its generation the upper part of e:
///
/// 1. there is no token: lost if there is a `least`, else taken;
/// 2. the token has epoch e and another incarnation: usurped;
/// 3. the token has the generation of e and another cluster: usurped;
/// 4. the token's generation is above that of e: usurped;
/// 5. the token's (epoch, session, batch) is below `least`: lost;
/// 6. the token's (epoch, session) is below (e, s): taken, the token becomes (e, s, 0) of this writer;
/// 7. the token is (e, s, 0) of this writer: already taken;
/// 8. else: fenced.
pub fn judge_claim(held: Option<Token>, claim: Claim, writer: Writer, least: Option<Known>) -> ClaimVerdict {
    let fresh = Token { claim, batch: 0, writer };
    let Some(held) = held else {
        return least.map_or(ClaimVerdict::Take(fresh), |least| ClaimVerdict::Lost { held: None, least });
    };
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
    if let Some(least) = least.filter(|least| !least.is_held_by(Some(held))) {
        ClaimVerdict::Lost { held: Some(held), least }
    } else if claim > held.claim {
        ClaimVerdict::Take(fresh)
    } else if held == fresh {
        ClaimVerdict::AlreadyTaken
    } else {
        ClaimVerdict::Fenced(held)
    }
}

/// Judges batch `number` of `claim` against what the journal holds.
///
/// The first that is true decides; (e, s) is the claim, k the number:
///
/// 1. there is no token, or its (epoch, session, batch) is below (e, s, k − 1): lost;
/// 2. the token's (epoch, session) is not (e, s), or its writer another: fenced;
/// 3. the token's batch is k − 1: written, the token's batch becomes k;
/// 4. the token's batch is k: already written;
/// 5. else: fenced.
pub fn judge_batch(held: Option<Token>, claim: Claim, number: u64, writer: Writer) -> BatchVerdict {
    let acknowledged = Known { claim, batch: number.saturating_sub(1) };
    let Some(held) = held.filter(|held| acknowledged.is_held_by(Some(*held))) else {
        return BatchVerdict::Lost(held);
    };
    if held.claim != claim || held.writer != writer {
        BatchVerdict::Fenced(held)
    } else if held.batch.checked_add(1) == Some(number) {
        BatchVerdict::Write(Token { batch: number, ..held })
    } else if held.batch == number {
        BatchVerdict::AlreadyWritten
    } else {
        BatchVerdict::Fenced(held)
    }
}

/// Whether a read by a holder who knows this may decide anything. A stale server answers with another claim,
/// or, if its successor took over within the claim, with fewer batches than were acknowledged.
pub fn may_decide(held: Option<Token>, known: Known) -> bool {
    held.is_some_and(|held| held.claim == known.claim && held.batch >= known.batch)
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
        assert_eq!(judge_claim(None, claim(1, 1, 1), US, None), take(claim(1, 1, 1)));
        assert_eq!(judge_claim(held, claim(1, 5, 3), US, None), take(claim(1, 5, 3)));
        assert_eq!(judge_claim(held, claim(1, 6, 1), US, None), take(claim(1, 6, 1)));
        assert_eq!(judge_claim(held, claim(2, 1, 1), US, None), take(claim(2, 1, 1)));
        for late in [claim(1, 5, 1), claim(1, 4, 9), claim(1, 5, 2)] {
            assert_eq!(judge_claim(held, late, US, None), ClaimVerdict::Fenced(token(claim(1, 5, 2), 3)));
        }
    }

    #[test]
    fn a_late_copy_of_a_claim_does_not_reopen_its_first_batch() {
        let again = claim(1, 5, 2);
        assert_eq!(judge_claim(Some(token(again, 0)), again, US, None), ClaimVerdict::AlreadyTaken);
        assert_eq!(
            judge_claim(Some(token(again, 1)), again, US, None),
            ClaimVerdict::Fenced(token(again, 1))
        );
    }

    #[test]
    fn two_owners_of_one_journal_are_told_apart() {
        let held = Some(token(claim(3, 5, 1), 0));
        assert_eq!(
            judge_claim(held, claim(3, 5, 2), THEM, None),
            ClaimVerdict::Usurped(Usurped::Incarnation(Epoch::new(3, 5)))
        );
        let other = Writer { cluster: 2, incarnation: 30 };
        assert_eq!(
            judge_claim(held, claim(3, 9, 1), other, None),
            ClaimVerdict::Usurped(Usurped::Cluster(3))
        );
        assert_eq!(
            judge_claim(held, claim(2, 9, 1), US, None),
            ClaimVerdict::Usurped(Usurped::Generation { ours: 2, theirs: 3 })
        );
        assert_eq!(
            judge_claim(held, claim(4, 1, 1), other, None),
            ClaimVerdict::Take(Token { claim: claim(4, 1, 1), batch: 0, writer: other })
        );
    }

    #[test]
    fn a_batch_runs_once_and_in_turn() {
        let ours = claim(1, 5, 1);
        let held = Some(token(ours, 7));
        assert_eq!(judge_batch(held, ours, 8, US), BatchVerdict::Write(token(ours, 8)));
        assert_eq!(judge_batch(held, ours, 7, US), BatchVerdict::AlreadyWritten);
        for used in [6, 1, 0] {
            assert_eq!(judge_batch(held, ours, used, US), BatchVerdict::Fenced(token(ours, 7)));
        }
    }

    #[test]
    fn a_batch_finds_out_what_was_lost_before_it() {
        let ours = claim(1, 5, 2);
        for held in
            [None, Some(token(claim(1, 5, 1), 99)), Some(token(claim(1, 4, 9), 0)), Some(token(ours, 6))]
        {
            assert_eq!(judge_batch(held, ours, 8, US), BatchVerdict::Lost(held));
        }
        for held in [None, Some(token(claim(1, 5, 1), 99))] {
            assert_eq!(judge_batch(held, ours, 1, US), BatchVerdict::Lost(held), "the claim itself");
        }
    }

    #[test]
    fn a_claim_that_knows_of_more_than_there_is_finds_a_loss() {
        let (held, next) = (token(claim(1, 5, 2), 7), claim(1, 6, 1));
        let judge = |held, least| judge_claim(held, next, US, Some(least));
        let known = |claim, batch| Known { claim, batch };
        for there in [
            known(held.claim, 7),
            known(held.claim, 0),
            known(claim(1, 5, 1), 99),
            Known::claimed_at(held.claim.epoch),
        ] {
            assert_eq!(judge(Some(held), there), ClaimVerdict::Take(token(next, 0)), "{there}");
        }
        for lost in [known(held.claim, 8), known(claim(1, 5, 3), 0), Known::claimed_at(next.epoch)] {
            assert_eq!(judge(Some(held), lost), ClaimVerdict::Lost { held: Some(held), least: lost });
        }
        let least = Known::claimed_at(Epoch(0));
        assert_eq!(judge(None, least), ClaimVerdict::Lost { held: None, least });
    }

    #[test]
    fn a_repeated_claim_is_taken_once_whatever_it_knows_of() {
        let ours = claim(1, 5, 2);
        let least = Some(Known { claim: claim(1, 5, 1), batch: 9 });
        assert_eq!(judge_claim(Some(token(ours, 0)), ours, US, least), ClaimVerdict::AlreadyTaken);
        assert_eq!(judge_claim(Some(token(ours, 3)), ours, US, least), ClaimVerdict::Fenced(token(ours, 3)));
    }

    #[test]
    fn another_owner_of_the_journal_comes_before_a_loss() {
        let held = Some(token(claim(3, 5, 1), 0));
        let least = Some(Known { claim: claim(3, 5, 1), batch: 9 });
        let usurped = ClaimVerdict::Usurped(Usurped::Incarnation(Epoch::new(3, 5)));
        assert_eq!(judge_claim(held, claim(3, 5, 2), THEM, least), usurped);
    }

    #[test]
    fn a_deposed_owner_cannot_append() {
        let newer = Some(token(claim(1, 6, 1), 0));
        let fenced = BatchVerdict::Fenced(token(claim(1, 6, 1), 0));
        assert_eq!(judge_batch(newer, claim(1, 5, 1), 8, US), fenced);
        assert_eq!(judge_batch(newer, claim(1, 6, 1), 1, THEM), fenced);
    }

    #[test]
    fn neighbouring_epochs_stay_apart_at_the_highest_generation() {
        let (a, b) = (Epoch::new((1 << 24) - 1, 1), Epoch::new((1 << 24) - 1, 2));
        assert!(a < b);
        assert_eq!((b.generation(), b.index()), ((1 << 24) - 1, 2));
    }
}
