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
            match rest.byte()? {
                SEQUENCE_NR => view.sequence_nr = SequenceNr(rest.varint()?),
                PAYLOAD => view.payload = rest.bytes()?,
                CODEC => view.codec = rest.varint()? as u32,
                NAME => view.name = std::str::from_utf8(rest.bytes()?).ok()?,
                VERSION => view.version = rest.varint()? as u32,
                TIME_MS => drop(rest.varint()?),
                EPOCH => view.token.claim.epoch = Epoch(rest.varint()?),
                SESSION => view.token.claim.session = rest.varint()? as u32,
                BATCH => view.token.batch = rest.varint()?,
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

const SEQUENCE_NR: u8 = number(1);
const PAYLOAD: u8 = bytes(2);
const CODEC: u8 = number(3);
const NAME: u8 = bytes(4);
const VERSION: u8 = number(5);
const TIME_MS: u8 = number(6);
const EPOCH: u8 = number(8);
const SESSION: u8 = number(9);
const BATCH: u8 = number(10);

/// What stands before a number: the field, and 0 for up to ten bytes with seven bits in each.
const fn number(field: u8) -> u8 {
    field << 3
}

/// What stands before bytes: the field, and 2 for a length with so many bytes after it.
const fn bytes(field: u8) -> u8 {
    field << 3 | 2
}

/// What of a message is still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn varint(&mut self) -> Option<u64> {
        let first = self.byte()?;
        if first < 0x80 { Some(u64::from(first)) } else { self.long_varint(first) }
    }

    fn long_varint(&mut self, first: u8) -> Option<u64> {
        let mut number = u64::from(first & 0x7f);
        for (at, byte) in (1..10).zip(self.0) {
            number |= u64::from(byte & 0x7f) << (7 * at);
            if *byte < 0x80 {
                self.0 = &self.0[at..];
                // The tenth byte has room for one bit.
                return (at < 9 || *byte < 2).then_some(number);
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
