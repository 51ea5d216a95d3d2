//! What all entities of one type share.

use std::fmt;
use std::sync::Arc;

use super::panics::caught;
use super::queue::Work;
use super::running::TypeTag;
use super::turn::EntitySettings;
use crate::codec::Codecs;
use crate::envelope::EventView;
use crate::journal::Snapshot;
use crate::model::{PersistentActor, Retention, TypeOptions};

/// What holds for the entities of type `A`: the node's settings, and what the type says otherwise.
pub struct Kind<A: PersistentActor> {
    pub(crate) settings: EntitySettings,
    pub(crate) retention: Retention<A>,
    pub(crate) events: Codecs<A::Event>,
    pub(crate) states: Codecs<A::State>,
    /// Whether the type has a snapshot store.
    pub(crate) has_snapshots: bool,
    /// The type's name, for [`Running`](super::Running).
    pub(crate) type_tag: TypeTag,
}

impl<A: PersistentActor> Kind<A> {
    /// A type with its options, on stores with these settings.
    pub fn new(options: &TypeOptions<A>, settings: EntitySettings, has_snapshots: bool) -> Self {
        let settings = EntitySettings {
            stash_capacity: options.stash_capacity.unwrap_or(settings.stash_capacity),
            stash_overflow: options.stash_overflow.unwrap_or(settings.stash_overflow),
            backoff: options.backoff.unwrap_or(settings.backoff),
            ..settings
        };
        let (events, states) = (A::codecs(), A::snapshot_codecs());
        let type_tag = TypeTag::of(A::TYPE);
        Self { settings, retention: options.retention, events, states, has_snapshots, type_tag }
    }

    /// The state that a snapshot holds.
    pub(crate) fn decode_state(&self, snapshot: &Snapshot) -> Result<A::State, String> {
        let Snapshot { codec, name, version, payload, .. } = snapshot;
        caught(|| self.states.decode(*codec, name, *version, payload)).flatten()
    }

    /// What is stored for an event.
    pub(crate) fn decode_event(&self, stored: EventView<'_>) -> Result<A::Event, String> {
        let EventView { codec, name, version, payload, .. } = stored;
        caught(|| self.events.decode(codec, name, version, payload)).flatten()
    }

    /// Whether recovery looks for a snapshot before it reads events. A type that takes none is spared the
    /// look: should events have been deleted all the same, the journal says so, and it looks then.
    pub(crate) fn looks_for_snapshots(&self) -> bool {
        self.has_snapshots && (self.retention.takes_snapshots() || !A::SPECULATIVE)
    }
}

impl<A: PersistentActor> fmt::Debug for Kind<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kind")
            .field("type", &A::TYPE)
            .field("settings", &self.settings)
            .field("retention", &self.retention)
            .field("has_snapshots", &self.has_snapshots)
            .finish()
    }
}

/// What the cells of one store share: their kind, and boxes of work that were used before and keep the
/// room of their queues.
pub(crate) struct Shared<A: PersistentActor> {
    pub(crate) kind: Arc<Kind<A>>,
    // Boxed on purpose: a box is handed over as it is, without moving what it holds.
    #[expect(clippy::vec_box)]
    spare: Vec<Box<Work<A>>>,
}

impl<A: PersistentActor> Shared<A> {
    /// There are a thousand shards of some types each; more would hold more memory than it saves time.
    const KEPT: usize = 4;

    pub(crate) fn new(kind: Arc<Kind<A>>) -> Self {
        Self { kind, spare: Vec::new() }
    }

    pub(crate) fn take(&mut self) -> Box<Work<A>> {
        self.spare.pop().unwrap_or_default()
    }

    pub(crate) fn put(&mut self, work: Box<Work<A>>) {
        if self.spare.len() < Self::KEPT && work.is_worth_keeping() {
            self.spare.push(work);
        }
    }
}
