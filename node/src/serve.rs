//! A node from start to end.
//!
//! ```text
//!   addresses ─▶ stores ─▶ generation ─▶ region claims its shards ─▶ listeners ─▶ … ─▶ shutdown
//!                if it takes long:                                   serve at once;    listener, requests,
//!                the lobby tells why                                 ready when all    lanes, admin, stores:
//!                                                                    shards are held   in this order
//! ```

use std::io;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use abide_http_api::{Api, ApiConfig, Check, Readiness, ServeConfig, Served};
use abide_membership::ids::Incarnation;
use abide_persistence::engine::{Backoff, EntitySettings};
use abide_persistence::journal::{Epoch, JournalLimits, Writer};
use abide_persistence::model::StashOverflow;
use abide_sharding::{Region, RegionConfig, RegionStatus, Registry, Stopped};
use axum::Router;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::app::App;
use crate::config::{self, Config};
use crate::stores::{self, OpenStores, Registered};
use crate::telemetry;

const LANES_A_CORE: NonZeroUsize = NonZeroUsize::new(4).expect("not zero");

/// Why a node did not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program itself is wrong, such as two entity types of one name.
    #[error("{0}")]
    App(String),
    /// A store cannot be used.
    #[error("the store \"{name}\" cannot be used: {cause}")]
    Store {
        /// Its name.
        name: String,
        /// What it said.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An address is not to be had.
    #[error("{key} = {address}: {cause}; {remedy}")]
    Listen {
        /// Which key says so.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
        /// What to do.
        remedy: String,
    },
    /// The file of bound ports cannot be written.
    #[error("{path}: the ports cannot be written there: {cause}", path = path.display())]
    Ports {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Something else.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// A node that serves.
#[derive(Debug)]
pub struct Node {
    region: Region,
    readiness: Readiness,
    http: Listener,
    admin: Option<Listener>,
    watching: JoinHandle<()>,
    stores: OpenStores,
    shutdown_timeout: Duration,
}

/// A listener that serves.
#[derive(Debug)]
struct Listener {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Served>,
}

impl Listener {
    fn serve((listener, address): (TcpListener, SocketAddr), router: Router, config: ServeConfig) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(abide_http_api::serve(listener, router, config, async {
            // A dropped node stops like one that was asked to.
            let _ = stopped.await;
        }));
        Self { address, stop, served }
    }

    /// Accepts nothing more and waits for what runs; how many were cut off.
    async fn stop(self) -> usize {
        let _ = self.stop.send(());
        self.served.await.map_or(1, |served| served.cut_off)
    }
}

/// An address that is bound. Who connects waits until somebody serves it.
#[derive(Debug)]
struct Bound {
    listener: std::net::TcpListener,
    address: SocketAddr,
}

impl Bound {
    /// To be served. Several can be, one after the other: nobody who connects in between is refused.
    fn waiting(&self) -> Result<Waiting, StartError> {
        let again = self.listener.try_clone().and_then(TcpListener::from_std);
        again.map(|listener| (listener, self.address)).map_err(|cause| StartError::Other(cause.into()))
    }
}

/// A listener that nobody serves yet.
type Waiting = (TcpListener, SocketAddr);

/// Connections of operators at the same time.
const ADMIN_CONNECTIONS: NonZeroU32 = NonZeroU32::new(64).expect("not zero");
/// What operators' requests may take at shutdown: nobody's data depends on them.
const ADMIN_GRACE: Duration = Duration::from_secs(1);

/// A start that takes longer than this is told to whoever asks; a shorter one lets its clients wait for it.
const QUIET: Duration = Duration::from_millis(500);
/// What an answer of the lobby may take at its end.
const LOBBY_GRACE: Duration = Duration::from_secs(1);

/// A node that has its addresses, and no store yet.
#[derive(Debug)]
pub struct Starting {
    registry: Registry,
    stores: Registered,
    config: Config,
    http: Bound,
    admin: Option<Bound>,
}

impl Starting {
    /// Opens the stores and serves. A store that others keep may not be there yet: then `/readyz` tells why,
    /// and the node waits for it. If `stop` ends first, nothing is left running, and there is no node.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn serve_unless(mut self, stop: impl Future<Output = ()>) -> Result<Option<Node>, StartError> {
        let readiness = Readiness::not_yet(stores::OPENING, "the stores are being opened");
        let mut opened = OpenStores::default();
        let begun = self.begin(&readiness, &mut opened, stop).await;
        let (begun, http, admin) = match begun {
            Ok(Some(begun)) => begun,
            not_begun => {
                opened.close().await;
                return not_begun.map(|_| None);
            }
        };
        readiness.object("shards", "the shards are being claimed");
        readiness.clear(stores::OPENING);
        Ok(Some(Node::serve(begun, opened, readiness, &self.config, (http, admin))))
    }

    /// Opens the stores and takes them into use, with a lobby before them if that takes long. Nothing if
    /// `stop` ended first.
    async fn begin(
        &mut self,
        readiness: &Readiness,
        opened: &mut OpenStores,
        stop: impl Future<Output = ()>,
    ) -> Result<Option<(Begun, Waiting, Option<Waiting>)>, StartError> {
        let registry = std::mem::take(&mut self.registry);
        let stores = std::mem::take(&mut self.stores);
        let opening = async {
            // Before the stores: what they count is lost if nobody records it when they are opened.
            let metrics = telemetry::start_metrics()?;
            describe_gauges();
            stores::open(stores, &registry, &self.config, readiness, opened).await?;
            // All that can fail before somebody could be served.
            let http = self.http.waiting()?;
            let admin = self.admin.as_ref().map(Bound::waiting).transpose()?;
            Ok((begin(registry, opened, &self.config, metrics).await?, http, admin))
        };
        let (mut opening, mut stop) = (pin!(opening), pin!(stop));
        tokio::select! {
            begun = &mut opening => return begun.map(Some),
            () = &mut stop => return Ok(None),
            () = tokio::time::sleep(QUIET) => {}
        }
        let lobby = Lobby::open(&self.http, self.admin.as_ref(), readiness)?;
        let begun = tokio::select! {
            begun = &mut opening => begun.map(Some),
            () = &mut stop => Ok(None),
        };
        lobby.close().await;
        begun
    }

    /// The address for clients that is really bound.
    pub fn http(&self) -> SocketAddr {
        self.http.address
    }

    /// The address for operators that is really bound, if there is one.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|admin| admin.address)
    }
}

