//! A journal that is not as this shard has left it, and what becomes of the shard: it is parked.
//!
//! *Lost*: it holds less than it had acknowledged. The shard knows what that was, across its own claims. It
//! says so with every claim, and the journal refuses a claim that knows of more than there is. A batch finds
//! out by its number.
//!
//! *Damaged*: it holds what it did not write, or a stream does not end where the owner ended it. With the
//! fence passed nobody else can have written, so the journal was changed behind its own back: a key was
//! overwritten, or went away.
//!
//! ```text
//!   claim, batch ── less is there ─────▶ Parked ── the loss is accepted ─▶ Claiming, knowing of nothing
//!   claim, batch ── something else is ─▶ Parked ── released ─────────────▶ Claiming, knowing what it knew
//!   read ────────── less is there ─▶ claims again: the claim decides
//! ```
//!
//! A read alone decides nothing, because a server that was left behind shows less than there is, too. A
//! claim is acknowledged like an event, and such a server cannot do that. What a read finds damaged parks one
//! entity, not its shard.
//!
//! A loss can be released, too: if what was lost is back, the claim is taken, and else it is found again.
//! Only a loss can be accepted.
//!
//! Invariant: a parked shard reads and writes nothing, and is not claimed again at its epoch by itself. What
//! was lost may still lie somewhere, and whoever goes on writes over it.

use std::fmt;

use abide_persistence::engine::Turn;
use abide_persistence::journal::{Known, Token};
use abide_persistence::model::{Failure, Outcome};

use super::{Action, Hold, Shard};

/// What a journal has lost of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// What it had acknowledged.
    pub known: Known,
    /// What it holds.
    pub held: Option<Token>,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the journal had acknowledged {}, and holds ", self.known)?;
        match self.held {
            Some(held) => write!(f, "{held}"),
            None => f.write_str("nothing"),
        }
    }
}

/// Why a shard is parked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParkedFor {
    /// The journal holds less than it had acknowledged.
    Loss(Loss),
    /// The journal holds what it did not write, or not what it wrote; in its words.
    Damage(String),
}

impl ParkedFor {
    /// The loss, if it is one.
    pub fn loss(&self) -> Option<Loss> {
        match self {
            Self::Loss(loss) => Some(*loss),
            Self::Damage(_) => None,
        }
    }

    /// What callers are told.
    pub(super) fn failure(&self, outcome: Outcome) -> Failure {
        match self {
            Self::Loss(_) => Failure::EventsLost { outcome },
            Self::Damage(_) => Failure::JournalDamaged { outcome },
        }
    }
}

impl fmt::Display for ParkedFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loss(loss) => loss.fmt(f),
            Self::Damage(words) => f.write_str(words),
        }
    }
}

impl Shard {
    /// Why it is parked, if it is.
    pub fn parked_for(&self) -> Option<&ParkedFor> {
        if let Hold::Parked { cause } = &self.hold { Some(cause) } else { None }
    }

    /// An operator goes on with what is left: the shard is claimed as if nothing were known of it. `None` if
    /// it is not parked for a loss.
    pub fn accept_loss(&mut self, actions: &mut Vec<Action>) -> Option<Loss> {
        let loss = self.parked_for()?.loss()?;
        let last = self.last_claim?;
        self.known = None;
        self.begin_claim(last.again(), actions);
        Some(loss)
    }

    /// An operator has mended the journal: the shard is claimed with all that is known of it. `None` if it is
    /// not parked.
    pub fn release(&mut self, actions: &mut Vec<Action>) -> Option<ParkedFor> {
        let cause = self.parked_for()?.clone();
        let last = self.last_claim?;
        self.begin_claim(last.again(), actions);
        Some(cause)
    }

    /// The journal has acknowledged this.
    pub(super) fn learn(&mut self, known: Known) {
        self.known = self.known.max(Some(known));
    }

    pub(super) fn park(
        &mut self,
        turn: &mut Turn,
        cause: ParkedFor,
        outcome: Outcome,
        actions: &mut Vec<Action>,
    ) {
        self.unload(turn, &|in_flight| {
            cause.failure(if in_flight == Outcome::None { Outcome::None } else { outcome })
        });
        self.hold = Hold::Parked { cause: cause.clone() };
        actions.push(Action::Parked(cause));
    }
}
