//! What happens inside one shard. Pure: told what happened and when, it says what to do.

pub mod registry;
pub mod shard;
