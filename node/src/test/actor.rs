//! The same for entities that are written through the full-power door, [`PersistentActor`].

use abide_persistence::model::PersistentActor;

use super::given::Given;
use super::replay;

/// See [`given`](super::given).
///
/// # Panics
/// If an event cannot be encoded.
#[track_caller]
pub fn given<A: PersistentActor>(events: impl IntoIterator<Item = A::Event>) -> Given<A> {
    Given::new(events)
}

/// See [`given_nothing`](super::given_nothing).
pub fn given_nothing<A: PersistentActor>() -> Given<A> {
    Given::new([])
}

/// See [`check_replay`](super::check_replay).
///
/// Of an actor that persists when it has recovered, only the events of the live run are replayed.
///
/// # Panics
/// As [`check_replay`](super::check_replay).
#[track_caller]
pub fn check_replay<A: PersistentActor>(commands: impl IntoIterator<Item = A::Command>) {
    replay::check::<A>(commands.into_iter().collect());
}
