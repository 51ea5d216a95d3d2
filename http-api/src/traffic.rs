//! Counts requests, by route template, method and status; never by id.
//!
//! Handles are made at their first use and kept: no label is put together on the way of a request, and
//! what never happened has no series.

use std::sync::OnceLock;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use metrics::{Counter, Histogram, counter, describe_counter, describe_gauge, describe_histogram, histogram};

/// A route template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Entity,
    Events,
    Ids,
    OpenApi,
    Docs,
    Livez,
    Readyz,
    Healthz,
    Metrics,
    /// On the listener for operators.
    Parked,
    /// On the listener for operators.
    Release,
    /// On the listener for operators.
    ParkedShards,
    /// On the listener for operators.
    AcceptLoss,
    /// On the listener for operators.
    ReleaseShard,
    /// Whatever has no route.
    Unmatched,
}

impl Route {
    const COUNT: usize = Self::Unmatched as usize + 1;

    /// Those that the clients' router has.
    pub(crate) const ROUTED: [Self; Self::COUNT - 6] = [
        Self::Entity,
        Self::Events,
        Self::Ids,
        Self::OpenApi,
        Self::Docs,
        Self::Livez,
        Self::Readyz,
        Self::Healthz,
        Self::Metrics,
    ];

    pub(crate) fn template(self) -> &'static str {
        match self {
            Self::Entity => "/v1/entities/{type}/{id}",
            Self::Events => "/v1/entities/{type}/{id}/events",
            Self::Ids => "/v1/entities/{type}",
            Self::OpenApi => "/openapi.json",
            Self::Docs => "/docs",
            Self::Livez => "/livez",
            Self::Readyz => "/readyz",
            Self::Healthz => "/healthz",
            Self::Metrics => "/metrics",
            Self::Parked => "/v1/entities/parked",
            Self::Release => "/v1/entities/{type}/{id}/release",
            Self::ParkedShards => "/v1/shards/parked",
            Self::AcceptLoss => "/v1/shards/{shard}/accept-loss",
            Self::ReleaseShard => "/v1/shards/{shard}/release",
            Self::Unmatched => "unmatched",
        }
    }
}

/// The most frequent first; the last one stands for all others.
const METHODS: [&str; 8] = ["POST", "GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "other"];
const STATUSES: [u16; 20] =
    [200, 204, 400, 404, 405, 408, 409, 410, 412, 413, 415, 422, 429, 401, 403, 500, 501, 503, 504, 0];

#[derive(Default)]
struct Row {
    seconds: OnceLock<Histogram>,
    requests: [OnceLock<Counter>; STATUSES.len()],
}

/// All counters of the gateway.
pub(crate) struct Traffic([[Row; METHODS.len()]; Route::COUNT]);

impl Traffic {
    pub(crate) const IN_FLIGHT: &str = "abide_http_requests_in_flight";
    pub(crate) const STREAMS: &str = "abide_http_streams";

    pub(crate) fn new() -> Self {
        describe_counter!("abide_http_requests_total", "Requests answered");
        describe_histogram!(
            "abide_http_request_seconds",
            metrics::Unit::Seconds,
            "From a request's head to its answer"
        );
        describe_counter!("abide_http_panics_total", "Panics of the gateway");
        describe_gauge!(Self::IN_FLIGHT, "Requests for entities under way");
        describe_gauge!(Self::STREAMS, "Live streams of events");
        Self(Default::default())
    }

    pub(crate) fn count(&self, route: Route, method: &Method, status: StatusCode, took: Duration) {
        let others = METHODS.len() - 1;
        let at = METHODS.iter().position(|known| *known == method.as_str()).unwrap_or(others);
        let (row, method) = (&self.0[route as usize][at], METHODS[at]);
        let others = STATUSES.len() - 1;
        let at = STATUSES.iter().position(|known| *known == status.as_u16()).unwrap_or(others);
        let requests = row.requests[at].get_or_init(|| {
            let status = if at == others { "other".to_owned() } else { STATUSES[at].to_string() };
            counter!("abide_http_requests_total", "route" => route.template(), "method" => method, "status" => status)
        });
        requests.increment(1);
        let seconds = row.seconds.get_or_init(
            || histogram!("abide_http_request_seconds", "route" => route.template(), "method" => method),
        );
        seconds.record(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::ProblemKind;

    #[test]
    fn every_status_of_a_problem_has_a_counter_of_its_own() {
        for kind in ProblemKind::ALL {
            assert!(STATUSES.contains(&kind.status().as_u16()), "{kind:?}");
        }
    }
}
