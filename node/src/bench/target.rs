//! What is loaded: the address, and the requests that go there.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Uri};
use tokio::net::TcpStream;

use super::args::BenchArgs;

/// Longest wait for a connection.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Target {
    pub(super) address: SocketAddr,
    pub(super) timeout: Duration,
    pub(super) entities: u64,
    host: HeaderValue,
    path: String,
    /// `None`: read.
    command: Option<Bytes>,
}

impl Target {
    /// Finds the address and makes sure that somebody is there.
    pub(super) async fn reach(args: &BenchArgs) -> anyhow::Result<Self> {
        let url: Uri = args.url.parse().with_context(|| format!("--url {} is no URL", args.url))?;
        match url.scheme_str() {
            None | Some("http") => {}
            Some(other) => bail!("--url {}: only http is spoken here, not {other}", args.url),
        }
        let host = url.host().with_context(|| format!("--url {} names no host", args.url))?;
        let port = url.port_u16().unwrap_or(80);
        let authority = url.authority().map_or(host, |authority| authority.as_str());
        ensure!(!args.timeout.is_zero(), "--timeout must be above 0");
        if !args.read {
            serde_json::from_str::<serde::de::IgnoredAny>(&args.body).context("--body is not JSON")?;
        }
        let target = Self {
            // An IPv6 address stands in brackets in a URL, and nowhere else.
            address: probe(host.trim_matches(['[', ']']), port, &args.url).await?,
            timeout: args.timeout,
            entities: args.entities.get(),
            host: HeaderValue::from_str(authority)?,
            path: format!("{}/v1/entities/{}/bench-", url.path().trim_end_matches('/'), args.entity_type),
            command: (!args.read).then(|| Bytes::from(args.body.clone())),
        };
        target.request(0).with_context(|| format!("--type {} fits into no path", args.entity_type))?;
        Ok(target)
    }

    /// The request to one entity.
    pub(super) fn request(&self, entity: u64) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let uri = Uri::from_maybe_shared(Bytes::from(format!("{}{entity}", self.path)))?;
        let request = Request::builder().uri(uri).header(HOST, self.host.clone());
        match &self.command {
            Some(command) => request
                .method(Method::POST)
                .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
                .body(Full::new(command.clone())),
            None => request.body(Full::default()),
        }
    }
}

/// Connects once. A name may have several addresses; the one that answers is the one to load.
async fn probe(host: &str, port: u16, url: &str) -> anyhow::Result<SocketAddr> {
    match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect((host, port))).await {
        Ok(Ok(stream)) => Ok(stream.peer_addr()?),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            bail!("nobody listens at {url}: start one with `abide dev`")
        }
        Ok(Err(error)) => Err(error).with_context(|| format!("cannot connect to {url}")),
        Err(_) => bail!("cannot connect to {url}: no answer within {CONNECT_TIMEOUT:?}"),
    }
}
