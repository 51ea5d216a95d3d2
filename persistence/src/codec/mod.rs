//! From events and states to bytes and back.
//!
//! The number of the codec is stored with everything that it wrote, and reading goes by the *stored*
//! number. So a type may change its codec and still reads what it wrote before:
//!
//! ```
//! # use abide_persistence::codec::{Codec, Codecs, Event, JSON, MESSAGE_PACK, MessagePack};
//! # #[derive(serde::Serialize, serde::Deserialize, Debug, PartialEq)]
//! # struct Noted(String);
//! # impl Event for Noted { fn name(&self) -> &'static str { "noted" } }
//! let before: Codecs<Noted> = Codecs::json();
//! let old = before.encode(&Noted("first".into()))?;
//! assert_eq!(old.codec, JSON);
//!
//! let now: Codecs<Noted> = Codecs::new(MessagePack);
//! assert_eq!(now.encode(&Noted("second".into()))?.codec, MESSAGE_PACK);
//! assert_eq!(now.decode(old.codec, old.name, old.version, &old.payload)?, Noted("first".into()));
//! # Ok::<(), String>(())
//! ```
//!
//! | number | codec | read without being named |
//! | --- | --- | --- |
//! | 1 | [`Json`], the default | yes |
//! | 2 | [`MessagePack`] | yes |
//! | 3 | [`Protobuf`] | no: it needs the message type |
//! | 1000 and above | a user's own | no |

mod codecs;
mod formats;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use codecs::Codecs;
pub use formats::{Json, MessagePack, Protobuf};

/// Number of [`Json`].
pub const JSON: u32 = 1;
/// Number of [`MessagePack`].
pub const MESSAGE_PACK: u32 = 2;
/// Number of [`Protobuf`].
pub const PROTOBUF: u32 = 3;
/// Numbers from here on are for codecs of a user's own; those below are Abide's, also the unused ones.
pub const FIRST_OWN: u32 = 1000;

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

/// Turns values of one type to bytes and back: events of an entity type, or its state.
///
/// It must read all that it ever wrote under its number. An incompatible change takes a new number, or a
/// higher [`Event::version`], which it is told when it reads.
pub trait Codec<T>: Send + Sync + 'static {
    /// The number that is stored with what it wrote, always the same; [`FIRST_OWN`] or above.
    fn id(&self) -> u32;

    /// Writes a value.
    ///
    /// # Errors
    /// Why it cannot be written; the event is rejected then, and nothing is stored.
    fn encode(&self, value: &T) -> Result<Bytes, String>;

    /// Reads a value that was stored under this name and version.
    ///
    /// # Errors
    /// Why it cannot be read; whoever needs it fails then, and it is never skipped.
    fn decode(&self, name: &str, version: u32, bytes: &[u8]) -> Result<T, String>;

    /// Whether it comes with Abide and may have a number below [`FIRST_OWN`].
    #[doc(hidden)]
    fn is_built_in(&self, _: seal::Seal) -> bool {
        false
    }
}

mod seal {
    /// Cannot be named outside, so nobody else can say that a codec is built in.
    #[derive(Debug)]
    pub struct Seal;
}

/// Encodes an event as JSON.
///
/// # Errors
/// What the codec says; the event is rejected then, and nothing is stored.
pub fn encode<E: Event>(event: &E) -> Result<EncodedEvent, String> {
    Codecs::json().encode(event)
}

/// Decodes an event that a codec wrote which needs not be named; see [`Codecs::decode`] for all others.
///
/// # Errors
/// What the codec says; the recovery that needs the event fails then.
pub fn decode<E: Event>(codec: u32, payload: &[u8]) -> Result<E, String> {
    match codec {
        JSON => Json.decode("", 0, payload),
        MESSAGE_PACK => MessagePack.decode("", 0, payload),
        other => Err(format!("no codec with number {other} is registered")),
    }
}
