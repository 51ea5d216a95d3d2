//! The bar on stderr while the load runs.

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use super::args::BenchArgs;
use super::worker::Shared;

/// Often enough to look alive.
const EVERY: Duration = Duration::from_millis(200);

pub(super) struct Progress {
    bar: ProgressBar,
    begin: Instant,
    /// Whether the bar shows time, or else requests.
    by_time: bool,
}

impl Progress {
    /// Shows nothing where stderr is no terminal.
    pub(super) fn new(args: &BenchArgs, begin: Instant) -> Self {
        let target = if args.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let time = args.measure_for().map(|time| (args.warmup + time).as_millis());
        let length = time.map(|time| u64::try_from(time).unwrap_or(u64::MAX));
        let bar = ProgressBar::with_draw_target(length.or(args.requests.map(|n| n.get())), target);
        let style = ProgressStyle::with_template("{bar:32} {percent:>3}%  {msg}");
        Self {
            bar: bar.with_style(style.expect("the template is well-formed")),
            begin,
            by_time: time.is_some(),
        }
    }

    /// Goes on for ever.
    pub(super) async fn follow(&self, shared: &Shared) -> Infallible {
        let mut last = (Instant::now(), 0);
        loop {
            tokio::time::sleep(EVERY).await;
            let (now, answers) = (Instant::now(), shared.answers.load(Ordering::Relaxed));
            let per_second = (answers - last.1) as f64 / (now - last.0).as_secs_f64();
            let failures = shared.failures.load(Ordering::Relaxed);
            let elapsed = u64::try_from((now - self.begin).as_millis()).unwrap_or(u64::MAX);
            self.bar.set_position(if self.by_time { elapsed } else { answers });
            self.bar.set_message(format!("{answers} requests, {per_second:.0}/s, {failures} failed"));
            last = (now, answers);
        }
    }

    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }
}
