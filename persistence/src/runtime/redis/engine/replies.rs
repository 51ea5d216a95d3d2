//! What a server's answer means for what was sent.
//!
//! Three kinds: it was *done*; it was *refused* before anything was executed, so the same bytes may be sent
//! again and nothing of this sending will ever show; or nobody knows, and then it is in *doubt*.

use redis::Value;

use super::token;
use crate::ids::SequenceNr;
use crate::journal::Token;
use crate::runtime::redis::connector::Address;

/// What one command of a flight came to.
#[derive(Debug, PartialEq)]
pub(crate) enum Reply {
    /// It ran, and this is what it says.
    Done(Value),
    /// It did not run.
    Refused {
        /// In the server's words.
        reason: String,
        /// What to do before it is sent again.
        then: Then,
    },
    /// A key holds something that Abide did not write; nothing ran.
    Foreign(String),
    /// It may have run.
    Doubt(String),
}

/// What a refusal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The server does not have the script.
    LoadScripts,
    /// Somebody else owns the slot.
    LookAround,
    /// Nothing but time.
    Wait,
}

/// Reads one answer.
pub(crate) fn reply(value: Value) -> Reply {
    let Value::ServerError(error) = value else { return Reply::Done(value) };
    let detail = error.details().unwrap_or_default();
    let reason = format!("{} {detail}", error.code()).trim_end().to_owned();
    let then = match error.code() {
        "NOSCRIPT" => Then::LoadScripts,
        "MOVED" | "READONLY" | "CLUSTERDOWN" | "MASTERDOWN" => Then::LookAround,
        "ASK" | "TRYAGAIN" | "LOADING" | "BUSY" | "OOM" | "NOREPLICAS" | "MISCONF" | "NOAUTH"
        | "WRONGPASS" => Then::Wait,
        // Outside of a script the command did not run. Inside, an earlier command of it may have.
        "NOPERM" if !detail.contains("script") => Then::Wait,
        "WRONGTYPE" => return Reply::Foreign(reason),
        // `UNBLOCKED`, which comes in place of a WAIT's number, and whatever a later server invents.
        _ => return Reply::Doubt(reason),
    };
    Reply::Refused { reason, then }
}

/// What the append script says.
#[derive(Debug, PartialEq)]
pub(crate) enum Appended {
    /// Stored, now or by an earlier sending.
    Stored,
    /// Another token holds the shard.
    Fenced(Held),
    /// The stream of this append, counted from 1, ends elsewhere.
    Conflict {
        /// Which.
        append: usize,
        /// Where it ends.
        found: SequenceNr,
    },
}

/// What the token's key holds.
#[derive(Debug, PartialEq)]
pub(crate) enum Held {
    /// Nothing.
    Nobody,
    /// A token.
    Token(Token),
    /// Something else.
    Foreign(String),
}

impl Held {
    /// From a `GET`.
    pub(crate) fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Nil => Some(Self::Nobody),
            Value::BulkString(text) => Some(match token::decode(text) {
                Some(token) => Self::Token(token),
                None => Self::Foreign(String::from_utf8_lossy(&text[..text.len().min(64)]).into_owned()),
            }),
            _ => None,
        }
    }

    pub(crate) fn token(&self) -> Option<Token> {
        if let Self::Token(token) = self { Some(*token) } else { None }
    }
}

/// Reads the answer of the append script; `None` if it is not one.
pub(crate) fn appended(value: &Value) -> Option<Appended> {
    match value {
        Value::Int(1 | 2) => Some(Appended::Stored),
        Value::Array(parts) => match parts.as_slice() {
            [Value::Int(0)] => Some(Appended::Fenced(Held::Nobody)),
            [Value::Int(0), held] => Held::read(held).map(Appended::Fenced),
            [Value::Int(-1), Value::Int(append), Value::BulkString(found)] => Some(Appended::Conflict {
                append: usize::try_from(*append).ok()?,
                found: SequenceNr(std::str::from_utf8(found).ok()?.parse().ok()?),
            }),
            _ => None,
        },
        _ => None,
    }
}

/// The replicas that a primary has connected and in sync, from its `ROLE`; `None` if it is no primary.
pub(crate) fn connected_replicas(role: &Value) -> Option<Vec<Address>> {
    let Value::Array(parts) = role else { return None };
    let [name, _offset, Value::Array(replicas), ..] = parts.as_slice() else { return None };
    (text(name)? == "master").then_some(())?;
    let replica = |value: &Value| {
        let Value::Array(parts) = value else { return None };
        let [host, port, ..] = parts.as_slice() else { return None };
        Some(Address::new(text(host)?, text(port)?.parse().ok()?))
    };
    replicas.iter().map(replica).collect()
}

/// The text of a string reply.
pub(crate) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}
