//! What operators ask and order, on a listener of its own that clients do not reach.
//!
//! It takes none of the clients' places, so that it answers while they are all taken, and has few of its
//! own: an operator is one person, and a list of parked entities asks every lane.

use std::sync::Arc;
use std::time::Duration;

use abide_persistence::engine::Message;
use abide_persistence::model::{Failure, Format};
use axum::Router;
use axum::body::Body;
use axum::extract::{FromRef, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::gateway::Gateway;
use crate::problem::{Problem, ProblemKind, problem_of};
use crate::query::Query;
use crate::traffic::Route;
use crate::{entity, headers, operations, target};

/// Requests at the same time; one more is refused with 429.
const MAX_REQUESTS: usize = 8;
/// Parked entities that are shown, unless asked otherwise.
const DEFAULT_LIMIT: u64 = 100;
/// Most parked entities that are shown.
const MAX_LIMIT: u64 = 1000;
/// Longest reason that is shown, in characters; the log has the whole.
const MAX_REASON: usize = 2000;

mod shards;

#[derive(Clone)]
struct Admin {
    gateway: Arc<Gateway>,
    slots: Arc<Semaphore>,
}

impl FromRef<Admin> for Arc<Gateway> {
    fn from_ref(admin: &Admin) -> Self {
        Self::clone(&admin.gateway)
    }
}

/// Makes the routes for operators.
pub(crate) fn admin_router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route(Route::Parked.template(), get(parked))
        .route(Route::Release.template(), post(release))
        .route(Route::ParkedShards.template(), get(shards::parked))
        .route(Route::AcceptLoss.template(), post(shards::accept_loss))
        .route(Route::ReleaseShard.template(), post(shards::release))
        .route(Route::Livez.template(), get(operations::livez))
        .route(Route::Readyz.template(), get(operations::readyz))
        .route(Route::Healthz.template(), get(operations::healthz))
        .route(Route::Metrics.template(), get(operations::metrics))
        .fallback(unknown_path)
        .method_not_allowed_fallback(operations::unknown_method)
        .with_state(Admin { gateway, slots: Arc::new(Semaphore::new(MAX_REQUESTS)) })
}

/// `GET /v1/entities/parked`: which entities of this node cannot be recovered, and why.
async fn parked(State(admin): State<Admin>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let work = answered(&admin, &head, body, show_parked(&admin.gateway, &head));
    admin.gateway.observed(Route::Parked, &head.method, work).await
}

/// `POST /v1/entities/{type}/{id}/release`: a parked entity tries again.
async fn release(State(admin): State<Admin>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let work = answered(&admin, &head, body, let_go(&admin.gateway, &head));
    admin.gateway.observed(Route::Release, &head.method, work).await
}

async fn unknown_path(State(admin): State<Admin>, request: Request) -> Response {
    let work = async {
        let words = "nothing is at this path of the admin listener; it has /v1/entities/parked, \
                     /v1/entities/{type}/{id}/release, /v1/shards/parked, \
                     /v1/shards/{shard}/release and /v1/shards/{shard}/accept-loss, and entities are at the listener for clients";
        Problem::new(ProblemKind::UnknownPath, words).into_response()
    };
    admin.gateway.observed(Route::Unmatched, request.method(), work).await
}

async fn answered(
    admin: &Admin,
    head: &Parts,
    body: Body,
    work: impl Future<Output = Result<Response, Problem>>,
) -> Response {
    let result = match admin.slots.try_acquire() {
        Ok(_slot) => work.await,
        Err(_) => {
            let words = format!("the admin listener already handles {MAX_REQUESTS} requests");
            Err(Problem::new(ProblemKind::NodeBusy, words).with("capacity", MAX_REQUESTS))
        }
    };
    entity::settle(head, body, result).await
}

#[derive(Serialize)]
struct Parked {
    entities: Vec<ParkedEntity>,
    /// Whether there may be others.
    more: bool,
}

#[derive(Serialize)]
struct ParkedEntity {
    r#type: &'static str,
    id: String,
    reason: String,
}

async fn show_parked(gateway: &Gateway, head: &Parts) -> Result<Response, Problem> {
    let limit = headers::timeout(&head.headers, &gateway.config)?;
    let query = Query::read(head.uri.query(), &["limit"])?;
    let wanted = query.number("limit", 1..=MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT) as usize;
    // One beyond tells whether there are more.
    let mut found = in_time(limit, gateway.region.parked(wanted + 1)).await?;
    let more = found.len() > wanted;
    found.truncate(wanted);
    let entities = found.into_iter().map(|parked| ParkedEntity {
        r#type: parked.entity_type.as_str(),
        id: parked.id.as_str().to_owned(),
        reason: shortened(parked.reason),
    });
    Ok(operations::json(StatusCode::OK, &Parked { entities: entities.collect(), more }))
}

/// What lanes were asked, if they have told before the deadline.
async fn in_time<T>(limit: Duration, told: impl Future<Output = Result<T, Failure>>) -> Result<T, Problem> {
    let told = tokio::time::timeout(limit, told).await;
    told.map_err(|_| Problem::new(ProblemKind::TimedOut, "the deadline passed before all lanes had told"))?
        .map_err(problem_of)
}

fn shortened(mut reason: String) -> String {
    if let Some((end, _)) = reason.char_indices().nth(MAX_REASON) {
        reason.truncate(end);
        reason.push('…');
    }
    reason
}

async fn let_go(gateway: &Gateway, head: &Parts) -> Result<Response, Problem> {
    let unknown = || {
        Problem::new(ProblemKind::UnknownPath, "an entity is released at /v1/entities/{type}/{id}/release")
    };
    let parts = target::release(head.uri.path()).ok_or_else(unknown)?;
    let to = entity::resolve(gateway, parts)?;
    Query::read(head.uri.query(), &[])?;
    headers::refuse_condition(&head.headers)?;
    let limit = headers::timeout(&head.headers, &gateway.config)?;
    let answer = gateway.region.ask(&to, Message::Release, Format::Json, limit).await;
    match answer.result {
        Ok(_) => {
            tracing::info!(entity = %to.persistence_id(), "an operator ordered the release of the entity");
            let mut done = operations::text("text/plain; charset=utf-8", Body::empty());
            *done.status_mut() = StatusCode::NO_CONTENT;
            done.headers_mut().remove(axum::http::header::CONTENT_TYPE);
            Ok(done)
        }
        Err(failure) => Err(problem_of(*failure)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_without_end_gets_one() {
        assert_eq!(shortened("short".to_owned()), "short");
        let long = shortened("é".repeat(MAX_REASON + 1));
        assert_eq!(long.chars().count(), MAX_REASON + 1);
        assert!(long.ends_with('…'));
    }
}
