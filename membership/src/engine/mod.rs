//! The rules of membership, without the means.
//!
//! Everything here is pure: told what happened, and when, an engine answers with what to do. It owns no
//! socket, task, clock or random source, so a test can play any order of events at any time, and the
//! same order always has the same end.

pub mod clock;
pub mod lease;
