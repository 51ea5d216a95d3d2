//! What can be set.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::connector::{Address, Connector};
use crate::ids::ShardId;

/// How many replicas must have a write before it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitReplicas {
    /// Every one that Redis could elect, at least one.
    All,
    /// This many, whatever could be elected. See `docs/durability.md` for what each number can lose.
    Exactly(u32),
}

/// How the servers belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deployment {
    /// A cluster or a single server: whichever the first server that answers says it is.
    Direct,
    /// One primary, named by Sentinels; the seeds are theirs.
    Sentinel {
        /// The name under which they watch it.
        master: String,
    },
}

/// An unsafe setting of a server that is accepted all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unsafe {
    /// `maxmemory-policy` evicts keys.
    Eviction,
    /// A database number with a cluster.
    Database,
    /// A primary has no replica.
    NoReplica,
    /// Neither AOF nor RDB.
    NoPersistence,
    /// `cluster-require-full-coverage yes`.
    FullCoverage,
    /// Replicas stay electable for longer than some seconds, or for ever.
    ReplicaValidity,
    /// Settings could not be read, so nothing of this was checked.
    Unchecked,
}

impl Unsafe {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Eviction,
        Self::Database,
        Self::NoReplica,
        Self::NoPersistence,
        Self::FullCoverage,
        Self::ReplicaValidity,
        Self::Unchecked,
    ];

    /// The name by which it is accepted.
    pub fn name(self) -> &'static str {
        match self {
            Self::Eviction => "eviction",
            Self::Database => "database",
            Self::NoReplica => "no-replica",
            Self::NoPersistence => "no-persistence",
            Self::FullCoverage => "full-coverage",
            Self::ReplicaValidity => "replica-validity",
            Self::Unchecked => "unchecked",
        }
    }

    /// What has this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }
}

impl fmt::Display for Unsafe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What happens to a write that finds its primary's queue full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFullQueue {
    /// It is refused at once, not stored.
    Refuse,
    /// It is queued all the same.
    Admit,
}

/// A full queue, as its hook sees it.
#[derive(Clone, Debug)]
pub struct FullQueue {
    /// Whose.
    pub primary: Address,
    /// The shard that wants to write.
    pub shard: ShardId,
    /// Writes that wait.
    pub queued: usize,
}

/// Asked for each write that finds the queue full; must not block.
pub type FullQueueHook = Arc<dyn Fn(&FullQueue) -> OnFullQueue + Send + Sync>;

/// What can be set.
#[derive(Clone)]
pub struct RedisOptions {
    /// Makes the connections.
    pub connector: Arc<dyn Connector>,
    /// Servers (or Sentinels) to ask first; the others are found through them.
    pub seeds: Vec<Address>,
    /// How they belong together.
    pub deployment: Deployment,
    /// Begins every key. 1 to 64 bytes without braces, colons or control characters.
    pub key_prefix: String,
    /// How many replicas must have a write.
    pub wait_replicas: WaitReplicas,
    /// How long one `WAIT` may take; the write stays in doubt and is tried again after it.
    pub wait_timeout: Duration,
    /// Wait for the disks too, the primary's and the replicas' (`WAITAOF`, from Redis 7.2 on).
    pub wait_aof: bool,
    /// Flushes in flight for each primary.
    pub flushes_in_flight: usize,
    /// Most events of one flush.
    pub max_batch: usize,
    /// Most batches that wait for one primary.
    pub max_queue: usize,
    /// Asked where that is reached; without it the write is refused.
    pub on_full_queue: Option<FullQueueHook>,
    /// How often the topology is looked at when nothing went wrong.
    pub topology_check: Duration,
    /// How long a call may take, all its repeats together.
    pub call_timeout: Duration,
    /// Calls in a row that reached their time-out before a primary's breaker opens.
    pub max_failures: u32,
    /// How long a breaker stays open before it lets one call through.
    pub reset_timeout: Duration,
    /// Unsafe settings that are accepted.
    pub allow_unsafe: Vec<Unsafe>,
    /// Largest event or snapshot, encoded. Redis itself takes 512 MiB.
    pub max_value_bytes: usize,
}

impl RedisOptions {
    /// The defaults, on these servers.
    pub fn new(connector: Arc<dyn Connector>, seeds: Vec<Address>) -> Self {
        Self {
            connector,
            seeds,
            deployment: Deployment::Direct,
            key_prefix: "abide".to_owned(),
            wait_replicas: WaitReplicas::All,
            wait_timeout: Duration::from_millis(500),
            wait_aof: false,
            flushes_in_flight: 2,
            max_batch: 1024,
            max_queue: 4096,
            on_full_queue: None,
            topology_check: Duration::from_secs(10),
            call_timeout: Duration::from_secs(10),
            max_failures: 10,
            reset_timeout: Duration::from_secs(30),
            allow_unsafe: Vec::new(),
            max_value_bytes: 16 << 20,
        }
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("seeds", &self.seeds)
            .field("deployment", &self.deployment)
            .field("key_prefix", &self.key_prefix)
            .field("wait_replicas", &self.wait_replicas)
            .finish_non_exhaustive()
    }
}
