//! What waits at a lane: many hands put in, whoever runs the lane takes.
//!
//! Bounded by requests; what the region itself has to say is always let in.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) struct Inbox<T> {
    state: Mutex<State<T>>,
    /// The number of items, to be looked at without the lock.
    len: AtomicUsize,
    capacity: usize,
}

struct State<T> {
    items: Vec<T>,
    closed: bool,
}

/// Why something was not let in.
pub(crate) enum NotTaken {
    Full,
    Closed,
}

impl<T> Inbox<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::new(State { items: Vec::new(), closed: false }),
            len: AtomicUsize::new(0),
            capacity,
        }
    }

    /// Puts in as many as there is room for; the rest stays in `items`.
    pub(crate) fn put_all(&self, items: &mut Vec<T>) -> Result<(), NotTaken> {
        let mut state = self.lock();
        if state.closed {
            return Err(NotTaken::Closed);
        }
        let room = self.capacity.saturating_sub(state.items.len());
        let fits = room.min(items.len());
        state.items.extend(items.drain(..fits));
        self.count(&state);
        if items.is_empty() { Ok(()) } else { Err(NotTaken::Full) }
    }

    /// Puts in without regard to the bound. A closed inbox drops it: nobody is there to do it.
    pub(crate) fn put_always(&self, item: T) {
        let mut state = self.lock();
        if !state.closed {
            state.items.push(item);
        }
        self.count(&state);
    }

    /// Takes up to `most`, the oldest first, into an empty vector. `false` if some are left.
    pub(crate) fn take(&self, into: &mut Vec<T>, most: usize) -> bool {
        let mut state = self.lock();
        if state.items.len() <= most {
            std::mem::swap(&mut state.items, into);
        } else {
            into.extend(state.items.drain(..most));
        }
        self.count(&state);
        state.items.is_empty()
    }

    /// Whether nothing waits; see [`door`](super::door) for the order with the lock of the lane.
    pub(crate) fn is_idle(&self) -> bool {
        self.len.load(Ordering::SeqCst) == 0
    }

    /// Lets nothing more in and hands out what is left.
    pub(crate) fn close(&self) -> Vec<T> {
        let mut state = self.lock();
        state.closed = true;
        let left = std::mem::take(&mut state.items);
        self.count(&state);
        left
    }

    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, state: &State<T>) {
        self.len.store(state.items.len(), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_handed_back() {
        let inbox = Inbox::new(3);
        assert!(inbox.put_all(&mut vec![1]).is_ok());
        let mut more = vec![2, 3, 4, 5];
        assert!(matches!(inbox.put_all(&mut more), Err(NotTaken::Full)));
        assert_eq!(more, [4, 5]);
        assert!(matches!(inbox.put_all(&mut vec![6]), Err(NotTaken::Full)));
        inbox.put_always(7);
        let mut taken = Vec::new();
        assert!(!inbox.take(&mut taken, 3));
        assert_eq!(taken, [1, 2, 3]);
        taken.clear();
        assert!(inbox.take(&mut taken, 3) && inbox.is_idle());
        assert_eq!(taken, [7]);
    }

    #[test]
    fn a_closed_inbox_lets_nothing_in_and_loses_nothing() {
        let inbox = Inbox::new(3);
        assert!(inbox.put_all(&mut vec![1]).is_ok());
        assert_eq!(inbox.close(), [1]);
        assert!(matches!(inbox.put_all(&mut vec![3]), Err(NotTaken::Closed)));
    }
}
