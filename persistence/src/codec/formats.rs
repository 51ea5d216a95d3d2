//! The codecs that come with Abide.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::seal::Seal;
use super::{Codec, JSON, MESSAGE_PACK, PROTOBUF};

/// JSON by `serde_json`: readable by everybody, the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json;

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    fn id(&self) -> u32 {
        JSON
    }

    fn encode(&self, value: &T) -> Result<Bytes, String> {
        serde_json::to_vec(value).map(Bytes::from).map_err(|cause| cause.to_string())
    }

    fn decode(&self, _: &str, _: u32, bytes: &[u8]) -> Result<T, String> {
        // As text it is read faster: its letters are checked once, and not string by string. Bytes that are
        // no text may still be strings of bytes.
        let value = match std::str::from_utf8(bytes) {
            Ok(text) => serde_json::from_str(text),
            Err(_) => serde_json::from_slice(bytes),
        };
        value.map_err(|cause| cause.to_string())
    }

    fn is_built_in(&self, _: Seal) -> bool {
        true
    }
}

/// MessagePack by `rmp-serde`: about two thirds of JSON's size. Fields go by name, so they may be added and
/// reordered as in JSON.
///
/// Types that have a readable and a compact form (addresses, for instance) take the readable one: inside an
/// internally tagged or untagged enum serde reads only that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessagePack;

impl<T: Serialize + DeserializeOwned> Codec<T> for MessagePack {
    fn id(&self) -> u32 {
        MESSAGE_PACK
    }

    fn encode(&self, value: &T) -> Result<Bytes, String> {
        let mut bytes = Vec::new();
        let mut serializer = rmp_serde::Serializer::new(&mut bytes).with_struct_map().with_human_readable();
        value.serialize(&mut serializer).map_err(|cause| cause.to_string())?;
        Ok(bytes.into())
    }

    fn decode(&self, _: &str, _: u32, bytes: &[u8]) -> Result<T, String> {
        let mut rest = bytes;
        let mut deserializer = rmp_serde::Deserializer::new(&mut rest).with_human_readable();
        let value = T::deserialize(&mut deserializer).map_err(|cause| cause.to_string())?;
        if !rest.is_empty() {
            return Err(format!("its value ends {} bytes before the end", rest.len()));
        }
        Ok(value)
    }

    fn is_built_in(&self, _: Seal) -> bool {
        true
    }
}

/// Protobuf by `prost`, through a generated message `M` that all values of the type map to: for an enum of
/// events, a message with a `oneof`.
///
/// ```
/// use abide_persistence::codec::{Codec, Codecs, Event, Protobuf};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct Deposited(u32);
/// impl Event for Deposited {
///     fn name(&self) -> &'static str {
///         "deposited"
///     }
/// }
///
/// #[derive(Clone, PartialEq, prost::Message)]
/// struct DepositedMessage {
///     #[prost(uint32, optional, tag = "1")]
///     amount: Option<u32>,
/// }
/// impl From<&Deposited> for DepositedMessage {
///     fn from(event: &Deposited) -> Self {
///         Self { amount: Some(event.0) }
///     }
/// }
/// impl TryFrom<DepositedMessage> for Deposited {
///     type Error = String;
///     fn try_from(message: DepositedMessage) -> Result<Self, String> {
///         message.amount.map(Self).ok_or_else(|| "the amount is missing".to_owned())
///     }
/// }
///
/// let codecs: Codecs<Deposited> = Codecs::new(Protobuf::<DepositedMessage>::new());
/// let stored = codecs.encode(&Deposited(7))?;
/// assert_eq!(&stored.payload[..], [8, 7]);
/// assert_eq!(codecs.decode(stored.codec, stored.name, stored.version, &stored.payload)?, Deposited(7));
/// # Ok::<(), String>(())
/// ```
pub struct Protobuf<M>(PhantomData<fn() -> M>);

impl<M> Protobuf<M> {
    /// The codec; it holds nothing.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<M> Default for Protobuf<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M> Clone for Protobuf<M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Protobuf<M> {}

impl<M> fmt::Debug for Protobuf<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Protobuf<{}>", std::any::type_name::<M>())
    }
}

impl<T, M> Codec<T> for Protobuf<M>
where
    M: prost::Message + Default + 'static,
    for<'a> M: From<&'a T>,
    T: TryFrom<M>,
    T::Error: fmt::Display,
{
    fn id(&self) -> u32 {
        PROTOBUF
    }

    fn encode(&self, value: &T) -> Result<Bytes, String> {
        Ok(M::from(value).encode_to_vec().into())
    }

    fn decode(&self, _: &str, _: u32, bytes: &[u8]) -> Result<T, String> {
        let message = M::decode(bytes).map_err(|cause| cause.to_string())?;
        T::try_from(message).map_err(|cause| cause.to_string())
    }

    fn is_built_in(&self, _: Seal) -> bool {
        true
    }
}
