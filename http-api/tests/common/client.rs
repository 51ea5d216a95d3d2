//! A client that sends exactly the bytes it is told to.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Nothing that a test waits for takes that long.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    /// Of a body in chunks.
    unchunked: Vec<u8>,
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
}

/// A well-formed request.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        text += &format!("content-length: {}\r\n", body.len());
    }
    (text + "\r\n" + body).into_bytes()
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the listener accepts");
        Self { stream, received: Vec::new(), unchunked: Vec::new() }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the connection is open");
    }

    /// Sends, whether the other side still listens or not.
    pub async fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    pub async fn ask(&mut self, bytes: &[u8]) -> Response {
        self.send(bytes).await;
        self.response(bytes.starts_with(b"HEAD")).await
    }

    pub async fn read(&mut self) -> Response {
        self.response(false).await
    }

    /// Sends a request and reads no further than the head of the answer.
    pub async fn open(&mut self, bytes: &[u8]) -> Response {
        self.send(bytes).await;
        self.response(true).await
    }

    /// The next block of a live stream, comments included; `None` once the stream has ended in order.
    pub async fn block(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.unchunked.windows(2).position(|window| window == b"\n\n") {
                let block: Vec<u8> = self.unchunked.drain(..at + 2).collect();
                return Some(String::from_utf8(block).expect("UTF-8").trim_end().to_owned());
            }
            if !self.chunk().await {
                assert!(self.unchunked.is_empty(), "the stream ends inside of a block");
                return None;
            }
        }
    }

    /// The next event of a live stream: its id, its name, and its data.
    pub async fn event(&mut self) -> Option<(Option<u64>, String, Value)> {
        loop {
            let block = self.block().await?;
            let field = |name: &str| {
                block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
            };
            if let Some(data) = field("data") {
                let id = field("id").map(|id| id.parse().expect("a number"));
                let data = serde_json::from_str(&data).unwrap_or_else(|fault| panic!("{fault}: {block}"));
                return Some((id, field("event").unwrap_or_default(), data));
            }
        }
    }

    /// Reads one chunk; `false` for the last one.
    async fn chunk(&mut self) -> bool {
        let end = loop {
            if let Some(at) = self.received.windows(2).position(|window| window == b"\r\n") {
                break at;
            }
            self.more().await;
        };
        let size = std::str::from_utf8(&self.received[..end]).expect("ASCII");
        let size = usize::from_str_radix(size, 16).expect("a size");
        while self.received.len() < end + 2 + size + 2 {
            self.more().await;
        }
        self.received.drain(..end + 2);
        self.unchunked.extend(self.received.drain(..size));
        self.received.drain(..2);
        size > 0
    }

    /// Whether the other side ends the connection within the time, without another byte.
    pub async fn is_closed_within(&mut self, limit: Duration) -> bool {
        let mut rest = [0; 1];
        match tokio::time::timeout(limit, self.stream.read(&mut rest)).await {
            Ok(Ok(0) | Err(_)) => true,
            Ok(Ok(_)) => panic!("more bytes came"),
            Err(_) => false,
        }
    }

    async fn response(&mut self, without_body: bool) -> Response {
        let head_end = loop {
            if let Some(at) = self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await;
        };
        let head: Vec<u8> = self.received.drain(..head_end).collect();
        let head = String::from_utf8(head).expect("a head is ASCII");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut response = Response { status: status.expect("a status"), headers, body: String::new() };
        if !without_body {
            let length = response.header("content-length").map_or(0, |text| text.parse().expect("a number"));
            while self.received.len() < length {
                self.more().await;
            }
            response.body = String::from_utf8(self.received.drain(..length).collect()).expect("UTF-8");
        }
        response
    }

    async fn more(&mut self) {
        let mut bytes = [0; 4096];
        let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut bytes)).await;
        let read = read.expect("an answer in time").expect("no reset");
        assert_ne!(read, 0, "the connection ended: {:?}", String::from_utf8_lossy(&self.received));
        self.received.extend_from_slice(&bytes[..read]);
    }
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|fault| panic!("{fault}: {self:?}"))
    }

    /// Checks everything that all problems have in common, and what tells this one from others.
    #[track_caller]
    pub fn is_problem(&self, status: u16, slug: &str, outcome: &str) -> Value {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let body = self.json();
        let seen = (self.status, body["type"].as_str(), body["outcome"].as_str());
        assert_eq!(
            seen,
            (status, Some(format!("urn:abide:problem:{slug}").as_str()), Some(outcome)),
            "{self:?}"
        );
        assert_eq!(body["status"], status);
        for text in ["title", "detail"] {
            assert!(body[text].as_str().is_some_and(|text| !text.is_empty()), "{self:?}");
        }
        let pause = self.header("retry-after").and_then(|text| text.parse::<u64>().ok());
        assert_eq!(pause.is_some_and(|seconds| seconds >= 1), matches!(status, 429 | 503), "{self:?}");
        body
    }
}
