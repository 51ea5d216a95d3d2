//! Journal and snapshots on Redis: a cluster, a single server, or one behind Sentinel.
//!
//! ```text
//!               ┌ topology: who owns which slot, which replicas could be elected
//!               ▼
//!  write ─▶ slot ─▶ primary ─▶ flusher ─▶ [EVALSHA shard, EVALSHA shard, …, WAIT n t, ROLE] ─▶ settled, or in doubt
//!  read  ─▶ slot ─▶ primary ─▶ reader ──▶ [GET token, HMGET base, LRANGE, …]                     │
//!               ▲                                                                                │
//!               └── found again, the same bytes under the same number, until the call time-out ◀─┘
//! ```
//!
//! - [`connector`]: how a connection to one server is made, by us or by the host program.
//! - [`options`]: what can be set.

pub mod connector;
pub mod options;
