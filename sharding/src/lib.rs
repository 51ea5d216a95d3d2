//! Where an entity lives, and how a request gets there.
//!
//! A persistence id names its shard by a hash. A shard is the unit of ownership: whoever owns it claims
//! it at the journal, and only then runs its entities. Many shards share a *lane*, which is run by whoever
//! brings a request and finds it free; what comes meanwhile waits in the lane's inbox for that one.
//!
//! ```text
//!   caller ─▶ region ─▶ door of a lane ─▶ shard  ─▶ store of a type ─▶ cell
//!     ▲                                      │ one numbered batch in flight
//!     └────────── answers ◀──────────────────┴─▶ journal
//! ```
//!
//! - [`engine`] is pure: one shard's claims, batches and recoveries.
//! - [`runtime`] has the lanes, the region and the references by which entities are asked.
//!
//! It knows nothing of HTTP, and of a journal only its trait. Who owns which shard is decided outside.

pub mod engine;
pub mod runtime;

pub use engine::registry::{EntityOptions, RegistrationError, Registry, TypeIndex, TypeSchemas};
pub use engine::shard::{Loss, ParkedFor};
pub use runtime::ask::{Ask, AskError};
pub use runtime::reference::EntityRef;
pub use runtime::region::{Address, ParkedEntity, ParkedShard, Region, RegionConfig, RegionStatus, Stopped};
pub use runtime::stores::{Stores, UnknownStore};
pub use runtime::watch::EventsWatch;
