//! A page of events.
//!
//! Where events of an entity were deleted, its list begins at a base that is kept elsewhere. Base, length and
//! events are asked for together, on a guess of the base: right for all whose events were never deleted. If it
//! was wrong, the events are asked for once more. A page is fetched in pieces, because how large events are is
//! known only when some are here.

use bytes::Bytes;
use redis::{Pipeline, Value};

use super::Asker;
use crate::ids::SequenceNr;
use crate::journal::fence::may_decide;
use crate::journal::{EventPage, ReadError, ReadEvents, StoreError};
use crate::runtime::redis::engine::keys::ShardKeys;
use crate::runtime::redis::engine::replies::{Held, Reply};
use crate::runtime::redis::job::{Failed, Job, READS, Replicated, Verdict, all_done};
use crate::runtime::redis::link::Link;
use crate::runtime::redis::meter;

type Page = Result<EventPage, ReadError>;

/// Events of the first piece: all of most entities.
const FIRST_PIECE: u64 = 128;
/// Events of any piece: a longer answer would keep the server from others.
const LARGEST_PIECE: u64 = 1000;
/// How often a read that decides nothing starts over because it met a deletion; more often is damage.
const FRESH_STARTS: u32 = 5;

/// No stream comes near it; Redis takes no larger index.
const LAST_NUMBER: u64 = 1 << 53;

/// Reads a page of one entity's events.
pub(in crate::runtime::redis) struct ReadJob {
    keys: ShardKeys,
    read: ReadEvents,
    /// Up to where events were deleted, as far as is known.
    base: u64,
    record: Bytes,
    events: Vec<Bytes>,
    bytes: usize,
    /// Most events of a piece.
    largest: u64,
    /// How many of a flight it counts for.
    weight: usize,
    /// How often it may start over.
    fresh_starts: u32,
    asker: Asker<Page>,
}

/// Events with these numbers.
struct Piece {
    first: u64,
    count: u64,
}

impl ReadJob {
    pub(in crate::runtime::redis) fn new(keys: ShardKeys, read: ReadEvents, asker: Asker<Page>) -> Self {
        Self {
            keys,
            read,
            base: 0,
            record: Bytes::new(),
            events: Vec::new(),
            bytes: 0,
            largest: LARGEST_PIECE,
            weight: 1,
            fresh_starts: FRESH_STARTS,
            asker,
        }
    }

    /// The first number of the window that was not deleted, for all that is known.
    fn begin(&self) -> u64 {
        self.read.from.0.max(self.base.saturating_add(1))
    }

    /// What to ask for next.
    fn piece(&self) -> Piece {
        let first = self.begin() + self.events.len() as u64;
        let window = self.read.to.0.saturating_add(1).saturating_sub(first);
        let left = (self.read.max_events - self.events.len()) as u64;
        let fits = match self.events.len() {
            0 => FIRST_PIECE,
            known => {
                let left = self.read.max_bytes.saturating_sub(self.bytes) as u64;
                (left / (self.bytes / known).max(1) as u64).clamp(1, LARGEST_PIECE)
            }
        };
        let count = if first > LAST_NUMBER { 0 } else { window.min(left).min(fits).min(self.largest) };
        Piece { first, count }
    }

    fn settle(&mut self, page: Page) -> Verdict {
        self.asker.tell(page);
        Verdict::Settled
    }

    fn damaged(&mut self, what: String) -> Verdict {
        self.settle(Err(ReadError::Damaged(what)))
    }

    /// Takes the base and its record; says whether the guess was right.
    fn take_base(&mut self, kept: &Value) -> Result<bool, String> {
        let (base, record) = base(kept)?;
        let was_right = base == self.base;
        (self.base, self.record) = (base, record);
        Ok(was_right)
    }

    fn start_over(&mut self) -> Verdict {
        self.events.clear();
        self.bytes = 0;
        Verdict::Next
    }

    fn take(&mut self, kept: &Value, length: u64, found: Vec<Value>) -> Verdict {
        let asked = self.piece();
        match self.take_base(kept) {
            Ok(true) => {}
            Ok(false) => return self.start_over(),
            Err(what) => return self.damaged(what),
        }
        let found_all = (found.len() as u64) < asked.count;
        for (event, number) in found.into_iter().zip(asked.first..) {
            let Value::BulkString(event) = event else { return Verdict::nonsense(&event) };
            // Somebody deletes while we read without deciding: list and base are not of one moment.
            if number == asked.first && number_of(&event).is_some_and(|found| found != number) {
                return self.moved_base(number, &event);
            }
            self.bytes += event.len();
            self.events.push(Bytes::from(event));
            if self.bytes >= self.read.max_bytes {
                return self.finish(length);
            }
        }
        let left = self.piece();
        if found_all || left.count == 0 { self.finish(length) } else { Verdict::Next }
    }

