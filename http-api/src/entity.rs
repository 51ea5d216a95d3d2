//! Commands to entities, and reads of their state.
//!
//! The way of every request, so it allocates and looks up no more than it must.

use std::sync::Arc;
use std::time::Duration;

use abide_persistence::EntityId;
use abide_persistence::engine::{Body as Command, Message};
use abide_persistence::model::{Failure, Format, Outcome};
use abide_sharding::Address;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, HeaderValue};
use axum::http::request::Parts;
use axum::response::Response;
use bytes::Bytes;
use serde::de::IgnoredAny;

use crate::answer::respond;
use crate::body::{self, BodyFault};
use crate::clock::Stopwatch;
use crate::gateway::Gateway;
use crate::headers;
use crate::past;
use crate::problem::{Problem, ProblemKind, problem_of};
use crate::query::Query;
use crate::target;
use crate::traffic::Route;

/// `POST /v1/entities/{type}/{id}`
pub(crate) async fn command(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let work = answered(&gateway, request, Asked::Command);
    gateway.observed(Route::Entity, &axum::http::Method::POST, work).await
}

/// `GET /v1/entities/{type}/{id}`
pub(crate) async fn state(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let method = request.method().clone();
    gateway.observed(Route::Entity, &method, answered(&gateway, request, Asked::State)).await
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Command,
    State,
}

async fn answered(gateway: &Gateway, request: Request, asked: Asked) -> Response {
    let begun = Stopwatch::start();
    let (head, mut body) = request.into_parts();
    let mut result = match gateway.enter() {
        Ok(_slot) => handle(gateway, &head, &mut body, asked, begun).await,
        Err(busy) => Err(busy),
    };
    if asked == Asked::State {
        // Reading changes nothing, however it ends.
        result = result.map_err(|problem| problem.outcome(Outcome::None));
    }
    settle(&head, body, result).await
}

/// Makes the answer, and sees to it that nothing of the request is left on the connection.
pub(crate) async fn settle(head: &Parts, mut body: Body, result: Result<Response, Problem>) -> Response {
    match result {
        Ok(mut response) => {
            if !settled(head, &mut body).await {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }
        Err(mut problem) => {
            log(&problem, head);
            if !settled(head, &mut body).await {
                problem = problem.close();
            }
            problem.into_response()
        }
    }
}

async fn handle(
    gateway: &Gateway,
    head: &Parts,
    body: &mut Body,
    asked: Asked,
    begun: Stopwatch,
) -> Result<Response, Problem> {
    let to = address(gateway, head.uri.path())?;
    headers::refuse_unsupported(&head.headers)?;
    let at = match asked {
        Asked::State => past::asked(head.uri.query())?,
        Asked::Command => Query::read(head.uri.query(), &[]).map(|_| None)?,
    };
    let expected = match asked {
        Asked::State => headers::refuse_condition(&head.headers).map(|()| None)?,
        Asked::Command => headers::expected(&head.headers)?,
    };
    let limit = headers::timeout(&head.headers, &gateway.config)?;
    match asked {
        Asked::State => match at {
            Some(at) => past::state(gateway, &to, at, limit).await,
            None => respond(gateway.region.ask(&to, Message::ReadState, Format::Json, limit).await),
        },
        Asked::Command => {
            let json = read_command(gateway, head, body, limit).await?;
            let left = limit.saturating_sub(begun.elapsed());
            let command = Command::Json(json.clone());
            let message = match expected {
                None => Message::Command(command),
                Some(expected) => Message::CommandIf(command, expected),
            };
            let answer = gateway.region.ask(&to, message, Format::Json, left).await;
            if let Err(failure) = &answer.result
                && matches!(**failure, Failure::NotACommand { .. })
                && let Some(fault) = syntax_fault(&json)
            {
                return Err(Problem::new(ProblemKind::NotJson, fault));
            }
            respond(answer)
        }
    }
}

fn address(gateway: &Gateway, path: &str) -> Result<Address, Problem> {
    let unknown = || Problem::new(ProblemKind::UnknownPath, "an entity is at /v1/entities/{type}/{id}");
    resolve(gateway, target::entity(path).ok_or_else(unknown)?)
}

/// Puts an entity's name together from what a path holds.
pub(crate) fn resolve(
    gateway: &Gateway,
    parts: Result<target::Parts<'_>, target::Malformed>,
) -> Result<Address, Problem> {
    let bad = |malformed: target::Malformed| Problem::new(ProblemKind::BadTarget, malformed.words());
    let (entity_type, id) = parts.map_err(bad)?;
    let id = EntityId::new(&id).map_err(|fault| Problem::new(ProblemKind::BadEntityId, fault.to_string()))?;
    gateway.region.address(&entity_type, id).map_err(|failure| match failure {
        Failure::UnknownType => gateway.unknown_type(&entity_type),
        other => problem_of(other),
    })
}

async fn read_command(
    gateway: &Gateway,
    head: &Parts,
    body: &mut Body,
    limit: Duration,
) -> Result<Bytes, Problem> {
    const EMPTY: &str = "the body is empty; send a command as JSON";
    if body.is_end_stream() {
        return Err(Problem::new(ProblemKind::NotJson, EMPTY));
    }
    headers::require_json(&head.headers)?;
    let max = gateway.config.max_body_bytes;
    match tokio::time::timeout(limit, body::read(body, max)).await {
        Ok(Ok(json)) if json.is_empty() => Err(Problem::new(ProblemKind::NotJson, EMPTY)),
        Ok(Ok(json)) => Ok(json),
        Ok(Err(BodyFault::TooLarge)) => {
            let words = format!("a command has at most {max} bytes");
            Err(Problem::new(ProblemKind::BodyTooLarge, words).with("max_bytes", max).close())
        }
        Ok(Err(BodyFault::Broken(cause))) => {
            let words = "the body ended before the end that was announced";
            Err(Problem::new(ProblemKind::BrokenBody, words).cause(cause).close())
        }
        Err(_) => {
            let words = format!("the body did not arrive within {} ms", limit.as_millis());
            Err(Problem::new(ProblemKind::SlowBody, words).close())
        }
    }
}

/// What is wrong with a text that is no JSON. Asked only once it was found to be no command.
fn syntax_fault(json: &[u8]) -> Option<String> {
    if let Err(fault) = std::str::from_utf8(json) {
        return Some(format!("the body is not UTF-8 from byte {} on", fault.valid_up_to()));
    }
    serde_json::from_slice::<IgnoredAny>(json).err().map(|fault| format!("the body is not JSON: {fault}"))
}

/// Makes sure that nothing of the body is left, so that the connection can be used again.
async fn settled(head: &Parts, body: &mut Body) -> bool {
    // Who waits for "100 Continue" has not sent it yet, and must not be asked to.
    body.is_end_stream() || (!head.headers.contains_key("expect") && body::discard(body).await)
}

/// What the region has not told yet, or only in words that the client does not see.
fn log(problem: &Problem, head: &Parts) {
    let (kind, path, cause) = (problem.kind.slug(), head.uri.path(), problem.cause.as_deref());
    match problem.kind {
        ProblemKind::AnswerNotEncodable | ProblemKind::Abandoned | ProblemKind::EntityPanicked => {
            tracing::warn!(kind, path, cause, "a request failed");
        }
        _ => tracing::debug!(kind, path, cause, "a request failed"),
    }
}
