//! What is unsafe about servers as they are set up. Pure: from what they say to findings in plain words.

use std::fmt;
use std::time::Duration;

use super::super::connector::Address;
use super::super::options::{Unsafe, WaitReplicas};
use super::texts::{Info, Settings};

/// Longest time that a lost replica may stay electable: for so long a write waits for it.
const LONGEST_ELECTABLE: Duration = Duration::from_secs(15);
/// The first Redis that knows `WAITAOF`.
const FIRST_WITH_WAITAOF: (u32, u32) = (7, 2);
/// Share of `maxmemory` from which on it is said, in percent.
const NEARLY_FULL: u64 = 85;

/// What becomes of a finding at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Refused: nothing would work, whatever is accepted.
    Unusable,
    /// Refused, unless it is accepted by its name.
    Unsafe(Unsafe),
    /// Only said.
    Note,
}

impl From<Unsafe> for Weight {
    fn from(name: Unsafe) -> Self {
        Self::Unsafe(name)
    }
}

/// One thing about some servers that somebody should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The servers; empty if it is about what we were told ourselves.
    pub servers: Vec<Address>,
    /// What becomes of it.
    pub weight: Weight,
    /// What is set.
    pub set: String,
    /// What it can cost.
    pub cost: String,
    /// How to set it right.
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<_> = self.servers.iter().map(Address::to_string).collect();
        if !servers.is_empty() {
            write!(f, "{}: ", servers.join(", "))?;
        }
        write!(f, "{}: {}; {}", self.set, self.cost, self.remedy)?;
        match self.weight {
            Weight::Unsafe(name) => write!(f, ", or accept it with allow_unsafe = [\"{name}\"]"),
            Weight::Unusable | Weight::Note => Ok(()),
        }
    }
}

impl Finding {
    /// The name by which it can be accepted.
    pub fn accepted_as(&self) -> Option<Unsafe> {
        if let Weight::Unsafe(name) = self.weight { Some(name) } else { None }
    }
}

/// What one server said.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) address: Address,
    pub(super) info: Info,
    pub(super) settings: Settings,
}

/// What we want of the servers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) wait_replicas: WaitReplicas,
    pub(super) wait_aof: bool,
    pub(super) database: u32,
    pub(super) max_value_bytes: usize,
    /// How long Sentinels wait before they call a server down, if Sentinels watch.
    pub(super) down_after: Option<Duration>,
}

/// Everything that is to be said, the same things of several servers together.
pub(super) fn findings(servers: &[Server], wanted: Wanted) -> Vec<Finding> {
    let mut all: Vec<Finding> = Vec::new();
    for server in servers {
        for finding in of_server(server, wanted) {
            match all.iter_mut().find(|other| same(other, &finding)) {
                Some(other) => other.servers.push(server.address.clone()),
                None => all.push(finding),
            }
        }
    }
    all.sort_by_key(|finding| finding.weight);
    all
}

fn same(a: &Finding, b: &Finding) -> bool {
    (a.weight, &a.set, &a.cost, &a.remedy) == (b.weight, &b.set, &b.cost, &b.remedy)
}

fn of_server(server: &Server, wanted: Wanted) -> Vec<Finding> {
    let rules = [
        unchecked,
        eviction,
        database,
        no_replica,
        no_persistence,
        no_wait_aof,
        no_aof_to_wait_for,
        full_coverage,
        replica_validity,
        few_replicas,
        slow_disk,
        nearly_full,
        small_values,
    ];
    let found = rules.iter().filter_map(|rule| rule(server, &wanted));
    found.map(|finding| Finding { servers: vec![server.address.clone()], ..finding }).collect()
}

fn found(weight: impl Into<Weight>, set: String, cost: &str, remedy: &str) -> Option<Finding> {
    let (cost, remedy) = (cost.to_owned(), remedy.to_owned());
    Some(Finding { servers: Vec::new(), weight: weight.into(), set, cost, remedy })
}

