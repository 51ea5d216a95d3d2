//! From an entity's answer to a response.

use abide_persistence::SequenceNr;
use abide_persistence::model::{Answer, Payload, Reply};
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;

use crate::problem::{Problem, ProblemKind, problem_of};

/// What the client gets.
pub(crate) fn respond(answer: Answer) -> Result<Response, Problem> {
    let sequence_nr = answer.sequence_nr;
    match answer.result {
        Ok(Reply::Value(payload)) => Ok(reply(json(payload)?, sequence_nr)),
        Ok(Reply::Nothing) => Ok(nothing(sequence_nr)),
        Ok(Reply::Rejection { rejection, outcome }) => {
            let words = "the entity rejected the command; `rejection` has its reason";
            let problem = Problem::new(ProblemKind::Rejected, words).outcome(outcome);
            Err(problem.with_json("rejection", json(rejection)?))
        }
        Err(failure) => Err(problem_of(*failure)),
    }
}

/// A value of an entity, and the last event that it contains.
pub(crate) fn reply(json: Vec<u8>, sequence_nr: SequenceNr) -> Response {
    let mut response = Response::new(Body::from(json));
    let headers = response.headers_mut();
    *headers = entity_headers(sequence_nr);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn nothing(sequence_nr: SequenceNr) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    *response.headers_mut() = entity_headers(sequence_nr);
    response
}

fn entity_headers(sequence_nr: SequenceNr) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(6);
    if let Ok(tag) = HeaderValue::try_from(format!("\"{}\"", sequence_nr.0)) {
        headers.insert(ETAG, tag);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers
}

/// The gateway asks for JSON and nothing else; another form would be a mix-up inside this process.
fn json(payload: Payload) -> Result<Vec<u8>, Problem> {
    match payload {
        Payload::Json(json) => Ok(json),
        Payload::Local(_) => {
            let words = "the entity's answer came in a form that cannot be written as JSON";
            let problem = Problem::new(ProblemKind::AnswerNotEncodable, words);
            Err(problem.outcome(abide_persistence::model::Outcome::Unknown))
        }
    }
}
