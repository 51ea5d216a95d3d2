//! The stored form of an event, byte for byte. A file in `fixtures/` never changes once it was released: a
//! new version adds a file.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::fs;
use std::path::Path;

use abide_persistence::codec::JSON;
use abide_persistence::envelope::{RecordedReply, StoredEvent};
use bytes::Bytes;

fn check(fixture: &str, event: StoredEvent) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture);
    let bytes = Bytes::from(fs::read(&path).unwrap());
    assert_eq!(StoredEvent::from_bytes(bytes.clone()).unwrap(), event, "{fixture} is read as it was meant");
    assert_eq!(event.to_bytes(), bytes, "{fixture} is written as it was");
}

#[test]
fn an_event_of_version_1_is_read_and_written_byte_for_byte() {
    check("event-v1.bin", version_1());
}

#[test]
fn an_event_with_every_field_is_read_and_written_byte_for_byte() {
    check("event-v1-all-fields.bin", every_field());
}

/// What a later version adds must not stop this one.
#[test]
fn unknown_fields_are_read_past() {
    let mut bytes = version_1().to_bytes().to_vec();
    bytes.extend_from_slice(b"\xfa\x7d\x03new\xf8\x7d\x07");
    assert_eq!(StoredEvent::from_bytes(bytes.into()).unwrap(), version_1());
}

/// As the engine writes it today.
fn version_1() -> StoredEvent {
    StoredEvent {
        sequence_nr: 42,
        payload: Bytes::from_static(br#"{"amount":1250,"to":"k\u00f6nig"}"#),
        codec: JSON,
        name: "withdrawn".to_owned(),
        version: 3,
        time_ms: 1_764_000_000_123,
        epoch: (2 << 40) | 77,
        session: 5,
        batch: 1_000_001,
        ..StoredEvent::default()
    }
}

fn every_field() -> StoredEvent {
    StoredEvent {
        tags: vec!["green".to_owned(), "ärger".to_owned()],
        command_key: Bytes::from_static(b"8d1f6c1e-key"),
        command_fingerprint: Bytes::from_static(&[0x00, 0x7f, 0x80, 0xff]),
        reply: Some(Box::new(RecordedReply {
            payload: Bytes::from_static(br#"{"balance":17}"#),
            codec: JSON,
            kind: 1,
        })),
        manifest: "v2".to_owned(),
        ..version_1()
    }
}
