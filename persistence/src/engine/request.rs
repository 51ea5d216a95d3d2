//! What is asked of an entity, from its arrival to its turn.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::panics::panic_message;
use crate::model::{Caller, Failure, Outcome, PersistentActor, Sender};

/// What is asked of an entity, with `B` for a command.
#[derive(Debug)]
pub enum Message<B> {
    /// Handle a command.
    Command(B),
    /// Show the state as JSON.
    ReadState,
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

/// A request that was decoded.
pub struct Request<A: PersistentActor> {
    pub(crate) message: Message<A::Command>,
    pub(crate) caller: Option<Caller>,
    pub(crate) deadline: Option<Duration>,
}

impl<A: PersistentActor> fmt::Debug for Request<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("type", &A::TYPE).finish_non_exhaustive()
    }
}

impl<A: PersistentActor> Request<A> {
    pub(crate) fn is_past(&self, now: Duration) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    pub(crate) fn sender(self) -> Sender {
        Sender::new(self.caller)
    }
}

/// Turns a body into a command of type `C`.
pub(super) fn decode<C: DeserializeOwned + Send + 'static>(body: Body) -> Result<C, Failure> {
    let not_a_command = |path: String, reason: String| Failure::NotACommand { path, reason };
    match body {
        Body::Json(bytes) => {
            let decoded = catch_unwind(AssertUnwindSafe(|| {
                let mut json = serde_json::Deserializer::from_slice(&bytes);
                let command = serde_path_to_error::deserialize(&mut json)
                    .map_err(|fault| (fault.path().to_string(), fault.into_inner().to_string()))?;
                json.end().map_err(|fault| (".".to_owned(), fault.to_string()))?;
                Ok::<_, (String, String)>(command)
            }));
            match decoded {
                Ok(Ok(command)) => Ok(command),
                Ok(Err((path, reason))) => Err(not_a_command(path, reason)),
                Err(panic) => {
                    Err(Failure::Panicked { what: panic_message(panic.as_ref()), outcome: Outcome::None })
                }
            }
        }
        Body::Local(command) => command
            .downcast()
            .map(|command| *command)
            .map_err(|_| not_a_command(".".to_owned(), "a value of another Rust type was sent".to_owned())),
    }
}
