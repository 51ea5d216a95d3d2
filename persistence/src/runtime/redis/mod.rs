//! Journal and snapshots on Redis: a cluster, a single server, or one behind Sentinel.
//!
//! ```text
//!               ┌ watcher: who owns which slot
//!               ▼
//!  write ─▶ slot ─▶ primary ─▶ [EVALSHA shard, EVALSHA shard, …, WAIT n t, ROLE] ─▶ settled, or in doubt
//!  read  ─▶ slot ─▶ primary ─▶ [GET token, HGET base, LLEN, LRANGE, …]                  │
//!               ▲                                                                       │
//!               └── found again, the same bytes under the same number, until the call time-out ◀─┘
//! ```
//!
//! What is asked for becomes a `job`. A job lies in the `queue` of the `primary` that owns
//! its slot until a task takes it along on the next flight. What comes back settles it, or it waits a little
//! and is sent again, to whoever owns the slot then. The `hub` knows who that is, from the
//! `watcher`.
//!
//! *Acknowledged* means stored, and counted by `WAIT` on as many replicas as could be elected
//! (`engine::redundancy`). Who may write is decided by the server, from the fence token, in the
//! script (`engine::append`) that stores the batch: a late copy, a stale owner, a second process change nothing.
//!
//! - [`connector`]: how a connection to one server is made, by us or by the host program.
//! - [`Setup`], [`Dial`]: ours, from URLs and keys, with logins by [`Credentials`] that are kept up to date.
//! - [`options`]: what can be set.
//! - [`checks`]: what is looked at before the servers are trusted; [`acl`]: what a user of them must be allowed.

pub mod acl;
pub mod checks;
pub mod connector;
pub mod options;
pub mod url;

mod credentials;
mod dial;
mod keeper;
mod managed;
mod refresh;
mod setup;
mod tls;

mod engine;
mod hub;
mod job;
mod jobs;
mod link;
mod meter;
mod primary;
mod pulse;
mod queue;
mod store;
mod survey;
mod watcher;

pub use credentials::{Credentials, DEFAULT_USER, Login, PasswordFile, Secret, Validity};
pub use dial::{CONNECT_TIMEOUT, Dial};
pub use setup::{Setup, SetupErrors, SetupFault};
pub use store::RedisStore;
