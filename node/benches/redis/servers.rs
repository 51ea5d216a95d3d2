//! The servers of a figure, the store on them, and what they count.

use std::ops::{Add, Sub};
use std::sync::Arc;

use abide::persistence::runtime::redis::connector::{Address, Connector, Role};
use abide::persistence::runtime::redis::options::{RedisOptions, Unsafe};
use abide::persistence::runtime::redis::{Dial, RedisStore, Setup};
use abide_chaos_tests::redis::view::slot_of;
use abide_chaos_tests::redis::{Ground, Node, Shape};
use redis::aio::MultiplexedConnection;

/// Flights that the store has under way at each primary, by default.
pub(crate) const FLIGHTS: usize = 2;

/// Servers that nobody else uses. They end with this.
pub(crate) struct Servers {
    ground: Ground,
    dial: Arc<Dial>,
    primaries: Vec<Place>,
}

/// A primary: which of the nodes, and the slots that it serves.
struct Place {
    node: usize,
    slots: Vec<std::ops::RangeInclusive<u16>>,
}

impl Servers {
    /// Three primaries with a replica each.
    pub(crate) async fn cluster() -> Self {
        let ground = Ground::cluster(3, 1).start().await.unwrap();
        let mut primaries = Vec::new();
        for (node, server) in ground.nodes().iter().enumerate() {
            let slots = server.view().await.unwrap().myself().slots.clone();
            if !slots.is_empty() {
                primaries.push(Place { node, slots });
            }
        }
        Self { dial: dial(&ground), ground, primaries }
    }

    /// One server, without replicas.
    pub(crate) async fn single() -> Self {
        let ground = Ground::single().start().await.unwrap();
        let everything = Place { node: 0, slots: vec![0..=u16::MAX] };
        Self { dial: dial(&ground), ground, primaries: vec![everything] }
    }

    /// A store with its default settings.
    pub(crate) async fn store(&self) -> RedisStore {
        let seeds = self.dial.seeds().to_vec();
        let mut options = RedisOptions::new(Arc::clone(&self.dial) as _, seeds);
        assert_eq!(options.flushes_in_flight, FLIGHTS);
        if let Shape::Single { .. } = self.ground.shape() {
            options.allow_unsafe.push(Unsafe::NoReplica);
        }
        RedisStore::open(options).await.unwrap()
    }

    pub(crate) fn primaries(&self) -> std::ops::Range<usize> {
        0..self.primaries.len()
    }

    /// How many replicas each primary has.
    pub(crate) fn replicas(&self) -> usize {
        self.ground.nodes().len() / self.primaries.len() - 1
    }

    /// Which primary a key lies at.
    pub(crate) fn primary_of(&self, key: &str) -> usize {
        let slot = slot_of(key.as_bytes());
        let serves = |place: &Place| place.slots.iter().any(|range| range.contains(&slot));
        self.primaries.iter().position(serves).unwrap()
    }

    fn node(&self, primary: usize) -> &Node {
        &self.ground.nodes()[self.primaries[primary].node]
    }

    pub(crate) fn url(&self, primary: usize) -> &str {
        self.node(primary).url()
    }

    /// A connection as the store makes them.
    pub(crate) async fn connect(&self, primary: usize) -> MultiplexedConnection {
        let address = self.node(primary).address();
        let address = Address::new(address.ip().to_string(), address.port());
        self.dial.connect(&address, Role::Write).await.unwrap()
    }

    /// What one primary has counted since it started.
    pub(crate) async fn counted_by(&self, primary: usize) -> Counted {
        let info: String = self.node(primary).ask(&["INFO", "everything"]).await.unwrap();
        Counted::read(&info)
    }

    /// What all primaries have counted.
    pub(crate) async fn counted(&self) -> Counted {
        let mut sum = Counted::default();
        for primary in self.primaries() {
            sum = sum + self.counted_by(primary).await;
        }
        sum
    }

    /// What the primaries keep in memory, in bytes, without what belongs to connections, replication and AOF.
    /// Waits until it stays the same, which is when nothing is in hand.
    pub(crate) async fn memory(&self) -> f64 {
        let mut before = f64::NAN;
        loop {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            let now = self.counted().await.memory;
            if (now - before).abs() < 100_000.0 {
                return now;
            }
            before = now;
        }
    }
}

fn dial(ground: &Ground) -> Arc<Dial> {
    Arc::new(Dial::new(&Setup { urls: ground.urls(), ..Setup::default() }).unwrap())
}

/// What servers count.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    /// Calls of scripts.
    pub(crate) scripts: f64,
    /// Calls of `WAIT`: one ends each flight.
    pub(crate) waits: f64,
    /// Processor time, in seconds.
    pub(crate) processor: f64,
    /// Bytes.
    pub(crate) memory: f64,
}

impl Counted {
    fn read(info: &str) -> Self {
        let line = |name: &str| {
            info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        };
        let field = |name: &str| line(name).unwrap_or_default().parse::<f64>().unwrap_or_default();
        let calls = |name: &str| {
            let stats = line(&format!("cmdstat_{name}")).unwrap_or_default();
            let calls = stats.split(',').find_map(|part| part.strip_prefix("calls="));
            calls.map_or(0.0, |calls| calls.parse().unwrap())
        };
        // What a few connections and the way to the replicas take is not what events take.
        let buffers = ["mem_clients_normal", "mem_total_replication_buffers", "mem_aof_buffer"];
        Self {
            scripts: calls("evalsha"),
            waits: calls("wait"),
            processor: field("used_cpu_sys") + field("used_cpu_user"),
            memory: field("used_memory") - buffers.map(field).iter().sum::<f64>(),
        }
    }
}

impl Add for Counted {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            scripts: self.scripts + other.scripts,
            waits: self.waits + other.waits,
            processor: self.processor + other.processor,
            memory: self.memory + other.memory,
        }
    }
}

impl Sub for Counted {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            scripts: self.scripts - other.scripts,
            waits: self.waits - other.waits,
            processor: self.processor - other.processor,
            memory: self.memory - other.memory,
        }
    }
}
