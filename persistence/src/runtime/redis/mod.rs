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
//! - [`Setup`], [`Dial`]: ours, from URLs and keys, with logins by [`Credentials`] that are kept up to date.
//! - [`options`]: what can be set.
//! - [`checks`]: what is looked at before the servers are trusted; [`acl`]: what a user of them must be allowed.

pub mod connector;
pub mod options;

mod managed;
mod setup;
pub mod url;

mod credentials;
mod keeper;
mod refresh;

mod dial;
mod tls;

pub mod acl;
pub mod checks;

pub use credentials::{Credentials, DEFAULT_USER, Login, PasswordFile, Secret, Validity};
pub use dial::{CONNECT_TIMEOUT, Dial};
pub use setup::{Setup, SetupErrors, SetupFault};
