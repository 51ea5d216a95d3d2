//! Timelines that were made up to break the Redis store: each is a story of one server or network fault.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

#[path = "../common/mod.rs"]
mod common;
#[allow(unreachable_pub, reason = "it is another test's, too")]
#[path = "../store/connecting.rs"]
mod connecting;

mod doubt;
mod hung;
mod names;
mod queues;
mod rights;
mod streams;
