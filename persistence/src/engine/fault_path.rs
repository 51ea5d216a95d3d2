//! Where in a body the fault is.
//!
//! A decoder tells where it stands while it reads. Some types are read into a buffer first and decoded from
//! there, above all enums that are tagged inside (`#[serde(tag = "…")]`); then it knows no more than where
//! the buffer began. So a body that was refused is decoded again, with changes, to see which part of it the
//! refusal hangs on:
//!
//! - A decoder stops at the first fault. What it has not reached yet can be changed without changing its
//!   words; the fault itself cannot. So of all places that the words may mean, the fault is the *last* one
//!   whose change changes the words.
//! - Changing all places from one on either changes the words or does not, with a single step from "does" to
//!   "does not": that step is found by halving.
//!
//! What is guaranteed: the path leads to the fault, or to something that holds it. It is exact for a missing,
//! unknown or repeated field, a wrong type or value, an unknown variant and a wrong length. It stays at what
//! the decoder knew for bodies beyond [`MAX_BYTES`], for untagged enums (no variant fits, so no place is at
//! fault more than another), and where a type's own words leave open what they mean.

use std::fmt::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Larger bodies are not looked into: each look decodes the whole, and others wait for the lane meanwhile.
const MAX_BYTES: usize = 16 << 10;
/// Bytes that are decoded for one refusal, all looks together. Some milliseconds.
const MAX_WORK: usize = 2 << 20;
/// Tags that are passed over before giving up.
const MAX_TAGS: usize = 8;

/// The path of the fault in `json`, which is no `C`; `known` is what the decoder knew.
pub(super) fn locate<C: DeserializeOwned>(json: &[u8], known: String) -> String {
    if json.len() > MAX_BYTES {
        return known;
    }
    let Ok(body) = serde_json::from_slice::<Node>(json) else { return known };
    let Some(words) = refusal::<C>(&body) else { return known };
    let found = search::<C>(&body, &words, MAX_WORK / json.len().max(1)).map(|place| place.render());
    // What the decoder knew is true; the search may only go on from there.
    found.filter(|found| known == "." || leads_on(&known, found)).unwrap_or(known)
}

