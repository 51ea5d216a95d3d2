//! The programming model: what a user writes, and what callers see of it.
//!
//! Two front doors over one engine. [`EventSourced`] is a pure decision and a pure evolution;
//! [`PersistentActor`] is the full power: callbacks that run once their event is stored, nested at will.

mod actor;
mod answer;
mod caller;
mod context;
mod effect;
mod event_sourced;

pub use actor::{PersistentActor, Recover, RecoveryContext, Signal};
pub use answer::{Answer, Failure, Outcome, Payload, Reply};
pub use caller::{Caller, Format, ReplySink};
pub use context::{Context, ReplyTo};
pub use effect::{Effect, Persisting};
pub use event_sourced::{EventSourced, EventSourcedActor};

pub(crate) use context::{Deferred, EventHandler, EventsHandler, Sender, json};
