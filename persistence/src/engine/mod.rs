//! The entity engine: what happens inside one entity, and inside one shard's entities of one type.
//!
//! Pure: no task, no clock, no I/O. It is told what arrived ([`Request`], a page of events, the fate of a
//! write) and the time; it leaves answers and reports in the [`Turn`] and says by [`Wants`] what the
//! entity needs next. So every order of events can be played by value.
//!
//! ```text
//!   Request ─▶ cell ─▶ queued writes ─▶ (batch) ─▶ stored ─▶ handlers, answers
//!                └──▶ answers that depend on nothing unstored
//! ```

pub mod breaker;
mod cell;
mod cells;
pub(crate) mod extras;
mod fault_path;
pub(crate) mod kind;
pub(crate) mod panics;
pub(crate) mod queue;
mod recovering;
mod replay;
pub(crate) mod request;
mod running;
mod slab;
pub(crate) mod turn;

pub use cells::{Cells, EntityStore, Load, Slot};
pub use extras::{Call, Called, Calling, Ticket};
pub use kind::Kind;
pub use panics::panic_message;
pub use replay::{Replay, ReplayError, StateReplay, payload_as_json};
pub use request::{Body, Message, Request};
pub use running::{RunMark, Running};
pub use turn::{Backoff, BatchBuilder, EntitySettings, Now, Report, Turn, Wants, WriteFailure};

#[cfg(test)]
mod tests;
