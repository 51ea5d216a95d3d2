//! What a request's headers ask for, and which of them are refused.

use std::time::Duration;

use abide_persistence::SequenceNr;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, IF_MATCH};

use crate::config::ApiConfig;
use crate::problem::{Problem, ProblemKind};

/// How long the client waits for its answer, in milliseconds.
pub(crate) const TIMEOUT: HeaderName = HeaderName::from_static("abide-timeout-ms");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The time for the request.
pub(crate) fn timeout(headers: &HeaderMap, config: &ApiConfig) -> Result<Duration, Problem> {
    let mut values = headers.get_all(TIMEOUT).iter();
    let Some(value) = values.next() else { return Ok(config.default_timeout) };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let asked = digits.and_then(|text| text.parse().ok()).map(Duration::from_millis);
    match asked.filter(|asked| !asked.is_zero() && *asked <= config.max_timeout) {
        Some(asked) if values.next().is_none() => Ok(asked),
        _ => {
            let max = config.max_timeout.as_millis();
            let words = format!("Abide-Timeout-Ms is one whole number of milliseconds from 1 to {max}");
            Err(Problem::new(ProblemKind::BadHeader, words))
        }
    }
}

/// Refuses what is not supported: a client that relies on it must not believe that it holds.
pub(crate) fn refuse_unsupported(headers: &HeaderMap) -> Result<(), Problem> {
    let words = "Idempotency-Key is not supported yet, and the request was not handled without it";
    refuse(headers, IDEMPOTENCY_KEY, "Idempotency-Key", words)
}

/// Refuses a condition on what cannot be conditional.
pub(crate) fn refuse_condition(headers: &HeaderMap) -> Result<(), Problem> {
    refuse(headers, IF_MATCH, "If-Match", "If-Match is a condition on commands; this request is none")
}

fn refuse(headers: &HeaderMap, name: HeaderName, written: &str, words: &'static str) -> Result<(), Problem> {
    if headers.contains_key(name) {
        return Err(Problem::new(ProblemKind::NotSupported, words).with("header", written));
    }
    Ok(())
}

/// The last event that the entity must have for the command to be handled, if there is a condition.
pub(crate) fn expected(headers: &HeaderMap) -> Result<Option<SequenceNr>, Problem> {
    let mut values = headers.get_all(IF_MATCH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let quoted = value.to_str().ok().and_then(|text| text.strip_prefix('"')?.strip_suffix('"'));
    let digits = quoted.filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(number) if values.next().is_none() => Ok(Some(SequenceNr(number))),
        _ => {
            let words = "If-Match is one ETag of this entity as it was given, such as \"7\" with its quotes";
            Err(Problem::new(ProblemKind::BadHeader, words))
        }
    }
}

/// Refuses a body that does not say that it is JSON.
pub(crate) fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let refuse = |words: String| Err(Problem::new(ProblemKind::UnsupportedMediaType, words));
    const REMEDY: &str = "send the command as JSON with `content-type: application/json` \
                          (curl: -H 'content-type: application/json')";
    match headers.get(CONTENT_TYPE) {
        None => return refuse(format!("the body has no content type; {REMEDY}")),
        Some(value) if !is_json(value.as_bytes()) => {
            let given = String::from_utf8_lossy(value.as_bytes());
            return refuse(format!("the body is `{given}`; {REMEDY}"));
        }
        Some(_) => {}
    }
    match headers.get(CONTENT_ENCODING) {
        Some(value) if !value.as_bytes().eq_ignore_ascii_case(b"identity") => {
            refuse("a body with a content encoding is not understood; send it as it is".to_owned())
        }
        _ => Ok(()),
    }
}

/// `application/json`, or a type that ends with `+json`; parameters are ignored, JSON is always UTF-8.
fn is_json(content_type: &[u8]) -> bool {
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let suffix = essence.len().checked_sub(5).map(|at| essence.split_at(at));
    essence.eq_ignore_ascii_case(b"application/json")
        || suffix.is_some_and(|(kind, suffix)| suffix.eq_ignore_ascii_case(b"+json") && kind.contains(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_known_by_its_type_or_suffix() {
        let yes = [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/vnd.x+json",
            "a/b+JSON ;v=1",
        ];
        let no =
            ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "+json", "json", ""];
        assert!(yes.iter().all(|value| is_json(value.as_bytes())));
        assert!(no.iter().all(|value| !is_json(value.as_bytes())));
    }
}
