//! The schemas of the document: problems, events, and each entity type's own.

use std::collections::BTreeMap;

use abide_sharding::TypeSchemas;
use serde_json::{Map, Value, json};

use crate::problem::ProblemKind;

/// Where schemas are in the document.
const SCHEMAS: &str = "#/components/schemas/";

pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("{SCHEMAS}{name}") })
}

/// The name of a problem's schema.
pub(super) fn problem_name(kind: ProblemKind) -> String {
    format!("problem.{}", kind.slug())
}

/// What does not depend on the entity types.
pub(super) fn shared() -> Map<String, Value> {
    let mut all = Map::new();
    all.insert("problem".to_owned(), problem());
    for kind in ProblemKind::ALL {
        let (members, required) = members(kind);
        let mut properties = json!({
            "type": { "const": format!("{}{}", ProblemKind::URN_PREFIX, kind.slug()) },
            "title": { "const": kind.title() },
            "status": { "const": kind.status().as_u16() },
        });
        if let (Some(own), Value::Object(members)) = (properties.as_object_mut(), members) {
            own.extend(members);
        }
        let schema = json!({
            "title": kind.title(),
            "allOf": [reference("problem")],
            "properties": properties,
            "required": required,
        });
        all.insert(problem_name(kind), schema);
    }
    all.insert("sequence_nr".to_owned(), json!({ "type": "integer", "minimum": 0, "format": "uint64" }));
    all.insert("ids".to_owned(), ids());
    all.insert("health".to_owned(), health());
    all.insert("readiness".to_owned(), readiness());
    all.insert(
        "any".to_owned(),
        json!({ "description": "Any JSON. The type was registered without schemas: derive `abide::JsonSchema` on \
            its command, reply, rejection, event and state, and register it with \
            `app.entity_with::<T>(|options| options.schemas())`." }),
    );
    all
}

fn problem() -> Value {
    json!({
        "description": "Why a request was not answered by the entity (RFC 9457).",
        "type": "object",
        "properties": {
            "type": { "type": "string", "description": "Names the kind of problem; stable." },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string", "description": "What happened here, for people." },
            "outcome": {
                "enum": ["none", "unknown"],
                "description": "`none`: the command had no effect and will have none, so sending it again is safe. \
                    `unknown`: it may have taken effect.",
            },
        },
        "required": ["type", "title", "status", "detail", "outcome"],
    })
}

/// The members of a kind beyond those that all have, and which of them are always there.
fn members(kind: ProblemKind) -> (Value, Vec<&'static str>) {
    let text = |what: &str| json!({ "type": "string", "description": what });
    let number = |what: &str| json!({ "type": "integer", "minimum": 0, "description": what });
    match kind {
        ProblemKind::NotACommand => {
            (json!({ "path": text("Where the fault is, such as `lines[2].count`.") }), vec!["path"])
        }
        ProblemKind::UnknownEntityType => {
            let names = json!({ "type": "array", "items": { "type": "string" }, "description": "The types that there are." });
            (json!({ "types": names }), vec![])
        }
        ProblemKind::Rejected => {
            (json!({ "rejection": { "description": "What the entity said." } }), vec!["rejection"])
        }
        ProblemKind::BadParameter => (json!({ "parameter": text("Which one.") }), vec!["parameter"]),
        ProblemKind::BeyondLastEvent => (json!({ "last": number("The entity's last event.") }), vec!["last"]),
        ProblemKind::ConditionFailed => (
            json!({ "last": number("The entity's last event."), "expected": number("The one that was expected.") }),
            vec!["last", "expected"],
        ),
        ProblemKind::EventsDeleted => {
            (json!({ "deleted_to": number("The last event that was deleted.") }), vec!["deleted_to"])
        }
        ProblemKind::BodyTooLarge => (json!({ "max_bytes": number("Largest body.") }), vec!["max_bytes"]),
        ProblemKind::EntityBusy | ProblemKind::NodeBusy | ProblemKind::TooManyStreams => {
            (json!({ "capacity": number("How many there may be.") }), vec!["capacity"])
        }
        ProblemKind::NotSupported => {
            (json!({ "header": text("Which one."), "parameter": text("Which one.") }), vec![])
        }
        _ => (json!({}), vec![]),
    }
}

fn ids() -> Value {
    json!({
        "description": "A page of ids. Only the absence of `next` says that there are no more: a page may be short.",
        "type": "object",
        "properties": {
            "ids": { "type": "array", "items": { "type": "string", "minLength": 1 } },
            "next": { "type": "string", "description": "`after` of the next page." },
        },
        "required": ["ids"],
        "additionalProperties": false,
    })
}

fn health() -> Value {
    let check = json!({
        "type": "object",
        "properties": {
            "name": { "type": "string" },
            "tags": { "type": "array", "items": { "type": "string" } },
            "status": { "enum": ["pass", "degraded", "fail"] },
        },
        "required": ["name", "tags", "status"],
    });
    json!({
        "type": "object",
        "properties": { "status": { "enum": ["pass", "degraded", "fail"] }, "checks": { "type": "array", "items": check } },
        "required": ["status", "checks"],
    })
}

