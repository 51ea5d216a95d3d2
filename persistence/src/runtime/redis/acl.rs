//! What a user of the servers must be allowed, and nothing else.
//!
//! Pure. The lists are the only place where the store's commands are named for an access list; that they are
//! enough is proven by tests that run under the rule.

/// On keys, directly or in scripts. Redis checks a script's commands against the same user.
const ON_KEYS: [&str; 18] = [
    "get",
    "set",
    "del", // tokens
    "hget",
    "hgetall",
    "hset",
    "hlen",
    "hkeys",
    "hdel", // what the journal was first used with, bases, snapshots
    "rpush",
    "llen",
    "lrange",
    "ltrim", // events
    "zadd",
    "zrange",
    "zcard", // ids
    "evalsha",
    "script|load",
];

/// About the server and the connection. `AUTH` is always allowed.
const ON_SERVERS: [&str; 12] = [
    "ping",
    "select",
    "client|setname", // connections
    "wait",
    "role",
    "info",
    "config|get", // acknowledgements and checks
    "cluster|slots",
    "cluster|shards",
    "cluster|nodes",
    "cluster|info",
    "cluster|myid",
];

/// At Sentinels.
const ON_SENTINELS: [&str; 8] = [
    "ping",
    "client|setname",
    "role",
    "info", //
    "sentinel|master",
    "sentinel|replicas",
    "sentinel|sentinels",
    "sentinel|get-master-addr-by-name",
];

/// The rule for a user of the servers, without its password: what follows `ACL SETUSER <name>`. With
/// `wait_aof` it names a command that servers know from Redis 7.2 on.
pub fn rule(key_prefix: &str, wait_aof: bool) -> String {
    let prefix: String = key_prefix.chars().flat_map(escaped).collect();
    let all = ON_KEYS.iter().chain(&ON_SERVERS).chain(wait_aof.then_some(&"waitaof"));
    format!("on resetkeys ~{{{prefix}:*}}:* ~{prefix}:meta resetchannels {}", allowed(all))
}

/// The rule for a user of the Sentinels.
pub fn sentinel_rule() -> String {
    format!("on resetkeys resetchannels {}", allowed(ON_SENTINELS.iter()))
}

fn allowed<'a>(commands: impl Iterator<Item = &'a &'a str>) -> String {
    commands.fold("-@all".to_owned(), |rule, name| format!("{rule} +{name}"))
}

/// A prefix is no pattern.
fn escaped(c: char) -> impl Iterator<Item = char> {
    let backslash = matches!(c, '*' | '?' | '[' | ']' | '\\').then_some('\\');
    backslash.into_iter().chain([c])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_those_of_the_prefix_alone() {
        let plain = rule("sh*p", false);
        assert!(plain.contains(r" ~{sh\*p:*}:* ~sh\*p:meta "), "{plain}");
        assert!(plain.contains("-@all +get ") && !plain.contains("waitaof"), "{plain}");
        assert!(rule("shop", true).ends_with(" +waitaof"));
    }

    #[test]
    fn no_command_is_named_twice() {
        let mut all: Vec<_> = ON_KEYS.iter().chain(&ON_SERVERS).collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
