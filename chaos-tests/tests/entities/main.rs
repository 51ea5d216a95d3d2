//! Entities on Redis, from their commands down to the keys: what they store, how they come back, and what
//! becomes of them when servers die, hang, forget, or hold what is not theirs.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

#[allow(dead_code, reason = "other tests use all of it")]
#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "other tests use all of it")]
#[path = "../store/connecting.rs"]
mod connecting;
mod stage;

mod damaged;
mod failover;
mod hanging;
mod life;
mod recovery;
