//! The result, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::time::Instant;

use super::args::BenchArgs;
use super::plan::Plan;
use super::tally::Tally;

/// What a run has measured; without its warm-up. `Display` is for people, `Serialize` for programs.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// What was loaded.
    pub url: String,
    /// How many connections.
    pub connections: usize,
    /// Over how many entities.
    pub entities: u64,
    /// Of which type.
    pub entity_type: String,
    /// Whether states were read, or else commands sent.
    pub read: bool,
    /// Requests each second that were asked for. `None`: as fast as the answers came.
    pub rate: Option<f64>,
    /// Whether Ctrl-C ended it.
    pub interrupted: bool,
    /// From the first request to the last answer.
    pub elapsed_seconds: f64,
    /// Requests that were begun.
    pub requests: u64,
    /// Those answered with 2xx.
    pub succeeded: u64,
    /// Those that got another answer, or none.
    pub failed: u64,
    /// Those still under way when Ctrl-C ended it: neither of the two.
    pub unanswered: u64,
    /// Those that were due at the asked rate and never begun, because all connections were waiting. Their
    /// latency is in no figure, so if there are many, those figures are too good.
    pub unsent: u64,
    /// Successes each second.
    pub succeeded_per_second: f64,
    /// Of the successes. `None` if there are none.
    pub latency_ms: Option<Latency>,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Failures by kind, the most frequent first.
    pub errors: Vec<ErrorCount>,
}

/// Latencies in milliseconds; at an asked rate, from the moment at which a request was due.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// The mean.
    pub mean: f64,
    /// Half of them are at most this.
    pub p50: f64,
    /// Nine of ten.
    pub p90: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1 000.
    pub p99_9: f64,
    /// All of them.
    pub max: f64,
}

/// One kind of failure and how often it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorCount {
    /// The `type` of a problem, or what happened to the connection.
    pub kind: String,
    /// Whether the command may have taken effect (`none` or `unknown`), if the answer said so.
    pub outcome: Option<String>,
    /// How often.
    pub count: u64,
}

impl Summary {
    pub(super) fn new(args: &BenchArgs, plan: &Plan, tally: &Tally, end: Instant, interrupted: bool) -> Self {
        let elapsed_seconds = plan.measured(end).as_secs_f64();
        let count = |(error, count): (&super::tally::ErrorKind, &u64)| ErrorCount {
            kind: error.kind.clone(),
            outcome: error.outcome.clone(),
            count: *count,
        };
        let mut errors: Vec<_> = tally.errors.iter().map(count).collect();
        errors.sort_by_key(|error| std::cmp::Reverse(error.count));
        Self {
            url: args.url.clone(),
            connections: args.connections.get(),
            entities: args.entities.get(),
            entity_type: args.entity_type.clone(),
            read: args.read,
            rate: args.rate,
            interrupted,
            elapsed_seconds,
            requests: tally.started,
            succeeded: tally.succeeded,
            failed: tally.failed,
            unanswered: tally.started - tally.succeeded - tally.failed,
            unsent: plan.due(end).unwrap_or(0).saturating_sub(tally.started),
            succeeded_per_second: if elapsed_seconds > 0.0 {
                tally.succeeded as f64 / elapsed_seconds
            } else {
                0.0
            },
            latency_ms: Latency::of(&tally.latency),
            statuses: tally.statuses.clone(),
            errors,
        }
    }
}

impl Latency {
    fn of(micros: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| micros.value_at_quantile(quantile) as f64 / 1000.0;
        (!micros.is_empty()).then(|| Self {
            mean: micros.mean() / 1000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: micros.max() as f64 / 1000.0,
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, entities, entity_type, elapsed_seconds, .. } = self;
        let verb = if self.read { "reads of" } else { "commands to" };
        let cut = if self.interrupted { ", interrupted" } else { "" };
        writeln!(
            f,
            "{verb} {entities} {entity_type} entities over {connections} connections, {elapsed_seconds:.1} s{cut}"
        )?;
        writeln!(
            f,
            "throughput  {:.0}/s ({} succeeded, {} failed)",
            self.succeeded_per_second, self.succeeded, self.failed
        )?;
        if let Some(Latency { mean, p50, p90, p99, p99_9, max }) = self.latency_ms {
            let from = if self.rate.is_some() { ", from when a request was due" } else { "" };
            writeln!(
                f,
                "latency     p50 {p50:.2}  p90 {p90:.2}  p99 {p99:.2}  p99.9 {p99_9:.2}  max {max:.2}  \
                 mean {mean:.2} ms{from}"
            )?;
        }
        if !self.statuses.is_empty() {
            let statuses: Vec<_> =
                self.statuses.iter().map(|(status, count)| format!("{status}: {count}")).collect();
            writeln!(f, "answers     {}", statuses.join("  "))?;
        }
        for (nth, ErrorCount { kind, outcome, count }) in self.errors.iter().enumerate() {
            let head = if nth == 0 { "errors" } else { "" };
            let outcome = outcome.as_ref().map(|outcome| format!(" (outcome {outcome})")).unwrap_or_default();
            writeln!(f, "{head:<11} {count} × {kind}{outcome}")?;
        }
        if self.unanswered > 0 {
            writeln!(f, "unanswered  {} at the end", self.unanswered)?;
        }
        if self.unsent > 0 {
            let unsent = self.unsent;
            writeln!(
                f,
                "unsent      {unsent} were due and found no free connection: the server cannot keep that rate"
            )?;
        }
        Ok(())
    }
}
