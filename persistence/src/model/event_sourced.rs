//! The door for most users: a pure decision, a pure evolution.

use std::convert::Infallible;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::actor::{PersistentActor, Recover, RecoveryContext};
use super::context::Context;
use super::effect::Effect;
use crate::codec::{Codecs, Event};
use crate::ids::{EntityId, EntityType};
use crate::journal::Snapshot;

/// An entity whose state is a fold over its events.
///
/// Because both functions are pure, the engine decides further commands on the newest state while
/// earlier events are still being written, and holds back every answer until all the events that it
/// depends on are stored. From outside that looks strictly sequential; inside, a hot entity is not bound
/// by one round trip for each command.
///
/// ```
/// use abide_persistence::model::{Effect, EventSourced};
/// use abide_persistence::{EntityId, EntityType, codec::Event};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Counter(i64);
///
/// #[derive(Deserialize)]
/// enum Command {
///     Add(i64),
/// }
///
/// #[derive(Serialize, Deserialize)]
/// struct Added(i64);
/// impl Event for Added {
///     fn name(&self) -> &'static str {
///         "added"
///     }
/// }
///
/// impl EventSourced for Counter {
///     const TYPE: EntityType = EntityType::new("counter");
///     type Command = Command;
///     type Event = Added;
///     type Reply = i64;
///     type Rejection = ();
///
///     fn new(_: &EntityId) -> Self {
///         Self(0)
///     }
///     fn handle(&self, Command::Add(by): Command) -> Effect<Self> {
///         Effect::persist(Added(by)).then_reply(|counter: &Self| counter.0)
///     }
///     fn apply(&mut self, Added(by): &Added) {
///         self.0 += by;
///     }
/// }
/// ```
pub trait EventSourced: Serialize + DeserializeOwned + Sized + Send + 'static {
    /// The kind of entity; part of every persistence id.
    const TYPE: EntityType;
    /// What it can be told, as JSON from outside.
    type Command: DeserializeOwned + Send + 'static;
    /// What happens to it.
    type Event: Event;
    /// What it answers; an untagged enum where commands answer differently.
    type Reply: Serialize + Send + 'static;
    /// Its domain "no".
    type Rejection: Serialize + Send + 'static;

    /// An entity to which nothing has happened yet.
    fn new(id: &EntityId) -> Self;

    /// Decides. Pure: no I/O, no clock, no randomness.
    fn handle(&self, command: Self::Command) -> Effect<Self>;

    /// Evolves. Total and deterministic: it sees the same events again at every recovery.
    fn apply(&mut self, event: &Self::Event);

    /// What turns its events to bytes: JSON, unless it says otherwise. Called once for the type.
    fn codecs() -> Codecs<Self::Event> {
        Codecs::json()
    }

    /// What turns it to bytes for snapshots, under [`STATE_NAME`](Self::STATE_NAME).
    fn snapshot_codecs() -> Codecs<Self> {
        Codecs::json()
    }

    /// The stored name of the state.
    const STATE_NAME: &'static str = Snapshot::DEFAULT_NAME;

    /// The version of the state's shape; raise it with an incompatible change.
    const STATE_VERSION: u32 = 1;
}

/// Lets an [`EventSourced`] through the door of [`PersistentActor`].
#[derive(Debug)]
pub struct EventSourcedActor<T>(T);

impl<T: EventSourced> PersistentActor for EventSourcedActor<T> {
    const TYPE: EntityType = T::TYPE;
    type Command = T::Command;
    type Event = T::Event;
    type Reply = T::Reply;
    type Rejection = T::Rejection;
    type State = T;
    type Message = Infallible;

    fn new(id: &EntityId) -> Self {
        Self(T::new(id))
    }

    fn state(&self) -> &T {
        &self.0
    }

    fn receive_command(&mut self, command: T::Command, ctx: &mut Context<'_, Self>) {
        let Effect { events, answer } = self.0.handle(command);
        ctx.decide(&mut self.0, events, answer);
    }

    fn receive_recover(&mut self, item: Recover<Self>, _: &mut RecoveryContext<'_, Self>) {
        match item {
            Recover::Snapshot(state) => self.0 = state,
            Recover::Event(event) => self.0.apply(&event),
        }
    }

    fn codecs() -> Codecs<T::Event> {
        T::codecs()
    }

    fn snapshot_codecs() -> Codecs<T> {
        T::snapshot_codecs()
    }

    const STATE_NAME: &'static str = T::STATE_NAME;
    const STATE_VERSION: u32 = T::STATE_VERSION;
    const SPECULATIVE: bool = true;
}
