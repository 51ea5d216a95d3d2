//! The tasks: lanes that run shards, and the handles by which the rest of the process reaches them.
//!
//! | task | owns | ends |
//! |---|---|---|
//! | lane | waits for the journal and the clock on behalf of its shards | on [`Region::stop`](region::Region::stop), after its writes |
//! | `abide-watchdog`, a thread | looks whose code runs for too long | with the region |
//!
//! A lane that panics is a bug of Abide: [`Region::stopped`](region::Region::stopped) reports it and the
//! host ends the process, because its shards are served by nobody.

pub mod ask;
mod clock;
mod door;
mod inbox;
mod lane;
mod query;
pub mod reference;
pub mod region;
pub mod stores;
pub mod watch;
mod watchdog;
