//! The tree itself: every key with its meaning, its default, its bounds, and what more or less costs.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use abide_persistence::ShardCount;
use abide_persistence::runtime::redis::options::WaitReplicas;

use super::byte_size::ByteSize;
use super::redis::{AllowUnsafe, Names, Urls, key_prefix};
use super::rules::{any, name, range};
use super::schema::tree;
use super::source::Source;
use super::value::words;

tree! {
    /// This node as a whole.
    node: NodeConfig {
        /// Name of this node in logs and answers.
        /// A label only: 1 to 63 letters, digits, `.`, `_` or `-`, the first a letter or a digit.
        name: String = "abide-1", name;

        /// Directory for everything that this node stores.
        /// A relative path starts at the working directory. One process at a time may use it.
        data_dir: PathBuf = "abide-data", any;

        /// Longest time from SIGTERM or Ctrl-C to the end of the process.
        /// Four fifths of it are for running requests, so those must not be below http.default_timeout; the
        /// rest is for the journal. Keep it below the patience of whoever sends SIGKILL (Kubernetes: 30s).
        shutdown_timeout: Duration = "25s", range("1s", "1h");
    }

    /// The listener for clients.
    http: HttpConfig {
        /// Address and port to listen on; port 0 takes a free one.
        listen: SocketAddr = "127.0.0.1:8080", any;

        /// Deadline of a request that names none in Abide-Timeout-Ms.
        /// Shorter frees callers of a stuck entity sooner; longer rides out longer pauses of the journal.
        default_timeout: Duration = "15s", range("1ms", "1day");

        /// Longest deadline that a request may ask for; a longer one is cut to this.
        /// Longer lets requests of impatient clients occupy max_concurrent_requests for longer.
        max_timeout: Duration = "2m", range("1ms", "1day");

        /// Largest body of a request; beyond it 413.
        /// Up to this much memory for each concurrent request.
        max_body: ByteSize = "1MiB", range("1KiB", "1GiB");

        /// Most requests that are handled at the same time; further ones are refused at once.
        /// More keeps more work waiting in memory; fewer refuses sooner under a burst.
        max_concurrent_requests: NonZeroUsize = "4096", range("1", "1000000");

        /// Most live streams of events at the same time; one more is refused with 503.
        /// Each looks into the journal once a second, and holds a connection and at most a page of events.
        max_streams: NonZeroUsize = "256", range("1", "1000000");

        /// Most open connections; further ones wait in the listen queue of the system.
        /// Each costs a file descriptor and some 20 kB.
        max_connections: NonZeroUsize = "8192", range("1", "1000000");

        /// Longest time from the first byte of a request's head to its last.
        /// Shorter frees connections of clients that send a byte now and then; longer bears bad networks.
        header_timeout: Duration = "10s", range("100ms", "1h");
    }

    /// The listener for operators: parked entities and their release, metrics, probes.
    admin: AdminConfig {
        /// Address and port to listen on; port 0 takes a free one, "none" does without this listener.
        /// Whoever reaches it may give orders: keep it away from clients. If nobody sets it and http.listen
        /// takes a free port, so does this.
        listen: Option<SocketAddr> = "127.0.0.1:8081", any;
    }

    /// How entities are spread and kept in memory.
    sharding: ShardingConfig {
        /// Number of shards; recorded in the journal at its first use, and a mismatch refuses to start.
        /// More spread load more evenly over a large cluster, and each costs a claim at start.
        shards: ShardCount = "1024", any;

        /// Lanes that run the shards; 0 means four for each core.
        /// Fewer make senders wait for each other, more gain nothing. Must not be above shards.
        lanes: usize = "0", range("0", "1024");

        /// Most requests that wait at the door of one lane; further ones are refused at once.
        /// More rides out longer bursts and lets requests wait longer when a node is too slow.
        inbox_capacity: NonZeroUsize = "16384", range("1", "16777216");

        /// An entity that nobody asked for this long leaves memory.
        /// Longer saves recoveries and costs memory.
        passivate_after: Duration = "2m", range("1s", "365days");

        /// Most entities in memory, approximately; beyond it the least recently used leave. "none": no limit.
        /// Fewer costs recoveries, more costs memory: their states, and some 100 bytes for each.
        max_active_entities: Option<NonZeroUsize> = "none", any;
    }

    /// What holds for each entity.
    entity: EntityConfig {
        /// Most requests that one entity holds back while it recovers or waits for the journal.
        /// More rides out longer pauses of the journal; fewer refuses sooner.
        stash_capacity: NonZeroUsize = "4096", range("1", "16777216");

        /// What becomes of a command for which an entity has no room: fail, drop or reply.
        /// "fail" tells the caller that the entity is busy; "drop" does too, and counts and logs it as a
        /// dead letter; "reply" answers with what the type gives for it, and fails where it gives nothing.
        stash_overflow: StashOverflow = "fail", any;

        /// An entity's code that runs for longer is named in the log; it holds up others of its lane.
        slow_handler: Duration = "100ms", range("1ms", "1h");

        /// First pause before an entity that failed is recovered again.
        backoff_min: Duration = "200ms", range("1ms", "1h");

        /// Longest pause before an entity that failed is recovered again.
        /// Longer spares a journal in trouble; shorter heals sooner after it.
        backoff_max: Duration = "30s", range("1ms", "1day");

        /// What each further failure multiplies the pause by, until it has reached backoff_max.
        /// 1 keeps it at backoff_min; more spares the journal sooner.
        backoff_factor: f64 = "2.0", range("1", "100");

        /// Random part of the pause: up to this much of it is added.
        /// 0 lets all that failed together come back together.
        backoff_jitter: f64 = "0.2", range("0", "1");
    }

    /// How entities are rebuilt from their events.
    recovery: RecoveryConfig {
        /// Most entities that read from the journal at the same time.
        /// More starts many entities sooner, and leaves the journal less room for writes.
        max_concurrent: NonZeroUsize = "64", range("1", "65536");

        /// Longest wait of an entity for its turn among them; then its requests fail with outcome "none".
        permit_timeout: Duration = "30s", range("1ms", "1h");

        /// Longest wait for a page of events; then its requests fail and it tries again after a pause.
        event_timeout: Duration = "30s", range("1ms", "1h");

        /// Most events that are read at once.
        /// Larger pages cost memory, max_concurrent times, and hold up other entities of a lane for longer.
        page_events: NonZeroUsize = "512", range("1", "65536");

        /// Most bytes that are read at once: a page ends after the event that reaches this many.
        page_bytes: ByteSize = "1MiB", range("1KiB", "1GiB");
    }

    /// When a journal counts as away.
    breaker: BreakerConfig {
        /// Longest wait for the answer to a write. What is not answered by then is in doubt: its callers learn
        /// outcome "unknown", and the shard is claimed anew, which settles it.
        /// Shorter frees a hung journal's callers sooner; longer rides out longer pauses of it.
        call_timeout: Duration = "10s", range("10ms", "1h");

        /// Calls in a row that are not answered in time before a journal's server counts as away: then calls
        /// to it fail at once, and nothing waits.
        /// Fewer spares callers of a hung server sooner; more bears a few slow answers.
        max_failures: NonZeroUsize = "10", range("1", "1000000");

        /// How long a server counts as away before one call tries it again.
        reset_timeout: Duration = "30s", range("10ms", "1h");
    }

    /// Where events are stored.
    journal: JournalConfig {
        /// Journal of the types that name no other.
        /// "embedded", "redis", "memory", or a name that the host program registered. "embedded" is this node's
        /// disk, with an fsync before an event is acknowledged; "redis" is what [journal.redis] says; "memory"
        /// is for tests: it ends with the process.
        store: String = "embedded", any;

        /// Directory of the embedded journal. A relative path starts at node.data_dir.
        dir: PathBuf = "journal", any;
    }

    /// Where snapshots are stored.
    snapshot: SnapshotConfig {
        /// Snapshot store of the types that name no other.
        /// "embedded", "redis", "local-files", "memory", "none", or a name that the host program registered.
        /// "embedded" is the store of the embedded journal, "redis" what [snapshot.redis] says, "local-files"
        /// a file for each snapshot in a directory of this node, "memory" ends with the process. If nobody sets it and the journal's store
        /// keeps snapshots too, they go there: they must not outlive their events.
        store: String = "embedded", any;

        /// Directory of "local-files". A relative path starts at node.data_dir.
        dir: PathBuf = "snapshots", any;
    }

    /// The journal "redis": a cluster, a single server, or one behind Sentinel. docs/redis.md tells more.
    journal_redis at "journal.redis",
    /// The snapshot store "redis". A key that nobody sets here follows [journal.redis]; but if urls is set here,
    /// it is another server, and who we are there and how it is reached (username to sentinel_master) does not.
    snapshot_redis at "snapshot.redis": RedisConfig {
        /// Servers to ask first, such as ["redis://host:6379"]; the others are found through them.
        /// rediss:// is with TLS. A user and a password may stand in front of the host, user:password@host;
        /// better is password_file. With sentinel_master these are Sentinels, and that login is theirs.
        urls: Urls = "redis://127.0.0.1:6379", any;

        /// User of the servers; "none" is the user "default".
        username: Option<String> = "none", any;

        /// File that holds the user's password. It is read again every few seconds, and when it is refused.
        password_file: Option<PathBuf> = "none", any;

        /// Number of the database. A cluster has none but 0.
        database: Option<u32> = "none", any;

        /// Whether TLS is used. "auto": as the URLs say, and with managed hosts that are known to want it.
        tls: Option<bool> = "auto", any;

        /// Certificates of the authorities to trust (PEM); "none": those of this system.
        tls_ca: Option<PathBuf> = "none", any;

        /// Our certificate (PEM), for servers that ask for one; needs tls_key.
        tls_cert: Option<PathBuf> = "none", any;

        /// The key of tls_cert (PEM).
        tls_key: Option<PathBuf> = "none", any;

        /// The name that must be in the servers' certificates, where it is not the one they are reached by.
        tls_server_name: Option<String> = "none", any;

        /// Name under which Sentinels watch the primary; "none": urls are the servers themselves.
        sentinel_master: Option<String> = "none", any;

        /// Longest time that making a connection may take.
        connect_timeout: Duration = "2s", range("10ms", "1h");

        /// Begins the name of every key. 1 to 64 bytes without braces, colons, blanks or control characters.
        /// Two clusters of Abide on one Redis need two prefixes.
        key_prefix: String = "abide", key_prefix;

        /// How many replicas must have an event before it is acknowledged: "all" that Redis could still
        /// elect, at least one; or a number. docs/redis.md tells what each number can lose.
        wait_replicas: WaitReplicas = "all", any;

        /// Longest wait for them at a time; then the primary is looked for anew, until breaker.call_timeout.
        /// Shorter finds a new primary sooner; longer bears slower replicas.
        wait_timeout: Duration = "500ms", range("1ms", "1h");

        /// Whether the replicas' disks must have it too. Needs Redis 7.2 and appendonly.
        wait_aof: bool = "false", any;

        /// Flights of batches to one primary at the same time.
        /// More hides more of the network's delay and costs more waiting at the server.
        flushes_in_flight: NonZeroUsize = "2", range("1", "64");

        /// Most events of one flight.
        /// More saves round trips under load; fewer holds up others of that server for less time.
        max_batch: NonZeroUsize = "1024", range("1", "65536");

        /// Most batches that wait for one primary; one more is refused at once, not stored.
        /// More rides out longer pauses and costs memory.
        max_queue: NonZeroUsize = "4096", range("1", "1000000");

        /// How often it is looked who is primary, when nothing went wrong.
        topology_check: Duration = "10s", range("100ms", "1h");

        /// Largest event or snapshot, encoded; a larger one is rejected.
        /// Larger ones hold up others of their server for longer. Redis itself takes 512MiB.
        max_value: ByteSize = "16MiB", range("1KiB", "512MiB");

        /// Stands for "redis" in the names of its health checks, journal.redis and snapshot.redis.
        health_name: Option<String> = "none", any;

        /// Tags of its health check, by which /healthz?tag=… chooses.
        health_tags: Names = "abide, persistence, redis", any;

        /// What /healthz says while it does not work: "unhealthy" (503) or "degraded" (200).
        health_failure: HealthFailure = "unhealthy", any;

        /// What is accepted though it can lose or stop events: eviction, database, no-replica, no-persistence,
        /// full-coverage, replica-validity, unchecked. `abide redis check` tells what is found.
        allow_unsafe: AllowUnsafe = "", any;
    }

    /// What this node writes to stderr.
    log: LogConfig {
        /// Least important level that is written: error, warn, info, debug or trace.
        level: LogLevel = "info", any;

        /// text for people, json for collectors: one object a line.
        format: LogFormat = "text", any;
    }
}

