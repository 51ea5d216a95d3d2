//! What is sent to a primary until it is settled.
//!
//! A job says what to send and reads what came back. What it cannot settle is sent again: at once, if it only
//! goes on with its next step; after a pause, if the server refused it or its outcome is in doubt. When its
//! time is up it is given up, and says so to whoever waits.

use redis::{Pipeline, Value};

use super::engine::replies::{Reply, Then};
use super::link::Link;

/// Reads of one flight, as long as they are answered in time.
pub(super) const READS: usize = 256;

/// One thing to be done at the primary of one slot.
pub(super) trait Job: Send {
    /// Where it is to be done.
    fn slot(&self) -> u16;

    /// How much it adds to a flight, in events.
    fn weight(&self) -> usize {
        1
    }

    /// Adds its commands; the answers come in the same order.
    fn send(&self, link: &Link, pipeline: &mut Pipeline);

    /// Reads the answers. `replicated` says whether enough replicas have what the flight wrote.
    fn read(&mut self, replies: Vec<Reply>, replicated: &Replicated) -> Verdict;

    /// A sending was not answered: it may have run, or may yet run.
    fn unanswered(&mut self) {}

    /// Nobody tries any further.
    fn give_up(self: Box<Self>, reason: &str);
}

/// Whether enough replicas have what a flight wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Replicated {
    /// They have.
    Enough,
    /// Not yet, or nobody knows.
    Short(String),
}

impl Replicated {
    /// A verdict that is true only if enough replicas have it: settled now, or in doubt.
    pub(super) fn settle(&self, settle: impl FnOnce()) -> Verdict {
        match self {
            Self::Enough => {
                settle();
                Verdict::Settled
            }
            Self::Short(reason) => {
                Verdict::Again { reason: reason.clone(), in_doubt: true, then: Then::Wait }
            }
        }
    }
}

/// What a job makes of its answers.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// Whoever waited has been told.
    Settled,
    /// It goes on with its next step, at once.
    Next,
    /// It must be sent again.
    Again {
        /// Why.
        reason: String,
        /// Whether this sending may have run.
        in_doubt: bool,
        /// What to do first.
        then: Then,
    },
}

impl Verdict {
    /// That of an answer that makes no sense: nobody knows what ran.
    pub(super) fn nonsense(value: &Value) -> Self {
        let mut shown = format!("{value:?}");
        shown.truncate(shown.floor_char_boundary(100));
        Self::Again {
            reason: format!("an answer that makes no sense: {shown}"),
            in_doubt: true,
            then: Then::Wait,
        }
    }
}

/// The values of answers that all came through, or what to do about the first that did not.
pub(super) fn all_done(replies: Vec<Reply>) -> Result<Vec<Value>, Failed> {
    let value = |reply| match reply {
        Reply::Done(value) => Ok(value),
        Reply::Refused { reason, then } => {
            Err(Failed::Again(Verdict::Again { reason, in_doubt: false, then }))
        }
        Reply::Doubt(reason) => {
            Err(Failed::Again(Verdict::Again { reason, in_doubt: true, then: Then::Wait }))
        }
        Reply::Foreign(reason) => Err(Failed::Foreign(reason)),
    };
    replies.into_iter().map(value).collect()
}

/// Why an answer did not come through.
pub(super) enum Failed {
    /// To be sent again.
    Again(Verdict),
    /// A key holds what Abide did not write.
    Foreign(String),
}
