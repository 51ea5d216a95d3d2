//! The node's HTTP listener, on a port of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use abide_http_api::{Api, ApiConfig, Readiness, RenderMetrics, ServeConfig};
use abide_sharding::Region;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::telemetry;

pub(super) struct Http {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<abide_http_api::Served>,
}

impl Http {
    /// Listens; port 0 takes a free one.
    pub(super) async fn start(region: &Region, address: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        // Without a recorder of ours, because the test has one of its own, there is nothing to show.
        let metrics: RenderMetrics = match telemetry::start_metrics() {
            Ok(recorder) => Arc::new(move || recorder.render()),
            Err(_) => Arc::new(String::new),
        };
        let router = abide_http_api::router(Api {
            region: region.clone(),
            config: ApiConfig::default(),
            readiness: Readiness::ready(),
            checks: Vec::new(),
            metrics,
        });
        let config = ServeConfig { shutdown_grace: Duration::from_secs(2), ..ServeConfig::default() };
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(abide_http_api::serve(listener, router, config, async {
            // A dropped node stops like one that was asked to.
            let _ = stopped.await;
        }));
        Ok(Self { address, stop, served })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn stop(self) {
        let _ = self.stop.send(());
        // It only fails if it panicked, and then it has ended too.
        let _ = self.served.await;
    }
}
