//! The entity types that a node runs.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;

use abide_persistence::codec::Codecs;
use abide_persistence::engine::{
    Backoff, Cells, EntitySettings, EntityStore, Kind as CellKind, Replay, ReplayError, StateReplay,
    payload_as_json,
};
use abide_persistence::envelope::StoredEvent;
use abide_persistence::model::{
    EventSourced, EventSourcedActor, PersistentActor, SnapshotWhen, StashOverflow, TypeOptions,
};
use abide_persistence::{EntityId, EntityType};
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};

/// A registered type, by its place in the [`Registry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeIndex(pub(crate) u16);

/// The entity types that a node runs, in the order of registration.
#[derive(Default)]
pub struct Registry {
    types: Vec<Box<dyn Kind>>,
}

/// Which stores a type asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoreChoice {
    /// The journal, if it is not the default.
    pub(crate) journal: Option<String>,
    /// The snapshot store.
    pub(crate) snapshots: SnapshotChoice,
}

#[derive(Clone, Debug, Default)]
pub(crate) enum SnapshotChoice {
    #[default]
    Default,
    None,
    Named(String),
}

/// Makes an empty store for the entities of a type in one shard.
pub(crate) type NewStore = Box<dyn Fn() -> Box<dyn EntityStore> + Send + Sync>;

/// A registered type, erased.
pub(crate) trait Kind: Send + Sync {
    fn entity_type(&self) -> EntityType;
    fn name(&self) -> &'static str {
        self.entity_type().as_str()
    }
    /// Which stores it asks for.
    fn stores(&self) -> &StoreChoice;
    /// Puts it on its stores.
    fn bind(&self, settings: EntitySettings, has_snapshots: bool) -> NewStore;
    fn replay(&self, id: EntityId) -> Result<Box<dyn StateReplay>, ReplayError>;
    fn show_event(&self, event: &StoredEvent) -> Result<Vec<u8>, String>;
    fn schemas(&self) -> Option<TypeSchemas>;
}

struct Registered<A: PersistentActor> {
    options: EntityOptions<A>,
    codecs: Arc<Codecs<A::Event>>,
}

impl<A: PersistentActor> Kind for Registered<A> {
    fn entity_type(&self) -> EntityType {
        A::TYPE
    }

    fn stores(&self) -> &StoreChoice {
        &self.options.stores
    }

    fn bind(&self, settings: EntitySettings, has_snapshots: bool) -> NewStore {
        let kind = Arc::new(CellKind::new(&self.options.entity, settings, has_snapshots));
        Box::new(move || Box::new(Cells::<A>::new(Arc::clone(&kind))))
    }

    fn replay(&self, id: EntityId) -> Result<Box<dyn StateReplay>, ReplayError> {
        Ok(Box::new(Replay::<A>::new(id, Arc::clone(&self.codecs))?))
    }

    fn show_event(&self, event: &StoredEvent) -> Result<Vec<u8>, String> {
        payload_as_json(&self.codecs, event)
    }

    fn schemas(&self) -> Option<TypeSchemas> {
        self.options.schemas.map(|schemas| schemas())
    }
}

/// What a type is registered with, beyond itself.
pub struct EntityOptions<A: PersistentActor> {
    schemas: Option<fn() -> TypeSchemas>,
    stores: StoreChoice,
    entity: TypeOptions<A>,
}

impl<A: PersistentActor> Default for EntityOptions<A> {
    fn default() -> Self {
        Self { schemas: None, stores: StoreChoice::default(), entity: TypeOptions::default() }
    }
}

impl<A: PersistentActor> fmt::Debug for EntityOptions<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntityOptions")
            .field("schemas", &self.schemas.is_some())
            .field("stores", &self.stores)
            .field("entity", &self.entity)
            .finish()
    }
}

impl<A: PersistentActor> EntityOptions<A> {
    /// Keeps the type's events in this journal of the node, not in the default one.
    #[must_use]
    pub fn journal(mut self, name: impl Into<String>) -> Self {
        self.stores.journal = Some(name.into());
        self
    }

