//! Where each row of the embedded store lies, byte by byte. Frozen: `tests/fixtures/embedded-v*.txt` hold it.
//!
//! ```text
//! keyspace    key                                   value
//! events      type|id 00 <sequence number, 8 BE>    the stored event
//! streams     type|id                               <deleted up to, 8 BE> <the owner's record>, only if events
//!                                                   were deleted
//! snapshots   type|id 00 <last event, 8 BE>         the stored snapshot, or a SnapshotRow of before
//! ids         <shard, 4 BE> type|id                 nothing, for each stream that ever had an event
//! ids         ff complete                           nothing, once all streams are in `ids`
//! meta        journal                               MetaRow
//! meta        shard/<shard, 4 BE>                   TokenRow
//! meta        commits                               <number of the last commit, 8 BE>
//! ```
//!
//! Invariant: neither a type nor an id holds a control character, so `00` ends them: no stream's keys lie
//! among another's, and within a stream byte order is the order of the numbers.

use bytes::Bytes;
use prost::Message;

use crate::envelope::{EventView, SnapshotDamage, StoredSnapshot};
use crate::ids::{PersistenceId, SequenceNr, ShardCount, ShardId};
use crate::journal::{Claim, Epoch, JournalMeta, Snapshot, Token, Writer};

pub(super) const EVENTS: &str = "events";
pub(super) const STREAMS: &str = "streams";
pub(super) const SNAPSHOTS: &str = "snapshots";
pub(super) const META: &str = "meta";
/// Came after the other keyspaces; a journal without it gets it at its next start.
pub(super) const IDS: &str = "ids";

pub(super) const JOURNAL_KEY: &[u8] = b"journal";
pub(super) const COMMITS_KEY: &[u8] = b"commits";
pub(super) const SHARD_PREFIX: &[u8] = b"shard/";

/// The batch number of a token that an earlier opening of the store left behind.
///
/// Only claims are stored; batches are counted in memory. So after a start the last number is not known,
/// and need not be: whoever wants to write claims anew, strictly higher. Until then no batch is the next
/// one and no claim a repeat, which is just what [`fence`](crate::journal::fence) says of this number.
pub(super) const BATCH_OF_AN_EARLIER_PROCESS: u64 = u64::MAX;

/// The key of a stream's row in `streams`.
pub(super) fn stream_key(persistence_id: &PersistenceId) -> Vec<u8> {
    let mut key = Vec::with_capacity(persistence_id.byte_len());
    persistence_id.write_to(&mut key);
    key
}

/// The key of a stream's row in `ids`.
pub(super) fn id_key(shard: ShardId, persistence_id: &PersistenceId) -> Vec<u8> {
    let mut key = shard.0.to_be_bytes().to_vec();
    persistence_id.write_to(&mut key);
    key
}

/// Keys of one entity's rows in `events` or `snapshots`, made in place: no allocation for each number.
pub(super) struct RowKey {
    bytes: Vec<u8>,
}

impl RowKey {
    pub(super) fn new(persistence_id: &PersistenceId) -> Self {
        let mut bytes = Vec::with_capacity(persistence_id.byte_len() + 9);
        persistence_id.write_to(&mut bytes);
        bytes.extend_from_slice(&[0; 9]);
        Self { bytes }
    }

    /// The key of one number.
    pub(super) fn at(&mut self, number: u64) -> &[u8] {
        let start = self.bytes.len() - 8;
        self.bytes[start..].copy_from_slice(&number.to_be_bytes());
        &self.bytes
    }
}

/// The number at the end of a key in `events` or `snapshots`.
pub(super) fn number_of(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|number| u64::from_be_bytes(*number))
}

/// The row of a stream whose events up to `deleted_to` were deleted.
pub(super) fn stream_row(deleted_to: u64, record: &[u8]) -> Vec<u8> {
    [&deleted_to.to_be_bytes(), record].concat()
}

/// Reads a stream's row back: up to where its events were deleted, and the owner's record.
pub(super) fn deletion(value: &[u8]) -> Option<(u64, Bytes)> {
    let (number, record) = value.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), Bytes::copy_from_slice(record)))
}

/// A value that is a number.
pub(super) fn number(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(value.try_into().ok()?))
}

/// The key of a shard's token.
pub(super) fn token_key(shard: ShardId) -> Vec<u8> {
    [SHARD_PREFIX, &shard.0.to_be_bytes()].concat()
}

/// The shard of a token's key.
pub(super) fn shard_of(key: &[u8]) -> Option<ShardId> {
    let shard = key.strip_prefix(SHARD_PREFIX)?;
    Some(ShardId(u32::from_be_bytes(shard.try_into().ok()?)))
}

