//! What was sent to one shard, what its senders were told, and whether its lists agree with that.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use abide_persistence::envelope::StoredEvent;
use abide_persistence::testkit;
use abide_persistence::{EntityId, EntityType, PersistenceId, ShardId};
use bytes::Bytes;
use tokio::time::Instant;

/// Entities of a shard.
pub(crate) const STREAMS: usize = 4;
/// What a payload is filled up to.
const PAYLOAD: usize = 100;

/// What came of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing is known: not answered, or in doubt.
    Nothing,
    /// It is stored.
    Acknowledged,
    /// It is not, and never will be.
    NotStored,
}

/// Events of one batch for one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) stream: usize,
    pub(crate) first: u64,
    pub(crate) count: u64,
}

struct Sent {
    runs: [Run; 2],
    told: Told,
}

#[derive(Default)]
struct Book {
    sent: Vec<Sent>,
    acknowledged: u64,
    trouble: String,
    is_given_up: bool,
    last: Option<Instant>,
    longest_pause: Duration,
}

/// A shard with its book.
pub(crate) struct Shard {
    /// Begins the keys of its journal.
    pub(crate) prefix: String,
    pub(crate) number: u32,
    pub(crate) began: Instant,
    book: Mutex<Book>,
}

impl Shard {
    pub(crate) fn new(prefix: &str, number: u32, began: Instant) -> Self {
        Self { prefix: prefix.to_owned(), number, began, book: Mutex::default() }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn id(&self) -> ShardId {
        ShardId(self.number)
    }

    pub(crate) fn stream(&self, at: usize) -> PersistenceId {
        stream(self.number, at)
    }

    /// Writes down a batch that is about to be sent; gives its number in the book, from which its events are
    /// made.
    pub(crate) fn sends(&self, runs: [Run; 2]) -> usize {
        let mut book = self.book();
        book.sent.push(Sent { runs, told: Told::Nothing });
        book.sent.len() - 1
    }

    /// Writes down what came of it.
    pub(crate) fn was_told(&self, number: usize, told: Told, now: Instant) {
        let mut book = self.book();
        book.sent[number].told = told;
        if told == Told::Acknowledged {
            book.acknowledged += 1;
            let pause = book.last.map_or(Duration::ZERO, |last| now - last);
            book.longest_pause = book.longest_pause.max(pause);
            book.last = Some(now);
        }
    }

    /// Writes down why its owner does not get on.
    pub(crate) fn is_troubled(&self, trouble: String) {
        self.book().trouble = trouble;
    }

    /// Its owner has ended, and nobody writes any more.
    pub(crate) fn give_up(&self) {
        self.book().is_given_up = true;
    }

    pub(crate) fn is_given_up(&self) -> bool {
        self.book().is_given_up
    }

    pub(crate) fn trouble(&self) -> String {
        self.book().trouble.clone()
    }

    /// Batches that were acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.book().acknowledged
    }

    /// The longest time between two acknowledgements.
    pub(crate) fn longest_pause(&self) -> Duration {
        self.book().longest_pause
    }

    /// Holds the lists of its streams against the book.
    pub(crate) fn check(&self, lists: &[Vec<Bytes>]) -> Findings {
        check(self.number, &self.book().sent, lists)
    }
}

/// The name of a stream.
pub(crate) fn stream(shard: u32, at: usize) -> PersistenceId {
    let id = EntityId::new(&format!("{shard}-{at}")).unwrap();
    PersistenceId::new(EntityType::new("load"), id)
}

/// An event: it says of which batch it is, and which one of that batch.
pub(crate) fn event(sequence_nr: u64, batch: usize, place: u64) -> Bytes {
    let mut payload = Vec::with_capacity(PAYLOAD);
    payload.extend_from_slice(&(batch as u64).to_be_bytes());
    payload.extend_from_slice(&place.to_be_bytes());
    payload.resize(PAYLOAD, b'.');
    testkit::event(sequence_nr, &payload)
}

fn read(event: &Bytes) -> Option<(u64, usize, u64)> {
    let event = StoredEvent::from_bytes(event.clone()).ok()?;
    let number = |at: usize| Some(u64::from_be_bytes(event.payload.get(at..at + 8)?.try_into().ok()?));
    Some((event.sequence_nr, usize::try_from(number(0)?).ok()?, number(8)?))
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Events that were acknowledged.
    pub(crate) acknowledged: u64,
    /// Of those, events that are not in their place.
    pub(crate) lost: u64,
    /// Stored events of batches without an acknowledgement.
    pub(crate) unacknowledged: u64,
    /// What may never be: gaps, events twice or in another order, half batches, refused ones.
    pub(crate) broken: Vec<String>,
}

