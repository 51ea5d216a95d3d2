//! The stored form of a snapshot.
//!
//! ```text
//! 09 <checksum, 8 LE>  10 <last event>  18 <time>  … payload, records
//! ```
//!
//! The checksum is `xxh3_64` of all bytes after it, so it also covers what a later version adds. A store
//! cannot be trusted to notice damage: a file system usually has no checksums of its own.

use bytes::Bytes;
use prost::Message;
use xxhash_rust::xxh3::xxh3_64;

use crate::ids::{PersistenceId, SequenceNr};
use crate::journal::{Claim, Epoch, Snapshot};

/// Key of the field `checksum`, which comes first.
const CHECKSUM_KEY: u8 = 0x09;
const CHECKSUM_END: usize = 9;

/// A snapshot as it lies in a store.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct StoredSnapshot {
    /// `xxh3_64` of all bytes that follow it. [`to_bytes`](Self::to_bytes) sets it.
    #[prost(fixed64, tag = "1")]
    pub checksum: u64,
    /// The last event that it contains.
    #[prost(uint64, tag = "2")]
    pub sequence_nr: u64,
    /// When it was taken, in milliseconds since 1970. In front, so that it can be found without reading on.
    #[prost(uint64, tag = "3")]
    pub time_ms: u64,
    /// Which codec wrote the payload; see [`crate::codec`].
    #[prost(uint32, tag = "4")]
    pub codec: u32,
    /// The name that the entity's author gave to the state.
    #[prost(string, tag = "5")]
    pub name: String,
    /// The version of its shape.
    #[prost(uint32, tag = "6")]
    pub version: u32,
    /// Token under which its last event was written: the epoch …
    #[prost(uint64, tag = "7")]
    pub epoch: u64,
    /// … the session …
    #[prost(uint32, tag = "8")]
    pub session: u32,
    /// … and the batch.
    #[prost(uint64, tag = "9")]
    pub batch: u64,
    /// Whose it is: `type|id`.
    #[prost(string, tag = "10")]
    pub persistence_id: String,
    /// The state, encoded by the codec.
    #[prost(bytes = "bytes", tag = "11")]
    pub payload: Bytes,
    /// The engine's records of the prefix that it stands for.
    #[prost(bytes = "bytes", tag = "12")]
    pub records: Bytes,
}

/// Why stored bytes are not the snapshot that was saved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotDamage {
    /// They do not begin as a snapshot does.
    #[error("what is stored is no snapshot")]
    NoSnapshot,
    /// They are not the bytes that were written.
    #[error("its checksum is {found:016x}, not {stored:016x}: bytes were lost or changed")]
    Checksum {
        /// The checksum that was stored with them.
        stored: u64,
        /// Theirs.
        found: u64,
    },
    /// The bytes are whole, but not understood.
    #[error("it cannot be decoded: {0}")]
    Undecodable(String),
    /// A whole snapshot, in the wrong place.
    #[error("in its place is the snapshot of {persistence_id} that ends with event {sequence_nr}")]
    Misplaced {
        /// Whose it is.
        persistence_id: String,
        /// The last event that it contains.
        sequence_nr: SequenceNr,
    },
}

impl StoredSnapshot {
    /// Bytes from the start within which [`time_at_front`](Self::time_at_front) finds the time.
    pub const FRONT_BYTES: usize = CHECKSUM_END + 11 + 11;

    /// The stored form of a snapshot; the checksum comes with the bytes.
    pub fn new(persistence_id: &PersistenceId, snapshot: Snapshot) -> Self {
        Self {
            checksum: 0,
            sequence_nr: snapshot.sequence_nr.0,
            time_ms: snapshot.time_ms,
            codec: snapshot.codec,
            name: snapshot.name,
            version: snapshot.version,
            epoch: snapshot.claim.epoch.0,
            session: snapshot.claim.session,
            batch: snapshot.batch,
            persistence_id: persistence_id.to_string(),
            payload: snapshot.payload,
            records: snapshot.records,
        }
    }

    /// The bytes to store, with their checksum.
    pub fn to_bytes(&self) -> Bytes {
        self.to_vec().into()
    }

