//! One connection, from its first byte to its end.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::http::header::CONNECTION;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::pulse::Pulse;
use super::watched::Watched;
use super::{Phase, linger};
use crate::config::ServeConfig;

/// What a connection's task wakes up for.
enum Wake {
    Ended(hyper::Result<()>),
    Phase(Phase),
    Look,
}

pub(super) async fn run(
    stream: TcpStream,
    router: Router,
    config: Arc<ServeConfig>,
    mut phase: watch::Receiver<Phase>,
) {
    // Answers are written whole; waiting for more would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the client was gone before its connection was set up");
        return;
    }
    let pulse = Arc::new(Pulse::new());
    let closing = Arc::new(AtomicBool::new(false));
    let routes = Routes { router, pulse: Arc::clone(&pulse), closing: Arc::clone(&closing) };
    let mut connection = http1::Builder::new()
        // The pulse tells a slow head from an idle connection; the library's own limit does not.
        .header_read_timeout(None)
        .max_buf_size(config.max_head_bytes.max(8192))
        .serve_connection(TokioIo::new(Watched::new(stream, Arc::clone(&pulse))), routes);
    let mut look = pin!(tokio::time::sleep(config.head_timeout));
    let ended = loop {
        let wake = tokio::select! {
            biased;
            ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => Wake::Ended(ended),
            // A listener that is gone without a word cuts its connections too.
            changed = phase.changed() => Wake::Phase(changed.map_or(Phase::Cut, |()| *phase.borrow_and_update())),
            () = &mut look => Wake::Look,
        };
        match wake {
            Wake::Ended(ended) => break ended,
            Wake::Phase(Phase::Serving) => {}
            Wake::Phase(Phase::Finishing) => Pin::new(&mut connection).graceful_shutdown(),
            Wake::Phase(Phase::Cut) => return,
            Wake::Look if pulse.is_overdue(&config) => {
                tracing::debug!("a client has stalled and is cut off");
                return;
            }
            Wake::Look => look.as_mut().reset(tokio::time::Instant::now() + config.head_timeout),
        }
    };
    if let Err(error) = &ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
    if ended.is_err() || closing.load(Ordering::Relaxed) {
        linger::close(connection.into_parts().io.into_inner().into_inner(), config.linger).await;
    }
}

/// The routes as the HTTP library calls them.
struct Routes {
    router: Router,
    pulse: Arc<Pulse>,
    /// An answer has announced the end of the connection.
    closing: Arc<AtomicBool>,
}

impl Service<Request<Incoming>> for Routes {
    type Response = Response;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        self.pulse.request();
        let route = tower_service::Service::call(&mut self.router.clone(), request);
        Answering { route, pulse: Arc::clone(&self.pulse), closing: Arc::clone(&self.closing) }
    }
}

struct Answering {
    route: RouteFuture<Infallible>,
    pulse: Arc<Pulse>,
    closing: Arc<AtomicBool>,
}

impl Future for Answering {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(Pin::new(&mut self.route).poll(cx));
        self.pulse.answered();
        if let Ok(response) = &response
            && response.headers().contains_key(CONNECTION)
        {
            self.closing.store(true, Ordering::Relaxed);
        }
        Poll::Ready(response)
    }
}
