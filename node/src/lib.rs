//! Abide: persistent entities. Small single-threaded state machines, each known by an id, each rebuilt
//! from the events that it has journaled, commanded over HTTP.
//!
//! Write an entity, hand it to [`main`], and get a server with the whole command line:
//!
//! ```no_run
//! use abide::prelude::*;
//!
//! #[derive(Serialize, Deserialize)]
//! struct Door {
//!     open: bool,
//! }
//!
//! #[derive(Deserialize)]
//! #[serde(tag = "type", rename_all = "snake_case")]
//! enum Command {
//!     Open,
//!     Close,
//! }
//!
//! #[derive(Serialize, Deserialize)]
//! enum Moved {
//!     Opened,
//!     Closed,
//! }
//!
//! impl Event for Moved {
//!     fn name(&self) -> &'static str {
//!         match self {
//!             Self::Opened => "opened",
//!             Self::Closed => "closed",
//!         }
//!     }
//! }
//!
//! impl EventSourced for Door {
//!     const TYPE: EntityType = EntityType::new("door");
//!     type Command = Command;
//!     type Event = Moved;
//!     type Reply = bool;
//!     type Rejection = &'static str;
//!
//!     fn new(_: &EntityId) -> Self {
//!         Self { open: false }
//!     }
//!
//!     fn handle(&self, command: Command) -> Effect<Self> {
//!         match (command, self.open) {
//!             (Command::Open, true) => Effect::reject("it is open"),
//!             (Command::Close, false) => Effect::reject("it is closed"),
//!             (Command::Open, false) => Effect::persist(Moved::Opened).then_reply(|door: &Self| door.open),
//!             (Command::Close, true) => Effect::persist(Moved::Closed).then_reply(|door: &Self| door.open),
//!         }
//!     }
//!
//!     fn apply(&mut self, event: &Moved) {
//!         self.open = matches!(event, Moved::Opened);
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     abide::main(|app| app.entity::<Door>())
//! }
//! ```
//!
//! This crate is the whole: configuration, wiring, command line. What an entity is lives in
//! [`persistence`], where it lives in [`sharding`], how clients reach it in [`http`].

mod app;
pub mod bench;
mod cli;
pub mod config;
pub mod demo;
#[doc = include_str!("../../docs/entities.md")]
pub mod guide {}
mod serve;
mod stores;
mod telemetry;
pub mod test;

pub use abide_http_api as http;
pub use abide_membership as membership;
pub use abide_persistence as persistence;
pub use abide_sharding as sharding;

pub use abide_sharding::EntityOptions;
pub use app::App;
pub use cli::main;
pub use serve::{Node, StartError, Starting};
pub use stores::StoreHealth;

/// Describes types as JSON schemas, for [`EntityOptions::schemas`].
pub use schemars;
/// What a type needs to be described in `/openapi.json`: `#[derive(JsonSchema)]` with
/// `#[schemars(crate = "abide::schemars")]`. The trait and its derive.
pub use schemars::JsonSchema;

/// What an entity's author needs.
pub mod prelude {
    pub use abide_persistence::codec::Event;
    pub use abide_persistence::model::{
        Context, Effect, EventSourced, PersistentActor, Recover, RecoveryContext, ReplyTo, Signal,
    };
    pub use abide_persistence::{EntityId, EntityType, SequenceNr};
    pub use schemars::JsonSchema;
    pub use serde::{Deserialize, Serialize};
}
