//! A journal that has lost events, and what becomes of the shard: it is parked.
//!
//! The shard knows what its journal has acknowledged, across its own claims. It says so with every claim,
//! and the journal refuses a claim that knows of more than there is. A batch finds out by its number.
//!
//! ```text
//!   claim, batch ── less is there ─▶ Parked ── an operator accepts the loss ─▶ Claiming, knowing of nothing
//!   read ────────── less is there ─▶ claims again: the claim decides
//! ```
//!
//! A read alone decides nothing, because a server that was left behind shows less than there is, too. A
//! claim is acknowledged like an event, and such a server cannot do that.
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

impl Shard {
    /// What its journal has lost, if it is parked for that.
    pub fn loss(&self) -> Option<Loss> {
        if let Hold::Parked { loss } = self.hold { Some(loss) } else { None }
    }

    /// An operator goes on with what is left: the shard is claimed as if nothing were known of it. `None` if
    /// it is not parked.
    pub fn accept_loss(&mut self, actions: &mut Vec<Action>) -> Option<Loss> {
        let loss = self.loss()?;
        let last = self.last_claim?;
        self.known = None;
        self.begin_claim(last.again(), actions);
        Some(loss)
    }

    /// The journal has acknowledged this.
    pub(super) fn learn(&mut self, known: Known) {
        self.known = self.known.max(Some(known));
    }

    pub(super) fn park(&mut self, turn: &mut Turn, loss: Loss, outcome: Outcome, actions: &mut Vec<Action>) {
        self.unload(turn, &|in_flight| Failure::EventsLost {
            outcome: if in_flight == Outcome::None { Outcome::None } else { outcome },
        });
        self.hold = Hold::Parked { loss };
        actions.push(Action::Parked(loss));
    }
}