    /// Keeps the type's snapshots in this store of the node, not in the default one.
    #[must_use]
    pub fn snapshots(mut self, name: impl Into<String>) -> Self {
        self.stores.snapshots = SnapshotChoice::Named(name.into());
        self
    }

    /// The type has no snapshots.
    #[must_use]
    pub fn without_snapshots(mut self) -> Self {
        self.stores.snapshots = SnapshotChoice::None;
        self
    }

    /// Takes a snapshot after every so many events.
    #[must_use]
    pub fn snapshot_every(mut self, events: NonZeroU64) -> Self {
        self.entity.retention.snapshot_every = Some(events);
        self
    }

    /// Keeps so many of the snapshots that [`snapshot_every`](Self::snapshot_every) takes; 2 if nothing is
    /// said.
    #[must_use]
    pub fn keep_snapshots(mut self, count: u64) -> Self {
        self.entity.retention.keep_snapshots = count;
        self
    }

    /// Deletes the events before the oldest kept snapshot, once a newer one is stored and was read back.
    #[must_use]
    pub fn delete_events(mut self) -> Self {
        self.entity.retention.delete_events = true;
        self
    }

    /// Takes a snapshot whenever this says so of the state after an event; it deletes nothing.
    #[must_use]
    pub fn snapshot_when(mut self, is_due: SnapshotWhen<A>) -> Self {
        self.entity.retention.snapshot_when = Some(is_due);
        self
    }

    /// Most requests that one entity holds: those that it has begun, those that it has stashed and those
    /// that wait for it.
    #[must_use]
    pub fn stash_capacity(mut self, requests: usize) -> Self {
        self.entity.stash_capacity = Some(requests);
        self
    }

    /// What happens to requests beyond that.
    #[must_use]
    pub fn stash_overflow(mut self, overflow: StashOverflow) -> Self {
        self.entity.stash_overflow = Some(overflow);
        self
    }

    /// How a failed entity comes back.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.entity.backoff = Some(backoff);
        self
    }

    /// Describes the type's commands, replies, rejections, events and state in `/openapi.json`. Only this
    /// asks for `JsonSchema` on them; a type without it is described as any JSON.
    #[must_use]
    pub fn schemas(mut self) -> Self
    where
        A::Command: JsonSchema,
        A::Reply: JsonSchema,
        A::Rejection: JsonSchema,
        A::Event: JsonSchema,
        A::State: JsonSchema,
    {
        self.schemas = Some(|| TypeSchemas {
            command: read().into_root_schema_for::<A::Command>(),
            reply: written().into_root_schema_for::<A::Reply>(),
            rejection: written().into_root_schema_for::<A::Rejection>(),
            event: written().into_root_schema_for::<A::Event>(),
            state: written().into_root_schema_for::<A::State>(),
        });
        self
    }
}

fn read() -> SchemaGenerator {
    SchemaSettings::draft2020_12().for_deserialize().into_generator()
}

fn written() -> SchemaGenerator {
    SchemaSettings::draft2020_12().for_serialize().into_generator()
}

/// JSON schemas of one entity type; each is whole by itself.
#[derive(Clone, Debug)]
pub struct TypeSchemas {
    /// What it can be told.
    pub command: Schema,
    /// What it answers.
    pub reply: Schema,
    /// Its domain "no".
    pub rejection: Schema,
    /// What happens to it.
    pub event: Schema,
    /// What a reader is shown.
    pub state: Schema,
}

/// Why a type cannot be registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    /// Its name is taken.
    #[error("entity type \"{0}\" is registered twice; each type needs a name of its own")]
    Duplicate(EntityType),
    /// What it was registered with does not fit together.
    #[error("entity type \"{entity_type}\": {fault}")]
    Options {
        /// Which type.
        entity_type: EntityType,
        /// What is wrong, with the remedy.
        fault: String,
    },
}

impl Registry {
    /// Registers an [`EventSourced`] type.
    ///
    /// # Errors
    /// If the name is taken, or the options do not fit together.
    pub fn entity<T: EventSourced>(&mut self) -> Result<(), RegistrationError> {
        self.actor::<EventSourcedActor<T>>()
    }