fn unchecked(server: &Server, _: &Wanted) -> Option<Finding> {
    let why = server.settings.unreadable.as_ref()?;
    found(
        Unsafe::Unchecked,
        format!("its settings cannot be read ({why})"),
        "it may lose events in ways that nobody has looked for",
        "let the user read them (`abide redis acl` prints the rule), or compare them with docs/redis.md by hand",
    )
}

fn eviction(server: &Server, _: &Wanted) -> Option<Finding> {
    let policy = server.info.text("maxmemory_policy").filter(|policy| *policy != "noeviction")?;
    found(
        Unsafe::Eviction,
        format!("maxmemory-policy is {policy}"),
        "Redis throws events away when its memory is full",
        "set maxmemory-policy noeviction",
    )
}

fn database(server: &Server, wanted: &Wanted) -> Option<Finding> {
    if wanted.database == 0 || !server.info.is_cluster() {
        return None;
    }
    found(
        Unsafe::Database,
        format!("database {} is asked for, but this is a cluster", wanted.database),
        "a cluster has database 0 only, so the events would lie among those of whoever uses it too",
        "leave the database out and tell users apart by key_prefix",
    )
}

fn no_replica(server: &Server, wanted: &Wanted) -> Option<Finding> {
    let holds_data = server.info.is_primary();
    let there = server.info.number("connected_slaves").filter(|_| holds_data)?;
    let needed = match wanted.wait_replicas {
        WaitReplicas::All => 1,
        WaitReplicas::Exactly(count) => u64::from(count),
    };
    if there >= needed.max(1) {
        return None;
    }
    let cost = match needed {
        0 => "every event lies on one machine, and is gone with it".to_owned(),
        count => format!(
            "a write is acknowledged once {count} of them has it, so nothing is acknowledged until then"
        ),
    };
    found(
        Unsafe::NoReplica,
        format!("this primary has {there} replicas"),
        &cost,
        "add replicas, or set wait_replicas to what is there (0 for a single server)",
    )
}

fn no_persistence(server: &Server, _: &Wanted) -> Option<Finding> {
    let aof =
        server.info.text("aof_enabled") == Some("1") || server.settings.text("appendonly") == Some("yes");
    let saves = server.settings.text("save").is_none_or(|save| !save.is_empty());
    if aof || saves {
        return None;
    }
    found(
        Unsafe::NoPersistence,
        "neither appendonly nor save is set".to_owned(),
        "a restart loses everything, and an empty primary empties its replicas too",
        "set appendonly yes",
    )
}

fn no_wait_aof(server: &Server, wanted: &Wanted) -> Option<Finding> {
    // Valkey tells under this name which Redis it is like.
    let version = server.info.text("redis_version").filter(|_| wanted.wait_aof)?;
    if number_of(version)? >= FIRST_WITH_WAITAOF {
        return None;
    }
    found(
        Weight::Unusable,
        format!("wait_aof is true, and this is Redis {version}"),
        "it does not know WAITAOF, so no event would ever be acknowledged",
        "take Redis 7.2 or newer, or set wait_aof = false",
    )
}

