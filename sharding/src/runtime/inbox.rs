//! A lane's inbox: many hands put in, one lane takes everything at once.
//!
//! A batch costs one lock and at most one wake-up, however long it is; a lane that is awake costs none.
//! Bounded by requests; what the region itself has to say is always let in.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

pub(crate) struct Inbox<T> {
    state: Mutex<State<T>>,
    arrived: Notify,
    capacity: usize,
}

struct State<T> {
    items: Vec<T>,
    /// The lane looks at the inbox again before it sleeps.
    awake: bool,
    closed: bool,
}

/// Why something was not let in.
pub(crate) enum NotTaken {
    Full,
    Closed,
}

impl<T> Inbox<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        let state = State { items: Vec::new(), awake: false, closed: false };
        Self { state: Mutex::new(state), arrived: Notify::new(), capacity }
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
        self.wake(state);
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
        self.wake(state);
        if items.is_empty() { Ok(()) } else { Err(NotTaken::Full) }
    }

    /// Puts in without regard to the bound.
    pub(crate) fn put_always(&self, item: T) {
        let mut state = self.lock();
        state.items.push(item);
        self.wake(state);
    }

    /// Takes everything into an empty vector. The lane counts as awake if there was something: it must
    /// look again before it sleeps, and [`arrived`](Self::arrived) then ends at once.
    pub(crate) fn take(&self, into: &mut Vec<T>) {
        let mut state = self.lock();
        std::mem::swap(&mut state.items, into);
        state.awake = !into.is_empty();
        if state.awake {
            // Stays for the next wait: what comes meanwhile wakes nobody.
            self.arrived.notify_one();
        }
    }

    /// Lets nothing more in and hands out what is left.
    pub(crate) fn close(&self) -> Vec<T> {
        let mut state = self.lock();
        state.closed = true;
        std::mem::take(&mut state.items)
    }

    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().items.len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    fn wake(&self, mut state: MutexGuard<'_, State<T>>) {
        let sleeps = !std::mem::replace(&mut state.awake, true);
        drop(state);
        if sleeps {
            self.arrived.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
