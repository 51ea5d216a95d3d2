//! `GET /v1/entities/{type}`: the ids of a type that have events, in pages.
//!
//! Shard after shard, each in the order of its bytes. A cursor is the shard's number and the last id in it,
//! in hexadecimal, so that it needs no encoding in a URL; clients must not look inside.

use std::sync::Arc;

use abide_persistence::{EntityId, ShardId};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::response::Response;
use serde::Serialize;

use crate::gateway::Gateway;
use crate::headers;
use crate::operations;
use crate::problem::{Problem, ProblemKind};
use crate::query::{self, Query};
use crate::reading::{answered, unread, within};
use crate::target;
use crate::traffic::Route;

/// Ids in a page, unless asked otherwise.
const DEFAULT_LIMIT: u64 = 100;
/// Most ids in a page.
pub(crate) const MAX_LIMIT: u64 = 1000;
/// Shards that one request looks into; one look-up each. Where most are empty, a page may be short, and its
/// cursor leads on.
const MAX_SHARDS: u32 = 4096;

#[derive(Serialize)]
struct Page {
    ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

pub(crate) async fn ids(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let work = answered(&gateway, &head, body, page(&gateway, &head));
    gateway.observed(Route::Ids, &head.method, work).await
}

async fn page(gateway: &Gateway, head: &Parts) -> Result<Response, Problem> {
    let unknown = || Problem::new(ProblemKind::UnknownPath, "the ids of a type are at /v1/entities/{type}");
    let name = target::entity_type(head.uri.path()).ok_or_else(unknown)?;
    let name = name.map_err(|malformed| Problem::new(ProblemKind::BadTarget, malformed.words()))?;
    let entity_type = gateway.region.find_type(&name).ok_or_else(|| gateway.unknown_type(&name))?;
    headers::refuse_unsupported(&head.headers)?;
    headers::refuse_condition(&head.headers)?;
    let limit = headers::timeout(&head.headers, &gateway.config)?;
    let query = Query::read(head.uri.query(), &["limit", "after"])?;
    let wanted = query.number("limit", 1..=MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT) as usize;
    let shards = gateway.region.shards().get();
    let (mut shard, mut after) = match query.text("after") {
        None => (0, None),
        Some(cursor) => cursor_from(cursor).filter(|(shard, _)| *shard < shards).ok_or_else(|| {
            query::refused("after".to_owned(), "`after` is the `next` of an earlier page".to_owned())
        })?,
    };
    let walk = async {
        let mut page = Page { ids: Vec::new(), next: None };
        let end = shards.min(shard.saturating_add(MAX_SHARDS));
        while shard < end {
            let room = wanted - page.ids.len();
            let found = gateway.region.persistence_ids(entity_type, ShardId(shard), after.take(), room);
            let found = found.await.map_err(unread)?;
            page.ids.extend(found.ids.iter().map(|id| id.as_str().to_owned()));
            if found.more {
                page.next = Some(cursor_to(shard, found.ids.last()));
                return Ok(page);
            }
            shard += 1;
            if page.ids.len() >= wanted {
                break;
            }
        }
        page.next = (shard < shards).then(|| cursor_to(shard, None));
        Ok(page)
    };
    Ok(operations::json(axum::http::StatusCode::OK, &within(limit, walk).await?))
}

fn cursor_to(shard: u32, after: Option<&EntityId>) -> String {
    let id = after.map_or(&[][..], |id| id.as_str().as_bytes());
    let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{shard}.{hex}")
}

fn cursor_from(cursor: &str) -> Option<(u32, Option<EntityId>)> {
    let (shard, hex) = cursor.split_once('.')?;
    let shard = u32::try_from(query::whole(shard)?).ok()?;
    if hex.is_empty() {
        return Some((shard, None));
    }
    let digits: Option<Vec<u32>> = hex.chars().map(|digit| digit.to_digit(16)).collect();
    let (pairs, []) = digits.as_ref()?.as_chunks::<2>() else { return None };
    let bytes = pairs.iter().map(|[high, low]| (high * 16 + low) as u8).collect();
    Some((shard, Some(EntityId::new(&String::from_utf8(bytes).ok()?).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        for id in ["a", "ü/€ +%&=", "x|y", "."] {
            let id = EntityId::new(id).expect("an entity id");
            let cursor = cursor_to(7, Some(&id));
            assert!(cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.'), "{cursor}");
            assert_eq!(cursor_from(&cursor), Some((7, Some(id))));
        }
        assert_eq!(cursor_from(&cursor_to(0, None)), Some((0, None)));
    }

    #[test]
    fn what_is_no_cursor_is_none() {
        for bad in [
            "",
            "7",
            ".",
            ".61",
            "-1.",
            "7.6",
            "7.6g",
            "7.ff",
            "7.0a",
            "7.61.62",
            "4294967296.",
            "+7.61",
            "7.é",
        ] {
            assert_eq!(cursor_from(bad), None, "{bad}");
        }
    }
}
