//! `GET /v1/entities/{type}/{id}?at=<n>`: the state as it was after event `n`.
//!
//! Put together from the journal beside the live entity: it costs neither the entity nor its shard anything.
//! Few run at a time; the others wait, at most until their deadline.

use std::time::Duration;

use abide_persistence::SequenceNr;
use abide_sharding::Address;
use axum::response::Response;

use crate::answer;
use crate::clock::Stopwatch;
use crate::gateway::Gateway;
use crate::problem::{Problem, ProblemKind};
use crate::query::Query;
use crate::reading::{unread, unreplayed, within};

/// A page is applied without a pause, so it must not take long.
const PAGE_EVENTS: usize = 256;
const PAGE_BYTES: usize = 1 << 20;

/// Which moment was asked for, if any.
pub(crate) fn asked(query: Option<&str>) -> Result<Option<SequenceNr>, Problem> {
    Ok(Query::read(query, &["at"])?.number("at", 0..=u64::MAX)?.map(SequenceNr))
}

/// The state after event `at`.
pub(crate) async fn state(
    gateway: &Gateway,
    of: &Address,
    at: SequenceNr,
    limit: Duration,
) -> Result<Response, Problem> {
    let begun = Stopwatch::start();
    let Ok(Ok(_turn)) = tokio::time::timeout(limit, gateway.replays.acquire()).await else {
        let running = gateway.config.max_replays;
        let words = format!("{running} states are being put together, and none of them ended in time");
        return Err(Problem::new(ProblemKind::Expired, words));
    };
    within(limit.saturating_sub(begun.elapsed()), replayed(gateway, of, at)).await
}

async fn replayed(gateway: &Gateway, of: &Address, at: SequenceNr) -> Result<Response, Problem> {
    let mut replay = gateway.region.replay(of).map_err(unreplayed)?;
    while replay.sequence_nr() < at {
        let next = replay.sequence_nr().next();
        let page = gateway.region.read_events(of, next, at, PAGE_EVENTS, PAGE_BYTES).await.map_err(unread)?;
        if page.last < at {
            let words = format!("the entity has no event {at}; its last one is {}", page.last);
            return Err(Problem::new(ProblemKind::BeyondLastEvent, words).with("last", page.last.0));
        }
        replay.feed(page).map_err(unreplayed)?;
        if replay.sequence_nr() < next {
            let words = "the journal shows fewer events than it says that there are";
            return Err(Problem::new(ProblemKind::JournalFailed, words));
        }
        tokio::task::yield_now().await;
    }
    Ok(answer::reply(replay.state().map_err(unreplayed)?, at))
}
