//! `abide bench`: load for a running node, over HTTP as its clients speak it.
//!
//! ```text
//!   Plan: when does the next request start?
//!     │                 one task for each connection
//!     ▼                 ┌─────────────────────────────┐
//!   worker ──request──▶ │ Connection (hyper, one task) │ ──▶ node
//!     ▲                 └─────────────────────────────┘
//!     └── Tally: latencies, answers by status, errors by kind ──▶ Summary
//! ```
//!
//! Closed loop by default: each connection sends when it has its answer, which finds the throughput. With a
//! rate, open loop: requests start when the plan says, and a latency counts from there, so that a server
//! that stalls cannot hide it by keeping the next request from being sent (coordinated omission).
//!
//! It runs on the server's machine more often than not, so a connection and its requests are one task.

mod args;
mod connection;
mod plan;
mod progress;
mod summary;
mod tally;
mod target;
mod worker;

#[cfg(test)]
mod tests;

pub use args::BenchArgs;
pub use summary::{ErrorCount, Latency, Summary};

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use plan::Plan;
use progress::Progress;
use tally::Tally;
use target::Target;
use worker::{Shared, Worker};

/// How long running requests may still be answered after Ctrl-C.
const GRACE: Duration = Duration::from_secs(1);

/// Runs, prints the summary on stdout, and tells by the exit code whether anything succeeded.
///
/// # Errors
/// If it could not start; see [`run`].
pub async fn execute(args: BenchArgs) -> anyhow::Result<ExitCode> {
    let json = args.json;
    let summary = run(args).await?;
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(&summary)?)?;
    } else {
        write!(out, "{summary}")?;
    }
    Ok(if summary.succeeded > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs to the end or to Ctrl-C. Prints nothing but the progress bar.
///
/// # Errors
/// If an option makes no sense or nobody listens. Whatever fails later is counted instead.
pub async fn run(args: BenchArgs) -> anyhow::Result<Summary> {
    let target = Target::reach(&args).await?;
    let begin = Instant::now();
    let shared = Arc::new(Shared {
        plan: Plan::new(&args, begin)?,
        target,
        stop: AtomicBool::new(false),
        answers: AtomicU64::new(0),
        failures: AtomicU64::new(0),
    });
    let mut workers = JoinSet::new();
    let tallies: Vec<_> = (0..args.connections.get())
        .map(|number| {
            let worker = Worker::new(Arc::clone(&shared), number as u64);
            let tally = worker.tally();
            workers.spawn(worker.run());
            tally
        })
        .collect();

    let progress = Progress::new(&args, begin);
    let interrupted = tokio::select! {
        ended = all(&mut workers) => { ended?; false }
        _ = tokio::signal::ctrl_c() => true,
        never = progress.follow(&shared) => match never {},
    };
    if interrupted {
        shared.stop.store(true, Ordering::Relaxed);
        // A worker that is still waiting then is cut off; its request stays unanswered.
        if let Ok(ended) = tokio::time::timeout(GRACE, all(&mut workers)).await {
            ended?;
        }
        workers.shutdown().await;
    }
    progress.finish();

    let mut total = Tally::new();
    for tally in tallies {
        total.add(&worker::lock(&tally));
    }
    Ok(Summary::new(&args, &shared.plan, &total, Instant::now(), interrupted))
}

/// Waits for all workers; one that panicked is an error.
async fn all(workers: &mut JoinSet<()>) -> anyhow::Result<()> {
    while let Some(ended) = workers.join_next().await {
        ended?;
    }
    Ok(())
}
