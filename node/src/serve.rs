//! A node from start to end.
//!
//! ```text
//!   journal ─▶ generation ─▶ region claims its shards ─▶ listener ─▶ … ─▶ shutdown
//!                                                        serves at once;   listener, requests,
//!                                                        ready when all    lanes, journal: in
//!                                                        shards are held   this order
//! ```

use std::io;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use abide_http_api::{Api, ApiConfig, Check, Readiness, ServeConfig};
use abide_membership::ids::Incarnation;
use abide_persistence::engine::{Backoff, EntitySettings};
use abide_persistence::journal::{Epoch, Journal, JournalLimits, Writer};
use abide_sharding::{Region, RegionConfig, Stopped};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::app::App;
use crate::config::Config;
use crate::journals::{self, JournalError};
use crate::telemetry;

const LANES_A_CORE: NonZeroUsize = NonZeroUsize::new(4).expect("not zero");

/// Why a node did not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program itself is wrong, such as two entity types of one name.
    #[error("{0}")]
    App(String),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The address is not to be had.
    #[error("http.listen = {address}: {cause}; {remedy}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
        /// What to do.
        remedy: &'static str,
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
    http: SocketAddr,
    region: Region,
    readiness: Readiness,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<abide_http_api::Served>,
    journal: Closing,
    shutdown_timeout: Duration,
}

/// The journal, to be closed last.
struct Closing(Arc<dyn Journal>);

impl std::fmt::Debug for Closing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Journal")
    }
}

impl Node {
    /// Starts a node on the current runtime.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(app: App, config: &Config) -> Result<Self, StartError> {
        if let Some(fault) = app.faults.first() {
            return Err(StartError::App(fault.clone()));
        }
        if app.registry.is_empty() {
            return Err(StartError::App(
                "the program serves no entity type; add one: app.entity::<Mine>()".to_owned(),
            ));
        }
        // The address first: a second node on one machine mostly fails for it, and then touches no data.
        let listener = listen(config.http.listen).await?;
        let http = listener.local_addr().map_err(anyhow::Error::from)?;
        let journal = {
            let config = config.clone();
            let opened = tokio::task::spawn_blocking(move || journals::open(&config)).await;
            opened.map_err(anyhow::Error::from)??
        };
        let meta = journals::take_generation(journal.as_ref(), config.sharding.shards).await?;
        let incarnation = Incarnation::from_u128(rand::random());
        let metrics = telemetry::start_metrics()?;

        let writer = Writer { cluster: meta.cluster, incarnation: incarnation.as_u128() };
        let region_config = region_config(config, journal.limits());
        let region = Region::start(Arc::new(app.registry), Arc::clone(&journal), writer, region_config);
        region.assign(config.sharding.shards.all(), Epoch::new(meta.generation, 1));

