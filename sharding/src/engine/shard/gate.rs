//! The gate before handlers: while the journal would refuse what a command stores, no command is begun.
//!
//! A journal whose server has stopped answering leaves it alone for a while, and says for how long
//! ([`Journal::refuses_writes`](abide_persistence::journal::Journal::refuses_writes)). The rule, so that
//! nobody stops for it:
//!
//! - *Commands* are refused before their handler runs, with the time that is left. State reads go on.
//! - *What is begun already* goes its way: a batch in flight tells its own outcome. What entities store
//!   besides, from timers, their own messages, or commands that were let in before, is held back.
//! - *When the pause is over* the journal lets one call through, to see. A batch would be a bad one: all but
//!   the first would be refused, and an entity whose batch is refused stops. So the shard claims again,
//!   with what it knows. Nobody stops for a claim, and a claim that comes second is sent again.
//! - *When a claim was taken* the journal refuses no more, and what was held back is written.
//!
//! A shard comes back by itself, at a moment a little after the pause that differs from shard to shard: the
//! first claims, and the others find that it is over.

use std::time::Duration;

use abide_persistence::ShardId;
use abide_persistence::engine::Turn;
use abide_persistence::model::{Caller, Failure};

use super::{Action, Hold, Shard, refuse};

/// The moments at which shards look again lie within so long.
const SPREAD: Duration = Duration::from_millis(500);
/// Different moments in it.
const MOMENTS: u32 = 64;

/// When a shard looks again at a journal that rests for so long.
pub(super) fn moment(id: ShardId, turn: &Turn, rests: Duration) -> Duration {
    turn.now.since_start + rests + SPREAD * (id.0 % MOMENTS) / MOMENTS
}

impl Shard {
    /// A command was let in: what was held back may go with what it stores.
    pub(super) fn pass_gate(&mut self) {
        self.looks_again_at = None;
    }

    /// Refuses a command that came while the journal refuses writes for `rests` longer.
    pub(super) fn refuse_at_gate(
        &mut self,
        turn: &mut Turn,
        caller: Option<Caller>,
        rests: Duration,
        actions: &mut Vec<Action>,
    ) {
        let at = self.look_again(turn, rests, actions);
        let retry_after = at.saturating_sub(turn.now.since_start);
        refuse(turn, caller, Failure::JournalUnavailable { retry_after });
    }

    /// Holds back what is to be written until the journal was looked at again; says when.
    pub(super) fn look_again(&mut self, turn: &Turn, rests: Duration, actions: &mut Vec<Action>) -> Duration {
        if let Some(at) = self.looks_again_at {
            return at;
        }
        let at = moment(self.id, turn, rests);
        self.looks_again_at = Some(at);
        actions.push(Action::Wake { at, place: None });
        at
    }

    /// Looks at the journal again, if it is time.
    pub(super) fn look(&mut self, turn: &Turn, rests: Option<Duration>, actions: &mut Vec<Action>) {
        if self.looks_again_at.is_none_or(|at| at > turn.now.since_start) {
            return;
        }
        self.looks_again_at = None;
        match (&self.hold, rests) {
            // A batch in flight finds out by itself.
            (Hold::Held { claim, .. }, Some(Duration::ZERO)) if self.in_flight.is_none() => {
                self.begin_claim(claim.again(), actions);
            }
            (Hold::Held { .. }, Some(rests)) if !rests.is_zero() => {
                self.look_again(turn, rests, actions);
            }
            _ => {}
        }
    }
}