impl Findings {
    pub(crate) fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.unacknowledged += other.unacknowledged;
        self.broken.extend(other.broken);
    }
}

fn check(shard: u32, sent: &[Sent], lists: &[Vec<Bytes>]) -> Findings {
    let mut findings = Findings::default();
    // How many events of each run are in their place.
    let mut found = vec![[0_u64; 2]; sent.len()];
    for (at, list) in lists.iter().enumerate() {
        let mut last = None;
        for (event, expected) in list.iter().zip(1..) {
            let mut broken =
                |what: String| findings.broken.push(format!("shard {shard}, stream {at}: {what}"));
            let Some((number, batch, place)) = read(event) else {
                broken(format!("event {expected} is damaged"));
                continue;
            };
            if number != expected {
                broken(format!("event {number} lies in the place of {expected}"));
            }
            if last >= Some((batch, place)) {
                broken(format!("event {number} of batch {batch}.{place} comes after {last:?}"));
            }
            last = Some((batch, place));
            let run = sent.get(batch).and_then(|sent| sent.runs.iter().position(|run| run.stream == at));
            match run {
                Some(run) if sent[batch].runs[run].first + place == number => found[batch][run] += 1,
                _ => broken(format!("event {number} of batch {batch}.{place} was not sent as this")),
            }
        }
    }
    for (batch, (sent, found)) in sent.iter().zip(&found).enumerate() {
        let wanted: u64 = sent.runs.iter().map(|run| run.count).sum();
        let stored: u64 = found.iter().sum();
        let mut broken = |what: &str| findings.broken.push(format!("shard {shard}: batch {batch} {what}"));
        if stored != 0 && stored != wanted {
            broken(&format!("is half there: {stored} of {wanted}"));
        }
        match sent.told {
            Told::Acknowledged => {
                findings.acknowledged += wanted;
                findings.lost += wanted.saturating_sub(stored);
            }
            Told::NotStored if stored > 0 => broken("is there, and its sender was told that it is not"),
            Told::NotStored => {}
            Told::Nothing => findings.unacknowledged += stored,
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNS: [Run; 2] = [Run { stream: 0, first: 1, count: 2 }, Run { stream: 1, first: 1, count: 1 }];
    const NEXT: [Run; 2] = [Run { stream: 0, first: 3, count: 1 }, Run { stream: 1, first: 2, count: 1 }];

    fn found(told: [Told; 2], lists: [Vec<Bytes>; 2]) -> Findings {
        let sent = [RUNS, NEXT].into_iter().zip(told).map(|(runs, told)| Sent { runs, told });
        check(0, &sent.collect::<Vec<_>>(), &lists)
    }

    fn whole() -> [Vec<Bytes>; 2] {
        [vec![event(1, 0, 0), event(2, 0, 1), event(3, 1, 0)], vec![event(1, 0, 0), event(2, 1, 0)]]
    }

    #[test]
    fn the_checker_is_content_with_what_is_right() {
        let findings = found([Told::Acknowledged, Told::Nothing], whole());
        assert_eq!((findings.acknowledged, findings.lost, findings.unacknowledged), (3, 0, 2));
        assert!(findings.broken.is_empty(), "{findings:?}");
    }

    #[test]
    fn the_checker_finds_each_fault() {
        let both = [Told::Acknowledged; 2];
        let [a, b] = whole();
        let lost = found(both, [a[..2].to_vec(), b[..1].to_vec()]);
        assert!(lost.lost == 2 && lost.broken.is_empty(), "{lost:?}");
        assert!(!found(both, [a[..2].to_vec(), b.clone()]).broken.is_empty(), "half a batch");
        assert!(!found([both[0], Told::NotStored], whole()).broken.is_empty(), "a refused batch");
        let twice = [a.clone(), vec![b[0].clone(), b[1].clone(), event(3, 1, 0)]];
        assert!(!found(both, twice).broken.is_empty(), "an event twice");
        let turned = [vec![event(1, 0, 0), event(2, 1, 0), event(3, 0, 1)], b.clone()];
        assert!(!found(both, turned).broken.is_empty(), "another order");
        let gap = [vec![a[0].clone(), a[2].clone()], b];
        assert!(!found(both, gap).broken.is_empty(), "a gap");
    }
}