        let readiness = Readiness::not_yet("shards", "the shards are being claimed");
        let router = abide_http_api::router(Api {
            region: region.clone(),
            config: ApiConfig {
                max_body_bytes: config.http.max_body.0,
                default_timeout: config.http.default_timeout,
                max_timeout: config.http.max_timeout,
                max_concurrent_requests: config.http.max_concurrent_requests,
            },
            readiness: readiness.clone(),
            checks: checks(&journal, &region),
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
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(abide_http_api::serve(listener, router, serve, async {
            // A dropped node stops like one that was asked to.
            let _ = stopped.await;
        }));
        tokio::spawn(watch_shards(region.clone(), readiness.clone(), config.sharding.shards.get() as usize));
        tracing::info!(
            name = config.node.name,
            %http,
            generation = meta.generation,
            %incarnation,
            journal = config.journal.store,
            shards = config.sharding.shards.get(),
            "the node serves"
        );
        Ok(Self {
            http,
            region,
            readiness,
            stop,
            served,
            journal: Closing(journal),
            shutdown_timeout: config.node.shutdown_timeout,
        })
    }

    /// The address that is really bound.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The node's region, to ask entities from inside the process.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// Ends when the node cannot go on by itself.
    pub async fn failed(&self) -> Stopped {
        self.region.stopped().await
    }

    /// Stops accepting, finishes what runs, syncs, and lets go of the journal. `false` if something had to
    /// be cut off for want of time.
    pub async fn shutdown(self) -> bool {
        let limit = self.shutdown_timeout;
        let Self { region, readiness, stop, served, journal: Closing(journal), .. } = self;
        let orderly = async {
            readiness.drain();
            let _ = stop.send(());
            let cut_off = served.await.map_or(1, |served| served.cut_off);
            region.stop().await;
            journal.close().await;
            cut_off == 0
        };
        tokio::time::timeout(limit, orderly).await.unwrap_or(false)
    }

    /// Writes the bound ports where scripts and tests look for them: whole or not at all.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_ports(&self, path: &Path) -> Result<(), StartError> {
        let ports = serde_json::json!({ "http": self.http }).to_string();
        let partial = path.with_extension("partial");
        let written = std::fs::write(&partial, ports).and_then(|()| std::fs::rename(&partial, path));
        written.map_err(|cause| StartError::Ports { path: path.to_owned(), cause })
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|cause| {
        let remedy = match cause.kind() {
            io::ErrorKind::AddrInUse => {
                "another program listens there; stop it, or choose another port (--listen 127.0.0.1:0 takes a free one)"
            }
            io::ErrorKind::PermissionDenied => "ports below 1024 need privileges; choose another",
            io::ErrorKind::AddrNotAvailable => "no interface of this machine has that address",
            _ => "choose another address",
        };
        StartError::Listen { address, cause, remedy }
    })
}

fn region_config(config: &Config, journal: JournalLimits) -> RegionConfig {
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
            backoff: Backoff { min: config.entity.backoff_min, max: config.entity.backoff_max, jitter: 0.2 },
            journal,
            page_events: config.recovery.page_events.get(),
            page_bytes: config.recovery.page_bytes.0,
        },
        passivate_after: config.sharding.passivate_after,
        max_active_entities: config.sharding.max_active_entities,
        max_recoveries: config.recovery.max_concurrent,
        recovery_permit_timeout: config.recovery.permit_timeout,
        recovery_event_timeout: config.recovery.event_timeout,
    }
}

fn checks(journal: &Arc<dyn Journal>, region: &Region) -> Vec<Check> {
    let journal = Arc::clone(journal);
    let stored = Check::new("journal", move || {
        let health = journal.health();
        async move { health.await.map_err(|error| error.to_string()) }
    });
    let region = region.clone();
    let shards = Check::new("shards", move || {
        let status = region.status();
        async move {
            if status.shards_lost > 0 {
                return Err(format!("{} shards were lost to another owner", status.shards_lost));
            }
            Ok(())
        }
    });
    vec![stored.tag("abide").tag("persistence"), shards.tag("abide")]
}

fn gauges(region: &Region) {
    let status = region.status();
    for (name, value) in [
        ("abide_shards_assigned", status.shards_assigned),
        ("abide_shards_held", status.shards_held),
        ("abide_entities_active", status.entities),
        ("abide_entities_parked", status.entities_parked),
        ("abide_requests_waiting", status.requests_waiting),
        ("abide_recoveries_running", status.recoveries),
    ] {
        metrics::gauge!(name).set(value as f64);
    }
}

/// Keeps `/readyz` true to whether all shards are held.
async fn watch_shards(region: Region, readiness: Readiness, shards: usize) {
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut was_ready = false;
    loop {
        tick.tick().await;
        let held = region.status().shards_held;
        if held == shards && !was_ready {
            readiness.clear("shards");
            tracing::info!(shards, "the node is ready");
        } else if held < shards && was_ready {
            readiness.object("shards", "some shards of this node are not held");
        }
        was_ready = held == shards;
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
