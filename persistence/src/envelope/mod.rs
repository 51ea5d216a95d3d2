//! What is stored for an event and for a snapshot: Protobuf messages whose field numbers never change
//! meaning.
//!
//! Fields that no version writes yet are reserved here by being declared, so that an old node reads past
//! what a newer one wrote. `tests/fixtures/` holds one file for each format ever written.

mod event;
mod snapshot;
mod view;

pub use event::{BaseRecord, RecordedReply, StoredEvent};
pub use snapshot::{SnapshotDamage, StoredSnapshot};
pub(crate) use view::EventView;
