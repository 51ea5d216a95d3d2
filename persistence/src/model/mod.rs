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
mod options;
mod signal;

pub use actor::{PersistentActor, Recover, RecoveryContext};
pub use answer::{Answer, Failure, Outcome, Payload, Reply};
pub use caller::{Caller, Format, ReplySink};
pub use context::{Behaviour, Context, Loaded, ReplyTo};
pub use effect::{Effect, Persisting};
pub use event_sourced::{EventSourced, EventSourcedActor};
pub use options::{Recovery, Retention, SnapshotWhen, StashOverflow, TypeOptions};
pub use signal::Signal;

pub(crate) use context::{
    Deferred, EncodedState, EventHandler, EventRef, EventsHandler, LoadHandler, Sender, base_record,
    encode_state, json, save, turn_away,
};
