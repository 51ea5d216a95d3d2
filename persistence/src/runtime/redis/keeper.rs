//! Keeps the newest login and hands it to all connections.
//!
//! ```text
//!   Credentials ──asked by one at a time──▶ newest ──▶ new connections
//!        ▲                                    └──────▶ live ones: AUTH again
//!        └── before it ends, or when a server refuses it
//! ```
//!
//! One task, which ends with the keeper.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use futures_util::stream::{self, Stream};
use redis::{BasicAuth, RedisResult, StreamingCredentialsProvider};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use super::credentials::{Credentials, Login};
use super::refresh;
use crate::journal::StoreError;

/// Keeps the newest login.
pub(super) struct Keeper {
    source: Arc<dyn Credentials>,
    newest: watch::Sender<Option<Login>>,
    /// Held by whoever asks the source, with the task that asks again.
    asking: Mutex<Option<JoinHandle<()>>>,
}

impl Keeper {
    pub(super) fn new(source: Arc<dyn Credentials>) -> Arc<Self> {
        Arc::new(Self { source, newest: watch::Sender::new(None), asking: Mutex::new(None) })
    }

    /// The login for a new connection.
    pub(super) async fn current(self: &Arc<Self>) -> Result<Login, StoreError> {
        match self.known() {
            Some(login) => Ok(login),
            None => self.ask(None).await,
        }
    }

    /// Asks whether there is a newer login than one that a server refused.
    pub(super) async fn newer_than(self: &Arc<Self>, refused: &Login) -> Option<Login> {
        let asked = self.ask(Some(refused)).await.ok();
        asked.filter(|login| !same(login, refused))
    }

    /// A login for one connection, and later ones for as long as it lives.
    pub(super) fn feed(&self, first: Login) -> Feed {
        Feed { first, newest: self.newest.subscribe(), begun: AtomicBool::new(false) }
    }

    fn known(&self) -> Option<Login> {
        let known = self.newest.borrow().clone();
        // Of no use is only what has ended; what may have changed is told by the server's refusal.
        known.filter(|login| refresh::is_good(login.validity, now()))
    }

    async fn ask(self: &Arc<Self>, refused: Option<&Login>) -> Result<Login, StoreError> {
        let mut task = self.asking.lock().await;
        // Somebody may have asked while we waited.
        if let Some(login) = self.known()
            && !refused.is_some_and(|refused| same(&login, refused))
        {
            return Ok(login);
        }
        let login = self.source.login().await?;
        self.newest.send_replace(Some(login.clone()));
        if task.is_none() {
            *task = Some(tokio::spawn(ask_again(Arc::downgrade(self))));
        }
        Ok(login)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(task) = self.asking.get_mut() {
            task.abort();
        }
    }
}

/// Asks before the login ends, for as long as there is somebody to keep it for.
async fn ask_again(keeper: Weak<Keeper>) {
    let mut failures = 0;
    loop {
        let Some(validity) =
            keeper.upgrade().and_then(|keeper| keeper.newest.borrow().as_ref().map(|l| l.validity))
        else {
            return;
        };
        let Some(pause) = refresh::pause(validity, now(), failures) else { return };
        tokio::time::sleep(pause).await;
        let Some(keeper) = keeper.upgrade() else { return };
        let asking = keeper.asking.lock().await;
        match keeper.source.login().await {
            Ok(login) => {
                failures = 0;
                keeper.newest.send_replace(Some(login));
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                tracing::warn!(%error, failures, "no newer login for Redis; the last one is still used");
            }
        }
        drop(asking);
    }
}

#[expect(clippy::disallowed_methods, reason = "the shell has the clock")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn same(a: &Login, b: &Login) -> bool {
    (&a.username, &a.password) == (&b.username, &b.password)
}

/// The logins of one connection, as the client takes them.
pub(super) struct Feed {
    first: Login,
    newest: watch::Receiver<Option<Login>>,
    /// The client subscribes twice: for the first login, and for those that follow.
    begun: AtomicBool,
}

impl StreamingCredentialsProvider for Feed {
    fn subscribe(&self) -> Pin<Box<dyn Stream<Item = RedisResult<BasicAuth>> + Send + 'static>> {
        if !self.begun.swap(true, Ordering::Relaxed) {
            let first = basic(&self.first);
            return Box::pin(stream::once(async move { Ok(first) }));
        }
        let state = (self.newest.clone(), self.first.clone());
        Box::pin(stream::unfold(state, |(mut newest, used)| async move {
            let is_new = |login: &Option<Login>| login.as_ref().is_some_and(|login| !same(login, &used));
            let next = newest.wait_for(is_new).await.ok().and_then(|login| login.clone());
            // Once nobody keeps it any more, the connection goes on as who it is.
            let Some(next) = next else { return std::future::pending().await };
            Some((Ok(basic(&next)), (newest, next)))
        }))
    }
}

fn basic(login: &Login) -> BasicAuth {
    BasicAuth::new(login.username.clone(), login.password.reveal().to_owned())
}
