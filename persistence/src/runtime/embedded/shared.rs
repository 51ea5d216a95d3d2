//! What handle, writer and readers share: two queues, the tokens, the first failure, the end.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::oneshot;

use super::reader::Question;
use super::writer::Job;
use crate::ids::ShardId;
use crate::journal::{StoreError, Token};
use crate::runtime::queue::Queue;

pub(super) struct Shared {
    pub(super) jobs: Queue<Job>,
    pub(super) questions: Queue<Question>,
    tokens: RwLock<HashMap<ShardId, Token>>,
    first_failure: OnceLock<String>,
    gone: Mutex<Gone>,
    went: Condvar,
}

/// Whether the files are let go of, and who waits for it.
#[derive(Default)]
struct Gone {
    gone: bool,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Shared {
    pub(super) fn new(tokens: HashMap<ShardId, Token>, max_queue: usize) -> Self {
        Self {
            jobs: Queue::new(max_queue),
            questions: Queue::new(max_queue),
            tokens: RwLock::new(tokens),
            first_failure: OnceLock::new(),
            gone: Mutex::default(),
            went: Condvar::new(),
        }
    }

    /// The token that is durably held for a shard.
    pub(super) fn token(&self, shard: ShardId) -> Option<Token> {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner).get(&shard).copied()
    }

    /// Moves tokens on, after the commit that they belong to.
    pub(super) fn advance(&self, tokens: HashMap<ShardId, Token>) {
        self.tokens.write().unwrap_or_else(PoisonError::into_inner).extend(tokens);
    }

    /// The first failure counts; what comes after follows from it.
    pub(super) fn fail(&self, cause: String) {
        drop(self.first_failure.set(cause));
    }

    /// Whether writes are still taken.
    pub(super) fn writable(&self) -> Result<(), StoreError> {
        match self.first_failure.get() {
            None => Ok(()),
            Some(cause) => Err(StoreError(format!(
                "the embedded store stopped writing: {cause}. Free space or repair the disk, then restart this process"
            ))),
        }
    }

    /// Takes nothing more. What was taken is still done.
    pub(super) fn close(&self) {
        self.jobs.close();
        self.questions.close();
    }

    /// The files are let go of.
    pub(super) fn set_gone(&self) {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.gone = true;
        for waiting in gone.waiting.drain(..) {
            let _ = waiting.send(());
        }
        self.went.notify_all();
    }

    /// Resolves once the files are let go of.
    pub(super) fn until_gone(&self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        if gone.gone {
            let _ = sender.send(());
        } else {
            gone.waiting.push(sender);
        }
        receiver
    }

    /// Waits on this thread until the files are let go of, or until `patience` is over.
    pub(super) fn wait_gone(&self, patience: Duration) {
        let gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.went.wait_timeout_while(gone, patience, |gone| !gone.gone));
    }
}
