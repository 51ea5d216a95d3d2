//! The operations of each route.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::schemas::{problem_name, reference};
use crate::problem::ProblemKind::{self, *};
use crate::traffic::Route;

/// The path item of a route; of an entity type's own, if the route has one in its path.
pub(super) fn operations(route: Route, entity_type: Option<&str>) -> Value {
    let name = entity_type.unwrap_or_default();
    match route {
        Route::Entity => json!({
            "parameters": [id(), timeout()],
            "post": command(name),
            "get": state(name),
        }),
        Route::Events => json!({ "parameters": [id(), timeout()], "get": events(name) }),
        Route::Ids => json!({ "parameters": [timeout()], "get": ids(name) }),
        Route::OpenApi => {
            plain("contract", "This document.", "application/json", json!({ "type": "object" }))
        }
        Route::Docs => {
            plain("docs", "Shows this document to people.", "text/html", json!({ "type": "string" }))
        }
        Route::Livez => {
            plain("livez", "The process makes progress.", "text/plain", json!({ "const": "ok\n" }))
        }
        Route::Metrics => {
            plain("metrics", "All counters, for Prometheus.", "text/plain", json!({ "type": "string" }))
        }
        Route::Readyz => json!({ "get": {
            "operationId": "readyz",
            "tags": ["operations"],
            "summary": "Whether traffic should come, and why not.",
            "responses": responses(
                [("200", "It should.", reference("readiness")), ("503", "It should not.", reference("readiness"))],
                &[GatewayPanicked],
            ),
        } }),
        Route::Healthz => json!({ "get": {
            "operationId": "healthz",
            "tags": ["operations"],
            "summary": "Each health check by its name.",
            "parameters": [{
                "name": "tag", "in": "query", "description": "Only checks with one of these tags.",
                "schema": { "type": "array", "items": { "type": "string" } }, "style": "form", "explode": true,
            }],
            "responses": responses(
                [("200", "None fails; some may be degraded.", reference("health")), ("503", "Some fail.", reference("health"))],
                &[BadTarget, UnknownPath, GatewayPanicked],
            ),
        } }),
        Route::Parked
        | Route::Release
        | Route::ParkedShards
        | Route::AcceptLoss
        | Route::ReleaseShard
        | Route::Unmatched => {
            json!({})
        }
    }
}

fn plain(id: &str, summary: &str, kind: &str, schema: Value) -> Value {
    let mut all = responses([], &[GatewayPanicked]);
    all.insert(
        "200".to_owned(),
        json!({ "description": summary, "content": { kind: { "schema": schema } } }),
    );
    json!({ "get": { "operationId": id, "tags": ["operations"], "summary": summary, "responses": all } })
}

fn id() -> Value {
    json!({
        "name": "id", "in": "path", "required": true,
        "description": "1 to 255 bytes of UTF-8 without control characters, percent-encoded; `/` as `%2F`.",
        "schema": { "type": "string", "minLength": 1, "maxLength": 255 },
    })
}

fn timeout() -> Value {
    json!({
        "name": "Abide-Timeout-Ms", "in": "header", "description": "Deadline of the request, in milliseconds.",
        "schema": { "type": "integer", "minimum": 1 },
    })
}

fn command(name: &str) -> Value {
    const PROBLEMS: &[ProblemKind] = &[
        NotJson,
        BadEntityId,
        BadTarget,
        BadHeader,
        BadParameter,
        BrokenBody,
        UnknownEntityType,
        SlowBody,
        Rejected,
        ConditionFailed,
        BodyTooLarge,
        UnsupportedMediaType,
        NotACommand,
        EventRejected,
        EntityBusy,
        NodeBusy,
        EntityPanicked,
        AnswerNotEncodable,
        Abandoned,
        GatewayPanicked,
        NotSupported,
        EntityParked,
        JournalFailed,
        JournalUnavailable,
        EventsLost,
        JournalDamaged,
        ShardLost,
        NoOwner,
        ShuttingDown,
        Expired,
        TimedOut,
    ];
    let mut all = responses([("200", "The reply.", reference(&format!("{name}.reply")))], PROBLEMS);
    all.insert("204".to_owned(), json!({ "description": "The command ended without a reply." }));
    for status in ["200", "204"] {
        all[status]["headers"] = etag();
    }
    // The rejection is the type's own.
    all["409"]["content"]["application/problem+json"]["schema"] = json!({
        "allOf": [reference(&problem_name(Rejected))],
        "properties": { "rejection": reference(&format!("{name}.rejection")) },
    });
    json!({
        "operationId": format!("command-{name}"),
        "tags": [name],
        "summary": format!("Commands a `{name}`."),
        "parameters": [{
            "name": "If-Match", "in": "header",
            "description": "An `ETag`: the command is handled only if this is still the entity's last event.",
            "schema": { "type": "string" },
        }],
        "requestBody": {
            "required": true,
            "content": { "application/json": { "schema": reference(&format!("{name}.command")) } },
        },
        "responses": all,
    })
}

