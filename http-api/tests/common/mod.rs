//! A whole gateway on a real socket, over a region with a journal that fails on demand.

// Each test file uses its own part.
#![allow(dead_code, unreachable_pub)]

pub mod client;
pub mod entities;
pub mod journal;

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use abide_http_api::{
    Api, ApiConfig, Check, Readiness, RenderMetrics, Routers, ServeConfig, Served, routers, serve,
};
use abide_persistence::ShardCount;
use abide_persistence::engine::{Backoff, EntitySettings};
use abide_persistence::journal::{Epoch, Journal, Writer};
use abide_sharding::{Region, RegionConfig, Registry};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use self::client::{Client, Response, request};
use self::journal::{Mode, TestJournal};

/// How to start a [`Node`].
pub struct Setup {
    pub api: ApiConfig,
    pub serve: ServeConfig,
    pub stash_capacity: usize,
    pub assigned: bool,
    pub readiness: Readiness,
    pub checks: Vec<Check>,
    pub metrics: RenderMetrics,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            api: ApiConfig::default(),
            serve: ServeConfig { shutdown_grace: Duration::from_secs(5), ..ServeConfig::default() },
            stash_capacity: 100,
            assigned: true,
            readiness: Readiness::ready(),
            checks: Vec::new(),
            metrics: Arc::new(|| "# metrics\n".to_owned()),
        }
    }
}

/// A running gateway.
pub struct Node {
    pub address: SocketAddr,
    pub journal: Arc<TestJournal>,
    pub region: Region,
    /// Not served before it is asked for.
    admin: axum::Router,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Served>,
}

pub(crate) const SHARDS: NonZeroU32 = NonZeroU32::new(16).expect("not zero");

impl Node {
    pub async fn start() -> Self {
        Self::start_with(Setup::default()).await
    }

    pub async fn start_with(setup: Setup) -> Self {
        let journal = Arc::new(TestJournal::default());
        let mut registry = Registry::default();
        entities::register(&mut registry);
        let region = Region::start(
            Arc::new(registry),
            Arc::clone(&journal) as Arc<dyn Journal>,
            Writer { cluster: 1, incarnation: 1 },
            region_config(setup.stash_capacity),
        )
        .expect("it has the only store");
        if setup.assigned {
            let shards = ShardCount::new(SHARDS.get()).expect("a number of shards");
            region.assign(shards.all(), Epoch::new(1, 1));
        }
        let Setup { api: config, serve: limits, readiness, checks, metrics, .. } = setup;
        let api = Api { region: region.clone(), config, readiness, checks, metrics };
        let Routers { clients: routes, admin } = routers(api);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        let serving = tokio::spawn(serve(listener, routes, limits, shutdown));
        Self { address, journal, region, admin, stop: Some(stop), serving }
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// One request on a connection of its own.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        self.client().await.ask(&request(method, path, headers, body)).await
    }

    pub async fn get(&self, path: &str) -> Response {
        self.send("GET", path, &[], "").await
    }

    pub async fn post(&self, path: &str, body: &str) -> Response {
        self.send("POST", path, &[JSON], body).await
    }

    /// Serves the routes for operators, until the test ends.
    pub async fn admin(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(serve(listener, self.admin.clone(), ServeConfig::default(), std::future::pending()));
        address
    }

    /// Tells the listener to stop.
    pub fn stop(&mut self) {
        drop(self.stop.take());
    }

    pub async fn stopped(self) -> Served {
        self.serving.await.expect("serve does not panic")
    }

    pub fn journal(&self, mode: Mode) {
        self.journal.set(mode);
    }
}

pub const JSON: (&str, &str) = ("content-type", "application/json");

/// A path of the counter.
pub fn counter(id: &str) -> String {
    format!("/v1/entities/counter/{id}")
}

fn region_config(stash_capacity: usize) -> RegionConfig {
    let pause = Duration::from_millis(50);
    RegionConfig {
        shards: ShardCount::new(SHARDS.get()).expect("a number of shards"),
        lanes: NonZeroUsize::MIN,
        inbox_capacity: 1000,
        entity: EntitySettings {
            stash_capacity,
            backoff: Backoff { min: pause, max: pause, factor: 1.0, jitter: 0.0 },
            page_events: 100,
            ..EntitySettings::default()
        },
        passivate_after: Duration::from_secs(60),
        max_active_entities: None,
        max_recoveries: NonZeroUsize::new(8).expect("not zero"),
        recovery_permit_timeout: Duration::from_secs(5),
        recovery_event_timeout: Duration::from_secs(5),
        slow_handler: Duration::from_millis(100),
        journal_timeout: Duration::from_secs(10),
    }
}
