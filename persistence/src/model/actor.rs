//! The full-power door.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::context::Context;
use crate::codec::Event;
use crate::ids::{EntityId, EntityType, SequenceNr};

/// A stateful entity that handles one command at a time and journals events through its [`Context`].
///
/// Its state changes in two places only: in the handlers that it gives to `persist` and its kin, which run
/// once their event is stored, and in [`receive_recover`](Self::receive_recover), which sees the same
/// events again after a restart. A change made anywhere else is lost with the process.
///
/// Handlers are given `this` and cannot borrow `self`: copy what they need before the call.
///
/// ```
/// use abide_persistence::model::{Context, PersistentActor, Recover, RecoveryContext};
/// use abide_persistence::{EntityId, EntityType, codec::Event};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Said(String);
/// impl Event for Said {
///     fn name(&self) -> &'static str {
///         "said"
///     }
/// }
///
/// struct Diary {
///     lines: Vec<String>,
/// }
///
/// impl PersistentActor for Diary {
///     const TYPE: EntityType = EntityType::new("diary");
///     type Command = String;
///     type Event = Said;
///     type Reply = usize;
///     type Rejection = String;
///     type State = Vec<String>;
///
///     fn new(_: &EntityId) -> Self {
///         Self { lines: Vec::new() }
///     }
///     fn state(&self) -> &Vec<String> {
///         &self.lines
///     }
///     fn receive_command(&mut self, line: String, ctx: &mut Context<'_, Self>) {
///         ctx.persist(Said(line), |this, said, ctx| {
///             this.lines.push(said.0.clone());
///             ctx.reply(this.lines.len());
///         });
///     }
///     fn receive_recover(&mut self, item: Recover<Self>, _: &mut RecoveryContext<'_>) {
///         match item {
///             Recover::Event(said) => self.lines.push(said.0),
///             Recover::Snapshot(lines) => self.lines = lines,
///         }
///     }
/// }
/// ```
pub trait PersistentActor: Sized + Send + 'static {
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
    /// What a reader is shown, and what a snapshot holds.
    type State: Serialize + DeserializeOwned + Send + 'static;

    /// An entity to which nothing has happened yet.
    fn new(id: &EntityId) -> Self;

    /// What a reader is shown.
    fn state(&self) -> &Self::State;

    /// Handles one command.
    fn receive_command(&mut self, command: Self::Command, ctx: &mut Context<'_, Self>);

    /// Takes part of its past. Nothing can be persisted or sent here, by type; a panic parks the entity.
    fn receive_recover(&mut self, item: Recover<Self>, ctx: &mut RecoveryContext<'_>);

    /// Is told what happened around it.
    fn receive_signal(&mut self, signal: Signal, ctx: &mut Context<'_, Self>) {
        let _ = (signal, ctx);
    }

    /// The journal did not acknowledge a write. This incarnation is dropped right after; another one
    /// recovers from what is stored.
    fn on_persist_failure(&mut self, cause: &str, sequence_nr: SequenceNr) {
        let _ = (cause, sequence_nr);
    }

    /// An event could not be stored and never will be; the entity goes on without it.
    fn on_persist_rejected(&mut self, cause: &str, event: &Self::Event) {
        let _ = (cause, event);
    }

    /// Whether the state runs ahead of the journal, so that what is shown must wait for it.
    #[doc(hidden)]
    const SPECULATIVE: bool = false;
}

/// Part of an entity's past, in order.
pub enum Recover<A: PersistentActor> {
    /// The state up to some event; at most one, before all events.
    Snapshot(A::State),
    /// The next event.
    Event(A::Event),
}

impl<A: PersistentActor> fmt::Debug for Recover<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Snapshot(_) => "Snapshot",
            Self::Event(_) => "Event",
        })
    }
}

/// What an entity may know while it recovers.
#[derive(Debug)]
pub struct RecoveryContext<'a> {
    pub(crate) id: &'a EntityId,
    pub(crate) sequence_nr: SequenceNr,
}

impl RecoveryContext<'_> {
    /// The entity's own id.
    pub fn id(&self) -> &EntityId {
        self.id
    }

    /// Number of the event that is being recovered, or the last one of the snapshot.
    pub fn last_sequence_nr(&self) -> SequenceNr {
        self.sequence_nr
    }
}

/// What an entity is told about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// The past is recovered; commands that came meanwhile follow. Here events may be persisted.
    RecoveryCompleted,
}
