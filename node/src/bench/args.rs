//! The options of `abide bench`.

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use clap::Args;

/// Load a running node and measure it.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  abide bench                                     64 connections, 10 s, increments of 1000 counters
  abide bench --entities 1 --duration 30s         one hot entity
  abide bench --read --warmup 2s                  read states instead of sending commands
  abide bench --rate 5000 --json                  5000 requests/s, whatever the server does; for programs
  abide bench --type ledger --body '{\"type\":\"append\",\"value\":\"x\"}' --requests 10000

Without --rate each connection sends as soon as it has its answer: that finds the throughput.
With --rate a latency counts from the moment at which the request was due: that finds what a
caller waits when the load does not wait for the server.")]
pub struct BenchArgs {
    /// Where the node listens
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub url: String,

    /// Connections, each with one request at a time
    #[arg(long, short, default_value = "64", value_name = "N")]
    pub connections: NonZeroUsize,

    /// How long to measure [default: 10s]
    #[arg(
        long,
        short,
        value_name = "TIME",
        value_parser = humantime::parse_duration,
        conflicts_with = "requests"
    )]
    pub duration: Option<Duration>,

    /// Measure this many requests instead
    #[arg(long, short = 'n', value_name = "N")]
    pub requests: Option<NonZeroU64>,

    /// Load for this long before measuring
    #[arg(long, default_value = "0s", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub warmup: Duration,

    /// Start this many requests each second, over all connections
    #[arg(long, value_name = "N")]
    pub rate: Option<f64>,

    /// How many entities to spread the load over; their ids are bench-0, bench-1, …
    #[arg(long, default_value = "1000", value_name = "N")]
    pub entities: NonZeroU64,

    /// Type of the entities
    #[arg(long = "type", default_value = "counter", value_name = "TYPE")]
    pub entity_type: String,

    /// The command to send, as JSON
    #[arg(
        long,
        default_value = r#"{"type":"increment","by":1}"#,
        value_name = "JSON",
        conflicts_with = "read"
    )]
    pub body: String,

    /// Read the state (GET) instead of sending a command
    #[arg(long)]
    pub read: bool,

    /// Give up on a request after this long and open a new connection
    #[arg(long, default_value = "20s", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub timeout: Duration,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,

    /// Show no progress bar
    #[arg(long, short)]
    pub quiet: bool,
}

impl BenchArgs {
    /// How long to measure, unless it ends by the number of requests.
    pub(super) fn measure_for(&self) -> Option<Duration> {
        match self.requests {
            Some(_) => None,
            None => Some(self.duration.unwrap_or(Duration::from_secs(10))),
        }
    }
}
