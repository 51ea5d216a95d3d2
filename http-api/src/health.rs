//! Health checks: what works, by name.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use serde::Serialize;

/// What it means that a check fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The node is not healthy: 503.
    Unhealthy,
    /// Something is amiss, but traffic is as well off here as anywhere: 200, and the status says so.
    Degraded,
}

/// How a check turned out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Pass,
    Degraded,
    Fail,
}

/// What a check comes to, some time later.
pub type CheckFuture = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// A named question with a time limit, such as whether the journal works.
///
/// Clients see its name, its tags and whether it passed. Why it failed is for the log: it may name paths
/// and hosts.
pub struct Check {
    name: String,
    tags: Vec<String>,
    limit: Duration,
    failure: Failure,
    run: Box<dyn Fn() -> CheckFuture + Send + Sync>,
    /// How it was last time, so that the log tells changes and not every probe.
    failing: AtomicBool,
}

/// How a check turned out, as clients see it.
#[derive(Debug, Serialize)]
pub(crate) struct CheckResult<'a> {
    pub(crate) name: &'a str,
    pub(crate) tags: &'a [String],
    pub(crate) status: Status,
}

impl Check {
    /// Longest run of a check that sets no other limit.
    pub const DEFAULT_LIMIT: Duration = Duration::from_secs(2);

    /// A check without tags, with the default limit.
    pub fn new<F>(name: impl Into<String>, run: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self {
            name: name.into(),
            tags: Vec::new(),
            limit: Self::DEFAULT_LIMIT,
            failure: Failure::Unhealthy,
            run: Box::new(move || Box::pin(run())),
            failing: AtomicBool::new(false),
        }
    }

    /// Adds a tag, by which checks are chosen: `/healthz?tag=…`.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Sets how long it may take; beyond that it has failed.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sets what it means that it fails; without it the node is not healthy then.
    #[must_use]
    pub fn on_failure(mut self, failure: Failure) -> Self {
        self.failure = failure;
        self
    }

    pub(crate) fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|own| own == tag)
    }

    pub(crate) async fn run(&self) -> CheckResult<'_> {
        let guarded = AssertUnwindSafe(async { (self.run)().await }).catch_unwind();
        let result = match tokio::time::timeout(self.limit, guarded).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err("the check panicked".to_owned()),
            Err(_) => Err(format!("no answer within {:?}", self.limit)),
        };
        let failed_before = self.failing.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Err(reason) if !failed_before => {
                tracing::warn!(check = self.name, reason, "a health check fails")
            }
            Ok(()) if failed_before => tracing::info!(check = self.name, "a health check passes again"),
            _ => {}
        }
        let status = match (result, self.failure) {
            (Ok(()), _) => Status::Pass,
            (Err(_), Failure::Degraded) => Status::Degraded,
            (Err(_), Failure::Unhealthy) => Status::Fail,
        };
        CheckResult { name: &self.name, tags: &self.tags, status }
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("name", &self.name).field("tags", &self.tags).finish_non_exhaustive()
    }
}
