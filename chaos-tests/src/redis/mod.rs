//! The test ground: a private Redis for any test, which the test may break in every way there is.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use abide_chaos_tests::redis::{Failover, Ground};
//! let ground = Ground::cluster(3, 1).start().await?; // or `single()`, `sentinel()`, `.in_containers()`
//! let primary = ground.primary_of(42).await?; // `ground.urls()` is for the store
//! primary.kill9().await?; // `stop`, `cont`, `shutdown`, `start`, `cut_off`, `reconnect`
//! ground.wait_for_other_primary(42, primary).await?;
//! primary.start().await?;
//! ground.wait_healthy().await?; // every node agrees and every replica is in sync
//! let replica = ground.replicas_of(ground.primary_of(42).await?).await?[0];
//! ground.failover(replica, Failover::Takeover).await?;
//! # Ok(())
//! # }
//! ```
//!
//! What a [`Plan`] asks for is started by [`Plan::start`]. The servers are real: child processes on
//! 127.0.0.1, or containers with addresses of their own where a test must cut network paths. They end with
//! the [`Ground`], also when a test panics; what a killed test left behind is swept by the next ground.
//!
//! - [`Plan`]: which servers, of which make, with which settings: `.server(Server::Valkey)`, `.password("…")`,
//!   `.tls(Tls::Mutual)`, `.replicas(2)`, `.validity_factor(10)`, `.set("maxmemory-policy", "allkeys-lru")`;
//! - [`Ground`]: all of them, and what concerns more than one: roles, failovers, slots, health;
//! - [`Node`]: one of them: kill, stop, continue, shut down, start.

mod certificates;
pub mod config;
mod container;
mod engine;
mod forming;
mod ground;
mod health;
mod host;
mod lease;
mod node;
mod plan;
mod process;
mod roles;
mod server;
mod slot_move;
pub mod view;

pub use certificates::{Certificates, Tls};
pub use container::Cut;
pub use ground::Ground;
pub use health::HEALTHY_WITHIN;
pub use node::{Node, State};
pub use plan::{Plan, Shape};
pub use roles::Failover;
pub use server::Server;
pub use slot_move::SlotMove;
