//! Reads past the entities: what the journal holds of them. Nothing is decided from it, so no claim is
//! needed, and no shard, lane or mailbox takes part.

use std::sync::Arc;

use abide_persistence::engine::{ReplayError, StateReplay};
use abide_persistence::envelope::StoredEvent;
use abide_persistence::journal::{EventPage, IdPage, Journal, ListIds, Pending, ReadError, ReadEvents};
use abide_persistence::{EntityId, SequenceNr, ShardCount, ShardId};

use super::region::{Address, Region};
use super::watch::EventsWatch;
use crate::engine::registry::{TypeIndex, TypeSchemas};

impl Region {
    /// Reads a page of an entity's acknowledged events, wherever its owner is.
    pub fn read_events(
        &self,
        of: &Address,
        from: SequenceNr,
        to: SequenceNr,
        max_events: usize,
        max_bytes: usize,
    ) -> Pending<Result<EventPage, ReadError>> {
        let persistence_id = of.persistence_id().clone();
        let shard = of.hash.shard(self.shards());
        let known = None;
        self.journal_of(of.type_index).read(ReadEvents {
            shard,
            persistence_id,
            from,
            to,
            max_events,
            max_bytes,
            known,
        })
    }

    /// Watches for new events of an entity.
    pub fn watch(&self, of: &Address) -> EventsWatch {
        self.watchers().watch(of.hash.shard(self.shards()))
    }

    /// Shows an event of an entity's type as JSON.
    ///
    /// # Errors
    /// Why it cannot be decoded or shown.
    pub fn show_event(&self, of: &Address, event: &StoredEvent) -> Result<Vec<u8>, String> {
        self.registry().show_event(of.type_index, event)
    }

    /// Begins to put an entity's state together from its events, beside the live entity.
    ///
    /// # Errors
    /// If the entity's constructor panics.
    pub fn replay(&self, of: &Address) -> Result<Box<dyn StateReplay>, ReplayError> {
        self.registry().replay(of.type_index, of.persistence_id().id.clone())
    }

    /// Reads a page of the ids of a type in one shard, in the order of their bytes.
    pub fn persistence_ids(
        &self,
        entity_type: TypeIndex,
        shard: ShardId,
        after: Option<EntityId>,
        limit: usize,
    ) -> Pending<Result<IdPage, ReadError>> {
        let name = self.registry().entity_type(entity_type).as_str().to_owned();
        let query = ListIds { shard, entity_type: name, after, limit };
        self.journal_of(entity_type).persistence_ids(query)
    }

    /// Looks a registered type up by its name.
    pub fn find_type(&self, name: &str) -> Option<TypeIndex> {
        self.registry().find(name)
    }

    /// The schemas of each registered type, if it was registered with them.
    pub fn schemas(&self) -> impl Iterator<Item = (&'static str, Option<TypeSchemas>)> + '_ {
        self.registry().schemas()
    }

    /// How many shards there are.
    pub fn shards(&self) -> ShardCount {
        self.config().shards
    }

    fn journal_of(&self, entity_type: TypeIndex) -> &Arc<dyn Journal> {
        self.kinds().journal_of(entity_type)
    }
}
