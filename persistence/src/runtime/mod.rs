//! The stores that come with Abide, and the tasks and files behind them.

mod embedded;
mod faulty;
mod local_files;
mod memory;
mod queue;
pub mod redis;

pub use embedded::{EmbeddedOptions, EmbeddedStore, OpenError};
pub use faulty::{Asked, Call, Fault, FaultControl, Faulty, On};
pub use local_files::{LocalFiles, LocalFilesError};
pub use memory::{MemoryBackup, MemoryControl, MemoryJournal, MemorySnapshots};