    pub(crate) fn to_vec(&self) -> Vec<u8> {
        // Clones share the bytes of payload and records. Zero is Protobuf's default and leaves no field.
        let rest = Self { checksum: 0, ..self.clone() };
        let mut bytes = Vec::with_capacity(CHECKSUM_END + rest.encoded_len());
        bytes.push(CHECKSUM_KEY);
        bytes.extend_from_slice(&[0; 8]);
        rest.encode_raw(&mut bytes);
        let checksum = xxh3_64(&bytes[CHECKSUM_END..]);
        bytes[1..CHECKSUM_END].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// How many bytes it takes.
    pub fn stored_len(&self) -> usize {
        CHECKSUM_END + Self { checksum: 0, ..self.clone() }.encoded_len()
    }

    /// Reads one back.
    ///
    /// # Errors
    /// If the bytes are not what was written.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, SnapshotDamage> {
        let Some(([CHECKSUM_KEY, stored @ ..], rest)) = bytes.split_first_chunk::<CHECKSUM_END>() else {
            return Err(SnapshotDamage::NoSnapshot);
        };
        let (stored, found) = (u64::from_le_bytes(*stored), xxh3_64(rest));
        if stored != found {
            return Err(SnapshotDamage::Checksum { stored, found });
        }
        Self::decode(bytes).map_err(|cause| SnapshotDamage::Undecodable(cause.to_string()))
    }

    /// Reads the snapshot of an entity that ends with an event.
    ///
    /// # Errors
    /// If the bytes are not what was written, or belong elsewhere.
    pub fn open(
        bytes: Bytes,
        persistence_id: &PersistenceId,
        sequence_nr: SequenceNr,
    ) -> Result<Snapshot, SnapshotDamage> {
        let stored = Self::from_bytes(bytes)?;
        if stored.sequence_nr != sequence_nr.0 || stored.persistence_id != persistence_id.to_string() {
            return Err(SnapshotDamage::Misplaced {
                persistence_id: stored.persistence_id,
                sequence_nr: SequenceNr(stored.sequence_nr),
            });
        }
        Ok(stored.into())
    }

    /// When it was taken, from its first [`FRONT_BYTES`](Self::FRONT_BYTES) alone, unchecked; `None` if they
    /// do not begin as a snapshot does.
    pub fn time_at_front(front: &[u8]) -> Option<u64> {
        let ([CHECKSUM_KEY, ..], mut rest) = front.split_first_chunk::<CHECKSUM_END>()? else { return None };
        if rest.first() == Some(&0x10) {
            varint(&mut rest)?;
            varint(&mut rest)?;
        }
        match rest.first() {
            Some(0x18) => {
                varint(&mut rest)?;
                varint(&mut rest)
            }
            // A time of zero leaves no field.
            _ => Some(0),
        }
    }

    /// Whether bytes begin as one does.
    pub(crate) fn begins(bytes: &[u8]) -> bool {
        bytes.first() == Some(&CHECKSUM_KEY)
    }
}

impl From<StoredSnapshot> for Snapshot {
    fn from(stored: StoredSnapshot) -> Self {
        Self {
            sequence_nr: SequenceNr(stored.sequence_nr),
            claim: Claim { epoch: Epoch(stored.epoch), session: stored.session },
            batch: stored.batch,
            time_ms: stored.time_ms,
            codec: stored.codec,
            name: stored.name,
            version: stored.version,
            payload: stored.payload,
            records: stored.records,
        }
    }
}

/// Takes one of Protobuf's numbers from the front.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_found_at_the_front_whatever_the_numbers() {
        for sequence_nr in [0, 1, 300, u64::MAX] {
            for time_ms in [0, 1, 1_764_000_000_123, u64::MAX] {
                let stored = StoredSnapshot { sequence_nr, time_ms, codec: 1, ..StoredSnapshot::default() };
                let bytes = stored.to_bytes();
                let front = &bytes[..bytes.len().min(StoredSnapshot::FRONT_BYTES)];
                assert_eq!(StoredSnapshot::time_at_front(front), Some(time_ms), "{sequence_nr}");
            }
        }
        assert_eq!(StoredSnapshot::time_at_front(b""), None);
        assert_eq!(StoredSnapshot::time_at_front(b"\x08\x01\x18\x05 no snapshot"), None);
        assert_eq!(StoredSnapshot::time_at_front(b"\x0912345678\x10\xff"), None);
    }
}
