//! What the store counts.

use std::time::Duration;

use metrics::{
    Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use super::connector::Address;
use super::primary::Lane;

/// Counters of one store.
pub(super) struct Meter {
    flights: [Histogram; 4],
    seconds: [Histogram; 4],
    waits: [Histogram; 4],
    doubts: [Counter; 4],
    topology_changes: Counter,
    pub(super) refused_by_queue: Counter,
}

fn name(lane: Lane) -> &'static str {
    match lane {
        Lane::Write => "write",
        Lane::Read => "read",
        Lane::SaveSnapshots => "save-snapshots",
        Lane::LoadSnapshots => "load-snapshots",
    }
}

/// A call met another claim than its own.
pub(super) fn fenced(call: &'static str) {
    counter!(FENCED, "call" => call).increment(1);
}

const FENCED: &str = "abide_redis_fenced_total";

fn describe() {
    describe_histogram!("abide_redis_flight_calls", "Calls that travelled together to a primary");
    describe_histogram!(
        "abide_redis_flight_seconds",
        Unit::Seconds,
        "From a flight's start to the answers of its calls"
    );
    describe_histogram!(
        "abide_redis_wait_seconds",
        Unit::Seconds,
        "From those answers to that of WAIT, whatever it was"
    );
    describe_counter!("abide_redis_doubts_total", "Sendings of which nobody knew whether they ran");
    describe_counter!(FENCED, "Calls that met another claim than their own");
    describe_counter!(
        "abide_redis_topology_changes_total",
        "Times that slots were found to have other owners"
    );
    describe_counter!("abide_redis_queue_refusals_total", "Calls that found a primary's queue full");
    describe_gauge!("abide_redis_queue", "Calls that wait for a primary");
    describe_gauge!("abide_redis_breaker_open", "1 while calls to a primary are refused");
}

impl Meter {
    pub(super) fn new() -> Self {
        describe();
        Self {
            flights: Lane::ALL.map(|lane| histogram!("abide_redis_flight_calls", "lane" => name(lane))),
            seconds: Lane::ALL.map(|lane| histogram!("abide_redis_flight_seconds", "lane" => name(lane))),
            waits: Lane::ALL.map(|lane| histogram!("abide_redis_wait_seconds", "lane" => name(lane))),
            doubts: Lane::ALL.map(|lane| counter!("abide_redis_doubts_total", "lane" => name(lane))),
            topology_changes: counter!("abide_redis_topology_changes_total"),
            refused_by_queue: counter!("abide_redis_queue_refusals_total"),
        }
    }

    /// A flight is back: so many calls, after so long.
    pub(super) fn flight(&self, lane: Lane, calls: usize, took: Duration) {
        self.flights[lane as usize].record(calls as f64);
        self.seconds[lane as usize].record(took.as_secs_f64());
    }

    /// After its answers a flight has waited so long for the replicas.
    pub(super) fn waited(&self, lane: Lane, took: Duration) {
        self.waits[lane as usize].record(took.as_secs_f64());
    }

    /// Nobody knows whether these calls ran.
    pub(super) fn doubt(&self, lane: Lane, calls: usize) {
        self.doubts[lane as usize].increment(calls as u64);
    }

    /// Slots have new owners.
    pub(super) fn topology_changed(&self) {
        self.topology_changes.increment(1);
    }

    /// How many jobs wait for a primary, and whether it is left alone.
    pub(super) fn primary(&self, address: &Address, lane: Lane, waiting: usize, is_open: bool) {
        let labels = [("primary", address.to_string()), ("lane", name(lane).to_owned())];
        gauge!("abide_redis_queue", &labels).set(waiting as f64);
        gauge!("abide_redis_breaker_open", &labels).set(f64::from(u8::from(is_open)));
    }

    /// A primary that owns nothing any more shows nothing any more.
    pub(super) fn forget(&self, address: &Address) {
        for lane in Lane::ALL {
            self.primary(address, lane, 0, false);
        }
    }
}
