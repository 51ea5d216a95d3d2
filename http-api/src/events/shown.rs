//! One event as JSON.

use std::time::{Duration, UNIX_EPOCH};

use abide_persistence::SequenceNr;
use abide_persistence::envelope::StoredEvent;
use abide_sharding::{Address, Region};
use bytes::Bytes;
use serde::Serialize;

/// The end of the year 9999: the last moment that RFC 3339 can name.
const LAST_MOMENT_MS: u64 = 253_402_300_799_999;

#[derive(Serialize)]
struct Head<'a> {
    sequence_nr: u64,
    name: &'a str,
    version: u32,
    time: String,
}

#[derive(Serialize)]
struct Unreadable {
    sequence_nr: u64,
    error: String,
}

/// Appends the event that stands under a number; one that cannot be decoded is shown as such and does not
/// hide the others. Hands back its name.
pub(super) fn write(
    region: &Region,
    of: &Address,
    number: SequenceNr,
    stored: &Bytes,
    out: &mut Vec<u8>,
) -> Option<String> {
    let event = match StoredEvent::from_bytes(stored.clone()) {
        Ok(event) => event,
        Err(cause) => {
            let error = format!("what is stored is no event: {cause}");
            out.extend(encoded(&Unreadable { sequence_nr: number.0, error }));
            return None;
        }
    };
    let time = UNIX_EPOCH + Duration::from_millis(event.time_ms.min(LAST_MOMENT_MS));
    let time = humantime::format_rfc3339_millis(time).to_string();
    let head = Head { sequence_nr: number.0, name: &event.name, version: event.version, time };
    out.extend(encoded(&head));
    out.pop();
    match region.show_event(of, &event) {
        Ok(payload) => {
            out.extend_from_slice(b",\"payload\":");
            out.extend(payload);
        }
        Err(why) => {
            out.extend_from_slice(b",\"error\":");
            out.extend(encoded(&why));
        }
    }
    out.push(b'}');
    Some(event.name)
}

/// Names, words and numbers; they can be encoded.
fn encoded(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_else(|_| b"null".to_vec())
}