fn state(name: &str) -> Value {
    const PROBLEMS: &[ProblemKind] = &[
        BadEntityId,
        BadTarget,
        BadHeader,
        BadParameter,
        BeyondLastEvent,
        UnknownEntityType,
        EventsDeleted,
        EntityBusy,
        NodeBusy,
        EntityPanicked,
        AnswerNotEncodable,
        Abandoned,
        GatewayPanicked,
        NotSupported,
        EntityParked,
        JournalFailed,
        EventsLost,
        JournalDamaged,
        ShardLost,
        NoOwner,
        ShuttingDown,
        Expired,
        TimedOut,
    ];
    let mut all = responses([("200", "The state.", reference(&format!("{name}.state")))], PROBLEMS);
    all["200"]["headers"] = etag();
    json!({
        "operationId": format!("state-{name}"),
        "tags": [name],
        "summary": format!("Shows the state of a `{name}`."),
        "parameters": [{
            "name": "at", "in": "query",
            "description": "The state as it was after this event; 0 is the state before the first one.",
            "schema": reference("sequence_nr"),
        }],
        "responses": all,
    })
}

fn events(name: &str) -> Value {
    const PROBLEMS: &[ProblemKind] = &[
        BadEntityId,
        BadTarget,
        BadHeader,
        BadParameter,
        UnknownEntityType,
        NodeBusy,
        GatewayPanicked,
        NotSupported,
        EntityParked,
        JournalFailed,
        TooManyStreams,
        TimedOut,
    ];
    let mut all = responses(
        [("200", "A page of events, or a live stream.", reference(&format!("{name}.events")))],
        PROBLEMS,
    );
    all["200"]["content"]["text/event-stream"] = json!({ "schema": {
        "type": "string",
        "description": format!("Events as they come, by server-sent events. `id` is the sequence number, `event` \
            the event's name, `data` a `{name}.stored-event`. An event `end` without an `id` says why the stream \
            ends: `{{\"reason\": …}}`."),
    } });
    all["200"]["headers"] = json!({ "Link": {
        "description": "The next page, as `rel=\"next\"`.", "schema": { "type": "string" },
    } });
    json!({
        "operationId": format!("events-{name}"),
        "tags": [name],
        "summary": format!("Acknowledged events of a `{name}`, in pages; live with `Accept: text/event-stream`."),
        "parameters": [
            { "name": "from", "in": "query", "description": "First event wanted.",
              "schema": { "type": "integer", "minimum": 1, "default": 1 } },
            limit(crate::events::MAX_LIMIT, "Most events in the page; not with a live stream."),
            { "name": "Last-Event-ID", "in": "header",
              "description": "The last event seen of a live stream; it goes on behind it, whatever `from` says.",
              "schema": reference("sequence_nr") },
        ],
        "responses": all,
    })
}

fn ids(name: &str) -> Value {
    const PROBLEMS: &[ProblemKind] = &[
        BadTarget,
        BadHeader,
        BadParameter,
        UnknownEntityType,
        NodeBusy,
        GatewayPanicked,
        NotSupported,
        EntityParked,
        JournalFailed,
        TimedOut,
    ];
    json!({
        "operationId": format!("ids-{name}"),
        "tags": [name],
        "summary": format!("Ids of every `{name}` that ever had an event, in pages."),
        "parameters": [
            limit(crate::listing::MAX_LIMIT, "Most ids in the page."),
            { "name": "after", "in": "query", "description": "`next` of the page before.", "schema": { "type": "string" } },
        ],
        "responses": responses([("200", "A page of ids.", reference("ids"))], PROBLEMS),
    })
}

fn limit(most: u64, what: &str) -> Value {
    json!({
        "name": "limit", "in": "query", "description": what,
        "schema": { "type": "integer", "minimum": 1, "maximum": most, "default": 100 },
    })
}

fn etag() -> Value {
    json!({ "ETag": {
        "description": "The last event that the answer contains, in quotes.", "schema": { "type": "string" },
    } })
}

/// Responses by status: some with JSON, and the problems.
fn responses<const N: usize>(
    fine: [(&'static str, &str, Value); N],
    problems: &[ProblemKind],
) -> Map<String, Value> {
    let mut all = Map::new();
    for (status, description, schema) in fine {
        let content = json!({ "application/json": { "schema": schema } });
        all.insert(status.to_owned(), json!({ "description": description, "content": content }));
    }
    let mut by_status: BTreeMap<u16, Vec<ProblemKind>> = BTreeMap::new();
    for kind in problems {
        by_status.entry(kind.status().as_u16()).or_default().push(*kind);
    }
    for (status, kinds) in by_status {
        let titles: Vec<_> = kinds.iter().map(|kind| kind.title()).collect();
        let schema = match kinds.as_slice() {
            [kind] => reference(&problem_name(*kind)),
            kinds => {
                json!({ "oneOf": kinds.iter().map(|kind| reference(&problem_name(*kind))).collect::<Vec<_>>() })
            }
        };
        let response = all
            .entry(status.to_string())
            .or_insert_with(|| json!({ "description": format!("{}.", titles.join("; ")), "content": {} }));
        response["content"]["application/problem+json"] = json!({ "schema": schema });
        if matches!(status, 429 | 503) {
            response["headers"] = json!({ "Retry-After": {
                "description": "Seconds after which another try is worth it.", "schema": { "type": "integer", "minimum": 1 },
            } });
        }
    }
    all
}
