//! Entities at work in a real region, on real tasks and threads: what they are promised when stores,
//! owners, clocks or they themselves misbehave.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

mod breakers;
mod calls;
mod chaos;
mod journals;
mod losses;
mod parked;
mod recoveries;
mod slow;
mod snapshots;
mod stage;
mod stopping;
mod timers;
