//! The owner of one shard, as the engine is one: one batch in flight, a new claim after anything but an
//! acknowledgement, nothing decided before that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use abide_persistence::SequenceNr;
use abide_persistence::journal::{
    Batch, Claim, ClaimError, Journal, Known, ReadError, ReadEvents, Write, WriteError, Writer,
};
use tokio::time::{Instant, sleep, timeout};

use super::book::{Run, STREAMS, Shard, Told, event};

/// Beyond the journal's call time-out, within which it must answer.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(14);
/// Before what was refused is tried again.
const REST: Duration = Duration::from_millis(20);

/// How an owner ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It was told to stop.
    Stopped,
    /// A newer owner has the shard.
    Deposed,
    /// The journal says that it has lost something.
    Lost(String),
    /// The journal did not answer.
    Unanswered(String),
    /// The journal says what it may not say here.
    Broken(String),
}

pub(crate) struct Owner {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) shard: Arc<Shard>,
    pub(crate) claim: Claim,
    pub(crate) writer: Writer,
    /// What the journal has acknowledged.
    pub(crate) known: Option<Known>,
    pub(crate) stop: Arc<AtomicBool>,
}

/// What ends an owner, or only its session.
enum Next {
    End(End),
    ClaimAgain,
}

impl From<End> for Next {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

async fn answer<T>(call: impl Future<Output = T>, what: &str) -> Result<T, Next> {
    let unanswered = || End::Unanswered(format!("{what} was not answered within {ANSWER_WITHIN:?}"));
    timeout(ANSWER_WITHIN, call).await.map_err(|_| unanswered().into())
}

impl Owner {
    pub(crate) async fn run(mut self) -> End {
        loop {
            match self.session().await {
                Next::End(end) => {
                    if end != End::Deposed {
                        self.shard.give_up();
                    }
                    return end;
                }
                Next::ClaimAgain => self.claim = self.claim.again(),
            }
        }
    }

    /// One claim, and what is written under it.
    async fn session(&mut self) -> Next {
        let claimed = match self.take_shard().await {
            Ok(()) => self.read_ends().await,
            Err(next) => return next,
        };
        let mut ends = match claimed {
            Ok(ends) => ends,
            Err(next) => return next,
        };
        for number in 1.. {
            if self.is_stopped() {
                return End::Stopped.into();
            }
            if let Err(next) = self.write(number, &mut ends).await {
                return next;
            }
        }
        Next::ClaimAgain
    }

    async fn take_shard(&mut self) -> Result<(), Next> {
        loop {
            if self.is_stopped() {
                return Err(End::Stopped.into());
            }
            let claim = self.journal.claim(self.shard.id(), self.claim, self.writer, self.known);
            match answer(claim, "a claim").await? {
                Ok(()) => break,
                Err(ClaimError::Failed(error)) => self.rest(format!("claim: {error}")).await,
                Err(ClaimError::Fenced { held }) if held.claim.epoch == self.claim.epoch => {
                    return Err(Next::ClaimAgain);
                }
                Err(ClaimError::Fenced { .. }) => return Err(End::Deposed.into()),
                Err(lost @ ClaimError::Lost { .. }) => return Err(End::Lost(lost.to_string()).into()),
                Err(other @ (ClaimError::Damaged(_) | ClaimError::Usurped(_))) => {
                    return Err(End::Broken(format!("claim {}: {other}", self.claim)).into());
                }
            }
        }
        self.known = Some(Known { claim: self.claim, batch: 0 });
        Ok(())
    }

    async fn read_ends(&self) -> Result<[u64; STREAMS], Next> {
        let mut ends = [0; STREAMS];
        for (at, end) in ends.iter_mut().enumerate() {
            *end = self.read_end(at).await?;
        }
        Ok(ends)
    }

    async fn read_end(&self, at: usize) -> Result<u64, Next> {
        while !self.is_stopped() {
            let read = ReadEvents {
                shard: self.shard.id(),
                persistence_id: self.shard.stream(at),
                from: SequenceNr(1),
                to: SequenceNr(u64::MAX),
                max_events: 0,
                max_bytes: usize::MAX,
                known: self.known,
            };
            match answer(self.journal.read(read), "a read").await? {
                Ok(page) => return Ok(page.last.0),
                Err(ReadError::Failed(error)) => self.rest(format!("read: {error}")).await,
                // A newer owner, or a server that was left behind: the claim tells.
                Err(ReadError::Fenced { .. }) => return Err(Next::ClaimAgain),
                Err(ReadError::Damaged(what)) => return Err(End::Broken(what).into()),
            }
        }
        Err(End::Stopped.into())
    }

    /// One batch of two streams.
    async fn write(&mut self, number: u64, ends: &mut [u64; STREAMS]) -> Result<(), Next> {
        let at = number as usize % STREAMS;
        let run = |stream: usize, count| Run { stream, first: ends[stream] + 1, count };
        let runs = [run(at, 1 + number % 3), run((at + 1) % STREAMS, 1)];
        let sent = self.shard.sends(runs);
        let append = |run: Run| Write::Append {
            persistence_id: self.shard.stream(run.stream),
            first: SequenceNr(run.first),
            events: (0..run.count).map(|place| event(run.first + place, sent, place)).collect(),
        };
        let batch = Batch {
            shard: self.shard.id(),
            claim: self.claim,
            number,
            writer: self.writer,
            writes: Arc::new(runs.map(append).to_vec()),
        };
        let error = match answer(self.journal.write(batch), "a write").await? {
            Ok(()) => {
                self.shard.was_told(sent, Told::Acknowledged, Instant::now());
                self.known = Some(Known { claim: self.claim, batch: number });
                for run in runs {
                    ends[run.stream] += run.count;
                }
                return Ok(());
            }
            Err(error) => error,
        };
        if error.nothing_stored() {
            self.shard.was_told(sent, Told::NotStored, Instant::now());
        }
        Err(match error {
            WriteError::NotWritten(_) | WriteError::Unknown(_) => {
                self.rest(format!("write: {error}")).await;
                Next::ClaimAgain
            }
            WriteError::Fenced { held, .. } if held.claim.epoch == self.claim.epoch => Next::ClaimAgain,
            WriteError::Fenced { .. } => End::Deposed.into(),
            WriteError::Lost { .. } => End::Lost(error.to_string()).into(),
            WriteError::Rejected { .. } | WriteError::Damaged(_) | WriteError::Conflict { .. } => {
                End::Broken(format!("batch {}.{number}: {error}", self.claim)).into()
            }
        })
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    async fn rest(&self, trouble: String) {
        let at = self.shard.began.elapsed();
        self.shard.is_troubled(format!("{trouble} (after {at:.1?})"));
        sleep(REST).await;
    }
}