    /// Registers a [`PersistentActor`] type.
    ///
    /// # Errors
    /// If the name is taken, or the options do not fit together.
    pub fn actor<A: PersistentActor>(&mut self) -> Result<(), RegistrationError> {
        self.actor_with::<A>(EntityOptions::default())
    }

    /// Registers an [`EventSourced`] type with options.
    ///
    /// # Errors
    /// If the name is taken, or the options do not fit together.
    pub fn entity_with<T: EventSourced>(
        &mut self,
        options: EntityOptions<EventSourcedActor<T>>,
    ) -> Result<(), RegistrationError> {
        self.actor_with(options)
    }

    /// Registers a [`PersistentActor`] type with options.
    ///
    /// # Errors
    /// If the name is taken, or the options do not fit together.
    ///
    /// # Panics
    /// Beyond 65 535 types.
    pub fn actor_with<A: PersistentActor>(
        &mut self,
        options: EntityOptions<A>,
    ) -> Result<(), RegistrationError> {
        if self.find(A::TYPE.as_str()).is_some() {
            return Err(RegistrationError::Duplicate(A::TYPE));
        }
        assert!(self.types.len() < usize::from(u16::MAX), "65 535 entity types");
        let codecs = Arc::new(A::codecs());
        codecs
            .check()
            .and_then(|()| A::snapshot_codecs().check())
            .and_then(|()| options.entity.check())
            .map_err(|fault| RegistrationError::Options { entity_type: A::TYPE, fault })?;
        self.types.push(Box::new(Registered { options, codecs }));
        Ok(())
    }

    /// Looks a type up by its name.
    pub fn find(&self, name: &str) -> Option<TypeIndex> {
        let at = self.types.iter().position(|kind| kind.name() == name)?;
        u16::try_from(at).ok().map(TypeIndex)
    }

    /// The type at a place.
    pub fn entity_type(&self, index: TypeIndex) -> EntityType {
        self.types[usize::from(index.0)].entity_type()
    }

    /// All types, in order of registration.
    pub fn entity_types(&self) -> impl Iterator<Item = EntityType> {
        self.types.iter().map(|kind| kind.entity_type())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.types.len()
    }

    /// Whether none is registered.
    pub fn is_empty(&self) -> bool {
        self.types.is_empty()
    }

    /// The types' names, with their schemas if they were registered with them.
    pub fn schemas(&self) -> impl Iterator<Item = (&'static str, Option<TypeSchemas>)> + '_ {
        self.types.iter().map(|kind| (kind.name(), kind.schemas()))
    }

    /// Which journal each type asks for; `None` is the default one.
    pub fn journals(&self) -> impl Iterator<Item = (EntityType, Option<&str>)> {
        self.types.iter().map(|kind| (kind.entity_type(), kind.stores().journal.as_deref()))
    }

    /// Which snapshot store each type asks for, of those that are not without; `None` is the default one.
    pub fn snapshot_stores(&self) -> impl Iterator<Item = (EntityType, Option<&str>)> {
        self.types.iter().filter_map(|kind| match &kind.stores().snapshots {
            SnapshotChoice::None => None,
            SnapshotChoice::Default => Some((kind.entity_type(), None)),
            SnapshotChoice::Named(name) => Some((kind.entity_type(), Some(name.as_str()))),
        })
    }

    pub(crate) fn replay(&self, index: TypeIndex, id: EntityId) -> Result<Box<dyn StateReplay>, ReplayError> {
        self.types[usize::from(index.0)].replay(id)
    }

    pub(crate) fn show_event(&self, index: TypeIndex, event: &StoredEvent) -> Result<Vec<u8>, String> {
        self.types[usize::from(index.0)].show_event(event)
    }

    pub(crate) fn kinds(&self) -> impl Iterator<Item = &dyn Kind> {
        self.types.iter().map(|kind| kind.as_ref())
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entity_types()).finish()
    }
}
