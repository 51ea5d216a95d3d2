//! A lane's inbox: many hands put in, one lane takes everything at once.
//!
//! A batch costs one lock and at most one wake-up, however long it is; a lane that is at work is not woken.
//! Bounded by requests; what the region itself has to say is always let in.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

pub(crate) struct Inbox<T> {
    state: Mutex<State<T>>,
    capacity: usize,
}

struct State<T> {
    items: Vec<T>,
    /// Set while the lane sleeps.
    waker: Option<Waker>,
    closed: bool,
}

/// Why something was not let in.
pub(crate) enum NotTaken {
    Full,
    Closed,
}

impl<T> Inbox<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { state: Mutex::new(State { items: Vec::new(), waker: None, closed: false }), capacity }
    }

    /// Puts one in.
    pub(crate) fn put(&self, item: T) -> Result<(), (T, NotTaken)> {
        let mut state = self.lock();
        if state.closed {
            return Err((item, NotTaken::Closed));
        }
        if state.items.len() >= self.capacity {
            return Err((item, NotTaken::Full));
        }
        state.items.push(item);
        wake(state);
        Ok(())
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
        wake(state);
        if items.is_empty() { Ok(()) } else { Err(NotTaken::Full) }
    }

    /// Puts in without regard to the bound.
    pub(crate) fn put_always(&self, item: T) {
        let mut state = self.lock();
        state.items.push(item);
        wake(state);
    }

    /// Takes everything into an empty vector, or sees to it that the task is woken once there is something.
    pub(crate) fn poll_take(&self, into: &mut Vec<T>, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.items.is_empty() {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.waker = None;
        std::mem::swap(&mut state.items, into);
        Poll::Ready(())
    }

    /// Lets nothing more in and hands out what is left.
    pub(crate) fn close(&self) -> Vec<T> {
        let mut state = self.lock();
        state.closed = true;
        std::mem::take(&mut state.items)
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().items.len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake<T>(mut state: MutexGuard<'_, State<T>>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_handed_back() {
        let inbox = Inbox::new(3);
        assert!(inbox.put(1).is_ok());
        let mut more = vec![2, 3, 4, 5];
        assert!(matches!(inbox.put_all(&mut more), Err(NotTaken::Full)));
        assert_eq!(more, [4, 5]);
        assert!(matches!(inbox.put(6), Err((6, NotTaken::Full))));
        inbox.put_always(7);
        let mut taken = Vec::new();
        let cx = Context::from_waker(Waker::noop());
        assert_eq!(inbox.poll_take(&mut taken, &cx), Poll::Ready(()));
        assert_eq!(taken, [1, 2, 3, 7]);
        taken.clear();
        assert_eq!(inbox.poll_take(&mut taken, &cx), Poll::Pending);
    }

    #[test]
    fn a_closed_inbox_lets_nothing_in_and_loses_nothing() {
        let inbox = Inbox::new(3);
        assert!(inbox.put(1).is_ok());
        assert_eq!(inbox.close(), [1]);
        assert!(matches!(inbox.put(2), Err((2, NotTaken::Closed))));
        assert!(matches!(inbox.put_all(&mut vec![3]), Err(NotTaken::Closed)));
    }
}