/// Answers on both listeners while the node is starting.
struct Lobby(Vec<Listener>);

impl Lobby {
    fn open(http: &Bound, admin: Option<&Bound>, readiness: &Readiness) -> Result<Self, StartError> {
        let config = ServeConfig { shutdown_grace: LOBBY_GRACE, ..ServeConfig::default() };
        let serve = |bound: &Bound| {
            let waiting = bound.waiting()?;
            Ok(Listener::serve(waiting, abide_http_api::lobby(readiness.clone()), config.clone()))
        };
        std::iter::once(http).chain(admin).map(serve).collect::<Result<_, _>>().map(Self)
    }

    async fn close(self) {
        for listener in self.0 {
            listener.stop().await;
        }
    }
}

impl Node {
    /// Starts a node on the current runtime.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(app: App, config: &Config) -> Result<Self, StartError> {
        let starting = Self::bind(app, config).await?;
        let stopped = || StartError::App("the start was given up".to_owned());
        starting.serve_unless(std::future::pending()).await?.ok_or_else(stopped)
    }

    /// Takes the addresses of a node, and touches no data yet.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn bind(app: App, config: &Config) -> Result<Starting, StartError> {
        if let Some(fault) = app.faults.first() {
            return Err(StartError::App(fault.clone()));
        }
        if app.registry.is_empty() {
            return Err(StartError::App(
                "the program serves no entity type; add one: app.entity::<Mine>()".to_owned(),
            ));
        }
        let config = app.settle(config);
        // The addresses first: a second node on one machine mostly fails for them, and then touches no data.
        let http = listen("http.listen", config.http.listen).await?;
        let admin = match config.admin.listen {
            Some(address) => Some(listen("admin.listen", address).await?),
            None => None,
        };
        Ok(Starting { registry: app.registry, stores: app.stores, config, http, admin })
    }

    /// Serves what has begun.
    fn serve(
        begun: Begun,
        stores: OpenStores,
        readiness: Readiness,
        config: &Config,
        (http, admin): (Waiting, Option<Waiting>),
    ) -> Self {
        let Begun { region, metrics, generation, incarnation } = begun;
        let mut checks = stores.checks(config.sharding.shards);
        checks.push(shards_check(&region));
        let routers = abide_http_api::routers(Api {
            region: region.clone(),
            config: ApiConfig {
                max_body_bytes: config.http.max_body.0,
                default_timeout: config.http.default_timeout,
                max_timeout: config.http.max_timeout,
                max_concurrent_requests: config.http.max_concurrent_requests,
                max_streams: config.http.max_streams,
                ..ApiConfig::default()
            },
            readiness: readiness.clone(),
            checks,
            metrics: {
                let region = region.clone();
                Arc::new(move || {
                    gauges(&region);
                    metrics.run_upkeep();
                    metrics.render()
                })
            },
        });
        let serve = ServeConfig {
            max_connections: u32::try_from(config.http.max_connections.get())
                .ok()
                .and_then(NonZeroU32::new)
                .unwrap_or(NonZeroU32::MAX),
            head_timeout: config.http.header_timeout,
            shutdown_grace: config.request_grace(),
            ..ServeConfig::default()
        };
        let serve_admin =
            ServeConfig { max_connections: ADMIN_CONNECTIONS, shutdown_grace: ADMIN_GRACE, ..serve.clone() };
        let http = Listener::serve(http, routers.clients, serve);
        let admin = admin.map(|admin| Listener::serve(admin, routers.admin, serve_admin));
        let shards = config.sharding.shards.get() as usize;
        let watching = tokio::spawn(watch_shards(region.clone(), readiness.clone(), shards));
        tracing::info!(
            name = config.node.name,
            http = %http.address,
            admin = admin.as_ref().map(|admin| tracing::field::display(admin.address)),
            generation,
            %incarnation,
            journals = ?stores.journal_names(),
            snapshots = ?stores.snapshot_names(),
            shards,
            "the node serves"
        );
        Self {
            region,
            readiness,
            http,
            admin,
            watching,
            stores,
            shutdown_timeout: config.node.shutdown_timeout,
        }
    }

    /// The address for clients that is really bound.
    pub fn http(&self) -> SocketAddr {
        self.http.address
    }

    /// The address for operators that is really bound, if there is one.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|admin| admin.address)
    }

    /// The node's region, to ask entities from inside the process.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// Ends when the node cannot go on by itself.
    pub async fn failed(&self) -> Stopped {
        self.region.stopped().await
    }

    /// Stops accepting, finishes what runs, syncs, and lets go of the stores. `false` if something had to
    /// be cut off for want of time.
    pub async fn shutdown(self) -> bool {
        let limit = self.shutdown_timeout;
        let Self { region, readiness, http, admin, watching, stores, .. } = self;
        let orderly = async move {
            readiness.drain();
            let cut_off = http.stop().await;
            region.stop().await;
            if let Some(admin) = admin {
                admin.stop().await;
            }
            // What holds the region holds the stores.
            watching.abort();
            let _ = watching.await;
            drop(region);
            stores.close().await;
            cut_off == 0
        };
        tokio::time::timeout(limit, orderly).await.unwrap_or(false)
    }

    /// Writes the bound ports where scripts and tests look for them: whole or not at all.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_ports(&self, path: &Path) -> Result<(), StartError> {
        // In this order: there are scripts that take the first address they find.
        let ports = match self.admin() {
            Some(admin) => format!("{{\"http\":\"{}\",\"admin\":\"{admin}\"}}", self.http()),
            None => format!("{{\"http\":\"{}\"}}", self.http()),
        };
        let partial = path.with_extension("partial");
        let written = std::fs::write(&partial, ports).and_then(|()| std::fs::rename(&partial, path));
        written.map_err(|cause| StartError::Ports { path: path.to_owned(), cause })
    }
}