/// The newest claim of a shard.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
struct TokenRow {
    #[prost(uint64, tag = "1")]
    epoch: u64,
    #[prost(uint32, tag = "2")]
    session: u32,
    /// 16 bytes, big endian.
    #[prost(bytes = "bytes", tag = "3")]
    cluster: Bytes,
    /// 16 bytes, big endian.
    #[prost(bytes = "bytes", tag = "4")]
    incarnation: Bytes,
}

pub(super) fn encode_token(token: &Token) -> Vec<u8> {
    let row = TokenRow {
        epoch: token.claim.epoch.0,
        session: token.claim.session,
        cluster: wide_bytes(token.writer.cluster),
        incarnation: wide_bytes(token.writer.incarnation),
    };
    row.encode_to_vec()
}

pub(super) fn decode_token(value: &[u8]) -> Option<Token> {
    let row = TokenRow::decode(value).ok()?;
    Some(Token {
        claim: Claim { epoch: Epoch(row.epoch), session: row.session },
        batch: BATCH_OF_AN_EARLIER_PROCESS,
        writer: Writer { cluster: wide(&row.cluster)?, incarnation: wide(&row.incarnation)? },
    })
}

/// What the journal was first used with.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
struct MetaRow {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(uint32, tag = "2")]
    shards: u32,
    #[prost(string, tag = "3")]
    hash: String,
    /// 16 bytes, big endian.
    #[prost(bytes = "bytes", tag = "4")]
    cluster: Bytes,
    #[prost(uint32, tag = "5")]
    generation: u32,
}

pub(super) fn encode_meta(meta: &JournalMeta) -> Vec<u8> {
    let row = MetaRow {
        format: meta.format,
        shards: meta.shards.get(),
        hash: meta.hash.clone(),
        cluster: wide_bytes(meta.cluster),
        generation: meta.generation,
    };
    row.encode_to_vec()
}

pub(super) fn decode_meta(value: &[u8]) -> Option<JournalMeta> {
    let row = MetaRow::decode(value).ok()?;
    Some(JournalMeta {
        format: row.format,
        shards: ShardCount::new(row.shards)?,
        hash: row.hash,
        cluster: wide(&row.cluster)?,
        generation: row.generation,
    })
}

/// A snapshot as it was written before [`StoredSnapshot`]; still read. The number that it ends with is in the
/// key too. It has no checksum and no name.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
struct SnapshotRow {
    #[prost(uint64, tag = "1")]
    sequence_nr: u64,
    #[prost(uint64, tag = "2")]
    epoch: u64,
    #[prost(uint32, tag = "3")]
    session: u32,
    #[prost(uint64, tag = "4")]
    batch: u64,
    #[prost(uint64, tag = "5")]
    time_ms: u64,
    #[prost(uint32, tag = "6")]
    codec: u32,
    #[prost(uint32, tag = "7")]
    version: u32,
    #[prost(bytes = "bytes", tag = "8")]
    payload: Bytes,
    #[prost(bytes = "bytes", tag = "9")]
    records: Bytes,
}

pub(super) fn encode_snapshot(persistence_id: &PersistenceId, snapshot: Snapshot) -> Vec<u8> {
    StoredSnapshot::new(persistence_id, snapshot).to_vec()
}

/// The snapshot in the row of an entity and a number, or what is wrong with it.
pub(super) fn decode_snapshot(
    value: Bytes,
    persistence_id: &PersistenceId,
    sequence_nr: SequenceNr,
) -> Result<Snapshot, SnapshotDamage> {
    // No row of before begins like a stored snapshot: its first field is the number.
    if StoredSnapshot::begins(&value) {
        return StoredSnapshot::open(value, persistence_id, sequence_nr);
    }
    let row = SnapshotRow::decode(value).map_err(|_| SnapshotDamage::NoSnapshot)?;
    if row.sequence_nr != sequence_nr.0 {
        return Err(SnapshotDamage::NoSnapshot);
    }
    Ok(Snapshot {
        sequence_nr,
        claim: Claim { epoch: Epoch(row.epoch), session: row.session },
        batch: row.batch,
        time_ms: row.time_ms,
        codec: row.codec,
        name: Snapshot::DEFAULT_NAME.to_owned(),
        version: row.version,
        payload: row.payload,
        records: row.records,
    })
}

/// The one field of a stored event that this store looks at; decoding it walks over all others, so bytes
/// that are no message at all are noticed too.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
struct NumberedEvent {
    #[prost(uint64, tag = "1")]
    sequence_nr: u64,
}

/// The number that an event says it has; `None` if it is no event.
pub(super) fn event_number(event: &[u8]) -> Option<u64> {
    match EventView::of(event) {
        Some(plain) => Some(plain.sequence_nr.0),
        None => NumberedEvent::decode(event).ok().map(|event| event.sequence_nr),
    }
}

fn wide_bytes(number: u128) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

fn wide(bytes: &[u8]) -> Option<u128> {
    Some(u128::from_be_bytes(bytes.try_into().ok()?))
}
