//! One connection's loop.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::connection::{Answer, Connection};
use super::plan::Plan;
use super::tally::{ErrorKind, Tally};
use super::target::{CONNECT_TIMEOUT, Target};

/// The runtime's timer wakes on whole milliseconds, up to one late. What an idle connection oversleeps
/// within this is ours and not the server's, so it does not count as latency.
const TIMER_GRAIN: Duration = Duration::from_millis(2);

/// Pause after a connection could not be opened: a dead server must not turn into millions of errors.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// What all workers share.
pub(super) struct Shared {
    pub(super) plan: Plan,
    pub(super) target: Target,
    /// No request starts any more.
    pub(super) stop: AtomicBool,
    /// Answers so far, for the progress bar.
    pub(super) answers: AtomicU64,
    /// Of all requests those that failed, for the progress bar.
    pub(super) failures: AtomicU64,
}

pub(super) struct Worker {
    shared: Arc<Shared>,
    /// Outlives a worker that is cut off. Uncontended, so a lock costs next to nothing.
    tally: Arc<Mutex<Tally>>,
    connection: Option<Connection>,
    dice: u64,
}

pub(super) fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, number: u64) -> Self {
        Self { shared, tally: Arc::new(Mutex::new(Tally::new())), connection: None, dice: number << 40 }
    }

    pub(super) fn tally(&self) -> Arc<Mutex<Tally>> {
        Arc::clone(&self.tally)
    }

    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        while !shared.stop.load(Ordering::Relaxed)
            && let Some(start) = shared.plan.next(Instant::now())
        {
            let mut counts_from = start.at;
            if start.at > Instant::now() {
                sleep_until(start.at).await;
                let woken = Instant::now();
                if woken - start.at <= TIMER_GRAIN {
                    counts_from = woken;
                }
                if shared.stop.load(Ordering::Relaxed) {
                    return;
                }
            }
            if start.measured {
                lock(&self.tally).started += 1;
            }
            let outcome = self.request().await;
            shared.answers.fetch_add(1, Ordering::Relaxed);
            if !matches!(&outcome, Ok(answer) if (200..300).contains(&answer.status)) {
                shared.failures.fetch_add(1, Ordering::Relaxed);
            }
            let unreachable = outcome.is_err() && self.connection.is_none();
            if start.measured {
                lock(&self.tally).record(counts_from.elapsed(), outcome);
            }
            if unreachable {
                sleep(RECONNECT_PAUSE).await;
            }
        }
    }

    /// One request to one entity. A connection that failed is not used again.
    async fn request(&mut self) -> Result<Answer, ErrorKind> {
        let mut connection = match self.connection.take() {
            Some(mut open) => match open.ready().await {
                true => open,
                // The server may close a connection between two requests; that is nobody's error.
                false => self.connect().await?,
            },
            None => self.connect().await?,
        };
        let entity = self.roll() % self.shared.target.entities;
        let target = &self.shared.target;
        let request = target.request(entity).map_err(|error| ErrorKind::new(error.to_string()))?;
        match timeout(target.timeout, connection.exchange(request)).await {
            Ok(Ok(answer)) => {
                self.connection = Some(connection);
                Ok(answer)
            }
            Ok(Err(error)) => Err(ErrorKind::exchange(&error)),
            Err(_) => Err(ErrorKind::new("timed out")),
        }
    }

    async fn connect(&self) -> Result<Connection, ErrorKind> {
        match timeout(CONNECT_TIMEOUT, Connection::open(self.shared.target.address)).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(ErrorKind::connect(&error)),
            Err(_) => Err(ErrorKind::new("timed out connecting")),
        }
    }

    /// SplitMix64: entities in no order, the same ones in each run.
    fn roll(&mut self) -> u64 {
        self.dice = self.dice.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.dice ^ (self.dice >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
