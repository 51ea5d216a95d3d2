//! Parked shards, of which a journal has lost events or holds what it did not write: shown, and let go on.

use std::time::Duration;

use abide_persistence::ShardId;
use abide_sharding::{ParkedFor, ParkedShard};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde::Serialize;

use super::{Admin, DEFAULT_LIMIT, MAX_LIMIT, answered, in_time, shortened};
use crate::gateway::Gateway;
use crate::problem::{Problem, ProblemKind};
use crate::query::{self, Query};
use crate::traffic::Route;
use crate::{headers, operations, target};

/// `GET /v1/shards/parked`: which shards of this node are parked at which journal, and why.
pub(super) async fn parked(State(admin): State<Admin>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let work = answered(&admin, &head, body, show_parked(&admin.gateway, &head));
    admin.gateway.observed(Route::ParkedShards, &head.method, work).await
}

/// `POST /v1/shards/{shard}/accept-loss`: a shard that is parked for a loss goes on with what is left.
pub(super) async fn accept_loss(State(admin): State<Admin>, request: Request) -> Response {
    let (head, body): (Parts, Body) = request.into_parts();
    let work = answered(&admin, &head, body, go_on_without(&admin.gateway, &head));
    admin.gateway.observed(Route::AcceptLoss, &head.method, work).await
}

/// `POST /v1/shards/{shard}/release`: a parked shard tries again.
pub(super) async fn release(State(admin): State<Admin>, request: Request) -> Response {
    let (head, body): (Parts, Body) = request.into_parts();
    let work = answered(&admin, &head, body, let_go(&admin.gateway, &head));
    admin.gateway.observed(Route::ReleaseShard, &head.method, work).await
}

#[derive(Serialize)]
struct Shown {
    shard: u32,
    journal: String,
    /// What its requests are answered with.
    problem: &'static str,
    reason: String,
    #[serde(flatten)]
    fence: Option<Fence>,
}

/// What was lost.
#[derive(Serialize)]
struct Fence {
    /// The fence that the journal had acknowledged.
    acknowledged: String,
    /// The one that it holds.
    held: Option<String>,
}

impl From<ParkedShard> for Shown {
    fn from(ParkedShard { shard, journal, cause }: ParkedShard) -> Self {
        let problem = match cause {
            ParkedFor::Loss(_) => ProblemKind::EventsLost,
            ParkedFor::Damage(_) => ProblemKind::JournalDamaged,
        };
        let fence = cause.loss().map(|loss| Fence {
            acknowledged: loss.known.to_string(),
            held: loss.held.map(|held| held.to_string()),
        });
        let reason = shortened(cause.to_string());
        Self { shard: shard.0, journal, problem: problem.slug(), reason, fence }
    }
}

async fn show_parked(gateway: &Gateway, head: &Parts) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Parked {
        shards: Vec<Shown>,
        /// Whether there may be others.
        more: bool,
    }
    let limit = headers::timeout(&head.headers, &gateway.config)?;
    let query = Query::read(head.uri.query(), &["limit"])?;
    let wanted = query.number("limit", 1..=MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT) as usize;
    // One beyond tells whether there are more.
    let mut found = in_time(limit, gateway.region.parked_shards(wanted + 1)).await?;
    let more = found.len() > wanted;
    found.truncate(wanted);
    let shards = found.into_iter().map(Shown::from).collect();
    Ok(operations::json(StatusCode::OK, &Parked { shards, more }))
}

async fn go_on_without(gateway: &Gateway, head: &Parts) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Accepted {
        accepted: Vec<Shown>,
    }
    let (shard, limit) = named(gateway, head, Route::AcceptLoss)?;
    // The order is given with the first poll, whether or not somebody waits for what it comes to.
    let accepted = in_time(limit, gateway.region.accept_loss(shard)).await?;
    let accepted = accepted.into_iter().map(Shown::from).collect();
    Ok(operations::json(StatusCode::OK, &Accepted { accepted }))
}

async fn let_go(gateway: &Gateway, head: &Parts) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Released {
        released: Vec<Shown>,
    }
    let (shard, limit) = named(gateway, head, Route::ReleaseShard)?;
    let released = in_time(limit, gateway.region.release_shard(shard)).await?;
    let released = released.into_iter().map(Shown::from).collect();
    Ok(operations::json(StatusCode::OK, &Released { released }))
}

/// The shard that an order is about, and how long there is for it.
fn named(gateway: &Gateway, head: &Parts, order: Route) -> Result<(ShardId, Duration), Problem> {
    let shards = gateway.region.shards().get();
    let named =
        target::shard(head.uri.path()).and_then(query::whole).and_then(|named| u32::try_from(named).ok());
    let shard = named.filter(|shard| *shard < shards).ok_or_else(|| {
        let words = format!("shards are numbered from 0 to {} in {}", shards - 1, order.template());
        Problem::new(ProblemKind::UnknownPath, words)
    })?;
    Query::read(head.uri.query(), &[])?;
    headers::refuse_condition(&head.headers)?;
    Ok((ShardId(shard), headers::timeout(&head.headers, &gateway.config)?))
}