fn readiness() -> Value {
    let reason = json!({
        "type": "object",
        "properties": { "name": { "type": "string" }, "reason": { "type": "string" } },
        "required": ["name", "reason"],
    });
    json!({
        "type": "object",
        "properties": {
            "status": { "enum": ["ready", "not-ready"] },
            "reasons": { "type": "array", "items": reason },
        },
        "required": ["status", "reasons"],
    })
}

/// Adds the schemas of one entity type: `<type>.command`, `.reply`, `.rejection`, `.event`, `.state`, the
/// page of its events, and what these refer to.
pub(super) fn of_type(name: &str, schemas: Option<&TypeSchemas>, all: &mut Map<String, Value>) {
    for role in ["command", "reply", "rejection", "event", "state"] {
        let own = schemas.map(|schemas| match role {
            "command" => &schemas.command,
            "reply" => &schemas.reply,
            "rejection" => &schemas.rejection,
            "event" => &schemas.event,
            _ => &schemas.state,
        });
        let key = format!("{name}.{role}");
        match own {
            Some(schema) => hoist(&key, schema.as_value(), all),
            None => drop(all.insert(key, reference("any"))),
        }
    }
    all.insert(format!("{name}.stored-event"), stored_event(name));
    all.insert(format!("{name}.events"), events(name));
}

fn stored_event(name: &str) -> Value {
    let error = json!({ "type": "string", "description": "Stands in place of `payload` if the event cannot be decoded." });
    json!({
        "description": "An acknowledged event.",
        "type": "object",
        "properties": {
            "sequence_nr": { "type": "integer", "minimum": 1, "format": "uint64" },
            "name": { "type": "string", "description": "The stored name of this kind of event." },
            "version": { "type": "integer", "minimum": 0, "description": "The version of its shape." },
            "time": { "type": "string", "format": "date-time", "description": "When its batch was closed, by the owner's clock." },
            "payload": reference(&format!("{name}.event")),
            "error": error,
        },
        "required": ["sequence_nr"],
        "oneOf": [{ "required": ["payload", "name", "version", "time"] }, { "required": ["error"] }],
        "additionalProperties": false,
    })
}

fn events(name: &str) -> Value {
    json!({
        "description": "A page of events, oldest first.",
        "type": "object",
        "properties": {
            "events": { "type": "array", "items": reference(&format!("{name}.stored-event")) },
            "last": { "description": "The entity's last event.", "allOf": [reference("sequence_nr")] },
            "deleted_to": { "description": "Events up to this one were deleted.", "allOf": [reference("sequence_nr")] },
            "next": { "description": "`from` of the next page, if there is one.", "allOf": [reference("sequence_nr")] },
        },
        "required": ["events", "last", "deleted_to"],
        "additionalProperties": false,
    })
}

/// Adds a schema that is whole by itself under a name, and its definitions beside it: in the document a
/// reference counts from the document's root.
fn hoist(key: &str, schema: &Value, all: &mut Map<String, Value>) {
    let mut schema = schema.clone();
    let definitions = match schema.as_object_mut() {
        Some(object) => {
            object.remove("$schema");
            object.remove("$defs")
        }
        None => None,
    };
    let definitions = match definitions {
        Some(Value::Object(definitions)) => definitions,
        _ => Map::new(),
    };
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for name in definitions.keys() {
        let mut new = format!("{key}.{}", plain(name));
        while names.values().any(|taken| *taken == new) {
            new.push('_');
        }
        names.insert(name.clone(), new);
    }
    for (name, mut definition) in definitions {
        redirect(&mut definition, key, &names);
        if let Some(name) = names.get(&name) {
            all.insert(name.clone(), definition);
        }
    }
    redirect(&mut schema, key, &names);
    all.insert(key.to_owned(), schema);
}

/// Names in the document are made of these characters only.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect()
}

fn redirect(value: &mut Value, key: &str, names: &BTreeMap<String, String>) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(target)) = object.get_mut("$ref") {
                let name = target.strip_prefix("#/$defs/").map(unescaped);
                if target == "#" {
                    *target = format!("{SCHEMAS}{key}");
                } else if let Some(new) = name.and_then(|name| names.get(&name)) {
                    *target = format!("{SCHEMAS}{new}");
                }
            }
            object.values_mut().for_each(|value| redirect(value, key, names));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| redirect(item, key, names)),
        _ => {}
    }
}

/// A name out of a JSON pointer in a URI fragment.
fn unescaped(name: &str) -> String {
    let decoded =
        crate::target::decode(name).map_or_else(|_| name.to_owned(), |decoded| decoded.into_owned());
    decoded.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_move_out_and_references_follow() {
        let schema = json!({
            "$schema": "s", "title": "Tree", "type": "object",
            "properties": {
                "$ref": { "$ref": "#/$defs/A~1B%3CC%3E" },
                "again": { "$ref": "#" },
            },
            "$defs": { "A/B<C>": { "items": { "$ref": "#/$defs/A_B_C_" } }, "A_B_C_": true },
        });
        let mut all = Map::new();
        hoist("tree.state", &schema, &mut all);
        let first = "tree.state.A_B_C_";
        let second = "tree.state.A_B_C__";
        assert_eq!(all.keys().collect::<Vec<_>>(), ["tree.state", first, second]);
        assert_eq!(all["tree.state"]["properties"]["again"], reference("tree.state"));
        assert_eq!(all["tree.state"]["properties"]["$ref"], reference(first));
        assert_eq!(all[first]["items"], reference(second));
    }
}
