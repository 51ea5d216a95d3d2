//! Shards of which a journal has lost events: shown, and let go on with what is left.

use abide_persistence::ShardId;
use abide_sharding::ParkedShard;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde::Serialize;

use super::{Admin, DEFAULT_LIMIT, MAX_LIMIT, answered, in_time};
use crate::gateway::Gateway;
use crate::problem::{Problem, ProblemKind};
use crate::query::{self, Query};
use crate::traffic::Route;
use crate::{headers, operations, target};

/// `GET /v1/shards/parked`: of which shards of this node which journal has lost events.
pub(super) async fn parked(State(admin): State<Admin>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let work = answered(&admin, &head, body, show_parked(&admin.gateway, &head));
    admin.gateway.observed(Route::ParkedShards, &head.method, work).await
}

/// `POST /v1/shards/{shard}/accept-loss`: a parked shard goes on with what is left.
pub(super) async fn accept_loss(State(admin): State<Admin>, request: Request) -> Response {
    let (head, body): (Parts, Body) = request.into_parts();
    let work = answered(&admin, &head, body, let_go(&admin.gateway, &head));
    admin.gateway.observed(Route::AcceptLoss, &head.method, work).await
}

#[derive(Serialize)]
struct Shown {
    shard: u32,
    journal: String,
    /// The fence that the journal had acknowledged.
    acknowledged: String,
    /// The one that it holds.
    held: Option<String>,
}

impl From<ParkedShard> for Shown {
    fn from(parked: ParkedShard) -> Self {
        Self {
            shard: parked.shard.0,
            journal: parked.journal,
            acknowledged: parked.loss.known.to_string(),
            held: parked.loss.held.map(|held| held.to_string()),
        }
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

async fn let_go(gateway: &Gateway, head: &Parts) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Accepted {
        accepted: Vec<Shown>,
    }
    let shards = gateway.region.shards().get();
    let unknown = || {
        let words = format!(
            "a loss is accepted at /v1/shards/{{shard}}/accept-loss, with a shard from 0 to {}",
            shards - 1
        );
        Problem::new(ProblemKind::UnknownPath, words)
    };
    let named = target::accept_loss(head.uri.path()).and_then(query::whole);
    let shard = named.filter(|shard| *shard < u64::from(shards)).ok_or_else(unknown)?;
    Query::read(head.uri.query(), &[])?;
    headers::refuse_condition(&head.headers)?;
    let limit = headers::timeout(&head.headers, &gateway.config)?;
    // The order is given with the first poll, whether or not somebody waits for what it comes to.
    let accepted = in_time(limit, gateway.region.accept_loss(ShardId(shard as u32))).await?;
    let accepted = accepted.into_iter().map(Shown::from).collect();
    Ok(operations::json(StatusCode::OK, &Accepted { accepted }))
}