/// What serves, before anybody can reach it.
struct Begun {
    region: Region,
    metrics: PrometheusHandle,
    generation: u32,
    incarnation: Incarnation,
}

/// Takes the stores into use and starts the region on them.
async fn begin(
    registry: Registry,
    stores: &OpenStores,
    config: &Config,
    metrics: PrometheusHandle,
) -> Result<Begun, StartError> {
    let meta = stores::take_generation(stores.journals(), config.sharding.shards).await?;
    let incarnation = Incarnation::from_u128(rand::random());
    let writer = Writer { cluster: meta.cluster, incarnation: incarnation.as_u128() };
    // Each type follows the limits of its own journal.
    let limits = stores.journals().next().map(|(_, journal)| journal.limits());
    let limits = limits.unwrap_or_else(|| EntitySettings::default().journal);
    let region_config = region_config(config, limits);
    let region = Region::start(Arc::new(registry), stores.for_region(), writer, region_config)
        .map_err(|error| StartError::App(error.to_string()))?;
    region.assign(config.sharding.shards.all(), Epoch::new(meta.generation, 1));
    Ok(Begun { region, metrics, generation: meta.generation, incarnation })
}

async fn listen(key: &'static str, address: SocketAddr) -> Result<Bound, StartError> {
    let bind = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Bound { listener: listener.into_std()?, address })
    };
    bind.await.map_err(|cause: io::Error| {
        let remedy = match cause.kind() {
            io::ErrorKind::AddrInUse => {
                let flag = match key {
                    "http.listen" => "--listen 127.0.0.1:0",
                    _ => "--set admin.listen=127.0.0.1:0",
                };
                format!(
                    "another program listens there; stop it, or choose another port ({flag} takes a free one)"
                )
            }
            io::ErrorKind::PermissionDenied => "ports below 1024 need privileges; choose another".to_owned(),
            io::ErrorKind::AddrNotAvailable => "no interface of this machine has that address".to_owned(),
            _ => "choose another address".to_owned(),
        };
        StartError::Listen { key, address, cause, remedy }
    })
}

