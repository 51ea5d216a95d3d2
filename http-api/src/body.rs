//! Reads a body whole, within its limit; or gets rid of one that nobody wants.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body_util::BodyExt;

/// Why a body was not read.
#[derive(Debug)]
pub(crate) enum BodyFault {
    /// It has more bytes than allowed; the rest is still to come.
    TooLarge,
    /// The connection broke, or the client's framing did.
    Broken(String),
}

/// Reads a body of at most `limit` bytes. One that came in one piece, as most do, is not copied.
pub(crate) async fn read(body: &mut Body, limit: usize) -> Result<Bytes, BodyFault> {
    if body.size_hint().lower() > limit as u64 {
        return Err(BodyFault::TooLarge);
    }
    let mut first = Bytes::new();
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|cause| BodyFault::Broken(cause.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + all.len() + data.len() > limit {
            return Err(BodyFault::TooLarge);
        }
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            // Grows with what really came: a client must not make us reserve what it only announces.
            if all.is_empty() {
                all.extend_from_slice(&std::mem::take(&mut first));
            }
            all.extend_from_slice(&data);
        }
        if body.is_end_stream() {
            break;
        }
    }
    Ok(if all.is_empty() { first } else { all.into() })
}

/// Longest body that is read only to keep its connection.
const MAX_DISCARDED_BYTES: u64 = 64 << 10;
/// Longest wait for it; what a client has sent already is here by then.
const MAX_DISCARD_TIME: Duration = Duration::from_millis(50);

/// Reads a short unwanted body to its end, so that the connection can be used again. `false` if it is not
/// worth that, or does not end.
pub(crate) async fn discard(body: &mut Body) -> bool {
    if body.is_end_stream() {
        return true;
    }
    if body.size_hint().upper().is_none_or(|bytes| bytes > MAX_DISCARDED_BYTES) {
        return false;
    }
    let end = async {
        while let Some(frame) = body.frame().await {
            if frame.is_err() {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(MAX_DISCARD_TIME, end).await.unwrap_or(false)
}
