//! The stored form of a snapshot, byte for byte. A file in `fixtures/` never changes once it was released: a
//! new version adds a file.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::fs;
use std::path::Path;

use abide_persistence::codec::MESSAGE_PACK;
use abide_persistence::envelope::{SnapshotDamage, StoredSnapshot};
use abide_persistence::journal::{Claim, Epoch, Snapshot};
use abide_persistence::{EntityId, EntityType, PersistenceId, SequenceNr};
use bytes::Bytes;

fn fixture() -> Bytes {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/snapshot-v1.bin");
    Bytes::from(fs::read(path).unwrap())
}

fn id() -> PersistenceId {
    PersistenceId::new(EntityType::new("account"), EntityId::new("ärger|7").unwrap())
}

fn version_1() -> Snapshot {
    Snapshot {
        sequence_nr: SequenceNr(4_242),
        claim: Claim { epoch: Epoch((2 << 40) | 77), session: 5 },
        batch: 1_000_001,
        time_ms: 1_764_000_000_123,
        codec: MESSAGE_PACK,
        name: "balance".to_owned(),
        version: 3,
        payload: Bytes::from_static(b"\x81\xa7balance\xcd\x04\xd2"),
        records: Bytes::from_static(&[0x00, 0x7f, 0x80, 0xff]),
    }
}

#[test]
fn a_snapshot_of_version_1_is_read_and_written_byte_for_byte() {
    let opened = StoredSnapshot::open(fixture(), &id(), SequenceNr(4_242));
    assert_eq!(opened, Ok(version_1()), "it is read as it was meant");
    assert!(StoredSnapshot::new(&id(), version_1()).to_bytes() == fixture(), "it is written as it was");
    let front = &fixture()[..StoredSnapshot::FRONT_BYTES];
    assert_eq!(StoredSnapshot::time_at_front(front), Some(1_764_000_000_123));
}

/// What a later version adds is covered by the checksum and read past.
#[test]
fn unknown_fields_are_read_past() {
    let mut bytes = fixture().to_vec();
    bytes.extend_from_slice(b"\xfa\x7d\x03new\xf8\x7d\x07");
    let unchecked = StoredSnapshot::from_bytes(bytes.clone().into());
    assert!(matches!(unchecked, Err(SnapshotDamage::Checksum { .. })), "{unchecked:?}");
    let checksum = xxhash_rust::xxh3::xxh3_64(&bytes[9..]);
    bytes[1..9].copy_from_slice(&checksum.to_le_bytes());
    let opened = StoredSnapshot::open(bytes.into(), &id(), SequenceNr(4_242));
    assert_eq!(opened, Ok(version_1()));
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let whole = fixture();
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        StoredSnapshot::from_bytes(bytes.into()).expect_err(&format!("bit {bit}"));
    }
    for end in 0..whole.len() {
        StoredSnapshot::from_bytes(whole.slice(..end)).expect_err(&format!("cut after {end} bytes"));
    }
    assert_eq!(StoredSnapshot::from_bytes(Bytes::new()), Err(SnapshotDamage::NoSnapshot));
}

#[test]
fn a_whole_snapshot_elsewhere_is_not_taken() {
    let misplaced =
        SnapshotDamage::Misplaced { persistence_id: id().to_string(), sequence_nr: SequenceNr(4_242) };
    let other = PersistenceId::new(EntityType::new("account"), EntityId::new("ärger|8").unwrap());
    assert_eq!(StoredSnapshot::open(fixture(), &id(), SequenceNr(4_243)), Err(misplaced.clone()));
    assert_eq!(StoredSnapshot::open(fixture(), &other, SequenceNr(4_242)), Err(misplaced));
}
