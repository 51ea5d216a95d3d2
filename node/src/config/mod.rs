//! Configuration: one typed tree with a default for every key.
//!
//! ```text
//!   default  <  TOML file  <  ABIDE__SECTION__KEY  <  flag          later wins, key by key
//!                     │
//!                     ▼
//!         every fault of every layer, at once  ──▶  ConfigErrors
//!                     │ none
//!                     ▼
//!                  Config, which knows where each value came from;
//!                  what nobody set may follow the host program or another key ([`settle`])
//! ```
//!
//! [`tree`] is the page to read: each key with its meaning, default and bounds. What it says is at once the
//! rustdoc, the sample file and what `abide config` prints, so none of them can be out of date.
//!
//! Invariants: a key that is not in the tree is refused, wherever it is found; a [`Config`] that
//! [`Config::load`] returned keeps all rules. This module opens no port and creates no directory.

pub mod tree;

mod byte_size;
mod fault;
mod file;
mod load;
mod redis;
mod render;
mod rules;
mod schema;
mod secret;
mod settle;
mod source;
mod suggest;
mod value;

#[cfg(test)]
mod tests;

pub use byte_size::ByteSize;
pub use fault::{ConfigErrors, ConfigFault};
pub(crate) use load::NO_SNAPSHOTS;
pub use load::{Inputs, Override, StoreNames};
pub use redis::{AllowUnsafe, Names, Urls};
pub(crate) use rules::name as is_name;
pub(crate) use settle::ProgramDefaults;
pub use source::Source;
pub use tree::{BreakerConfig, Config, HealthFailure, LogFormat, LogLevel, RedisConfig, StashOverflow};
