//! What can happen to one request and its reply, and lying in wait for it.

use std::fmt;

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use super::frame;

/// A request on its way.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// As it was sent.
    pub raw: Bytes,
    /// Its words, the command's name first.
    pub words: Vec<Vec<u8>>,
}

impl Request {
    pub(super) fn parse(raw: Bytes) -> Result<Self> {
        Ok(Self { words: frame::words(&raw)?, raw })
    }

    /// Whether it is this command, in any case.
    pub fn is(&self, command: &str) -> bool {
        self.words.first().is_some_and(|word| word.eq_ignore_ascii_case(command.as_bytes()))
    }

    /// Whether one of its words is this.
    pub fn has(&self, word: &[u8]) -> bool {
        self.words.iter().any(|mine| mine == word)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.words.iter().map(|word| String::from_utf8_lossy(word)).collect();
        f.debug_list().entries(words).finish()
    }
}

/// What happens to a request and its reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// The connection ends, and the server never sees the request.
    LoseRequest,
    /// The server executes it. Then the connection ends instead of a reply.
    LoseReply,
    /// The server executes it. Neither this reply nor any later one comes, and the connection stays open.
    SilenceReplies,
    /// The server gets it twice, one right after the other. The client gets the first reply.
    Duplicate,
    /// It waits, and with it all that comes behind it on its connection, until the trap is released.
    Hold,
    /// The server executes it. The reply waits, and with it all later ones, until the trap is released.
    HoldReply,
    /// The server never sees the request. The client gets this error, such as `MOVED 0 127.0.0.1:1`.
    Refuse(&'static str),
}

/// Lies in wait for one request. Dropped, it lets go what it holds and catches nothing more.
#[derive(Debug)]
pub struct Trap {
    caught: oneshot::Receiver<Request>,
    release: watch::Sender<bool>,
}

impl Trap {
    /// Waits until a request is in it: with [`Fault::HoldReply`] and its kin the server has not answered yet.
    ///
    /// # Errors
    /// If the proxy is gone.
    pub async fn sprung(&mut self) -> Result<Request> {
        (&mut self.caught).await.context("the proxy is gone, or this was asked before")
    }

    /// Lets go what it holds.
    pub fn release(self) {
        self.release.send_replace(true);
    }
}

/// A trap, as the proxy holds it.
pub(super) struct Set {
    matches: Box<dyn Fn(&Request) -> bool + Send>,
    fault: Fault,
    caught: oneshot::Sender<Request>,
    released: watch::Receiver<bool>,
}

/// What is done to a request, and what ends its waiting.
pub(super) struct Sprung {
    pub(super) fault: Fault,
    pub(super) released: watch::Receiver<bool>,
}

impl Set {
    pub(super) fn new(matches: impl Fn(&Request) -> bool + Send + 'static, fault: Fault) -> (Self, Trap) {
        let (caught, catching) = oneshot::channel();
        let (release, released) = watch::channel(false);
        let trap = Trap { caught: catching, release };
        (Self { matches: Box::new(matches), fault, caught, released }, trap)
    }

    /// Whether somebody still waits for what it catches.
    pub(super) fn is_set(&self) -> bool {
        !self.caught.is_closed()
    }

    pub(super) fn matches(&self, request: &Request) -> bool {
        (self.matches)(request)
    }

    pub(super) fn spring(self, request: &Request) -> Sprung {
        // Who dropped the trap meanwhile does not want to know.
        let _ = self.caught.send(request.clone());
        Sprung { fault: self.fault, released: self.released }
    }
}
