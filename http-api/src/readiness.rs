//! Whether traffic should come to this node.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Says whether traffic should come, and why not. Cheap to clone: all handles are one.
///
/// A node is ready while nobody has a reason against it. Draining is for good: the node still serves what
/// comes, but asks its clients, by `Connection: close`, to go elsewhere.
#[derive(Clone)]
pub struct Readiness(Arc<Inner>);

struct Inner {
    /// Apart from the reasons, because every answer looks at it.
    draining: AtomicBool,
    /// Tells those who must end before the node can leave.
    drained: Notify,
    reasons: Mutex<BTreeMap<&'static str, String>>,
}

impl Readiness {
    /// A node that is not ready yet for a reason, which is to be [`clear`](Self::clear)ed.
    pub fn not_yet(name: &'static str, why: impl Into<String>) -> Self {
        let readiness = Self::ready();
        readiness.object(name, why);
        readiness
    }

    /// A node that is ready.
    pub fn ready() -> Self {
        Self(Arc::new(Inner {
            draining: AtomicBool::new(false),
            drained: Notify::new(),
            reasons: Mutex::default(),
        }))
    }

    /// Adds a reason, or replaces the one of this name. Clients can read it.
    pub fn object(&self, name: &'static str, why: impl Into<String>) {
        self.lock().insert(name, why.into());
    }

    /// Takes a reason back.
    pub fn clear(&self, name: &'static str) {
        self.lock().remove(name);
    }

    /// The node is about to leave.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
        self.0.drained.notify_waiters();
    }

    /// Ends when the node is about to leave. Live streams end then: they would hold it up.
    pub(crate) async fn drained(&self) {
        let told = self.0.drained.notified();
        let mut told = std::pin::pin!(told);
        // First listen, then look: what happens in between is not missed.
        told.as_mut().enable();
        if !self.0.draining.load(Ordering::Acquire) {
            told.await;
        }
    }

    /// Whether the node is about to leave.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    /// Why no traffic should come, by name; nothing means that the node is ready.
    pub fn reasons(&self) -> Vec<(&'static str, String)> {
        let reasons = self.lock();
        let mut all: Vec<_> = reasons.iter().map(|(name, why)| (*name, why.clone())).collect();
        if self.is_draining() {
            all.push(("draining", "the node is about to leave".to_owned()));
        }
        all
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.0.reasons.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Readiness").field(&self.reasons()).finish()
    }
}
