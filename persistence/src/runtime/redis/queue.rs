//! Jobs that wait for a primary, in the order in which they came.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::job::Job;
use crate::engine::breaker::Leave;

/// A job with its history.
pub(super) struct Queued {
    pub(super) job: Box<dyn Job>,
    /// When whoever waits has waited long enough.
    pub(super) deadline: Instant,
    /// How often it was sent, or tried to be.
    pub(super) attempts: u32,
    /// Why it is not settled yet, in words.
    pub(super) trouble: String,
    /// Whether the last try was answered at all.
    pub(super) was_answered: bool,
    /// From the breaker of the primary in whose queue it is.
    pub(super) leave: Option<Leave>,
}

impl Queued {
    pub(super) fn new(job: Box<dyn Job>, deadline: Instant) -> Self {
        let trouble = "it was not sent: other writes were before it".to_owned();
        Self { job, deadline, attempts: 0, trouble, was_answered: false, leave: None }
    }

    /// Tells whoever waits that nobody tries any further.
    pub(super) fn give_up(self) {
        self.job.give_up(&self.trouble);
    }
}

/// Jobs that wait.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Queued>,
    /// Nobody takes from it any more.
    is_shut: bool,
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that can panic runs under the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn len(&self) -> usize {
        self.waiting().jobs.len()
    }

    /// Puts a job at the end; hands it back if nobody takes from here any more.
    pub(super) fn push(&self, queued: Queued) -> Result<(), Queued> {
        let mut waiting = self.waiting();
        if waiting.is_shut {
            return Err(queued);
        }
        waiting.jobs.push_back(queued);
        drop(waiting);
        self.arrived.notify_one();
        Ok(())
    }

    /// Wakes whoever waits in [`take`](Self::take), so that it looks whether it is still wanted.
    pub(super) fn wake_all(&self) {
        self.arrived.notify_waiters();
        self.arrived.notify_one();
    }

    /// Takes what is there, up to this many events; waits if nothing is. `None` when it is no longer wanted
    /// and nothing is left.
    pub(super) async fn take(&self, most: usize, is_wanted: impl Fn() -> bool) -> Option<Vec<Queued>> {
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            // Registered before the look, so that what comes after the look wakes us.
            arrived.as_mut().enable();
            {
                let mut waiting = self.waiting();
                let taken = take(&mut waiting.jobs, most);
                if !taken.is_empty() {
                    if !waiting.jobs.is_empty() {
                        self.arrived.notify_one();
                    }
                    return Some(taken);
                }
                if !is_wanted() {
                    waiting.is_shut = true;
                    return None;
                }
            }
            arrived.await;
        }
    }
}

/// The first ones, up to this many events; one that is larger than that goes alone.
fn take(jobs: &mut VecDeque<Queued>, most: usize) -> Vec<Queued> {
    let mut weight = 0;
    let fit = jobs.iter().take_while(|queued| {
        weight += queued.job.weight();
        weight <= most
    });
    let count = fit.count().max(1).min(jobs.len());
    jobs.drain(..count).collect()
}
