//! What one connection has seen.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::connection::{Answer, Problem};

/// Beyond this a latency is no longer told apart.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// What went wrong, for counting.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ErrorKind {
    /// The `type` of a problem, or what happened to the connection.
    pub(super) kind: String,
    /// Whether the command may have taken effect, if the answer said so.
    pub(super) outcome: Option<String>,
}

impl ErrorKind {
    pub(super) fn new(kind: impl Into<String>) -> Self {
        Self { kind: kind.into(), outcome: None }
    }

    /// Of a connection that could not be opened.
    pub(super) fn connect(error: &std::io::Error) -> Self {
        Self::new(match error.kind() {
            std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
            _ => format!("cannot connect: {error}"),
        })
    }

    /// Of a request without an answer.
    pub(super) fn exchange(error: &hyper::Error) -> Self {
        Self::new(if error.is_parse() { "answer is not HTTP" } else { "connection lost" })
    }
}

pub(super) struct Tally {
    /// Of answers that succeeded, in microseconds: fast refusals must not make a server look fast.
    pub(super) latency: Histogram<u64>,
    pub(super) started: u64,
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) statuses: BTreeMap<u16, u64>,
    pub(super) errors: BTreeMap<ErrorKind, u64>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            latency: Histogram::new(3).expect("three digits are allowed"),
            started: 0,
            succeeded: 0,
            failed: 0,
            statuses: BTreeMap::new(),
            errors: BTreeMap::new(),
        }
    }

    pub(super) fn record(&mut self, latency: Duration, outcome: Result<Answer, ErrorKind>) {
        let error = match outcome {
            Ok(answer) => {
                *self.statuses.entry(answer.status).or_default() += 1;
                if (200..300).contains(&answer.status) {
                    self.succeeded += 1;
                    let micros = latency.min(LONGEST).as_micros() as u64;
                    // Not `saturating_record`, which clips to the size so far instead of growing.
                    self.latency.record(micros).expect("a histogram grows to a day");
                    return;
                }
                match answer.problem {
                    Some(Problem { kind, outcome }) => ErrorKind { kind, outcome },
                    None => ErrorKind::new(format!("status {} without a problem", answer.status)),
                }
            }
            Err(error) => error,
        };
        self.failed += 1;
        *self.errors.entry(error).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.latency += &other.latency;
        self.started += other.started;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        for (error, count) in &other.errors {
            *self.errors.entry(error.clone()).or_default() += count;
        }
    }
}
