//! The stored form of an event.

use bytes::Bytes;
use prost::Message;

use crate::ids::SequenceNr;
use crate::journal::{Claim, Epoch, EventToken};

/// An event as it lies in a journal.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct StoredEvent {
    /// Its place in the entity's stream, from 1.
    #[prost(uint64, tag = "1")]
    pub sequence_nr: u64,
    /// The event, encoded by the codec.
    #[prost(bytes = "bytes", tag = "2")]
    pub payload: Bytes,
    /// Which codec; see [`crate::codec`].
    #[prost(uint32, tag = "3")]
    pub codec: u32,
    /// The name that the entity's author gave to this kind of event.
    #[prost(string, tag = "4")]
    pub name: String,
    /// The version of its shape.
    #[prost(uint32, tag = "5")]
    pub version: u32,
    /// When its batch was closed, in milliseconds since 1970, by the owner's clock.
    #[prost(uint64, tag = "6")]
    pub time_ms: u64,
    /// Tags by which queries find it.
    #[prost(string, repeated, tag = "7")]
    pub tags: Vec<String>,
    /// Token under which it was written: the epoch …
    #[prost(uint64, tag = "8")]
    pub epoch: u64,
    /// … the session …
    #[prost(uint32, tag = "9")]
    pub session: u32,
    /// … and the batch.
    #[prost(uint64, tag = "10")]
    pub batch: u64,
    /// Key of the command that caused it, on that command's first event.
    #[prost(bytes = "bytes", tag = "11")]
    pub command_key: Bytes,
    /// Fingerprint of that command, to tell a repeat from another command under the same key.
    #[prost(bytes = "bytes", tag = "12")]
    pub command_fingerprint: Bytes,
    /// The reply to that command.
    #[prost(message, optional, boxed, tag = "13")]
    pub reply: Option<Box<RecordedReply>>,
    /// What an event adapter wrote to read it back.
    #[prost(string, tag = "14")]
    pub manifest: String,
}

/// A reply that was stored with the event that it belongs to.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct RecordedReply {
    /// The reply, encoded by the codec.
    #[prost(bytes = "bytes", tag = "1")]
    pub payload: Bytes,
    /// Which codec.
    #[prost(uint32, tag = "2")]
    pub codec: u32,
    /// What kind of answer it was: 0 none, 1 reply, 2 rejection.
    #[prost(uint32, tag = "3")]
    pub kind: u32,
}

impl StoredEvent {
    /// Reads one back.
    ///
    /// # Errors
    /// If the bytes are no such message.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, prost::DecodeError> {
        Self::decode(bytes)
    }

    /// The bytes to store.
    pub fn to_bytes(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    /// Its place in the stream.
    pub fn sequence_nr(&self) -> SequenceNr {
        SequenceNr(self.sequence_nr)
    }

    /// The claim under which it was written.
    pub fn claim(&self) -> Claim {
        Claim { epoch: Epoch(self.epoch), session: self.session }
    }

    /// The claim and the batch.
    pub fn token(&self) -> EventToken {
        EventToken { claim: self.claim(), batch: self.batch }
    }
}

/// What stays in place of deleted events.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct BaseRecord {
    /// Token of the last deleted event, if the owner knew it: the epoch …
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    /// … the session …
    #[prost(uint32, tag = "2")]
    pub session: u32,
    /// … and the batch.
    #[prost(uint64, tag = "3")]
    pub batch: u64,
    /// A snapshot holds what the deleted events said: without one the entity cannot be recovered.
    #[prost(bool, tag = "4")]
    pub rests_on_snapshot: bool,
    /// Records of the engine that belong to the deleted events.
    #[prost(bytes = "bytes", tag = "5")]
    pub records: Bytes,
}