words! {
    /// What `/healthz` says while a store does not work.
    HealthFailure ("\"unhealthy\" or \"degraded\"") {
        /// 503: the node is not healthy.
        Unhealthy = "unhealthy",
        /// 200, with that status.
        Degraded = "degraded",
    }
}

words! {
    /// What becomes of a command for which an entity has no room.
    StashOverflow ("\"fail\", \"drop\" or \"reply\"") {
        /// Its caller is told that the entity is busy.
        Fail = "fail",
        /// It goes to the dead letters, counted and logged, and its caller is told too.
        Drop = "drop",
        /// It is answered with what the type gives for it.
        Reply = "reply",
    }
}

words! {
    /// Importance of a line in the log.
    LogLevel ("\"error\", \"warn\", \"info\", \"debug\" or \"trace\"") {
        /// Something failed that an operator must look at.
        Error = "error",
        /// Something is not as it should be.
        Warn = "warn",
        /// Milestones of a node's life.
        Info = "info",
        /// What each request does.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

words! {
    /// Look of the log.
    LogFormat ("\"text\" or \"json\"") {
        /// For people.
        Text = "text",
        /// One object a line.
        Json = "json",
    }
}

impl Config {
    /// Directory of the embedded journal, below `node.data_dir` unless it is absolute.
    pub fn journal_dir(&self) -> PathBuf {
        self.node.data_dir.join(&self.journal.dir)
    }

    /// Directory of the snapshot store `local-files`, below `node.data_dir` unless it is absolute.
    pub fn snapshot_dir(&self) -> PathBuf {
        self.node.data_dir.join(&self.snapshot.dir)
    }

    /// The part of `node.shutdown_timeout` in which running requests may finish.
    pub fn request_grace(&self) -> Duration {
        self.node.shutdown_timeout / 5 * 4
    }

    /// Where the value of a key came from.
    pub fn source(&self, key: &str) -> &Source {
        self.sources.of(key)
    }
}
