//! From events to bytes and back.
//!
//! The name of the codec is stored with every event as a small number, so a type may change its codec
//! and still read what it wrote before.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// JSON by `serde_json`. Numbers from 1000 on are for codecs of a user's own.
pub const JSON: u32 = 1;

/// An immutable fact about one entity.
///
/// Its name is written by the author and never derived from a path in the code, so that moving or
/// renaming a Rust type does not orphan history.
pub trait Event: Serialize + DeserializeOwned + Send + 'static {
    /// The stored name of this kind of event. It must never change once events exist.
    fn name(&self) -> &'static str;

    /// The version of its shape; raise it with an incompatible change.
    fn version(&self) -> u32 {
        1
    }
}

/// An event turned to bytes, not yet numbered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedEvent {
    /// See [`Event::name`].
    pub name: &'static str,
    /// See [`Event::version`].
    pub version: u32,
    /// Which codec wrote the payload.
    pub codec: u32,
    /// The event.
    pub payload: Bytes,
}

/// Encodes an event.
///
/// # Errors
/// What the codec says; the event is rejected then, and nothing is stored.
pub fn encode<E: Event>(event: &E) -> Result<EncodedEvent, String> {
    let payload = serde_json::to_vec(event).map_err(|cause| cause.to_string())?;
    Ok(EncodedEvent { name: event.name(), version: event.version(), codec: JSON, payload: payload.into() })
}

/// Decodes an event.
///
/// # Errors
/// What the codec says; the recovery that needs the event fails then.
pub fn decode<E: Event>(codec: u32, payload: &[u8]) -> Result<E, String> {
    match codec {
        JSON => serde_json::from_slice(payload).map_err(|cause| cause.to_string()),
        other => Err(format!("no codec with number {other} is registered")),
    }
}
