//! How the entities of one type are recovered, kept and bounded.

use std::fmt;
use std::num::NonZeroU64;

use super::actor::PersistentActor;
use crate::engine::turn::Backoff;
use crate::ids::SequenceNr;
use crate::journal::SnapshotCriteria;

/// What an entity recovers from. The default is all that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Which snapshots may be used; `None` uses none.
    pub snapshots: Option<SnapshotCriteria>,
    /// The last event to replay.
    pub to: SequenceNr,
    /// Most events to replay.
    pub max_events: u64,
}

impl Recovery {
    /// The newest usable snapshot, and every event after it.
    pub const ALL: Self =
        Self { snapshots: Some(SnapshotCriteria::ANY), to: SequenceNr(u64::MAX), max_events: u64::MAX };

    /// Nothing: the entity begins as new. Numbers go on after the last event all the same.
    pub const NONE: Self = Self { snapshots: None, to: SequenceNr::ZERO, max_events: 0 };

    /// Events only.
    pub const WITHOUT_SNAPSHOTS: Self = Self { snapshots: None, ..Self::ALL };

    /// The state as it was after an event. What is persisted then comes after the last event of all; a
    /// snapshot cannot be saved, because the state is not what the events add up to.
    pub const fn up_to(to: SequenceNr) -> Self {
        Self { to, ..Self::ALL }
    }
}

impl Default for Recovery {
    fn default() -> Self {
        Self::ALL
    }
}

/// Looks at the state after an event and says whether a snapshot is due.
pub type SnapshotWhen<A> =
    fn(&<A as PersistentActor>::State, &<A as PersistentActor>::Event, SequenceNr) -> bool;

/// Which snapshots are taken by themselves, and what they replace.
pub struct Retention<A: PersistentActor> {
    /// A snapshot is taken after every so many events.
    pub snapshot_every: Option<NonZeroU64>,
    /// How many of these are kept. Those that are older are deleted once a newer one is stored.
    pub keep_snapshots: u64,
    /// Whether events before the oldest kept snapshot are deleted, once a newer one is stored and was read
    /// back. At least two snapshots are kept then.
    pub delete_events: bool,
    /// A snapshot is taken whenever this says so; it deletes nothing.
    pub snapshot_when: Option<SnapshotWhen<A>>,
}

impl<A: PersistentActor> Retention<A> {
    /// No snapshots by themselves.
    pub const NONE: Self =
        Self { snapshot_every: None, keep_snapshots: 2, delete_events: false, snapshot_when: None };

    /// What is wrong with it, with the remedy.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<(), String> {
        if self.keep_snapshots == 0 {
            return Err("keep_snapshots is 0: keep at least one snapshot".to_owned());
        }
        if self.delete_events && self.keep_snapshots < 2 {
            return Err("delete_events needs keep_snapshots of at least 2: when one is damaged, the one \
                        before must be there, because the events are not"
                .to_owned());
        }
        if self.delete_events && self.snapshot_every.is_none() {
            return Err(
                "delete_events needs snapshot_every: events are deleted only after a snapshot".to_owned()
            );
        }
        Ok(())
    }

    pub(crate) fn takes_snapshots(&self) -> bool {
        self.snapshot_every.is_some() || self.snapshot_when.is_some()
    }

    /// Whether the way from one event to a later one passes a multiple.
    pub(crate) fn is_due(&self, before: SequenceNr, after: SequenceNr) -> bool {
        self.snapshot_every.is_some_and(|every| after.0 / every.get() > before.0 / every.get())
    }

    /// Up to where snapshots are obsolete once one that ends with `saved` is stored.
    pub(crate) fn obsolete(&self, saved: SequenceNr) -> SequenceNr {
        let kept =
            self.snapshot_every.map_or(u64::MAX, |every| every.get().saturating_mul(self.keep_snapshots));
        SequenceNr(saved.0.saturating_sub(kept))
    }
}

impl<A: PersistentActor> Clone for Retention<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A: PersistentActor> Copy for Retention<A> {}

impl<A: PersistentActor> fmt::Debug for Retention<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retention")
            .field("snapshot_every", &self.snapshot_every)
            .field("keep_snapshots", &self.keep_snapshots)
            .field("delete_events", &self.delete_events)
            .field("snapshot_when", &self.snapshot_when.is_some())
            .finish()
    }
}

/// What happens to a command for which an entity has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StashOverflow {
    /// Its caller is told that the entity is busy.
    #[default]
    Fail,
    /// It goes to the dead letters: counted and logged. Its caller is told too.
    Drop,
    /// It is answered by [`PersistentActor::overflow_reply`].
    Reply,
}

/// What is special about one entity type; what is left open follows the node's settings.
pub struct TypeOptions<A: PersistentActor> {
    /// Most requests that one entity holds.
    pub stash_capacity: Option<usize>,
    /// What happens to those beyond.
    pub stash_overflow: Option<StashOverflow>,
    /// How a failed entity comes back.
    pub backoff: Option<Backoff>,
    /// Snapshots that are taken by themselves.
    pub retention: Retention<A>,
}

impl<A: PersistentActor> Default for TypeOptions<A> {
    fn default() -> Self {
        Self { stash_capacity: None, stash_overflow: None, backoff: None, retention: Retention::NONE }
    }
}

impl<A: PersistentActor> TypeOptions<A> {
    /// What is wrong with it, with the remedy.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<(), String> {
        if self.stash_capacity == Some(0) {
            return Err("stash_capacity is 0: an entity needs room for at least one request".to_owned());
        }
        self.backoff.map_or(Ok(()), |backoff| backoff.check())?;
        self.retention.check()
    }
}

impl<A: PersistentActor> Clone for TypeOptions<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A: PersistentActor> Copy for TypeOptions<A> {}

impl<A: PersistentActor> fmt::Debug for TypeOptions<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypeOptions")
            .field("stash_capacity", &self.stash_capacity)
            .field("stash_overflow", &self.stash_overflow)
            .field("backoff", &self.backoff)
            .field("retention", &self.retention)
            .finish()
    }
}
