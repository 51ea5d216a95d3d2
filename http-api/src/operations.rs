//! What operators and their probes ask: does it run, should traffic come, what works, how much.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use futures_util::future::join_all;
use serde::Serialize;

use crate::gateway::Gateway;
use crate::health::{CheckResult, Status};
use crate::problem::{Problem, ProblemKind};
use crate::readiness::Readiness;
use crate::target;
use crate::traffic::{Route, Traffic};

/// `GET /livez`: that it answers is the answer.
pub(crate) async fn livez(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let work = async { text("text/plain; charset=utf-8", "ok\n") };
    gateway.observed(Route::Livez, request.method(), work).await
}

/// `GET /readyz`: whether traffic should come.
pub(crate) async fn readyz(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let work = async { told(&gateway.readiness) };
    gateway.observed(Route::Readyz, request.method(), work).await
}

/// Whether traffic should come, and why not.
pub(crate) fn told(readiness: &Readiness) -> Response {
    #[derive(Serialize)]
    struct Reason {
        name: &'static str,
        reason: String,
    }
    #[derive(Serialize)]
    struct Ready {
        status: &'static str,
        reasons: Vec<Reason>,
    }
    let reasons = readiness.reasons().into_iter();
    let reasons: Vec<_> = reasons.map(|(name, reason)| Reason { name, reason }).collect();
    if reasons.is_empty() {
        json(StatusCode::OK, &Ready { status: "ready", reasons })
    } else {
        json(StatusCode::SERVICE_UNAVAILABLE, &Ready { status: "not-ready", reasons })
    }
}

/// `GET /healthz`: each check by name, all at the same time; `?tag=` chooses some.
pub(crate) async fn healthz(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (head, _) = request.into_parts();
    let work = async {
        match health(&gateway, head.uri.query()).await {
            Ok(response) => response,
            Err(problem) => problem.into_response(),
        }
    };
    gateway.observed(Route::Healthz, &head.method, work).await
}

async fn health(gateway: &Gateway, query: Option<&str>) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Health<'a> {
        status: Status,
        checks: Vec<CheckResult<'a>>,
    }
    let tags: Result<Vec<_>, _> = target::values(query, "tag").collect();
    let tags = tags.map_err(|malformed| Problem::new(ProblemKind::BadTarget, malformed.words()))?;
    for tag in &tags {
        // A probe with a misspelt tag would pass for ever.
        if !gateway.checks.iter().any(|check| check.has_tag(tag)) {
            let words = format!("no health check has the tag `{tag}`");
            return Err(Problem::new(ProblemKind::UnknownPath, words));
        }
    }
    let chosen =
        gateway.checks.iter().filter(|check| tags.is_empty() || tags.iter().any(|tag| check.has_tag(tag)));
    let checks = join_all(chosen.map(|check| check.run())).await;
    let status = checks.iter().map(|check| check.status).max().unwrap_or(Status::Pass);
    let code = match status {
        Status::Pass | Status::Degraded => StatusCode::OK,
        Status::Fail => StatusCode::SERVICE_UNAVAILABLE,
    };
    Ok(json(code, &Health { status, checks }))
}

/// `GET /metrics`: all counters of the process.
pub(crate) async fn metrics(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let work = async {
        // Set here, because only here it is read: a gauge on the way of every request would cost.
        metrics::gauge!(Traffic::IN_FLIGHT).set(gateway.requests_in_flight() as f64);
        metrics::gauge!(Traffic::STREAMS).set(gateway.streams_open() as f64);
        text("text/plain; version=0.0.4; charset=utf-8", (gateway.metrics)())
    };
    gateway.observed(Route::Metrics, request.method(), work).await
}

/// Any path without a route.
pub(crate) async fn unknown_path(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let work = async {
        let words = "nothing is at this path; entities are at /v1/entities/{type}/{id}, \
                     with a `/` inside an id written as %2F";
        Problem::new(ProblemKind::UnknownPath, words).into_response()
    };
    gateway.observed(Route::Unmatched, request.method(), work).await
}

/// Any method that a path does not know; the router adds which it knows.
pub(crate) async fn unknown_method(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (head, _) = request.into_parts();
    let work = async {
        let words = format!("{} means nothing here; the header `Allow` tells what does", head.method);
        Problem::new(ProblemKind::MethodNotAllowed, words).into_response()
    };
    gateway.observed(Route::Unmatched, &head.method, work).await
}

pub(crate) fn text(kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    // Names and words; they can be encoded.
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut response = text("application/json", body);
    *response.status_mut() = status;
    response
}
