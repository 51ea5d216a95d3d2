//! What all reads past the entities have in common: a place among the requests, a deadline, and that their
//! failures change nothing.

use std::time::Duration;

use abide_persistence::engine::ReplayError;
use abide_persistence::journal::ReadError;
use abide_persistence::model::{Failure, Outcome};
use axum::body::Body;
use axum::http::request::Parts;
use axum::response::Response;

use crate::entity;
use crate::gateway::Gateway;
use crate::problem::{Problem, ProblemKind, problem_of};

/// When it is worth asking a journal again that could not be read.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Does the work of a read, in one of the places for requests.
pub(crate) async fn answered(
    gateway: &Gateway,
    head: &Parts,
    body: Body,
    work: impl Future<Output = Result<Response, Problem>>,
) -> Response {
    let result = match gateway.enter() {
        Ok(_slot) => work.await,
        Err(busy) => Err(busy),
    };
    let result = result.map_err(|problem| problem.outcome(Outcome::None));
    entity::settle(head, body, result).await
}

/// Ends a read at its deadline.
pub(crate) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        Err(Problem::new(ProblemKind::TimedOut, "the deadline passed while the journal was being read"))
    })
}

/// What a client is told about a journal that could not be read.
pub(crate) fn unread(error: ReadError) -> Problem {
    let reason = error.to_string();
    problem_of(match error {
        ReadError::Damaged(_) => Failure::Parked { reason },
        ReadError::Fenced { .. } | ReadError::Failed(_) => {
            Failure::JournalFailed { reason, outcome: Outcome::None, retry_after: RETRY_AFTER }
        }
    })
}

/// What a client is told about a state that could not be put together.
pub(crate) fn unreplayed(error: ReplayError) -> Problem {
    match error {
        ReplayError::Deleted { to } => {
            let words = format!("the events up to {to} were deleted, so no state before or on them is known");
            Problem::new(ProblemKind::EventsDeleted, words).with("deleted_to", to.0)
        }
        ReplayError::Broken(reason) => problem_of(Failure::Parked { reason }),
        ReplayError::NotEncodable(reason) => {
            problem_of(Failure::AnswerNotEncodable { reason, outcome: Outcome::None })
        }
    }
}
