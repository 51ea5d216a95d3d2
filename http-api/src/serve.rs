//! Runs routes on a listener: limits on what one client may cost, and an orderly end.
//!
//! ```text
//!   Serving ──shutdown──▶ Finishing ──grace is over──▶ Cut
//!   accepts               accepts nothing; what runs   whoever is left
//!                         is answered with             is dropped
//!                         `Connection: close`
//! ```
//!
//! One task for each connection. It ends when the client ends, stalls, or the listener stops.

mod connection;
mod linger;
mod pulse;
mod watched;

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::config::ServeConfig;

/// How a listener ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Connections that had not ended when the time was up, and were dropped.
    pub cut_off: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    Finishing,
    Cut,
}

/// Pause after the system refused to hand over a connection, mostly for want of file descriptors; the
/// listener stays readable, so without a pause this would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until `shutdown` ends; then lets running requests end, within
/// [`ServeConfig::shutdown_grace`].
pub async fn serve(
    listener: TcpListener,
    router: Router,
    config: ServeConfig,
    shutdown: impl Future<Output = ()>,
) -> Served {
    let (phase, watched) = watch::channel(Phase::Serving);
    let max = config.max_connections.get();
    let slots = Arc::new(Semaphore::new(max as usize));
    let config = Arc::new(config);
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        match accepted {
            Ok((stream, slot)) => {
                let connection =
                    connection::run(stream, router.clone(), Arc::clone(&config), watched.clone());
                tokio::spawn(async move {
                    connection.await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "no connection was accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    phase.send_replace(Phase::Finishing);
    // Every connection holds a slot: all of them are free once all have ended.
    let all_ended = tokio::time::timeout(config.shutdown_grace, slots.acquire_many(max)).await;
    let cut_off = if all_ended.is_ok() { 0 } else { max as usize - slots.available_permits() };
    phase.send_replace(Phase::Cut);
    if cut_off > 0 {
        tracing::warn!(cut_off, "connections did not end in time and were dropped");
    }
    Served { cut_off }
}

/// Waits for a free slot first: beyond the limit, clients wait in the kernel's queue.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Ok((stream, slot)),
            // The client has gone again; nothing is wrong here.
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
