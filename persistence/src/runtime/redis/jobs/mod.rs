//! The jobs, one file for each kind.

pub(super) mod append;
pub(super) mod claim;
pub(super) mod ids;
pub(super) mod meta;
pub(super) mod read;
pub(super) mod snapshots;

use tokio::sync::oneshot;

/// Who waits for an answer. Nobody may by now.
pub(super) struct Asker<T>(Option<oneshot::Sender<T>>);

impl<T> Asker<T> {
    /// An asker, and what it waits on.
    pub(super) fn new() -> (Self, oneshot::Receiver<T>) {
        let (asker, answer) = oneshot::channel();
        (Self(Some(asker)), answer)
    }

    /// Tells, once.
    pub(super) fn tell(&mut self, answer: T) {
        if let Some(asker) = self.0.take() {
            // Whoever asked has gone; there is nobody else to tell.
            let _ = asker.send(answer);
        }
    }
}
