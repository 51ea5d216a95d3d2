//! Which entities there are.
//!
//! An entity is there once it has stored its first event, and stays there when all its events are deleted:
//! its numbers stay used.

use crate::ids::{EntityId, ShardId};

/// Asks for a page of the ids of one type in one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListIds {
    /// Which shard.
    pub shard: ShardId,
    /// Which type, by its name.
    pub entity_type: String,
    /// Only ids above this one, in the order of their bytes.
    pub after: Option<EntityId>,
    /// Most ids in the page.
    pub limit: usize,
}

/// A page of ids, in the order of their bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdPage {
    /// The ids.
    pub ids: Vec<EntityId>,
    /// Whether this shard has more of them, above the last one.
    pub more: bool,
}
