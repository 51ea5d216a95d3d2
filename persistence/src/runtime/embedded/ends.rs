//! Where streams end, as far as the writer remembers: two generations, the older one is forgotten whole.
//!
//! Owned by the writer alone and changed only by what it writes, so an entry is never behind the database.
//! Keyed by the whole persistence id rather than by a hash of it: two ids that collide must not be able to
//! lend each other an end. The ids share their bytes with the writers' own.

use std::collections::HashMap;

use crate::ids::PersistenceId;

/// What the writer knows of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StreamEnd {
    /// The last number used.
    pub(super) last: u64,
    /// Events up to this number were deleted.
    pub(super) deleted_to: u64,
    /// The commit that last appended: a deletion in the same commit must look among its own rows.
    pub(super) appended_in: u64,
}

pub(super) struct Ends {
    young: HashMap<PersistenceId, StreamEnd>,
    old: HashMap<PersistenceId, StreamEnd>,
    each: usize,
}

impl Ends {
    /// Remembers about `limit` streams.
    pub(super) fn new(limit: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), each: (limit / 2).max(1) }
    }

    /// Forgets the older half once the younger one is full. Only between two commits: within one, an
    /// entry may be ahead of the database.
    pub(super) fn age(&mut self) {
        if self.young.len() >= self.each {
            self.old = std::mem::take(&mut self.young);
        }
    }

    pub(super) fn get(&mut self, persistence_id: &PersistenceId) -> Option<StreamEnd> {
        if let Some(end) = self.young.get(persistence_id) {
            return Some(*end);
        }
        let (persistence_id, end) = self.old.remove_entry(persistence_id)?;
        self.young.insert(persistence_id, end);
        Some(end)
    }

    pub(super) fn set(&mut self, persistence_id: &PersistenceId, end: StreamEnd) {
        match self.young.get_mut(persistence_id) {
            Some(known) => *known = end,
            None => drop(self.young.insert(persistence_id.clone(), end)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{EntityId, EntityType};

    fn id(n: u64) -> PersistenceId {
        PersistenceId::new(EntityType::new("counter"), EntityId::new(&n.to_string()).expect("an id"))
    }

    fn end(last: u64) -> StreamEnd {
        StreamEnd { last, ..StreamEnd::default() }
    }

    #[test]
    fn what_is_used_survives_and_what_is_not_is_forgotten() {
        let mut ends = Ends::new(4);
        ends.set(&id(1), end(1));
        ends.set(&id(2), end(2));
        ends.age();
        assert_eq!(ends.get(&id(1)), Some(end(1)));
        ends.set(&id(3), end(3));
        ends.age();
        assert_eq!(
            (ends.get(&id(1)), ends.get(&id(2)), ends.get(&id(3))),
            (Some(end(1)), None, Some(end(3)))
        );
    }
}
