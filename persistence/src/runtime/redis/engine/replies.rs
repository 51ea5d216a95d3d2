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
    /// This server is no primary any more, and the name of the primary may lead to another one by now.
    Reconnect,
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
        "READONLY" => Then::Reconnect,
        "MOVED" | "CLUSTERDOWN" | "MASTERDOWN" => Then::LookAround,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Claim, Epoch, Writer};

    fn server_error(line: &str) -> Value {
        redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).expect("an error reply")
    }

    #[test]
    fn what_did_not_run_is_told_from_what_may_have() {
        let refused = [
            ("NOSCRIPT No matching script. Please use EVAL.", Then::LoadScripts),
            ("MOVED 3999 127.0.0.1:6381", Then::LookAround),
            ("READONLY You can't write against a read only replica.", Then::Reconnect),
            ("CLUSTERDOWN Hash slot not served", Then::LookAround),
            ("MASTERDOWN Link with MASTER is down", Then::LookAround),
            ("ASK 3999 127.0.0.1:6381", Then::Wait),
            ("TRYAGAIN Multiple keys request during rehashing of slot", Then::Wait),
            ("LOADING Redis is loading the dataset in memory", Then::Wait),
            ("BUSY Redis is busy running a script.", Then::Wait),
            ("OOM command not allowed when used memory > 'maxmemory'.", Then::Wait),
            ("NOREPLICAS Not enough good replicas to write.", Then::Wait),
            ("MISCONF Redis is configured to save RDB snapshots", Then::Wait),
            ("NOPERM User journal has no permissions to run the 'evalsha' command", Then::Wait),
        ];
        for (line, expected) in refused {
            let Reply::Refused { reason, then } = reply(server_error(line)) else { panic!("{line}") };
            assert_eq!((reason.as_str(), then), (line, expected));
        }
        for line in [
            "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
            "NOPERM this user has no permissions to run 'zadd' script: 0123, on @user_script:12.",
            "ERR something that nobody has heard of",
        ] {
            assert!(matches!(reply(server_error(line)), Reply::Doubt(_)), "{line}");
        }
        let foreign =
            reply(server_error("WRONGTYPE Operation against a key holding the wrong kind of value"));
        assert!(matches!(foreign, Reply::Foreign(_)), "{foreign:?}");
    }

    #[test]
    fn the_answers_of_the_append_script_are_read_whole_or_not_at_all() {
        let token = Token {
            claim: Claim { epoch: Epoch(7), session: 1 },
            batch: 3,
            writer: Writer { cluster: 1, incarnation: 2 },
        };
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let fenced = |held| Value::Array(vec![Value::Int(0), held]);
        assert_eq!(appended(&Value::Int(1)), Some(Appended::Stored));
        assert_eq!(appended(&Value::Int(2)), Some(Appended::Stored));
        assert_eq!(
            appended(&fenced(text(&token::encode(&token)))),
            Some(Appended::Fenced(Held::Token(token)))
        );
        assert_eq!(appended(&fenced(Value::Nil)), Some(Appended::Fenced(Held::Nobody)));
        assert_eq!(appended(&fenced(text(""))), Some(Appended::Fenced(Held::Foreign(String::new()))));
        assert_eq!(
            appended(&fenced(text("mine!"))),
            Some(Appended::Fenced(Held::Foreign("mine!".to_owned())))
        );
        let conflict = Value::Array(vec![Value::Int(-1), Value::Int(2), text("9007199254740993")]);
        let found = SequenceNr(9_007_199_254_740_993);
        assert_eq!(appended(&conflict), Some(Appended::Conflict { append: 2, found }));
        for nonsense in [Value::Nil, Value::Int(0), Value::Int(3), Value::Array(vec![]), text("OK")] {
            assert_eq!(appended(&nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn only_a_primary_names_its_replicas() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let replica = |port: &str| Value::Array(vec![text("10.0.0.2"), text(port), text("3129")]);
        let role = |name: &str, replicas| Value::Array(vec![text(name), Value::Int(3129), replicas]);
        let primary = role("master", Value::Array(vec![replica("1"), replica("2")]));
        assert_eq!(
            connected_replicas(&primary),
            Some(vec![Address::new("10.0.0.2", 1), Address::new("10.0.0.2", 2)])
        );
        assert_eq!(connected_replicas(&role("slave", Value::Array(vec![]))), None);
        assert_eq!(connected_replicas(&server_error("LOADING")), None);
    }
}
