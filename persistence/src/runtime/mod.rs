//! The stores that come with Abide, and the tasks and files behind them.

mod embedded;
mod memory;

pub use embedded::{EmbeddedOptions, EmbeddedStore, OpenError};
pub use memory::{Call, Fault, MemoryControl, MemoryJournal, MemorySnapshots};
