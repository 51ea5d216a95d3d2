//! A bounded queue between callers on any executor and a thread of ours.
//!
//! Not a general channel: it never waits for room (a full queue is the caller's answer), and the writer
//! takes all that has arrived at once, which is what makes group commit.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::journal::StoreError;

pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
    limit: usize,
}

struct State<T> {
    items: VecDeque<T>,
    closed: bool,
    /// How many threads wait. To wake nobody is a system call too.
    waiting: usize,
}

/// Why an item was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("the store's queue is full; try again after a pause")]
    Full,
    #[error("the store is closed")]
    Closed,
}

impl From<Refused> for StoreError {
    fn from(refused: Refused) -> Self {
        Self::new(refused)
    }
}

impl<T> Queue<T> {
    pub(super) fn new(limit: usize) -> Self {
        let state = State { items: VecDeque::new(), closed: false, waiting: 0 };
        Self { state: Mutex::new(state), arrived: Condvar::new(), limit }
    }

    pub(super) fn push(&self, item: T) -> Result<(), Refused> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        if state.items.len() >= self.limit {
            return Err(Refused::Full);
        }
        state.items.push_back(item);
        let somebody_waits = state.waiting > 0;
        drop(state);
        if somebody_waits {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Takes everything, waiting for the first; `false` once the queue is closed and empty.
    pub(super) fn take_all(&self, into: &mut VecDeque<T>) -> bool {
        let mut state = self.wait();
        into.append(&mut state.items);
        !into.is_empty()
    }

    /// Takes everything that is there already.
    pub(super) fn take_arrived(&self, into: &mut VecDeque<T>) {
        into.append(&mut self.lock().items);
    }

    /// Takes some of what is there, waiting for the first, and leaves about as many to another thread;
    /// `false` once the queue is closed and empty.
    pub(super) fn take_some(&self, into: &mut VecDeque<T>, most: usize) -> bool {
        let mut state = self.wait();
        let some = state.items.len().div_ceil(2).min(most);
        into.extend(state.items.drain(..some));
        !into.is_empty()
    }

    /// Takes one, waiting for it; `None` once the queue is closed and empty.
    pub(super) fn take_one(&self) -> Option<T> {
        self.wait().items.pop_front()
    }

    /// Takes no more; what is there may still be taken.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    fn wait(&self) -> MutexGuard<'_, State<T>> {
        let mut state = self.lock();
        while state.items.is_empty() && !state.closed {
            state.waiting += 1;
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        state
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing in here panics with the lock held, so a poisoned one is still in order.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_refuses_and_a_closed_one_is_drained_first() {
        let queue = Queue::new(2);
        assert_eq!((queue.push(1), queue.push(2), queue.push(3)), (Ok(()), Ok(()), Err(Refused::Full)));
        queue.close();
        assert_eq!(queue.push(4), Err(Refused::Closed));
        assert_eq!((queue.take_one(), queue.take_one(), queue.take_one()), (Some(1), Some(2), None));
        assert!(!queue.take_all(&mut VecDeque::new()));
    }
}
