//! Events as they come: `text/event-stream`.
//!
//! ```text
//!   journal ─page─▶ follower (a task) ─one frame─▶ body ─▶ socket
//!                     ▲ next page only once the frame before is taken
//!     Region::watch ──┘ or a second has passed
//! ```
//!
//! The follower owns its place among the streams and gives it back when it ends, whoever still holds the
//! socket. It ends when the client is gone, does not read, the journal fails, or the node leaves; the body
//! then says so with `event: end`, if the client ever reads it.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

use abide_persistence::SequenceNr;
use abide_sharding::{Address, EventsWatch};
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::shown;
use crate::gateway::Gateway;
use crate::problem::{Problem, ProblemKind};
use crate::reading::unread;

/// One page is in memory for each stream.
const PAGE_EVENTS: usize = 100;
const PAGE_BYTES: usize = 256 << 10;
/// Events are sent together up to this size.
const FRAME_BYTES: usize = 32 << 10;
/// Asks proxies not to gather what is meant to go out at once.
const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Why a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Nobody is there to be told.
    Gone,
    TooSlow,
    ShuttingDown,
    JournalFailed,
}

impl End {
    fn reason(self) -> Option<&'static str> {
        match self {
            Self::Gone => None,
            Self::TooSlow => Some("the client reads too slowly"),
            Self::ShuttingDown => Some("shutting down"),
            Self::JournalFailed => Some("the journal could not be read"),
        }
    }
}

/// Begins to follow an entity from an event on.
pub(super) fn stream(gateway: &Arc<Gateway>, of: Address, from: SequenceNr) -> Result<Response, Problem> {
    let Ok(place) = Arc::clone(&gateway.streams).try_acquire_owned() else {
        let capacity = gateway.config.max_streams.get();
        let words = format!("the node already serves {capacity} live streams");
        return Err(Problem::new(ProblemKind::TooManyStreams, words).with("capacity", capacity));
    };
    let (frames, taken) = mpsc::channel(1);
    let end = Arc::new(OnceLock::new());
    let follower = Follower {
        watch: gateway.region.watch(&of),
        gateway: Arc::clone(gateway),
        of,
        next: from,
        frames,
        _place: place,
    };
    tokio::spawn(follower.run(Arc::clone(&end)));
    let body = stream::unfold(Some((taken, end)), |rest| async {
        let (mut taken, end) = rest?;
        if let Some(frame) = taken.recv().await {
            return Some((Ok::<Bytes, Infallible>(frame), Some((taken, end))));
        }
        let reason = end.get().copied().and_then(End::reason)?;
        Some((Ok(Bytes::from(format!("event: end\ndata: {{\"reason\":\"{reason}\"}}\n\n"))), None))
    });
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(UNBUFFERED, HeaderValue::from_static("no"));
    Ok(response)
}

/// Reads what is new and hands it to the body.
struct Follower {
    gateway: Arc<Gateway>,
    of: Address,
    next: SequenceNr,
    watch: EventsWatch,
    frames: mpsc::Sender<Bytes>,
    _place: OwnedSemaphorePermit,
}

/// What a follower that is up to date wakes up for.
enum Wake {
    Look,
    Beat,
    End(End),
}

impl Follower {
    async fn run(mut self, end: Arc<OnceLock<End>>) {
        let why = self.follow().await;
        if why == End::TooSlow {
            tracing::debug!(entity = ?self.of, "a live stream is cut off: its client does not read");
        }
        // Before the frames end: the body asks then.
        let _ = end.set(why);
        drop(self.frames);
    }

    async fn follow(&mut self) -> End {
        let beat_every = self.gateway.config.stream_heartbeat;
        let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + beat_every, beat_every);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // Something must go out at once, so that the client knows that it is connected.
        if let Err(end) = self.send(b": abide\n\n".to_vec()).await {
            return end;
        }
        loop {
            match self.page().await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(end) => return end,
            }
            let wake = tokio::select! {
                biased;
                () = self.gateway.readiness.drained() => Wake::End(End::ShuttingDown),
                () = self.frames.closed() => Wake::End(End::Gone),
                () = self.watch.changed() => Wake::Look,
                _ = beat.tick() => Wake::Beat,
            };
            match wake {
                Wake::Look => {}
                Wake::Beat => {
                    if let Err(end) = self.send(b":\n\n".to_vec()).await {
                        return end;
                    }
                }
                Wake::End(end) => return end,
            }
        }
    }

    /// Sends the next page. Whether there may be more already.
    async fn page(&mut self) -> Result<bool, End> {
        let all = SequenceNr(u64::MAX);
        let read = self.gateway.region.read_events(&self.of, self.next, all, PAGE_EVENTS, PAGE_BYTES);
        let page = tokio::select! {
            biased;
            () = self.frames.closed() => return Err(End::Gone),
            () = self.gateway.readiness.drained() => return Err(End::ShuttingDown),
            page = tokio::time::timeout(self.gateway.config.default_timeout, read) => page,
        };
        let page = match page {
            Ok(Ok(page)) => page,
            Ok(Err(error)) => {
                tracing::warn!(entity = ?self.of, cause = ?unread(error).cause, "a live stream ends: no page was read");
                return Err(End::JournalFailed);
            }
            Err(_) => return Err(End::JournalFailed),
        };
        let mut frame = Vec::new();
        if self.next <= page.deleted_to {
            frame.extend_from_slice(
                format!(": the events up to {} were deleted\n\n", page.deleted_to).as_bytes(),
            );
            self.next = page.deleted_to.next();
        }
        for event in &page.events {
            let mut shown = Vec::new();
            let name = shown::write(&self.gateway.region, &self.of, self.next, event, &mut shown);
            frame.extend_from_slice(format!("id: {}\n", self.next).as_bytes());
            if let Some(name) = name {
                // A line break would end the field, and what follows would be read as another one.
                let name: String = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                frame.extend_from_slice(format!("event: {name}\n").as_bytes());
            }
            frame.extend_from_slice(b"data: ");
            frame.extend(shown);
            frame.extend_from_slice(b"\n\n");
            self.next = self.next.next();
            if frame.len() >= FRAME_BYTES {
                self.send(std::mem::take(&mut frame)).await?;
            }
        }
        if !frame.is_empty() {
            self.send(frame).await?;
        }
        Ok(!page.events.is_empty() && self.next <= page.last)
    }

    /// Hands a frame over, once the one before was taken.
    async fn send(&self, frame: Vec<u8>) -> Result<(), End> {
        let patience = self.gateway.config.stream_write_timeout;
        tokio::select! {
            biased;
            sent = tokio::time::timeout(patience, self.frames.send(frame.into())) => match sent {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => Err(End::Gone),
                Err(_) => Err(End::TooSlow),
            },
            () = self.gateway.readiness.drained() => Err(End::ShuttingDown),
        }
    }
}
