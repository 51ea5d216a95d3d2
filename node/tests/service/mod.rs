//! Entity types for tests of nodes, and how they are asked over HTTP.

// Each test file uses its own part.
#![allow(dead_code, unreachable_pub)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use abide::config::Config;
use abide::persistence::ShardId;
use abide::persistence::envelope::StoredEvent;
use abide::persistence::journal::{
    Batch, Claim, ClaimError, EventPage, IdPage, Journal, JournalLimits, JournalMeta, Known, ListIds,
    Pending, ReadError, ReadEvents, Snapshot, StoreError, WriteError, Writer,
};
use abide::persistence::runtime::MemoryJournal;
use abide::prelude::*;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;

/// A configuration with few shards, free ports, and its data there.
pub fn config(data: &Path) -> Config {
    let mut config = Config::default();
    config.node.data_dir = data.to_owned();
    config.http.listen = "127.0.0.1:0".parse().expect("an address");
    config.sharding.shards = abide::persistence::ShardCount::new(16).expect("in range");
    config
}

pub struct Answer {
    pub status: u16,
    /// When to come again, in seconds.
    pub retry_after: Option<u64>,
    pub body: Value,
}

impl Answer {
    /// The type of a problem.
    pub fn kind(&self) -> String {
        self.body["type"].as_str().unwrap_or_default().to_owned()
    }
}

pub async fn ask(at: impl std::fmt::Display, method: &str, path: &str, body: Option<&str>) -> Answer {
    let stream = tokio::net::TcpStream::connect(at.to_string()).await.expect("the node listens");
    let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await.expect("a connection");
    tokio::spawn(connection);
    let mut request = hyper::Request::builder().method(method).uri(path).header("host", "test");
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let body: Full<bytes::Bytes> = Full::from(body.unwrap_or_default().to_owned());
    let response = client.send_request(request.body(body).expect("a request")).await.expect("an answer");
    let status = response.status().as_u16();
    let retry_after =
        response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    let body = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    Answer { status, retry_after, body }
}

/// Commands an entity, at `type/id`.
pub async fn post(at: impl std::fmt::Display, entity: &str, command: &str) -> Answer {
    ask(at, "POST", &format!("/v1/entities/{entity}"), Some(command)).await
}

pub async fn get(at: impl std::fmt::Display, entity: &str) -> Answer {
    ask(at, "GET", &format!("/v1/entities/{entity}"), None).await
}

/// The ids of a type that have events.
pub async fn ids(at: impl std::fmt::Display, entity_type: &str) -> Vec<String> {
    let page = get(at, entity_type).await.body;
    let ids = page["ids"].as_array().expect("ids");
    ids.iter().map(|id| id.as_str().expect("an id").to_owned()).collect()
}

#[derive(Deserialize)]
pub struct Add {
    add: i64,
}

#[derive(Serialize, Deserialize)]
pub struct Added(pub i64);

impl Event for Added {
    fn name(&self) -> &'static str {
        "added"
    }
}

/// A type that adds up numbers.
macro_rules! summing {
    ($Name:ident = $name:literal) => {
        #[derive(Serialize, Deserialize)]
        pub struct $Name {
            sum: i64,
        }

        impl EventSourced for $Name {
            const TYPE: EntityType = EntityType::new($name);
            type Command = Add;
            type Event = Added;
            type Reply = i64;
            type Rejection = ();

            fn new(_: &EntityId) -> Self {
                Self { sum: 0 }
            }

            fn handle(&self, command: Add) -> Effect<Self> {
                Effect::persist(Added(command.add)).then_reply(|this: &Self| this.sum)
            }

            fn apply(&mut self, event: &Added) {
                self.sum += event.0;
            }
        }
    };
}

summing!(Tally = "tally");
summing!(Other = "other");
summing!(Third = "third");

/// Keeps its last words in a snapshot and has no events; it answers once they are stored.
pub struct Note {
    words: String,
    waiting: Vec<ReplyTo<Note>>,
}