fn leads_on(known: &str, found: &str) -> bool {
    found.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// JSON as it was written: members keep their order, and repeated ones are kept.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Scalar(serde_json::Value),
    Seq(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// Steps from the root: the n-th element, or the n-th member.
type Steps = Vec<usize>;

/// A place that the words may mean.
#[derive(Clone, Debug)]
struct Place {
    steps: Steps,
    /// Its keys and indices, and the member that the words name, if it is not a value's own place.
    path: String,
    change: Change,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    /// Another value stands there.
    Replace,
    /// The map gets the missing member, behind all others.
    Insert,
    /// The member is gone.
    Remove,
}

impl Place {
    fn render(self) -> String {
        if self.path.is_empty() { ".".to_owned() } else { self.path }
    }
}

/// Values of every kind; whatever is right at a place, most of them are wrong there.
fn probes() -> [Node; 6] {
    use serde_json::Value;
    [
        Node::Scalar(Value::String("\u{1f50e} abide looks for a fault".to_owned())),
        Node::Scalar(Value::from(7_203_981)),
        Node::Scalar(Value::Bool(true)),
        Node::Scalar(Value::Null),
        Node::Seq(Vec::new()),
        Node::Map(Vec::new()),
    ]
}

/// `None` if there is no such place, or it takes more than so many looks.
fn search<C: DeserializeOwned>(body: &Node, words: &str, mut looks: usize) -> Option<Place> {
    let meaning = Meaning::of(words);
    let mut places = Vec::new();
    collect(body, &meaning, &mut Vec::new(), &mut String::new(), &mut places);
    let matters = |places: &[Place], name: &str| {
        probes().iter().any(|probe| {
            let changed =
                places.iter().rev().fold(body.clone(), |body, place| place.apply(body, probe, name));
            refusal::<C>(&changed).as_deref() != Some(words)
        })
    };
    let name = meaning.name().to_owned();
    for _ in 0..MAX_TAGS {
        // The last place from which on a change matters.
        let (mut low, mut high) = (0, places.len());
        while low < high {
            looks = looks.checked_sub(probes().len())?;
            let middle = low + (high - low) / 2;
            if matters(&places[middle..], &name) { low = middle + 1 } else { high = middle }
        }
        let last = low.checked_sub(1)?;
        let place = places[last].clone();
        if !is_tag::<C>(body, &place, words) {
            return Some(match meaning {
                Meaning::Own => widened(body, place),
                _ => place,
            });
        }
        // A tag is read before its siblings, wherever it stands.
        places.remove(last);
    }
    None
}

/// Whether a place is one that decides how others are read, and is not itself what the words mean.
fn is_tag<C: DeserializeOwned>(body: &Node, place: &Place, words: &str) -> bool {
    let unknown_variant = "unknown variant `";
    matches!(place.change, Change::Replace)
        && !words.starts_with(unknown_variant)
        && refusal::<C>(&place.apply(body.clone(), &probes()[0], ""))
            .is_some_and(|words| words.starts_with(unknown_variant))
}

/// A type's own words may be about the last value that was read, or about all that ended with it.
fn widened(body: &Node, mut place: Place) -> Place {
    while let Some((&at, parent)) = place.steps.split_last()
        && body.at(parent).is_some_and(|parent| parent.len() == at + 1)
    {
        place.path = body.path_of(parent);
        place.steps.pop();
    }
    place
}

/// What a decoder's words say about the place.
enum Meaning {
    Missing(String),
    Unknown(String),
    Repeated(String),
    Variant(String),
    /// The words themselves: they begin with what was found.
    Found(String),
    /// Words of the type's own.
    Own,
}

impl Meaning {
    fn of(words: &str) -> Self {
        let named = |prefix: &str| {
            let rest = words.strip_prefix(prefix)?;
            let end = rest.find("`, ").or_else(|| rest.rfind('`'))?;
            Some(rest[..end].to_owned())
        };
        if let Some(name) = named("missing field `") {
            Self::Missing(name)
        } else if let Some(name) = named("unknown field `") {
            Self::Unknown(name)
        } else if let Some(name) = named("duplicate field `") {
            Self::Repeated(name)
        } else if let Some(name) = named("unknown variant `") {
            Self::Variant(name)
        } else if let Some(found) = ["invalid type: ", "invalid value: ", "invalid length "]
            .iter()
            .find_map(|prefix| words.strip_prefix(prefix))
        {
            Self::Found(found.to_owned())
        } else {
            Self::Own
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Missing(name) | Self::Unknown(name) | Self::Repeated(name) | Self::Variant(name) => name,
            Self::Found(_) | Self::Own => "",
        }
    }

    /// Whether a value may be what was found.
    fn fits(&self, node: &Node) -> bool {
        match self {
            Self::Found(words) => {
                let length = format!("{}, ", node.len());
                node.described().iter().any(|found| words.starts_with(&format!("{found}, ")))
                    || (!matches!(node, Node::Scalar(_)) && words.starts_with(&length))
            }
            Self::Variant(name) => *node == Node::Scalar(serde_json::Value::String(name.clone())),
            Self::Own => node.len() == 0,
            Self::Missing(_) | Self::Unknown(_) | Self::Repeated(_) => false,
        }
    }
}

/// Gathers the places that the words may mean, in the order in which a decoder comes to them.
fn collect(node: &Node, meaning: &Meaning, steps: &mut Steps, path: &mut String, places: &mut Vec<Place>) {
    if meaning.fits(node) {
        places.push(Place { steps: steps.clone(), path: path.clone(), change: Change::Replace });
    }
    let length = path.len();
    match node {
        Node::Scalar(_) => {}
        Node::Seq(items) => {
            for (at, item) in items.iter().enumerate() {
                steps.push(at);
                let _ = write!(path, "[{at}]");
                collect(item, meaning, steps, path, places);
                path.truncate(length);
                steps.pop();
            }
        }
        Node::Map(members) => {
            let name = meaning.name();
            let mut seen = false;
            for (at, (key, value)) in members.iter().enumerate() {
                steps.push(at);
                path.push_str(if path.is_empty() { "" } else { "." });
                path.push_str(key);
                let is_named = key == name;
                let named = match meaning {
                    Meaning::Unknown(_) | Meaning::Variant(_) => is_named,
                    Meaning::Repeated(_) => is_named && seen,
                    Meaning::Missing(_) | Meaning::Found(_) | Meaning::Own => false,
                };
                seen |= is_named;
                if named {
                    places.push(Place { steps: steps.clone(), path: path.clone(), change: Change::Remove });
                }
                collect(value, meaning, steps, path, places);
                path.truncate(length);
                steps.pop();
            }
            if matches!(meaning, Meaning::Missing(_)) && !seen {
                places.push(Place { steps: steps.clone(), path: path.clone(), change: Change::Insert });
            }
        }
    }
}

impl Place {
    /// The body with a change at this place.
    fn apply(&self, mut body: Node, probe: &Node, name: &str) -> Node {
        let (steps, last) = match (self.change, self.steps.split_last()) {
            (Change::Remove, Some((last, parent))) => (parent, Some(*last)),
            _ => (self.steps.as_slice(), None),
        };
        // A place inside another one that was changed before is gone, and needs no change.
        if let Some(node) = body.at_mut(steps) {
            match (self.change, &mut *node, last) {
                (Change::Replace, ..) => *node = probe.clone(),
                (Change::Insert, Node::Map(members), _) => members.push((name.to_owned(), probe.clone())),
                // Renamed rather than taken out: the steps of the others stay.
                (Change::Remove, Node::Map(members), Some(at)) => {
                    if let Some((key, value)) = members.get_mut(at) {
                        key.push('\u{1f50e}');
                        *value = probe.clone();
                    }
                }
                _ => {}
            }
        }
        body
    }
}

impl Node {
    fn len(&self) -> usize {
        match self {
            Self::Scalar(_) => 0,
            Self::Seq(items) => items.len(),
            Self::Map(members) => members.len(),
        }
    }

    fn child(&self, at: usize) -> Option<&Self> {
        match self {
            Self::Scalar(_) => None,
            Self::Seq(items) => items.get(at),
            Self::Map(members) => members.get(at).map(|(_, value)| value),
        }
    }

    fn at(&self, steps: &[usize]) -> Option<&Self> {
        steps.iter().try_fold(self, |node, at| node.child(*at))
    }

    fn at_mut(&mut self, steps: &[usize]) -> Option<&mut Self> {
        steps.iter().try_fold(self, |node, at| match node {
            Self::Scalar(_) => None,
            Self::Seq(items) => items.get_mut(*at),
            Self::Map(members) => members.get_mut(*at).map(|(_, value)| value),
        })
    }

    fn path_of(&self, steps: &[usize]) -> String {
        let (mut path, mut node) = (String::new(), self);
        for at in steps {
            match node {
                Self::Map(members) => {
                    let key = members.get(*at).map_or("", |(key, _)| key);
                    path.push_str(if path.is_empty() { "" } else { "." });
                    path.push_str(key);
                }
                Self::Scalar(_) | Self::Seq(_) => {
                    let _ = write!(path, "[{at}]");
                }
            }
            let Some(child) = node.child(*at) else { break };
            node = child;
        }
        path
    }

    /// How decoders call it when they did not expect it.
    fn described(&self) -> Vec<String> {
        use serde_json::Value;
        match self {
            Self::Scalar(Value::Null) => {
                vec!["null".to_owned(), "unit value".to_owned(), "Option value".to_owned()]
            }
            Self::Scalar(Value::Bool(value)) => vec![format!("boolean `{value}`")],
            Self::Scalar(Value::Number(number)) if number.is_f64() => {
                vec![format!("floating point `{number}`"), "number".to_owned()]
            }
            Self::Scalar(Value::Number(number)) => vec![format!("integer `{number}`"), "number".to_owned()],
            Self::Scalar(Value::String(text)) => {
                vec![format!("string {text:?}"), format!("character `{text}`")]
            }
            Self::Seq(_) | Self::Scalar(Value::Array(_)) => vec!["sequence".to_owned()],
            Self::Map(_) | Self::Scalar(Value::Object(_)) => vec!["map".to_owned()],
        }
    }
}

/// Why a body is no `C`, without line and column; `None` if it is one.
fn refusal<C: DeserializeOwned>(body: &Node) -> Option<String> {
    let json = serde_json::to_vec(body).ok()?;
    // A decoder that panics over a probe says no, too.
    let decoded = catch_unwind(AssertUnwindSafe(|| serde_json::from_slice::<C>(&json).map(drop)));
    let Ok(decoded) = decoded else { return Some(String::new()) };
    let error = decoded.err()?;
    let words = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    Some(words.strip_suffix(&position).map_or(words.clone(), str::to_owned))
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Scalar(serde_json::Value::Null))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
                Ok(Node::Scalar(value.into()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
                Ok(Node::Scalar(value.into()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
                Ok(Node::Scalar(value.into()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
                Ok(Node::Scalar(value.into()))
            }
            fn visit_str<E>(self, value: &str) -> Result<Node, E> {
                Ok(Node::Scalar(value.into()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Node::Seq(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Node::Map(members))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Scalar(value) => value.serialize(serializer),
            Self::Seq(items) => {
                let mut seq = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| seq.serialize_element(item))?;
                seq.end()
            }
            Self::Map(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                members.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
                map.end()
            }
        }
    }
}

#[cfg(test)]
#[path = "tests/fault_path.rs"]
mod tests;
