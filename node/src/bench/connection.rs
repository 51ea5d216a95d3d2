//! One keep-alive connection. Its I/O is driven by whoever waits for an answer: no task of its own, so no
//! wake-up from one task to another for each request.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

/// Most bytes of an error answer that are looked at.
const MAX_PROBLEM_BYTES: usize = 64 << 10;

pub(super) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// `None` once it has ended, for then it must not be polled again.
    driver: Option<http1::Connection<TokioIo<TcpStream>, Full<Bytes>>>,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Of an answer that is an error and says which.
    pub(super) problem: Option<Problem>,
}

/// The part of `application/problem+json` that is counted.
#[derive(Debug, Deserialize)]
pub(super) struct Problem {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) outcome: Option<String>,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        Ok(Self { sender, driver: Some(driver) })
    }

    /// Whether another request can be sent. A server may close between two.
    pub(super) async fn ready(&mut self) -> bool {
        let Self { sender, driver } = self;
        // While nobody waited for an answer, nobody saw the server close.
        poll_fn(|cx| {
            advance(driver, cx);
            Poll::Ready(())
        })
        .await;
        drive(driver, sender.ready()).await.is_ok()
    }

    pub(super) async fn exchange(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Answer> {
        let Self { sender, driver } = self;
        drive(driver, async { read(sender.send_request(request).await?).await }).await
    }
}

/// Waits for a future that needs the connection to move.
async fn drive<F: Future>(
    driver: &mut Option<http1::Connection<TokioIo<TcpStream>, Full<Bytes>>>,
    future: F,
) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        // First, so that there is something to write; afterwards, for what was read by then.
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(output);
        }
        advance(driver, cx);
        // Once the driver has ended, it is this poll that learns so.
        future.as_mut().poll(cx)
    })
    .await
}

fn advance(driver: &mut Option<http1::Connection<TokioIo<TcpStream>, Full<Bytes>>>, cx: &mut Context<'_>) {
    if let Some(running) = driver {
        // An error reaches the request too, and without one it is of no interest.
        if Pin::new(running).poll(cx).is_ready() {
            *driver = None;
        }
    }
}

async fn read(response: Response<Incoming>) -> hyper::Result<Answer> {
    let status = response.status();
    let mut body = response.into_body();
    let mut kept = Vec::new();
    // To its end, or the connection could not be used again.
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        if !status.is_success()
            && let Some(data) = frame.data_ref()
            && kept.len() + data.len() <= MAX_PROBLEM_BYTES
        {
            kept.extend_from_slice(data);
        }
    }
    Ok(Answer { status: status.as_u16(), problem: serde_json::from_slice(&kept).ok() })
}