pub(crate) fn region_config(config: &Config, journal: JournalLimits) -> RegionConfig {
    // Some more than cores, so that two senders rarely meet at one.
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let lanes = cores
        .saturating_mul(LANES_A_CORE)
        .min(NonZeroUsize::new(config.sharding.shards.get() as usize).unwrap_or(cores));
    RegionConfig {
        shards: config.sharding.shards,
        lanes: NonZeroUsize::new(config.sharding.lanes).unwrap_or(lanes),
        inbox_capacity: config.sharding.inbox_capacity.get(),
        entity: EntitySettings {
            stash_capacity: config.entity.stash_capacity.get(),
            backoff: Backoff {
                min: config.entity.backoff_min,
                max: config.entity.backoff_max,
                factor: config.entity.backoff_factor,
                jitter: config.entity.backoff_jitter,
            },
            stash_overflow: match config.entity.stash_overflow {
                config::StashOverflow::Fail => StashOverflow::Fail,
                config::StashOverflow::Drop => StashOverflow::Drop,
                config::StashOverflow::Reply => StashOverflow::Reply,
            },
            journal,
            page_events: config.recovery.page_events.get(),
            page_bytes: config.recovery.page_bytes.0,
        },
        passivate_after: config.sharding.passivate_after,
        max_active_entities: config.sharding.max_active_entities,
        max_recoveries: config.recovery.max_concurrent,
        recovery_permit_timeout: config.recovery.permit_timeout,
        recovery_event_timeout: config.recovery.event_timeout,
        slow_handler: config.entity.slow_handler,
        journal_timeout: config.breaker.call_timeout,
    }
}

