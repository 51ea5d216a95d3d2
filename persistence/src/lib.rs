//! What a persistent entity is, and how it survives.
//!
//! An entity is a small single-threaded state machine with a name. Its state is never stored: the events
//! are, and the state is what they add up to. This crate holds
//!
//! - the names of things: [`EntityType`], [`EntityId`], [`PersistenceId`], [`ShardId`], [`SequenceNr`];
//! - the programming model: [`model::EventSourced`] for most, [`model::PersistentActor`] for full power;
//! - the stored form of an event: [`envelope`], [`codec`];
//! - what a store must do: [`journal`], and the fence that keeps a second writer out: [`journal::fence`];
//! - the engine inside a shard: [`engine`], pure;
//! - the stores that come with it: [`runtime`];
//! - the promises that every store must keep, as tests: [`testkit`].
//!
//! It knows nothing of clusters: who owns a shard, and since when, is told from outside as a
//! [`journal::Claim`] and a [`journal::Writer`].

mod ids;

pub mod model;

pub mod codec;
pub mod envelope;

pub mod journal;

pub mod engine;

pub mod runtime;

pub mod testkit;

pub use ids::{
    BadEntityId, EntityId, EntityType, MAX_ID_BYTES, MAX_TYPE_BYTES, PersistenceId, PersistenceIdHash,
    SequenceNr, ShardCount, ShardId, is_type_name,
};
