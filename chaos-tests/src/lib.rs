//! Proof by breaking things: real processes of the real program, real faults, and checkers.
//!
//! - [`process`] starts and kills the program;
//! - [`client`] talks to it as any client would;
//! - [`ledger`] knows what a ledger must hold after what its clients saw;
//! - [`redis`] gives a test a Redis of its own, which it may break;
//! - [`proxy`] stands between a client and a server and does what networks do;
//! - [`wait`] waits for what must come true.
//!
//! Nothing here is linked into the program, and nothing of the program is linked in here: what is tested
//! is what a user gets.

pub mod client;
pub mod ledger;
pub mod process;
pub mod proxy;
pub mod redis;
pub mod wait;