/// The first two parts of a version.
fn number_of(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

fn no_aof_to_wait_for(server: &Server, wanted: &Wanted) -> Option<Finding> {
    if !wanted.wait_aof || server.info.text("aof_enabled")? == "1" {
        return None;
    }
    found(
        Weight::Unusable,
        "wait_aof is true, and appendonly is no".to_owned(),
        "this server has no append-only file to wait for, so no event would ever be acknowledged",
        "set appendonly yes, or wait_aof = false",
    )
}

fn full_coverage(server: &Server, _: &Wanted) -> Option<Finding> {
    if !server.info.is_cluster() || server.settings.text("cluster-require-full-coverage")? != "yes" {
        return None;
    }
    found(
        Unsafe::FullCoverage,
        "cluster-require-full-coverage is yes".to_owned(),
        "one lost primary stops the shards of all others until its replica has taken over",
        "set cluster-require-full-coverage no",
    )
}

fn replica_validity(server: &Server, wanted: &Wanted) -> Option<Finding> {
    if wanted.wait_replicas != WaitReplicas::All {
        return None;
    }
    const COST: &str = "with wait_replicas = \"all\" a write waits that long for a replica that is lost";
    if let Some(down_after) = wanted.down_after {
        // Sentinels elect a replica that was lost for less than ten times this.
        let electable = down_after * 10;
        return if electable <= LONGEST_ELECTABLE {
            None
        } else {
            found(
                Unsafe::ReplicaValidity,
                format!(
                    "down-after-milliseconds is {}, so a lost replica stays electable for {electable:?}",
                    down_after.as_millis()
                ),
                COST,
                "set down-after-milliseconds to 1500 at every Sentinel",
            )
        };
    }
    if !server.info.is_cluster() {
        return None;
    }
    let (factor, timeout, ping) = validity(&server.settings)?;
    let remedy =
        "set cluster-replica-validity-factor 1, cluster-node-timeout 2000 and repl-ping-replica-period 1";
    match electable(factor, timeout, ping) {
        None => found(
            Unsafe::ReplicaValidity,
            "cluster-replica-validity-factor is 0, so a lost replica stays electable for ever".to_owned(),
            "with wait_replicas = \"all\" a write waits for it until it is back or forgotten",
            remedy,
        ),
        Some(electable) if electable > LONGEST_ELECTABLE => found(
            Unsafe::ReplicaValidity,
            format!(
                "cluster-replica-validity-factor {factor}, cluster-node-timeout {} and repl-ping-replica-period {} let a \
                 lost replica stay electable for {electable:?}",
                timeout.as_millis(),
                ping.as_secs()
            ),
            COST,
            remedy,
        ),
        Some(_) => None,
    }
}

fn validity(settings: &Settings) -> Option<(u32, Duration, Duration)> {
    let factor = settings.number("cluster-replica-validity-factor")?;
    let timeout = Duration::from_millis(settings.number("cluster-node-timeout")?);
    let ping = Duration::from_secs(settings.number("repl-ping-replica-period")?);
    Some((u32::try_from(factor).unwrap_or(u32::MAX), timeout, ping))
}

/// For how long Redis lets a replica stand for election that has lost its primary; `None` is for ever.
fn electable(factor: u32, node_timeout: Duration, ping: Duration) -> Option<Duration> {
    (factor > 0).then(|| node_timeout.saturating_mul(factor.saturating_add(1)).saturating_add(ping))
}

fn few_replicas(server: &Server, _: &Wanted) -> Option<Finding> {
    let needed = server.settings.number("min-replicas-to-write")?;
    let there = server.info.number("connected_slaves").filter(|_| server.info.is_primary())?;
    if there >= needed {
        return None;
    }
    found(
        Weight::Note,
        format!("min-replicas-to-write is {needed}, and there are {there} replicas"),
        "Redis refuses every write until there are enough",
        "add replicas or lower it; wait_replicas says what Abide waits for",
    )
}

fn slow_disk(server: &Server, _: &Wanted) -> Option<Finding> {
    let aof = server.info.text("aof_enabled") == Some("1");
    match (aof, server.settings.text("appendfsync"), server.settings.text("save")) {
        (true, Some("no"), _) => found(
            Weight::Note,
            "appendfsync is no".to_owned(),
            "if all copies lose power together, events of the last half minute may be gone",
            "set appendfsync everysec",
        ),
        (false, _, Some(save)) if !save.is_empty() => found(
            Weight::Note,
            "appendonly is no".to_owned(),
            "if all copies restart together, all events since the last save are gone",
            "set appendonly yes",
        ),
        _ => None,
    }
}

fn nearly_full(server: &Server, _: &Wanted) -> Option<Finding> {
    let limit = server.info.number("maxmemory").filter(|limit| *limit > 0)?;
    let used = server.info.number("used_memory")?;
    let percent = used.saturating_mul(100) / limit;
    if percent < NEARLY_FULL {
        return None;
    }
    found(
        Weight::Note,
        format!("more than {NEARLY_FULL} % of maxmemory is in use"),
        "Redis refuses every write once it is full",
        "give it more memory, add primaries, or delete events behind snapshots",
    )
}

fn small_values(server: &Server, wanted: &Wanted) -> Option<Finding> {
    let limit = server.settings.number("proto-max-bulk-len")?;
    if limit >= wanted.max_value_bytes as u64 {
        return None;
    }
    found(
        Weight::Note,
        format!("proto-max-bulk-len is {limit}, below max_value"),
        "Redis ends the connection of whoever writes a larger event",
        "lower max_value or raise proto-max-bulk-len",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAFE_INFO: &str = "redis_mode:cluster\r\nrole:master\r\nconnected_slaves:1\r\nmaxmemory:0\r\n\
                             used_memory:1000\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n";
    const SAFE_SETTINGS: [(&str, &str); 8] = [
        ("save", ""),
        ("appendfsync", "everysec"),
        ("min-replicas-to-write", "0"),
        ("repl-ping-replica-period", "10"),
        ("proto-max-bulk-len", "536870912"),
        ("cluster-require-full-coverage", "no"),
        ("cluster-replica-validity-factor", "1"),
        ("cluster-node-timeout", "2000"),
    ];

    const WANTED: Wanted = Wanted {
        wait_replicas: WaitReplicas::All,
        wait_aof: false,
        database: 0,
        max_value_bytes: 1 << 20,
        down_after: None,
    };

    fn server(info: &str, changes: &[(&str, &str)]) -> Server {
        let mut settings = Settings::default();
        for (name, value) in SAFE_SETTINGS.iter().chain(changes) {
            settings.add(name, (*value).to_owned());
        }
        Server { address: Address::new("h", 7000), info: Info::parse(info), settings }
    }

    fn names(servers: &[Server], wanted: Wanted) -> Vec<Option<Unsafe>> {
        findings(servers, wanted).into_iter().map(|finding| finding.accepted_as()).collect()
    }

    #[test]
    fn a_safe_cluster_gives_nothing_to_say() {
        assert_eq!(findings(&[server(SAFE_INFO, &[])], WANTED), []);
    }

    #[test]
    fn each_unsafe_setting_is_found_by_its_name() {
        let info = |from: &str, to: &str| server(&SAFE_INFO.replace(from, to), &[]);
        let set = |name, value| server(SAFE_INFO, &[(name, value)]);
        let many = Wanted { wait_replicas: WaitReplicas::Exactly(2), ..WANTED };
        let numbered = Wanted { database: 3, ..WANTED };
        for (server, wanted, name) in [
            (info("noeviction", "allkeys-lru"), WANTED, Unsafe::Eviction),
            (server(SAFE_INFO, &[]), numbered, Unsafe::Database),
            (info("connected_slaves:1", "connected_slaves:0"), WANTED, Unsafe::NoReplica),
            (server(SAFE_INFO, &[]), many, Unsafe::NoReplica),
            (info("aof_enabled:1", "aof_enabled:0"), WANTED, Unsafe::NoPersistence),
            (set("cluster-require-full-coverage", "yes"), WANTED, Unsafe::FullCoverage),
            (set("cluster-replica-validity-factor", "0"), WANTED, Unsafe::ReplicaValidity),
            (set("cluster-replica-validity-factor", "10"), WANTED, Unsafe::ReplicaValidity),
            (set("cluster-node-timeout", "15000"), WANTED, Unsafe::ReplicaValidity),
        ] {
            assert_eq!(names(&[server], wanted), [Some(name)]);
        }
    }

    #[test]
    fn a_lost_replica_may_stay_electable_for_a_quarter_of_a_minute() {
        let seconds = Duration::from_secs;
        assert_eq!(electable(1, seconds(2), seconds(10)), Some(seconds(14)));
        assert_eq!(electable(10, seconds(15), seconds(10)), Some(seconds(175)));
        assert_eq!(electable(0, seconds(15), seconds(10)), None);
        let at_the_bar = [("cluster-node-timeout", "2500"), ("repl-ping-replica-period", "10")];
        assert_eq!(names(&[server(SAFE_INFO, &at_the_bar)], WANTED), []);
        let beyond = [("cluster-node-timeout", "2501"), ("repl-ping-replica-period", "10")];
        assert_eq!(names(&[server(SAFE_INFO, &beyond)], WANTED), [Some(Unsafe::ReplicaValidity)]);
        let a_number = Wanted { wait_replicas: WaitReplicas::Exactly(1), ..WANTED };
        assert_eq!(names(&[server(SAFE_INFO, &beyond)], a_number), [], "then nobody waits for it");
    }

    #[test]
    fn sentinels_have_a_rule_of_their_own() {
        let alone = server(&SAFE_INFO.replace("cluster", "standalone"), &[("cluster-node-timeout", "15000")]);
        let watched = |millis| Wanted { down_after: Some(Duration::from_millis(millis)), ..WANTED };
        assert_eq!(names(std::slice::from_ref(&alone), watched(1500)), []);
        assert_eq!(names(&[alone], watched(30_000)), [Some(Unsafe::ReplicaValidity)]);
    }

    #[test]
    fn what_cannot_be_read_is_said_and_the_rest_checked_all_the_same() {
        let mut closed = server(&SAFE_INFO.replace("noeviction", "volatile-lru"), &[]);
        closed.settings = Settings::default();
        closed.settings.unreadable = Some("NOPERM".to_owned());
        assert_eq!(names(&[closed], WANTED), [Some(Unsafe::Eviction), Some(Unsafe::Unchecked)]);
    }

    #[test]
    fn what_is_only_said_has_no_name() {
        let full = SAFE_INFO.replace("maxmemory:0", "maxmemory:1100");
        let saved = SAFE_INFO.replace("aof_enabled:1", "aof_enabled:0");
        for server in [
            server(&full, &[]),
            server(SAFE_INFO, &[("min-replicas-to-write", "2")]),
            server(SAFE_INFO, &[("appendfsync", "no")]),
            server(&saved, &[("save", "3600 1")]),
            server(SAFE_INFO, &[("proto-max-bulk-len", "1000")]),
        ] {
            assert_eq!(names(&[server], WANTED), [None]);
        }
    }

    #[test]
    fn the_same_thing_of_several_servers_is_said_once() {
        let bad = |port| Server {
            address: Address::new("h", port),
            ..server(&SAFE_INFO.replace("noeviction", "allkeys-lru"), &[])
        };
        let said = findings(&[bad(1), bad(2)], WANTED);
        assert_eq!(said.len(), 1);
        let text = said[0].to_string();
        for words in ["h:1, h:2", "allkeys-lru", "noeviction", "allow_unsafe = [\"eviction\"]"] {
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn disks_are_waited_for_only_where_every_server_can() {
        let on = Wanted { wait_aof: true, ..WANTED };
        let version = |version: &str, aof: &str| {
            let info = SAFE_INFO.replace("aof_enabled:1", aof);
            server(&format!("redis_version:{version}\r\n{info}"), &[("appendonly", "yes")])
        };
        for good in ["7.2.4", "7.10.0", "8.0.0-rc1"] {
            assert_eq!(findings(&[version(good, "aof_enabled:1")], on), [], "{good}");
        }
        for (server, words) in [
            (version("7.0.15", "aof_enabled:1"), "Redis 7.0.15"),
            (version("6.2.14", "aof_enabled:1"), "Redis 6.2.14"),
            (version("7.2.4", "aof_enabled:0"), "appendonly is no"),
        ] {
            let [finding] =
                <[Finding; 1]>::try_from(findings(std::slice::from_ref(&server), on)).expect(words);
            assert_eq!(finding.weight, Weight::Unusable);
            let text = finding.to_string();
            assert!(text.contains(words) && !text.contains("allow_unsafe"), "{text}");
            assert_eq!(findings(&[server], WANTED), [], "without wait_aof it does not matter");
        }
    }

    #[test]
    fn a_replica_is_not_asked_for_replicas() {
        let replica = SAFE_INFO.replace("role:master", "role:slave").replace("slaves:1", "slaves:0");
        assert_eq!(names(&[server(&replica, &[])], WANTED), []);
    }
}
