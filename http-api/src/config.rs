//! What the gateway and its listener allow.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

/// What holds for requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiConfig {
    /// Largest body of a command, in bytes. Default: 1 MiB. Larger ones get 413 before they are read.
    /// Times [`max_concurrent_requests`](Self::max_concurrent_requests) it bounds the memory that bodies
    /// take. More than the journal's largest event rarely helps.
    pub max_body_bytes: usize,
    /// Time for a request that names none, from its head to its answer, the body included. Default: 15 s.
    /// At least the journal's call time-out, or a slow journal makes answers unknown that would have come.
    pub default_timeout: Duration,
    /// Most that `Abide-Timeout-Ms` may ask for. Default: 2 min. A request holds one of
    /// [`max_concurrent_requests`](Self::max_concurrent_requests) that long.
    pub max_timeout: Duration,
    /// Requests for entities at the same time. Default: 4096. One more is answered 429 before its body is
    /// read. Health and metrics do not count: they must answer under load.
    pub max_concurrent_requests: NonZeroUsize,
    /// Live streams of events at the same time. Default: 256. One more is answered 503. Each looks into the
    /// journal once a second, holds a connection, and at most one page of events.
    pub max_streams: NonZeroUsize,
    /// How long a live stream waits for its client to read on. Default: 30 s. Then the stream gives up its
    /// place; the connection goes after [`ServeConfig::idle_timeout`], if the client does not read even then.
    pub stream_write_timeout: Duration,
    /// Time between two signs of life of a live stream. Default: 15 s. Well below
    /// [`ServeConfig::idle_timeout`] and the time-outs of proxies, or quiet streams are cut.
    pub stream_heartbeat: Duration,
    /// States of the past (`?at=`) that are put together at the same time. Default: 4. Others wait, at most
    /// until their deadline. Each reads an entity's events from the first one on.
    pub max_replays: NonZeroUsize,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            max_body_bytes: 1 << 20,
            default_timeout: Duration::from_secs(15),
            max_timeout: Duration::from_secs(120),
            max_concurrent_requests: const { NonZeroUsize::new(4096).expect("not zero") },
            max_streams: const { NonZeroUsize::new(256).expect("not zero") },
            stream_write_timeout: Duration::from_secs(30),
            stream_heartbeat: Duration::from_secs(15),
            max_replays: const { NonZeroUsize::new(4).expect("not zero") },
        }
    }
}

/// What holds for connections.
///
/// A request has at most 100 headers. That number is the HTTP library's: with another one it would
/// allocate for each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeConfig {
    /// Connections at the same time. Default: 8192. Further ones wait in the kernel's queue until one
    /// ends. Each costs a file descriptor and some 20 kB.
    pub max_connections: NonZeroU32,
    /// From the first byte of a request's head to its last. Default: 10 s. Clients that take longer are
    /// cut off, after at most twice this time: connections are looked at that often.
    pub head_timeout: Duration,
    /// How long a connection without a request may stand still, and how long a client may read nothing of
    /// its answer. Default: 75 s, above the 60 s of common proxies: a connection that its client is about
    /// to use again must not be closed by us.
    pub idle_timeout: Duration,
    /// Largest head of a request, in bytes; at least 8192. Default: 32 KiB. Larger ones get 431.
    pub max_head_bytes: usize,
    /// How long running requests may take to end once the listener is to stop. Default: 20 s. What runs
    /// then is cut off. At least [`ApiConfig::default_timeout`] lets every usual request end.
    pub shutdown_grace: Duration,
    /// How long to go on reading what a client still sends after its request was refused. Default: 2 s.
    /// Without it the kernel would reset the connection and the client might never see the refusal.
    pub linger: Duration,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            max_connections: const { NonZeroU32::new(8192).expect("not zero") },
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            max_head_bytes: 32 << 10,
            shutdown_grace: Duration::from_secs(20),
            linger: Duration::from_secs(2),
        }
    }
}