impl PersistentActor for Note {
    const TYPE: EntityType = EntityType::new("note");
    type Command = String;
    type Event = Added;
    type Reply = String;
    type Rejection = String;
    type State = String;
    type Message = std::convert::Infallible;

    fn new(_: &EntityId) -> Self {
        Self { words: String::new(), waiting: Vec::new() }
    }

    fn state(&self) -> &String {
        &self.words
    }

    fn receive_command(&mut self, words: String, ctx: &mut Context<'_, Self>) {
        self.words = words;
        self.waiting.push(ctx.sender());
        ctx.save_snapshot(&self.words);
    }

    fn receive_recover(&mut self, item: Recover<Self>, _: &mut RecoveryContext<'_, Self>) {
        if let Recover::Snapshot(words) = item {
            self.words = words;
        }
    }

    fn receive_signal(&mut self, signal: Signal, ctx: &mut Context<'_, Self>) {
        match signal {
            Signal::SnapshotSaved { sequence_nr: SequenceNr::ZERO, .. } => {
                for waiting in self.waiting.drain(..) {
                    ctx.reply_to(waiting, Snapshot::DEFAULT_NAME.to_owned());
                }
            }
            other => ctx.unhandled(other),
        }
    }
}

/// An event's payload that nobody can decode.
pub const BROKEN: &[u8] = br#"{"no":"sum"}"#;

/// A journal of the program's own, as a user would write one. Its keeper can mend a broken event.
#[derive(Clone)]
pub struct Own {
    journal: Arc<MemoryJournal>,
    /// Whether [`BROKEN`] reads as 40.
    pub mended: Arc<AtomicBool>,
    /// How often it was closed.
    pub closed: Arc<AtomicU32>,
}

impl Own {
    pub fn new() -> Self {
        Self { journal: Arc::new(MemoryJournal::new()), mended: Arc::default(), closed: Arc::default() }
    }
}

fn mend(event: Bytes) -> Bytes {
    match StoredEvent::from_bytes(event.clone()) {
        Ok(stored) if stored.payload == BROKEN => {
            StoredEvent { payload: Bytes::from_static(b"40"), ..stored }.to_bytes()
        }
        _ => event,
    }
}

impl Journal for Own {
    fn limits(&self) -> JournalLimits {
        self.journal.limits()
    }
    fn is_shared(&self) -> bool {
        self.journal.is_shared()
    }
    fn meta(&self) -> Pending<Result<Option<JournalMeta>, StoreError>> {
        self.journal.meta()
    }
    fn replace_meta(
        &self,
        expected: Option<JournalMeta>,
        new: JournalMeta,
    ) -> Pending<Result<bool, StoreError>> {
        self.journal.replace_meta(expected, new)
    }
    fn claim(
        &self,
        shard: ShardId,
        claim: Claim,
        writer: Writer,
        least: Option<Known>,
    ) -> Pending<Result<(), ClaimError>> {
        self.journal.claim(shard, claim, writer, least)
    }
    fn write(&self, batch: Batch) -> Pending<Result<(), WriteError>> {
        self.journal.write(batch)
    }
    fn read(&self, read: ReadEvents) -> Pending<Result<EventPage, ReadError>> {
        let (reading, mended) = (self.journal.read(read), Arc::clone(&self.mended));
        Box::pin(async move {
            let mut page = reading.await?;
            if mended.load(Ordering::Relaxed) {
                page.events = page.events.into_iter().map(mend).collect();
            }
            Ok(page)
        })
    }
    fn persistence_ids(&self, query: ListIds) -> Pending<Result<IdPage, ReadError>> {
        self.journal.persistence_ids(query)
    }
    fn health(&self) -> Pending<Result<(), StoreError>> {
        self.journal.health()
    }
    fn close(&self) -> Pending<()> {
        self.closed.fetch_add(1, Ordering::Relaxed);
        // Only the journal of this life: the next one finds what is stored.
        Box::pin(std::future::ready(()))
    }
}
