#![doc = include_str!("../../../docs/testing.md")]
//!
//! # In this module
//!
//! ```text
//!   given, when, then ──┐
//!                       ├─▶ stage: a thread and a runtime of its own ─▶ Node ─▶ region ─▶ MemoryJournal
//!   check_replay ───────┘                                                │                (memory journal)
//!                                    integration tests ─────────────────▶┘
//! ```
//!
//! Everything goes through the engine that serves in production. Nothing is mocked but the disk.

pub mod actor;

mod given;
mod replay;

mod node;
mod stage;

mod http;
mod resumed;
mod stored;

use abide_persistence::model::{EventSourced, EventSourcedActor};

pub use given::{Given, Then};
pub use node::Node;

/// An entity to which these events have happened. Say next what it is told: [`Given::when`].
///
/// For a [`PersistentActor`](abide_persistence::model::PersistentActor) there is [`actor::given`].
///
/// # Panics
/// If an event cannot be encoded.
#[track_caller]
pub fn given<T: EventSourced>(events: impl IntoIterator<Item = T::Event>) -> Given<EventSourcedActor<T>> {
    actor::given(events)
}

/// An entity to which nothing has happened yet.
pub fn given_nothing<T: EventSourced>() -> Given<EventSourcedActor<T>> {
    actor::given_nothing()
}

/// Checks that the entity's past leads to where it stands: replaying its events gives the state that it had
/// live, twice the same, and so does a snapshot after any event with the events behind it.
///
/// It tells the entity these commands, one after the other, then plays what they have stored. The work grows
/// with the square of the number of events: some hundred are fine.
///
/// States are compared as the JSON that `GET` shows. What serde skips is noticed once an event behind a
/// snapshot depends on it; a skipped field on which only `handle` depends is not.
///
/// # Panics
/// If they differ, with the first event at which they do; if a command is not handled; if no command has
/// stored an event, because then nothing was checked.
#[track_caller]
pub fn check_replay<T: EventSourced>(commands: impl IntoIterator<Item = T::Command>) {
    actor::check_replay::<EventSourcedActor<T>>(commands);
}
