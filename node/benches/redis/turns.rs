//! Measuring in turns, and what is printed.

use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

const ROUNDS: usize = 5;
const TURN: Duration = Duration::from_millis(1500);

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn is_quick() -> bool {
    std::env::var_os("ABIDE_FIGURES_QUICK").is_some()
}

pub(crate) fn rounds() -> usize {
    if is_quick() { 1 } else { ROUNDS }
}

/// How long one turn lasts.
pub(crate) fn turn() -> Duration {
    if is_quick() { TURN / 20 } else { TURN }
}

/// So many, or a twentieth.
pub(crate) fn many(count: usize) -> usize {
    if is_quick() { count.div_ceil(20) } else { count }
}

/// Lets tasks work until the end of the turn; each says how much it did. Gives what they did in a second.
pub(crate) async fn rate<Fut>(tasks: impl IntoIterator<Item = Fut>) -> f64
where
    Fut: Future<Output = usize> + Send + 'static,
{
    let start = Instant::now();
    let tasks: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    let mut done = 0;
    for task in tasks {
        done += task.await.unwrap();
    }
    done as f64 / start.elapsed().as_secs_f64()
}

/// Medians of measurements taken in turns, after one of each that does not count.
pub(crate) fn in_turns<const N: usize>(mut measured: [&mut dyn FnMut() -> f64; N]) -> [f64; N] {
    let mut all: [Vec<f64>; N] = std::array::from_fn(|_| Vec::new());
    for measure in &mut measured {
        measure();
    }
    for _ in 0..rounds() {
        for (values, measure) in all.iter_mut().zip(&mut measured) {
            values.push(measure());
        }
    }
    all.map(median)
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints a rate against another one: the more, the better.
pub(crate) fn show_rate(what: &str, ours: f64, baseline: f64, bar: f64) {
    let ratio = ours / baseline;
    println!("{what}");
    println!(
        "    {ours:>12.0}/s against {baseline:>12.0}/s: {ratio:.2} (bar >= {bar}, {})",
        met(ratio >= bar)
    );
}

/// Prints a cost against another one: the less, the better.
pub(crate) fn show_cost(what: &str, unit: &str, ours: f64, baseline: f64, bar: f64) {
    let ratio = ours / baseline;
    println!("{what}");
    println!(
        "    {ours:>10.2} {unit} against {baseline:>10.2} {unit}: {ratio:.2} (bar <= {bar}, {})",
        met(ratio <= bar)
    );
}

/// Prints an amount that may not be above a bar.
pub(crate) fn show_amount(what: &str, unit: &str, amount: f64, bar: f64) {
    println!("{what}");
    println!("    {amount:>10.1} {unit} (bar <= {bar}, {})", met(amount <= bar));
}

fn met(is_met: bool) -> &'static str {
    if is_met { "met" } else { "NOT MET" }
}
