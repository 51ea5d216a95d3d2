//! The entity types that a node runs.

use std::fmt;

use abide_persistence::EntityType;
use abide_persistence::engine::{Cells, EntityStore};
use abide_persistence::model::{EventSourced, EventSourcedActor, PersistentActor};

/// A registered type, by its place in the [`Registry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeIndex(pub(crate) u16);

/// The entity types that a node runs, in the order of registration.
#[derive(Default)]
pub struct Registry {
    types: Vec<Kind>,
}

struct Kind {
    entity_type: EntityType,
    store: fn() -> Box<dyn EntityStore>,
}

/// Two entity types of one name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entity type \"{0}\" is registered twice; each type needs a name of its own")]
pub struct DuplicateType(pub EntityType);

impl Registry {
    /// Registers an [`EventSourced`] type.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn entity<T: EventSourced>(&mut self) -> Result<(), DuplicateType> {
        self.actor::<EventSourcedActor<T>>()
    }

    /// Registers a [`PersistentActor`] type.
    ///
    /// # Errors
    /// If the name is taken.
    ///
    /// # Panics
    /// Beyond 65 535 types.
    pub fn actor<A: PersistentActor>(&mut self) -> Result<(), DuplicateType> {
        if self.find(A::TYPE.as_str()).is_some() {
            return Err(DuplicateType(A::TYPE));
        }
        assert!(self.types.len() < usize::from(u16::MAX), "65 535 entity types");
        self.types.push(Kind { entity_type: A::TYPE, store: || Box::new(Cells::<A>::default()) });
        Ok(())
    }

    /// Looks a type up by its name.
    pub fn find(&self, name: &str) -> Option<TypeIndex> {
        let at = self.types.iter().position(|kind| kind.entity_type.as_str() == name)?;
        u16::try_from(at).ok().map(TypeIndex)
    }

    /// The type at a place.
    pub fn entity_type(&self, index: TypeIndex) -> EntityType {
        self.types[usize::from(index.0)].entity_type
    }

    /// All types, in order of registration.
    pub fn entity_types(&self) -> impl Iterator<Item = EntityType> {
        self.types.iter().map(|kind| kind.entity_type)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.types.len()
    }

    /// Whether none is registered.
    pub fn is_empty(&self) -> bool {
        self.types.is_empty()
    }

    pub(crate) fn new_store(&self, index: TypeIndex) -> Box<dyn EntityStore> {
        (self.types[usize::from(index.0)].store)()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entity_types()).finish()
    }
}