    fn moved_base(&mut self, number: u64, event: &[u8]) -> Verdict {
        if self.read.known.is_none() && self.fresh_starts > 0 {
            self.fresh_starts -= 1;
            return self.start_over();
        }
        let found = number_of(event).unwrap_or_default();
        self.damaged(format!("in the place of event {number} lies event {found}"))
    }

    fn finish(&mut self, length: u64) -> Verdict {
        let page = EventPage {
            events: std::mem::take(&mut self.events),
            deleted_to: SequenceNr(self.base),
            record: std::mem::take(&mut self.record),
            last: SequenceNr(self.base + length),
        };
        self.settle(Ok(page))
    }
}

impl Job for ReadJob {
    fn slot(&self) -> u16 {
        self.keys.slot
    }

    fn weight(&self) -> usize {
        self.weight
    }

    fn send(&self, _: &Link, pipeline: &mut Pipeline) {
        let mut id = Vec::with_capacity(self.read.persistence_id.byte_len());
        self.read.persistence_id.write_to(&mut id);
        let events = self.keys.events(&self.read.persistence_id);
        let piece = self.piece();
        // The token first: what comes after it on this connection is no older.
        if self.read.known.is_some() {
            pipeline.cmd("GET").arg(self.keys.fence());
        }
        pipeline.cmd("HGET").arg(self.keys.bases()).arg(&id);
        pipeline.cmd("LLEN").arg(&events);
        if piece.count > 0 {
            let start = piece.first - self.base - 1;
            pipeline.cmd("LRANGE").arg(events).arg(start).arg(start + (piece.count - 1));
        }
        if self.read.known.is_none() {
            // Somebody may delete meanwhile: then base and list are not of one moment.
            pipeline.cmd("HGET").arg(self.keys.bases()).arg(id);
        }
    }

    fn read(&mut self, replies: Vec<Reply>, _: &Replicated) -> Verdict {
        let mut values = match all_done(replies) {
            Ok(values) => values,
            Err(Failed::Again(again)) => return again,
            Err(Failed::Foreign(what)) => {
                return self.damaged(format!("a key holds what is not Abide's: {what}"));
            }
        };
        if self.read.known.is_none() && values.pop().as_ref() != values.first() {
            return self.start_over();
        }
        let mut values = values.into_iter();
        if let Some(known) = self.read.known {
            let held = match values.next().as_ref().and_then(Held::read) {
                Some(Held::Foreign(text)) => {
                    return self.damaged(format!("the fence of the shard holds {text:?}, which is no token"));
                }
                Some(held) => held.token(),
                None => return Verdict::nonsense(&Value::Nil),
            };
            if !may_decide(held, known) {
                meter::fenced("read");
                return self.settle(Err(ReadError::Fenced { held }));
            }
        }
        match (values.next(), values.next(), values.next()) {
            (Some(kept), Some(Value::Int(length)), None | Some(Value::Nil)) => {
                self.take(&kept, length.unsigned_abs(), Vec::new())
            }
            (Some(kept), Some(Value::Int(length)), Some(Value::Array(found))) => {
                self.take(&kept, length.unsigned_abs(), found)
            }
            (first, ..) => Verdict::nonsense(&first.unwrap_or(Value::Nil)),
        }
    }

    /// What was asked for may have been too much for the time there is: less next time, and with fewer others.
    fn unanswered(&mut self) {
        self.largest = (self.piece().count / 2).max(1);
        self.weight = (self.weight * 2).min(READS);
    }

    fn give_up(mut self: Box<Self>, reason: &str) {
        self.asker.tell(Err(ReadError::Failed(StoreError(reason.to_owned()))));
    }
}

/// The number at the front of a stored event, if it is there.
fn number_of(event: &[u8]) -> Option<u64> {
    let (0x08, rest) = event.split_first()? else { return None };
    prost::encoding::decode_varint(&mut &rest[..]).ok()
}

/// Up to where events were deleted, and what is kept in their place.
pub(super) fn base(kept: &Value) -> Result<(u64, Bytes), String> {
    let damaged = || "the base of the stream is damaged".to_owned();
    match kept {
        Value::Nil => Ok((0, Bytes::new())),
        Value::BulkString(kept) => {
            let colon = kept.iter().position(|byte| *byte == b':').ok_or_else(damaged)?;
            let base = std::str::from_utf8(&kept[..colon]).ok().and_then(|base| base.parse().ok());
            let base = base.filter(|base| *base <= LAST_NUMBER);
            Ok((base.ok_or_else(damaged)?, Bytes::copy_from_slice(&kept[colon + 1..])))
        }
        other => Err(format!("the base of the stream is {other:?}")),
    }
}
