//! Logs and metrics of the process.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogLevel};

/// Sends logs to standard error; `RUST_LOG` overrides the level. A second call changes nothing.
pub(crate) fn start_logs(level: LogLevel, format: LogFormat) {
    let level = match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    // The storage engine tells at info what is of no use to an operator.
    let ours = format!("{level},fjall=warn,lsm_tree=warn");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(ours));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let logs = logs.with_target(false).with_ansi(std::io::stderr().is_terminal());
    let started = match format {
        LogFormat::Json => logs.json().try_init(),
        LogFormat::Text => logs.try_init(),
    };
    if started.is_ok() {
        // Panics of entities are caught and reported with the entity's name; this adds the place.
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            let what = panic.payload_as_str().unwrap_or("a panic without a message");
            tracing::error!(place, what, "panic");
        }));
    }
}

/// Installs the recorder of the process, once, and hands out what renders it.
///
/// # Errors
/// If the host program has installed a recorder of another kind.
pub(crate) fn start_metrics() -> anyhow::Result<PrometheusHandle> {
    // Held while the recorder is set up: a process has one, however many nodes start in it at once.
    static METRICS: Mutex<Option<PrometheusHandle>> = Mutex::new(None);
    let mut metrics = METRICS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*metrics {
        return Ok(handle.clone());
    }
    let seconds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
    let sizes = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &seconds)?
        .set_buckets_for_metric(Matcher::Suffix("_events".to_owned()), &sizes)?
        .set_buckets_for_metric(Matcher::Suffix("_calls".to_owned()), &sizes)?
        .install_recorder()?;
    Ok(metrics.insert(handle).clone())
}
