//! The door of a lane: whoever brings a request runs it, if the lane is free.
//!
//! A request that finds nobody at the lane is handled by its sender, on the spot: no wake-up, no change of
//! thread, and the answer is there before the sender begins to wait. One that finds somebody there is left
//! in the inbox, and who is there handles it before leaving. The lane's own task waits for the journal and
//! the clock, and takes over when there is more than one turn's work.
//!
//! Invariant: what was put in while the lane was held is seen by the holder, because the holder looks at the
//! inbox again *after* letting go. The lane's task never waits for the lock: whoever lets go wakes it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll, Waker};

use tokio::sync::watch;

use super::inbox::{Inbox, NotTaken};
use super::lane::{LETTERS_A_TURN, Lane, Letter};
use super::region::{Address, Request, Stopped};

pub(crate) struct Door {
    inbox: Inbox<Letter>,
    lane: Mutex<Lane>,
    /// Of the lane's task, while it waits.
    task: Mutex<Option<Waker>>,
    /// The lane's task wants to go in. Who is there wakes it when leaving; nobody else goes in before.
    wanted: AtomicBool,
    stopped: watch::Sender<Option<Stopped>>,
    /// A turn has panicked: what the lane holds cannot be trusted, and nobody runs it again.
    broken: AtomicBool,
}

impl Door {
    pub(crate) fn new(lane: Lane, capacity: usize, stopped: watch::Sender<Option<Stopped>>) -> Self {
        Self {
            inbox: Inbox::new(capacity),
            lane: Mutex::new(lane),
            task: Mutex::new(None),
            wanted: AtomicBool::new(false),
            stopped,
            broken: AtomicBool::new(false),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.inbox.capacity()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.inbox.len()
    }

    /// Brings requests, in their order: handled on the spot if nobody is at the lane and nothing waits
    /// there, else left in the inbox. What there is no room for is handed back.
    pub(crate) fn bring<'a>(
        &self,
        mut requests: impl Iterator<Item = Request<&'a Address>>,
    ) -> Result<(), (Vec<Letter>, NotTaken)> {
        if let Some(mut lane) = self.enter() {
            if self.inbox.is_idle() {
                self.run(|| lane.handle(requests.by_ref().take(LETTERS_A_TURN)));
            }
            self.let_go(lane, false);
        }
        let left = requests.next();
        let brought = left.map_or(Ok(()), |first| self.leave(std::iter::once(first).chain(requests)));
        self.serve();
        brought
    }

    #[cold]
    fn leave<'a>(
        &self,
        requests: impl Iterator<Item = Request<&'a Address>>,
    ) -> Result<(), (Vec<Letter>, NotTaken)> {
        let mut letters: Vec<_> = requests.map(|request| Letter::Deliver(request.kept())).collect();
        let put = self.inbox.put_all(&mut letters);
        put.map_err(|why| (letters, why))
    }

    /// Brings what must not be refused, for the lane's task to handle.
    pub(crate) fn bring_always(&self, letter: Letter) {
        self.inbox.put_always(letter);
        self.wake();
    }

    /// The lane's task.
    pub(crate) async fn attend(&self) {
        std::future::poll_fn(|cx| self.poll(cx)).await;
        self.inbox.close();
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        // First, so that what is begun by others from here on wakes this task.
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        // It does not wait for the lock: while an entity's code blocks a sender's thread, this one may be the
        // only thread that drives the runtime's clock and sockets.
        self.wanted.store(true, Ordering::Relaxed);
        let Some(mut lane) = self.try_lane() else { return Poll::Pending };
        self.wanted.store(false, Ordering::Relaxed);
        if self.broken.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        let polled = self.run(|| lane.poll(&self.inbox, cx)).unwrap_or(Poll::Ready(()));
        drop(lane);
        fence(Ordering::SeqCst);
        if polled.is_pending() {
            self.serve();
        }
        polled
    }

    /// Handles what is in the inbox, unless somebody is there who will.
    fn serve(&self) {
        while !self.inbox.is_idle() {
            let Some(mut lane) = self.enter() else { return };
            let all = self.run(|| lane.empty(&self.inbox)).unwrap_or(true);
            self.let_go(lane, !all);
            if !all {
                return;
            }
        }
    }

    fn enter(&self) -> Option<MutexGuard<'_, Lane>> {
        if self.broken.load(Ordering::Relaxed) {
            return None;
        }
        // As in `try_lane`: either this one sees that the task has gone in, or the task sees what was put in.
        fence(Ordering::SeqCst);
        if self.wanted.load(Ordering::Relaxed) { None } else { self.try_lane() }
    }

    fn try_lane(&self) -> Option<MutexGuard<'_, Lane>> {
        // Between putting into the inbox (or wanting to go in) and looking at the lock, as its twin stands
        // between letting go of the lock and looking at the inbox (or at who wants to go in): so either this
        // one finds the lane free, or its holder finds that. A failed `try_lock` by itself orders nothing.
        fence(Ordering::SeqCst);
        match self.lane.try_lock() {
            Ok(lane) => Some(lane),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        }
    }

    fn let_go(&self, mut lane: MutexGuard<'_, Lane>, more: bool) {
        let news = lane.take_news();
        drop(lane);
        fence(Ordering::SeqCst);
        if news || more || self.wanted.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    fn wake(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Entities' panics are caught where they happen; one that arrives here is a bug of Abide. It must not
    /// take the sender down, and the host must hear of it.
    fn run<R>(&self, turn: impl FnOnce() -> R) -> Option<R> {
        let ran = catch_unwind(AssertUnwindSafe(turn));
        if ran.is_err() {
            self.broken.store(true, Ordering::Relaxed);
            // Dropped unanswered, they tell their callers so.
            drop(self.inbox.close());
            self.stopped.send_replace(Some(Stopped::Panicked));
        }
        ran.ok()
    }
}
