//! `GET /v1/entities/{type}/{id}/events`: an entity's acknowledged events, in pages or live.
//!
//! Read from the journal, which shows only what it has acknowledged; the entity is not asked.

mod live;
mod shown;

use std::sync::Arc;

use abide_persistence::SequenceNr;
use abide_sharding::Address;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, HeaderName, HeaderValue, LINK};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use crate::entity;
use crate::gateway::Gateway;
use crate::headers;
use crate::operations;
use crate::problem::{Problem, ProblemKind};
use crate::query::{self, Query};
use crate::reading::{answered, unread, within};
use crate::target;
use crate::traffic::Route;

/// Events in a page, unless asked otherwise.
const DEFAULT_LIMIT: u64 = 100;
/// Most events in a page.
pub(crate) const MAX_LIMIT: u64 = 1000;
/// A page ends after the event that reaches this many bytes, as stored.
const PAGE_BYTES: usize = 1 << 20;
/// The last event that a client of a live stream has seen.
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

pub(crate) async fn events(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let work = answered(&gateway, &head, body, page_or_stream(&gateway, &head));
    gateway.observed(Route::Events, &head.method, work).await
}

async fn page_or_stream(gateway: &Arc<Gateway>, head: &Parts) -> Result<Response, Problem> {
    let path = head.uri.path();
    let unknown = || Problem::new(ProblemKind::UnknownPath, "events are at /v1/entities/{type}/{id}/events");
    let parts = target::events(path).ok_or_else(unknown)?;
    let of = entity::resolve(gateway, parts)?;
    headers::refuse_unsupported(&head.headers)?;
    headers::refuse_condition(&head.headers)?;
    let limit = headers::timeout(&head.headers, &gateway.config)?;
    let query = Query::read(head.uri.query(), &["from", "limit"])?;
    let from = query.number("from", 1..=u64::MAX)?;
    if accepts_stream(&head.headers) {
        if query.text("limit").is_some() {
            let words = "a live stream has no `limit`; leave it out, or do not accept text/event-stream";
            return Err(query::refused("limit".to_owned(), words.to_owned()));
        }
        let seen = last_event_id(&head.headers)?;
        // A client that connects again sends the same `from`, and what it has seen since.
        let from = seen.map_or(from.unwrap_or(1), |seen| seen.saturating_add(1));
        return live::stream(gateway, of, SequenceNr(from));
    }
    let from = SequenceNr(from.unwrap_or(1));
    let wanted = query.number("limit", 1..=MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT) as usize;
    within(limit, page(gateway, &of, from, wanted, path)).await
}

async fn page(
    gateway: &Gateway,
    of: &Address,
    from: SequenceNr,
    wanted: usize,
    path: &str,
) -> Result<Response, Problem> {
    let all = SequenceNr(u64::MAX);
    let page = gateway.region.read_events(of, from, all, wanted, PAGE_BYTES).await.map_err(unread)?;
    let mut number = from.max(page.deleted_to.next());
    let mut body = b"{\"events\":[".to_vec();
    for (at, event) in page.events.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        shown::write(&gateway.region, of, number, event, &mut body);
        number = number.next();
    }
    let next = (!page.events.is_empty() && number <= page.last).then_some(number);
    body.extend_from_slice(format!("],\"last\":{},\"deleted_to\":{}", page.last, page.deleted_to).as_bytes());
    if let Some(next) = next {
        body.extend_from_slice(format!(",\"next\":{next}").as_bytes());
    }
    body.push(b'}');
    let mut response = operations::text("application/json", body);
    *response.status_mut() = StatusCode::OK;
    let link = next.map(|next| format!("<{path}?from={next}&limit={wanted}>; rel=\"next\""));
    if let Some(Ok(link)) = link.map(HeaderValue::try_from) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

/// Whether the client names `text/event-stream` among what it takes; `*/*` is no wish for a stream.
fn accepts_stream(headers: &HeaderMap) -> bool {
    let ranges = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    ranges.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/event-stream"));
        let refused = |part: &str| {
            part.strip_prefix("q=").and_then(|q| q.trim().parse::<f32>().ok()).is_some_and(|q| q <= 0.0)
        };
        named && !parts.any(refused)
    })
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let mut values = headers.get_all(LAST_EVENT_ID).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let number = value.to_str().ok().filter(|text| !text.is_empty()).and_then(query::whole);
    match number {
        Some(number) if values.next().is_none() => Ok(Some(number)),
        _ => {
            let words = "Last-Event-ID is one sequence number, as the stream's `id:` told it";
            Err(Problem::new(ProblemKind::BadHeader, words))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_wanted_by_name() {
        for (accept, wanted) in [
            ("text/event-stream", true),
            ("application/json, Text/Event-Stream;q=0.5", true),
            ("text/event-stream; q=0", false),
            ("text/event-stream;q=0.0, */*", false),
            ("*/*", false),
            ("text/*", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(accepts_stream(&headers), wanted, "{accept}");
        }
    }
}
