//! The full-power door.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::context::{Behaviour, Context};
use super::options::Recovery;
use super::signal::Signal;
use crate::codec::{Codecs, Event};
use crate::ids::{EntityId, EntityType, SequenceNr};
use crate::journal::Snapshot;

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
///     type Message = std::convert::Infallible;
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
///     fn receive_recover(&mut self, item: Recover<Self>, _: &mut RecoveryContext<'_, Self>) {
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
    /// What it sends to itself, from timers and from [`Context::pipe_to_self`]. Nobody else can send it;
    /// [`Infallible`](std::convert::Infallible) if there is none.
    type Message: Send + 'static;

    /// An entity to which nothing has happened yet.
    fn new(id: &EntityId) -> Self;

    /// What a reader is shown.
    fn state(&self) -> &Self::State;

    /// Handles one command.
    fn receive_command(&mut self, command: Self::Command, ctx: &mut Context<'_, Self>);

    /// Takes part of its past. Nothing can be persisted or sent here, by type; a panic parks the entity.
    fn receive_recover(&mut self, item: Recover<Self>, ctx: &mut RecoveryContext<'_, Self>);

    /// Handles what it sent to itself: the result of [`Context::pipe_to_self`], or a timer's message.
    fn receive_message(&mut self, message: Self::Message, ctx: &mut Context<'_, Self>) {
        let _ = (message, ctx);
    }

    /// Is told what happened around it. Signals that it does not care for go to [`Context::unhandled`].
    fn receive_signal(&mut self, signal: Signal, ctx: &mut Context<'_, Self>) {
        ctx.unhandled(signal);
    }

    /// What it recovers from.
    fn recovery(id: &EntityId) -> Recovery {
        let _ = id;
        Recovery::ALL
    }

    /// What a caller gets whose command found no room, if the type's strategy is
    /// [`StashOverflow::Reply`](super::StashOverflow::Reply). `None`: that the entity is busy.
    fn overflow_reply() -> Option<Self::Reply> {
        None
    }

    /// The journal did not acknowledge a write; logged as an error. This incarnation is dropped right
    /// after; another one recovers from what is stored.
    fn on_persist_failure(&mut self, cause: &str, sequence_nr: SequenceNr) {
        let _ = (cause, sequence_nr);
    }

    /// An event could not be stored and never will be; logged as an error. The entity goes on without it.
    fn on_persist_rejected(&mut self, cause: &str, event: &Self::Event) {
        let _ = (cause, event);
    }

    /// The past could not be recovered; logged as an error. `event` is the one that stood in the way, if
    /// it was one. This incarnation is dropped right after.
    fn on_recovery_failure(&mut self, cause: &str, event: Option<SequenceNr>) {
        let _ = (cause, event);
    }

    /// What turns its events to bytes: JSON, unless it says otherwise. Called once for the type.
    fn codecs() -> Codecs<Self::Event> {
        Codecs::json()
    }

    /// What turns its state to bytes for snapshots, under [`STATE_NAME`](Self::STATE_NAME).
    fn snapshot_codecs() -> Codecs<Self::State> {
        Codecs::json()
    }

    /// The stored name of its state.
    const STATE_NAME: &'static str = Snapshot::DEFAULT_NAME;

    /// The version of the state's shape; raise it with an incompatible change.
    const STATE_VERSION: u32 = 1;

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

/// What an entity may know and do while it recovers: nothing that reaches beyond itself.
pub struct RecoveryContext<'a, A: PersistentActor> {
    pub(crate) id: &'a EntityId,
    pub(crate) sequence_nr: SequenceNr,
    pub(crate) snapshot_nr: SequenceNr,
    pub(crate) behaviours: &'a mut Vec<Behaviour<A>>,
}

impl<A: PersistentActor> RecoveryContext<'_, A> {
    /// The entity's own id.
    pub fn id(&self) -> &EntityId {
        self.id
    }

    /// Number of the event that is being recovered, or the last one of the snapshot.
    pub fn last_sequence_nr(&self) -> SequenceNr {
        self.sequence_nr
    }

    /// Number of the last event of the snapshot that recovery began with; 0 if there was none.
    pub fn snapshot_sequence_nr(&self) -> SequenceNr {
        self.snapshot_nr
    }

    /// Always true here.
    pub fn is_recovering(&self) -> bool {
        true
    }

    /// Always false here.
    pub fn is_recovery_finished(&self) -> bool {
        false
    }

    /// As [`Context::switch_to`]: the behaviour that commands meet after recovery.
    pub fn switch_to(&mut self, behaviour: Behaviour<A>) {
        self.behaviours.push(behaviour);
    }

    /// As [`Context::switch_back`].
    pub fn switch_back(&mut self) {
        self.behaviours.pop();
    }
}

impl<A: PersistentActor> RecoveryContext<'_, A> {
    /// Lets an entity of another type recover in the place of this one, as a wrapper does. Its behaviours
    /// go with it.
    #[doc(hidden)]
    pub fn lend<B: PersistentActor, R>(&self, recover: impl FnOnce(&mut RecoveryContext<'_, B>) -> R) -> R {
        let Self { id, sequence_nr, snapshot_nr, .. } = *self;
        recover(&mut RecoveryContext { id, sequence_nr, snapshot_nr, behaviours: &mut Vec::new() })
    }
}

impl<A: PersistentActor> fmt::Debug for RecoveryContext<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecoveryContext")
            .field("type", &A::TYPE)
            .field("id", self.id)
            .field("sequence_nr", &self.sequence_nr)
            .finish_non_exhaustive()
    }
}
