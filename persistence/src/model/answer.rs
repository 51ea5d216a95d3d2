//! What a caller gets: a reply, a rejection, nothing, or a failure that says whether the command may
//! have taken effect.

use std::any::Any;
use std::fmt;
use std::time::Duration;

use crate::ids::SequenceNr;

/// The answer to one request.
#[derive(Debug)]
pub struct Answer {
    /// What came of it.
    pub result: Result<Reply, Box<Failure>>,
    /// The last event that the answer reflects; of a failure, 0.
    pub sequence_nr: SequenceNr,
}

impl Answer {
    /// A failure.
    pub fn failed(failure: Failure) -> Self {
        Self { result: Err(Box::new(failure)), sequence_nr: SequenceNr::ZERO }
    }
}

/// What an entity answered.
#[derive(Debug)]
pub enum Reply {
    /// A reply, or the state that was asked for.
    Value(Payload),
    /// A domain "no".
    Rejection {
        /// What the entity said.
        rejection: Payload,
        /// Whether the command may have stored events all the same, as a refusal that is to be remembered
        /// does.
        outcome: Outcome,
    },
    /// The command ended without a reply.
    Nothing,
}

/// A value on its way to a caller, in the form that the caller asked for.
pub enum Payload {
    /// JSON, for callers from outside.
    Json(Vec<u8>),
    /// The value itself, for callers in this process.
    Local(Box<dyn Any + Send>),
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(bytes) => write!(f, "Json({})", String::from_utf8_lossy(bytes)),
            Self::Local(_) => f.write_str("Local"),
        }
    }
}

/// Whether a command that failed may have taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did not and will not: sending it again is safe.
    None,
    /// It may have.
    Unknown,
}

/// Why a request was not answered by the entity. Each variant says what is true of its effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nobody registered this type here.
    #[error("no entity type of this name is registered on the owner")]
    UnknownType,
    /// The body is JSON but no command of this type.
    #[error("not a command of this type: {reason} (at {path})")]
    NotACommand {
        /// Where in the body, such as `.items[2].amount`.
        path: String,
        /// What is wrong there.
        reason: String,
    },
    /// An event of the command cannot be stored: it cannot be encoded, or is too large. The entity goes on.
    #[error("the event cannot be stored: {reason}")]
    EventRejected {
        /// Why.
        reason: String,
        /// Whether other events of the same command may be stored.
        outcome: Outcome,
    },
    /// The command was to be handled only if the entity's last event was another one. Nothing happened.
    #[error("the entity's last event is {found}, the command expected {expected}")]
    ConditionFailed {
        /// What the command expected.
        expected: SequenceNr,
        /// What it is.
        found: SequenceNr,
    },
    /// The entity holds as many waiting requests as it may.
    #[error("this entity already holds {capacity} waiting requests")]
    EntityBusy {
        /// That number.
        capacity: usize,
    },
    /// The node holds as many waiting requests as it may.
    #[error("this node already holds {capacity} waiting requests")]
    NodeBusy {
        /// That number.
        capacity: usize,
    },
    /// The entity's own code panicked; it recovers from what is stored.
    #[error("the entity's code panicked: {what}")]
    Panicked {
        /// What the panic said.
        what: String,
        /// Whether events of this command may be stored.
        outcome: Outcome,
    },
    /// What the entity answered cannot be encoded.
    #[error("the answer cannot be encoded: {reason}")]
    AnswerNotEncodable {
        /// Why.
        reason: String,
        /// Whether events of this command may be stored.
        outcome: Outcome,
    },
    /// The entity cannot be recovered from what is stored, and waits for an operator or a new version.
    #[error("the entity is parked: {reason}")]
    Parked {
        /// What stands in the way.
        reason: String,
    },
    /// The journal did not acknowledge.
    #[error("the journal failed: {reason}")]
    JournalFailed {
        /// What the store said.
        reason: String,
        /// As far as the store knows.
        outcome: Outcome,
        /// When another try is worth it.
        retry_after: Duration,
    },
    /// The journal has stopped answering and is left alone for a while. The command was not begun.
    #[error("the journal does not answer, and is left alone for a while")]
    JournalUnavailable {
        /// When it is tried again.
        retry_after: Duration,
    },
    /// The journal has lost events of the entity's shard that it had acknowledged. The shard waits for an
    /// operator.
    #[error("the journal has lost events of the entity's shard")]
    EventsLost {
        /// Whether events of this command may be stored.
        outcome: Outcome,
    },
    /// The journal holds what it did not write, or not what it wrote, in the entity's shard. The shard waits
    /// for an operator.
    #[error("the journal is damaged in the entity's shard")]
    JournalDamaged {
        /// Whether events of this command may be stored.
        outcome: Outcome,
    },
    /// The shard was taken by another owner while the request was here.
    #[error("the shard has another owner now")]
    ShardLost {
        /// Whether events of this command may be stored.
        outcome: Outcome,
    },
    /// No owner of the shard is known.
    #[error("the shard has no owner now: {reason}")]
    NoOwner {
        /// Why.
        reason: String,
    },
    /// The node is going down.
    #[error("the node is shutting down")]
    ShuttingDown,
    /// The deadline passed before the entity's code ran.
    #[error("the deadline passed before the request was handled")]
    Expired,
    /// The deadline passed while the request was being handled.
    #[error("the deadline passed while the request was being handled")]
    TimedOut,
    /// The one who was to answer went away without a word, for instance a kept sender that was dropped.
    #[error("the request was dropped without an answer")]
    Abandoned,
}