fn shards_check(region: &Region) -> Check {
    let region = region.clone();
    let check = Check::new("shards", move || {
        let status = region.status();
        async move {
            if status.shards_parked > 0 {
                return Err(format!(
                    "{} shards wait for an operator, because a journal has lost events of them or holds what it did \
                     not write: see /v1/shards/parked of the admin listener",
                    status.shards_parked
                ));
            }
            if status.shards_lost > 0 {
                return Err(format!("{} shards were lost to another owner", status.shards_lost));
            }
            Ok(())
        }
    });
    check.tag("abide")
}

/// A gauge: its name, what it tells, and where that is found.
type Gauge = (&'static str, &'static str, fn(&RegionStatus) -> usize);

/// What the region shows of itself.
const GAUGES: [Gauge; 8] = [
    ("abide_shards_assigned", "Shards assigned to this node", |status| status.shards_assigned),
    ("abide_shards_held", "Shards that it has claimed", |status| status.shards_held),
    ("abide_shards_parked", "Shards of which a journal has lost events", |status| status.shards_parked),
    ("abide_entities_active", "Entities in memory", |status| status.entities),
    ("abide_entities_parked", "Entities that cannot be recovered", |status| status.entities_parked),
    ("abide_requests_waiting", "Requests that wait at the lanes' doors", |status| status.requests_waiting),
    ("abide_recoveries_running", "Recoveries under way", |status| status.recoveries_running),
    ("abide_recoveries_waiting", "Recoveries that wait for their turn", |status| {
        status.recoveries - status.recoveries_running
    }),
];

fn describe_gauges() {
    for (name, words, _) in GAUGES {
        metrics::describe_gauge!(name, words);
    }
}

fn gauges(region: &Region) {
    let status = region.status();
    for (name, _, value) in GAUGES {
        metrics::gauge!(name).set(value(&status) as f64);
    }
}

/// Keeps `/readyz` true to whether this node has all its shards: claimed once, and not taken by another since. One
/// that is parked waits for an operator, and one whose journal is away is claimed once more later: no other node
/// would do better.
async fn watch_shards(region: Region, readiness: Readiness, shards: usize) {
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut was_ready = false;
    loop {
        tick.tick().await;
        let status = region.status();
        let all_held = status.shards_held + status.shards_parked == shards;
        let some_taken = status.shards_assigned + status.shards_parked < shards;
        if all_held && !was_ready {
            readiness.clear("shards");
            tracing::info!(shards, "the node is ready");
            was_ready = true;
        } else if some_taken && was_ready {
            readiness.object("shards", "some shards of this node were taken by another owner");
            was_ready = false;
        }
    }
}

/// The signals by which a process is asked to end.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From here on they no longer end the process by themselves.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Inputs;

    #[test]
    fn what_the_configuration_says_of_entities_is_what_the_region_is_told() {
        let flags = [
            "entity.stash_overflow=reply",
            "entity.stash_capacity=7",
            "entity.slow_handler=7ms",
            "entity.backoff_min=1s",
            "entity.backoff_max=1m",
            "entity.backoff_factor=3",
            "entity.backoff_jitter=0.5",
        ];
        let flags = flags.map(|flag| flag.parse().expect("a flag")).to_vec();
        let config = Config::load(&Inputs { flags, ..Inputs::default() }).expect("a configuration");
        let region = region_config(&config, EntitySettings::default().journal);
        assert_eq!(region.slow_handler, Duration::from_millis(7));
        assert_eq!(region.entity.stash_overflow, StashOverflow::Reply);
        assert_eq!(region.entity.stash_capacity, 7);
        let Backoff { min, max, factor, jitter } = region.entity.backoff;
        assert_eq!((min, max), (Duration::from_secs(1), Duration::from_secs(60)));
        assert_eq!((factor, jitter), (3.0, 0.5));
    }
}
