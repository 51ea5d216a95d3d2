//! What a connection is doing, and since when: so that a client that stalls is seen.
//!
//! ```text
//!   Idle ──first bytes──▶ Head ──head is whole──▶ Busy ──answer is made──▶ Idle
//! ```
//!
//! While `Busy` the request's own deadline rules. Written by whoever moves bytes, read now and then by the
//! connection's task; all on one task, so the atomic is only there to be shared.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Stopwatch;
use crate::config::ServeConfig;

#[derive(Debug)]
pub(super) struct Pulse {
    clock: Stopwatch,
    /// Milliseconds, shifted by two, and the state in the two lowest bits.
    since: AtomicU64,
}

const IDLE: u64 = 0;
const HEAD: u64 = 1;
const BUSY: u64 = 2;

impl Pulse {
    pub(super) fn new() -> Self {
        Self { clock: Stopwatch::start(), since: AtomicU64::new(IDLE) }
    }

    /// Bytes came in.
    pub(super) fn received(&self) {
        if self.state() == IDLE {
            self.set(HEAD);
        }
    }

    /// Bytes went out: a client that reads its answer is not idle.
    pub(super) fn sent(&self) {
        if self.state() == IDLE {
            self.set(IDLE);
        }
    }

    /// A request's head is whole.
    pub(super) fn request(&self) {
        self.set(BUSY);
    }

    /// Its answer is made.
    pub(super) fn answered(&self) {
        self.set(IDLE);
    }

    /// Whether the client has stalled for too long.
    pub(super) fn is_overdue(&self, config: &ServeConfig) -> bool {
        let since = self.since.load(Ordering::Relaxed);
        let stood = self.clock.elapsed().saturating_sub(Duration::from_millis(since >> 2));
        match since & 3 {
            HEAD => stood >= config.head_timeout,
            BUSY => false,
            _ => stood >= config.idle_timeout,
        }
    }

    fn state(&self) -> u64 {
        self.since.load(Ordering::Relaxed) & 3
    }

    fn set(&self, state: u64) {
        self.since.store((self.clock.elapsed().as_millis() as u64) << 2 | state, Ordering::Relaxed);
    }
}
