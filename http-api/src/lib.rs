//! How clients reach persistent entities: HTTP in front of a region.
//!
//! ```text
//!   socket ─▶ serve ─▶ router ─▶ entity ─▶ Region::ask ─▶ answer ─▶ response
//!             limits   paths     headers,               problem+json
//!             of one   and       body, path             for everything that
//!             connection methods                        is not a reply
//! ```
//!
//! - [`router`] makes the routes out of an [`Api`], [`routers`] those for operators too; [`serve`] runs them on a listener, with limits on
//!   slow and on too many clients, and an orderly end. [`lobby`] makes those of a node that is still starting.
//! - [`ProblemKind`] lists every way in which a request can fail, with its status.
//! - [`Readiness`] says whether traffic should come; [`Check`]s say what works.
//!
//! Invariants: every answer that is not a reply says whether the command may have taken effect; what is
//! not supported is refused, never ignored; nothing is logged or counted by entity id on the way of a
//! request that succeeds.
//!
//! It knows no store, and not who owns which shard or why: that is [`Region`](abide_sharding::Region)'s.

mod router;

mod answer;
mod body;
mod entity;
mod headers;
mod query;
mod target;

mod events;
mod listing;
mod past;
mod reading;

mod docs;
mod openapi;

mod problem;

mod health;
mod lobby;
mod operations;
mod readiness;

mod admin;

mod clock;
mod config;
mod gateway;
mod serve;
mod traffic;

pub use config::{ApiConfig, ServeConfig};
pub use health::{Check, CheckFuture, Failure};
pub use lobby::lobby;
pub use problem::ProblemKind;
pub use readiness::Readiness;
pub use router::{Api, RenderMetrics, Routers, router, routers};
pub use serve::{Served, serve};
