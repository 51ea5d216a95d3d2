//! What a program serves: its entity types.

use abide_persistence::model::{EventSourced, PersistentActor};
use abide_sharding::Registry;

/// The entity types of a program. Made by [`main`](crate::main) and handed to its closure.
#[derive(Debug, Default)]
pub struct App {
    pub(crate) registry: Registry,
    /// Faults are shown together, at start.
    pub(crate) faults: Vec<String>,
}

impl App {
    /// Serves an [`EventSourced`] type.
    #[must_use]
    pub fn entity<T: EventSourced>(mut self) -> Self {
        let registered = self.registry.entity::<T>();
        self.faults.extend(registered.err().map(|fault| fault.to_string()));
        self
    }

    /// Serves a [`PersistentActor`] type.
    #[must_use]
    pub fn actor<A: PersistentActor>(mut self) -> Self {
        let registered = self.registry.actor::<A>();
        self.faults.extend(registered.err().map(|fault| fault.to_string()));
        self
    }
}
