//! What a client is told when its request was not answered by a reply: `application/problem+json`.
//!
//! What the client reads and what the log keeps are two strings: [`Problem::detail`] never names a path,
//! a host or a line of code; [`Problem::cause`] may.

mod failure;
mod kind;

use std::borrow::Cow;
use std::time::Duration;

use abide_persistence::model::Outcome;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;

pub(crate) use failure::problem_of;
pub use kind::ProblemKind;

/// A request that failed, on its way to the client.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) kind: ProblemKind,
    /// Whether the command may have taken effect.
    pub(crate) outcome: Outcome,
    /// For the client.
    pub(crate) detail: Cow<'static, str>,
    /// For the log, where it says more than the detail.
    pub(crate) cause: Option<String>,
    /// Further members, each with its value as JSON.
    members: Vec<(&'static str, Vec<u8>)>,
    retry_after: Option<Duration>,
    close: bool,
}

impl Problem {
    /// Nothing has happened, and this is why.
    pub(crate) fn new(kind: ProblemKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            outcome: Outcome::None,
            detail: detail.into(),
            cause: None,
            members: Vec::new(),
            retry_after: None,
            close: false,
        }
    }

    pub(crate) fn outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    pub(crate) fn cause(mut self, cause: String) -> Self {
        self.cause = Some(cause);
        self
    }

    pub(crate) fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    /// The connection cannot be used again: part of the request is still to come.
    pub(crate) fn close(mut self) -> Self {
        self.close = true;
        self
    }

    /// Adds a member.
    pub(crate) fn with(self, name: &'static str, value: impl Serialize) -> Self {
        // Only strings and numbers are ever given; they can be encoded.
        let json = serde_json::to_vec(&value).unwrap_or_else(|_| b"null".to_vec());
        self.with_json(name, json)
    }

    /// Adds a member that is JSON already.
    pub(crate) fn with_json(mut self, name: &'static str, json: Vec<u8>) -> Self {
        self.members.push((name, json));
        self
    }

    /// The body: the fixed members first, in a fixed order.
    fn body(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Fixed<'a> {
            r#type: &'a str,
            title: &'a str,
            status: u16,
            detail: &'a str,
            outcome: &'a str,
        }
        let urn = format!("{}{}", ProblemKind::URN_PREFIX, self.kind.slug());
        let fixed = Fixed {
            r#type: &urn,
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: &self.detail,
            outcome: match self.outcome {
                Outcome::None => "none",
                Outcome::Unknown => "unknown",
            },
        };
        let mut body = serde_json::to_vec(&fixed).unwrap_or_else(|_| b"{}".to_vec());
        for (name, json) in &self.members {
            body.pop();
            body.extend_from_slice(format!(",\"{name}\":").as_bytes());
            body.extend_from_slice(json);
            body.push(b'}');
        }
        body
    }

    pub(crate) fn into_response(self) -> Response {
        let status = self.kind.status();
        let mut response = Response::new(Body::from(self.body()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(self.retry_after)));
        }
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Rounded up, at least one: zero would ask for a busy loop.
fn whole_seconds(pause: Option<Duration>) -> u64 {
    let pause = pause.unwrap_or_default();
    (pause.as_secs() + u64::from(pause.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stand_behind_the_fixed_ones() {
        let problem = Problem::new(ProblemKind::Rejected, "no \"credit\"")
            .with_json("rejection", b"{\"a\":[1]}".to_vec());
        let body = String::from_utf8(problem.body()).expect("UTF-8");
        assert_eq!(
            body,
            "{\"type\":\"urn:abide:problem:rejected\",\"title\":\"The entity rejected the command\",\"status\":409,\
             \"detail\":\"no \\\"credit\\\"\",\"outcome\":\"none\",\"rejection\":{\"a\":[1]}}"
        );
    }

    #[test]
    fn a_pause_is_rounded_up_to_whole_seconds() {
        for (pause, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (29_500, 30)] {
            assert_eq!(whole_seconds(Some(Duration::from_millis(pause))), seconds);
        }
        assert_eq!(whole_seconds(None), 1);
    }
}
