//! One connection through the proxy: requests one way, replies the other.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};

use super::frame;
use super::server::{Shared, Weather};
use super::trap::{Fault, Request};

/// Requests without a reply on one connection; beyond that the client waits.
const IN_FLIGHT: usize = 65_536;

/// What is to become of a reply. One goes with each request, in their order.
enum Expected {
    Pass,
    Drop,
    End,
    Silence,
    Hold(watch::Receiver<bool>),
    /// Goes to the client as this error.
    Refuse(&'static str),
}

/// Goes to the server in the place of a refused request, so that a reply comes whose place the refusal takes.
const STAND_IN: &[u8] = b"*1\r\n$4\r\nPING\r\n";

/// Carries bytes until one end closes, a fault ends it, or the weather cuts it.
pub(super) async fn run(client: TcpStream, shared: Arc<Shared>) {
    // The server's side is opened only now: to a client, a dead server behind a proxy is a connection that
    // ends at once.
    let Ok(server) = TcpStream::connect(shared.server).await else { return };
    if client.set_nodelay(true).and(server.set_nodelay(true)).is_err() {
        return;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (expect, expected) = mpsc::channel(IN_FLIGHT);
    let mut weather = shared.weather.subscribe();
    // Whichever ends first ends the others: an error is how a connection ends, and nobody's fault.
    tokio::select! {
        _ = requests(&shared, from_client, to_server, expect) => {}
        _ = replies(&shared, from_server, to_client, expected) => {}
        _ = weather.wait_for(|weather| *weather == Weather::Cut) => {}
    }
}

async fn requests(
    shared: &Shared,
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    expect: mpsc::Sender<Expected>,
) -> Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        read(&mut client, &mut buffer).await?;
        pass(shared, |slow| slow.0).await;
        if !shared.reads {
            server.write_all(&buffer.split()).await?;
            continue;
        }
        while let Some(length) = frame::length(&buffer)? {
            forward(shared, buffer.split_to(length).freeze(), &mut server, &expect).await?;
        }
    }
}

/// Sends one request on, or does to it what was decided.
async fn forward(
    shared: &Shared,
    raw: Bytes,
    server: &mut (impl AsyncWrite + Unpin),
    expect: &mpsc::Sender<Expected>,
) -> Result<()> {
    let request = Request::parse(raw)?;
    let mut sprung = shared.judge(&request);
    let reply = match sprung.fault {
        Fault::None | Fault::Duplicate => Expected::Pass,
        Fault::LoseRequest => bail!("the request is lost"),
        Fault::LoseReply => Expected::End,
        Fault::SilenceReplies => Expected::Silence,
        Fault::Hold => {
            released(&mut sprung.released).await;
            Expected::Pass
        }
        Fault::HoldReply => Expected::Hold(sprung.released),
        Fault::Refuse(error) => {
            expect.send(Expected::Refuse(error)).await?;
            server.write_all(STAND_IN).await?;
            return Ok(());
        }
    };
    expect.send(reply).await?;
    if sprung.fault == Fault::Duplicate {
        expect.send(Expected::Drop).await?;
        server.write_all(&request.raw).await?;
    }
    server.write_all(&request.raw).await?;
    Ok(())
}

async fn replies(
    shared: &Shared,
    mut server: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    mut expected: mpsc::Receiver<Expected>,
) -> Result<()> {
    let mut buffer = BytesMut::new();
    let mut silenced = false;
    loop {
        read(&mut server, &mut buffer).await?;
        pass(shared, |slow| slow.1).await;
        if !shared.reads {
            client.write_all(&buffer.split()).await?;
            continue;
        }
        while let Some(length) = frame::length(&buffer)? {
            let mut reply = buffer.split_to(length).freeze();
            // What nobody asked for belongs to no request: a subscriber's messages.
            let fate = if frame::is_push(&reply) { None } else { expected.try_recv().ok() };
            match fate {
                None | Some(Expected::Pass) => {}
                Some(Expected::Drop) => continue,
                Some(Expected::End) => bail!("the reply is lost"),
                Some(Expected::Silence) => silenced = true,
                Some(Expected::Hold(mut release)) => released(&mut release).await,
                Some(Expected::Refuse(error)) => reply = Bytes::from(format!("-{error}\r\n")),
            }
            if !silenced {
                client.write_all(&reply).await?;
            }
        }
    }
}

/// Waits until a trap lets go, or is dropped.
async fn released(release: &mut watch::Receiver<bool>) {
    // An error says that the trap is gone.
    let _ = release.wait_for(|released| *released).await;
}

/// Waits out what the weather has for what was just read.
async fn pass(shared: &Shared, delay: impl Fn((Duration, Duration)) -> Duration) {
    let mut weather = shared.weather.subscribe();
    // The sender lives in `shared`, so this cannot fail.
    let now = weather.wait_for(|weather| *weather != Weather::Silent).await.map(|weather| *weather);
    if let Ok(Weather::Slow { requests, replies }) = now {
        tokio::time::sleep(delay((requests, replies))).await;
    }
}

async fn read(from: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> Result<()> {
    if from.read_buf(buffer).await? == 0 {
        bail!("the connection ended");
    }
    Ok(())
}
