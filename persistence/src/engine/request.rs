//! What is asked of an entity, from its arrival to its turn.

use std::any::Any;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::fault_path;
use super::panics::caught;
use crate::ids::SequenceNr;
use crate::model::{Deferred, Failure, Outcome, PersistentActor, Sender, Signal};

/// What is asked of an entity, with `B` for a command.
#[derive(Debug)]
pub enum Message<B> {
    /// Handle a command.
    Command(B),
    /// Handle a command, if this is the entity's last event.
    CommandIf(B, SequenceNr),
    /// Show the state as JSON.
    ReadState,
    /// Try again to recover, if the entity is parked.
    Release,
}

/// A command on its way to its owner.
pub enum Body {
    /// JSON, as received from outside.
    Json(Bytes),
    /// The value itself, from this process.
    Local(Box<dyn Any + Send>),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(bytes) => write!(f, "Json({})", String::from_utf8_lossy(bytes)),
            Self::Local(_) => f.write_str("Local"),
        }
    }
}

/// A request that was decoded, or something that the entity is to handle in its turn.
pub struct Request<A: PersistentActor> {
    pub(crate) incoming: Incoming<A>,
    pub(crate) sender: Sender,
    pub(crate) deadline: Option<Duration>,
}

/// What an entity handles, one at a time.
pub(crate) enum Incoming<A: PersistentActor> {
    Command(A::Command),
    CommandIf(A::Command, SequenceNr),
    ReadState,
    /// From itself.
    Message(A::Message),
    /// A timer is due.
    Timer(u64),
    /// Boxed, because it is large and seldom, and every command would carry its room.
    Signal(Box<Signal>),
    /// Nothing was received for too long.
    Silence,
    /// Commands were turned away.
    Overflow,
    /// The result of a call with a handler of its own.
    Run(Deferred<A>),
    Stop,
    Passivate,
}

impl<A: PersistentActor> Incoming<A> {
    pub(crate) fn signal(signal: Signal) -> Self {
        Self::Signal(Box::new(signal))
    }

    /// Whether it means the entity, and not one of its incarnations.
    pub(crate) fn is_from_outside(&self) -> bool {
        matches!(self, Self::Command(_) | Self::CommandIf(..) | Self::ReadState)
    }
}

impl<A: PersistentActor> fmt::Debug for Request<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("type", &A::TYPE).finish_non_exhaustive()
    }
}

impl<A: PersistentActor> Request<A> {
    pub(crate) fn to_self(incoming: Incoming<A>) -> Self {
        Self { incoming, sender: Sender::Nobody, deadline: None }
    }

    pub(crate) fn is_past(&self, now: Duration) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}

/// Turns a body into a command of type `C`.
pub(super) fn decode<C: DeserializeOwned + Send + 'static>(body: Body) -> Result<C, Failure> {
    let not_a_command = |path: String, reason: String| Failure::NotACommand { path, reason };
    match body {
        Body::Json(bytes) => {
            let decoded = caught(|| {
                let mut json = serde_json::Deserializer::from_slice(&bytes);
                let command = serde_path_to_error::deserialize(&mut json)
                    .map_err(|fault| (fault.path().to_string(), fault.into_inner().to_string()))?;
                json.end().map_err(|fault| (".".to_owned(), fault.to_string()))?;
                Ok::<_, (String, String)>(command)
            });
            match decoded {
                Ok(Ok(command)) => Ok(command),
                Ok(Err((path, reason))) => Err(not_a_command(fault_path::locate::<C>(&bytes, path), reason)),
                Err(what) => Err(Failure::Panicked { what, outcome: Outcome::None }),
            }
        }
        Body::Local(command) => command
            .downcast()
            .map(|command| *command)
            .map_err(|_| not_a_command(".".to_owned(), "a value of another Rust type was sent".to_owned())),
    }
}
