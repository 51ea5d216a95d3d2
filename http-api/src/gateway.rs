//! What all handlers share, and what happens around each of them.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};

use abide_persistence::model::Outcome;
use abide_sharding::Region;
use axum::http::Method;
use axum::http::header::{CONNECTION, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::clock::Stopwatch;
use crate::config::ApiConfig;
use crate::health::Check;
use crate::problem::{Problem, ProblemKind};
use crate::readiness::Readiness;
use crate::router::{Api, RenderMetrics};
use crate::traffic::{Route, Traffic};

pub(crate) struct Gateway {
    pub(crate) region: Region,
    pub(crate) config: ApiConfig,
    pub(crate) readiness: Readiness,
    pub(crate) checks: Vec<Check>,
    pub(crate) metrics: RenderMetrics,
    /// Places for live streams.
    pub(crate) streams: Arc<Semaphore>,
    /// Places for states that are put together from the past.
    pub(crate) replays: Semaphore,
    /// The document of `/openapi.json`, made when it is first asked for.
    pub(crate) contract: OnceLock<Bytes>,
    slots: Semaphore,
    traffic: Traffic,
}

impl Gateway {
    pub(crate) fn new(api: Api) -> Self {
        let Api { region, config, readiness, checks, metrics } = api;
        let places = |wanted: usize| Semaphore::new(wanted.min(Semaphore::MAX_PERMITS));
        Self {
            streams: Arc::new(places(config.max_streams.get())),
            replays: places(config.max_replays.get()),
            contract: OnceLock::new(),
            slots: places(config.max_concurrent_requests.get()),
            region,
            config,
            readiness,
            checks,
            metrics,
            traffic: Traffic::new(),
        }
    }

    /// Takes one of the places for requests, if there is one.
    pub(crate) fn enter(&self) -> Result<SemaphorePermit<'_>, Problem> {
        self.slots.try_acquire().map_err(|_| {
            let capacity = self.config.max_concurrent_requests.get();
            let words = format!("the node already handles {capacity} requests");
            Problem::new(ProblemKind::NodeBusy, words).with("capacity", capacity)
        })
    }

    pub(crate) fn requests_in_flight(&self) -> usize {
        self.config.max_concurrent_requests.get().saturating_sub(self.slots.available_permits())
    }

    pub(crate) fn streams_open(&self) -> usize {
        self.config.max_streams.get().saturating_sub(self.streams.available_permits())
    }

    pub(crate) fn unknown_type(&self, asked: &str) -> Problem {
        let known: Vec<_> = self.region.entity_types().map(|known| known.as_str()).collect();
        let words = if abide_persistence::is_type_name(asked) {
            format!("there is no entity type `{asked}`; there are: {}", known.join(", "))
        } else {
            format!("an entity type is [a-z][a-z0-9-]{{0,63}}; there are: {}", known.join(", "))
        };
        Problem::new(ProblemKind::UnknownEntityType, words).with("types", known)
    }

    /// Does the work of one request: a panic becomes an answer, the answer is counted, and while the node
    /// drains it asks the client to go elsewhere.
    pub(crate) async fn observed(
        &self,
        route: Route,
        method: &Method,
        work: impl Future<Output = Response>,
    ) -> Response {
        let begun = Stopwatch::start();
        let mut response = AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
            // The panic hook has told where; here it is told what became of it.
            metrics::counter!("abide_http_panics_total").increment(1);
            tracing::error!(route = route.template(), %method, "the gateway panicked");
            let words = "the gateway panicked while it handled the request";
            Problem::new(ProblemKind::GatewayPanicked, words)
                .outcome(Outcome::Unknown)
                .close()
                .into_response()
        });
        if self.readiness.is_draining() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.traffic.count(route, method, response.status(), begun.elapsed());
        response
    }
}