impl Failure {
    /// The same failure of a command that has queued `events` events: they will be stored or not.
    pub(crate) fn after(self, events: u64) -> Self {
        match self {
            Self::AnswerNotEncodable { reason, .. } if events > 0 => {
                Self::AnswerNotEncodable { reason, outcome: Outcome::Unknown }
            }
            other => other,
        }
    }

    /// The same failure of a command of which an event is stored already: it cannot have had no effect.
    pub(crate) fn after_an_event(mut self) -> Self {
        match &mut self {
            Self::EventRejected { outcome, .. }
            | Self::Panicked { outcome, .. }
            | Self::AnswerNotEncodable { outcome, .. }
            | Self::JournalFailed { outcome, .. }
            | Self::EventsLost { outcome }
            | Self::JournalDamaged { outcome }
            | Self::ShardLost { outcome } => *outcome = Outcome::Unknown,
            Self::ShuttingDown => return Self::Abandoned,
            // The others are said before the entity's code runs, or are unknown anyway.
            Self::UnknownType
            | Self::NotACommand { .. }
            | Self::ConditionFailed { .. }
            | Self::EntityBusy { .. }
            | Self::NodeBusy { .. }
            | Self::Parked { .. }
            | Self::JournalUnavailable { .. }
            | Self::NoOwner { .. }
            | Self::Expired
            | Self::TimedOut
            | Self::Abandoned => {}
        }
        self
    }

    /// Whether the command may have taken effect.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::UnknownType
            | Self::NotACommand { .. }
            | Self::ConditionFailed { .. }
            | Self::EntityBusy { .. }
            | Self::NodeBusy { .. }
            | Self::Parked { .. }
            | Self::JournalUnavailable { .. }
            | Self::NoOwner { .. }
            | Self::ShuttingDown
            | Self::Expired => Outcome::None,
            Self::EventRejected { outcome, .. }
            | Self::Panicked { outcome, .. }
            | Self::AnswerNotEncodable { outcome, .. }
            | Self::JournalFailed { outcome, .. }
            | Self::EventsLost { outcome }
            | Self::JournalDamaged { outcome }
            | Self::ShardLost { outcome } => *outcome,
            Self::TimedOut | Self::Abandoned => Outcome::Unknown,
        }
    }
}
