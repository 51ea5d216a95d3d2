//! Where an answer goes.
//!
//! A [`Caller`] is answered once. One that is dropped unanswered says so by itself, so no request can
//! vanish in silence, whatever path an error takes.

use std::fmt;
use std::sync::Arc;

use super::answer::{Answer, Failure};

/// Takes answers: a waiting task, a batch of them, a stream to another node, a test's list.
pub trait ReplySink: Send + Sync {
    /// Takes the answer to request `tag`.
    fn deliver(&self, tag: u64, answer: Answer);

    /// Asked right before the entity's code runs: `false` if the caller has given up, which it then knows
    /// for certain to have been in time.
    fn begin(&self, tag: u64) -> bool {
        let _ = tag;
        true
    }
}

/// The form that a caller wants values in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json,
    /// The value itself.
    Local,
}

/// The one who asked, to be answered once.
pub struct Caller {
    sink: Option<Arc<dyn ReplySink>>,
    tag: u64,
    format: Format,
    every: bool,
    answered: bool,
    /// An event of the command is stored: a failure can no longer say that nothing happened.
    stored: bool,
}

impl Caller {
    /// A caller that is answered through `sink` under its own number.
    pub fn new(sink: Arc<dyn ReplySink>, tag: u64, format: Format) -> Self {
        Self { sink: Some(sink), tag, format, every: false, answered: false, stored: false }
    }

    /// A caller that wants to see every reply, not only the first; for tests.
    pub fn probe(sink: Arc<dyn ReplySink>, tag: u64) -> Self {
        Self { sink: Some(sink), tag, format: Format::Local, every: true, answered: false, stored: false }
    }

    /// The form that it wants values in.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether the entity's code may run for it; `false` if it has given up.
    pub fn begin(&self) -> bool {
        self.sink.as_ref().is_none_or(|sink| sink.begin(self.tag))
    }

    /// Hands over the answer.
    pub fn answer(mut self, answer: Answer) {
        if let Some(sink) = self.sink.take() {
            sink.deliver(self.tag, answer);
        }
    }

    /// An event of its command is stored.
    pub(crate) fn mark_stored(&mut self) {
        self.stored = true;
    }

    /// What a failure comes to for it.
    pub(crate) fn judge(&self, failure: Failure) -> Failure {
        if self.stored { failure.after_an_event() } else { failure }
    }

    /// Whether nobody has answered it yet.
    pub(crate) fn waits(&self) -> bool {
        self.sink.is_some() && !self.answered
    }

    /// Takes what is needed for one answer: all of it, unless the caller wants every one.
    pub(crate) fn take(&mut self) -> Option<Self> {
        let sink = if self.every { self.sink.clone() } else { self.sink.take() };
        self.answered = true;
        sink.map(|sink| Self { sink: Some(sink), ..*self })
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        if let Some(sink) = self.sink.take()
            && !self.every
        {
            sink.deliver(self.tag, Answer::failed(Failure::Abandoned));
        }
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("tag", &self.tag).field("format", &self.format).finish_non_exhaustive()
    }
}
