//! An event looked at where it lies: what recovery needs of it, without a copy of anything.
//!
//! [`StoredEvent`] is the definition; this reads the plain form that nearly every event has, in a tenth of the
//! time. Whatever else Protobuf allows is left to the definition, and so are the words for what is wrong.

use crate::ids::SequenceNr;
use crate::journal::{Epoch, EventToken};

use super::StoredEvent;

/// The parts of a [`StoredEvent`] that its entity is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventView<'a> {
    pub(crate) sequence_nr: SequenceNr,
    pub(crate) payload: &'a [u8],
    pub(crate) codec: u32,
    pub(crate) name: &'a str,
    pub(crate) version: u32,
    pub(crate) token: EventToken,
}

impl<'a> EventView<'a> {
    /// Looks at an event; `None` says only that [`StoredEvent::from_bytes`] must be asked.
    pub(crate) fn of(event: &'a [u8]) -> Option<Self> {
        let mut view = Self {
            sequence_nr: SequenceNr::ZERO,
            payload: &[],
            codec: 0,
            name: "",
            version: 0,
            token: EventToken::NONE,
        };
        let mut rest = Rest(event);
        while !rest.0.is_empty() {
            // Numbers are cut to their width as Protobuf cuts them.
            match rest.tag()? {
                (1, VARINT) => view.sequence_nr = SequenceNr(rest.varint()?),
                (2, BYTES) => view.payload = rest.bytes()?,
                (3, VARINT) => view.codec = rest.varint()? as u32,
                (4, BYTES) => view.name = std::str::from_utf8(rest.bytes()?).ok()?,
                (5, VARINT) => view.version = rest.varint()? as u32,
                (6, VARINT) => drop(rest.varint()?),
                (8, VARINT) => view.token.claim.epoch = Epoch(rest.varint()?),
                (9, VARINT) => view.token.claim.session = rest.varint()? as u32,
                (10, VARINT) => view.token.batch = rest.varint()?,
                _ => return None,
            }
        }
        Some(view)
    }
}

impl StoredEvent {
    /// The parts that its entity is told.
    pub(crate) fn view(&self) -> EventView<'_> {
        EventView {
            sequence_nr: self.sequence_nr(),
            payload: &self.payload,
            codec: self.codec,
            name: &self.name,
            version: self.version,
            token: self.token(),
        }
    }
}

/// Protobuf's name for a number of up to ten bytes, seven bits in each.
const VARINT: u8 = 0;
/// Protobuf's name for a length with so many bytes after it.
const BYTES: u8 = 2;

/// What of a message is still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// The number of the next field and how it is written. Fields above 15 need a second byte: not plain.
    fn tag(&mut self) -> Option<(u8, u8)> {
        let byte = self.byte().filter(|byte| *byte < 0x80)?;
        Some((byte >> 3, byte & 7))
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for at in 0..10 {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if at == 9 && byte > 1 {
                return None;
            }
            number |= bits << (7 * at);
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn plain() -> StoredEvent {
        StoredEvent {
            sequence_nr: u64::MAX,
            payload: Bytes::from_static(b"{\"by\":1}"),
            codec: 1,
            name: "gezählt".to_owned(),
            version: u32::MAX,
            time_ms: 1_790_000_000_000,
            epoch: 1 << 40,
            session: 300,
            batch: 127,
            ..StoredEvent::default()
        }
    }

    #[test]
    fn a_plain_event_is_seen_as_it_is_decoded() {
        for event in [plain(), StoredEvent::default(), StoredEvent { sequence_nr: 128, ..Default::default() }]
        {
            assert_eq!(EventView::of(&event.to_bytes()), Some(event.view()));
        }
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_decoder() {
        let tagged = StoredEvent { tags: vec!["big".to_owned()], ..plain() };
        assert_eq!(EventView::of(&tagged.to_bytes()), None);
        let later_field = [&plain().to_bytes()[..], &[0x80, 1, 0]].concat();
        assert_eq!(EventView::of(&later_field), None);
    }

    /// Whatever happens to the bytes: either nothing is said, or what the decoder says too.
    #[test]
    fn it_never_says_anything_else_than_the_decoder() {
        let bytes = plain().to_bytes();
        let mut damaged: Vec<Vec<u8>> = (0..bytes.len()).map(|end| bytes[..end].to_vec()).collect();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            damaged.push(flipped);
        }
        // A field that comes twice, and a number that is longer than it need be.
        damaged.push([&bytes[..], &[8, 7]].concat());
        damaged.push(vec![8, 0x81, 0x80, 0]);
        damaged.push(vec![8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]);
        let mut seen = 0;
        for bytes in damaged {
            if let Some(view) = EventView::of(&bytes) {
                let event = StoredEvent::from_bytes(Bytes::copy_from_slice(&bytes));
                assert_eq!(event.as_ref().map(StoredEvent::view), Ok(view), "{bytes:?}");
                seen += 1;
            }
        }
        assert!(seen > 50, "only {seen} were looked at");
    }
}
