//! A lane: many shards, run in batches by whoever holds it.
//!
//! A turn handles what has arrived, runs the entities' code inline, then hands on what the touched shards
//! want written, and delivers the answers. While a batch of a shard is being written the next one gathers:
//! group commit, never a timer. Turns are taken by senders (see [`door`](super::door)) and by the lane's own
//! task, which alone waits for the journal and the clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use abide_persistence::ShardId;
use abide_persistence::engine::{Report, Turn};
use abide_persistence::journal::{
    Claim, ClaimError, Epoch, EventPage, Journal, Pending, ReadError, StoreError, WriteError, Writer,
};
use abide_persistence::model::{Answer, Failure};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::clock::Clock;
use super::inbox::Inbox;
use super::region::{Address, RegionConfig, Request, Stopped};
use crate::engine::registry::Registry;
use crate::engine::shard::{Action, Delivery, Lost, Place, Shard};

/// What comes to a lane.
pub(crate) enum Letter {
    /// A request for an entity.
    Deliver(Request<Address>),
    /// Shards become this node's.
    Assign { shards: Vec<ShardId>, epoch: Epoch },
    /// Finish and end.
    Stop,
}

/// What a lane says about itself, for whoever looks.
#[derive(Debug, Default)]
pub(crate) struct LaneStats {
    pub(crate) shards_assigned: AtomicUsize,
    pub(crate) shards_held: AtomicUsize,
    pub(crate) shards_lost: AtomicUsize,
    pub(crate) entities: AtomicUsize,
    pub(crate) entities_parked: AtomicUsize,
    pub(crate) recoveries: AtomicUsize,
}

pub(crate) struct LaneContext {
    pub(crate) index: usize,
    pub(crate) config: RegionConfig,
    pub(crate) clock: Clock,
    pub(crate) writer: Writer,
    pub(crate) registry: Arc<Registry>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) stats: Arc<LaneStats>,
    pub(crate) stopped: watch::Sender<Option<Stopped>>,
}

/// Letters taken at once. More would only delay the first of them.
pub(crate) const LETTERS_A_TURN: usize = 1024;
/// Pause between two looks at idle entities and deadlines.
const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// A sweep looks at one part of the entities, so that no sweep takes long.
const SWEEP_PARTS: u32 = 16;

pub(crate) struct Lane {
    cx: LaneContext,
    shards: Vec<Shard>,
    /// Shards touched in this turn, each once.
    touched: Vec<usize>,
    is_touched: Vec<bool>,
    turn: Turn,
    actions: Vec<Action>,
    store: FuturesUnordered<StoreCall>,
    reads: FuturesUnordered<Pin<Box<dyn Future<Output = ReadDone> + Send>>>,
    wakes: BinaryHeap<Reverse<(Duration, usize, Option<Place>)>>,
    evict_hand: usize,
    entities: usize,
    /// Nobody could be evicted; not worth another look before the next sweep.
    nobody_idle: bool,
    /// Who holds what has changed in this turn.
    count_shards: bool,
    /// Something was begun that the lane's task does not know of yet.
    news: bool,
    /// Room for letters, kept from turn to turn.
    letters: Vec<Letter>,
    sweep_at: Duration,
    timer_at: Duration,
    timer: Pin<Box<tokio::time::Sleep>>,
    answered: metrics::Counter,
    persisted: metrics::Counter,
    batches: metrics::Histogram,
    stopping: bool,
}

/// A claim or a batch at the journal; one future without a further box around it.
struct StoreCall {
    shard: usize,
    claim: Claim,
    call: Call,
}

enum Call {
    Claim(Pending<Result<(), ClaimError>>),
    Write { number: u64, events: usize, done: Pending<Result<(), WriteError>> },
}

struct StoreDone {
    shard: usize,
    claim: Claim,
    result: Done,
}

enum Done {
    Claimed(Result<(), ClaimError>),
    Written { number: u64, events: usize, result: Result<(), WriteError> },
}

impl Future for StoreCall {
    type Output = StoreDone;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<StoreDone> {
        let (shard, claim) = (self.shard, self.claim);
        let result = match &mut self.call {
            Call::Claim(done) => done.as_mut().poll(cx).map(Done::Claimed),
            Call::Write { number, events, done } => done.as_mut().poll(cx).map(|result| Done::Written {
                number: *number,
                events: *events,
                result,
            }),
        };
        result.map(|result| StoreDone { shard, claim, result })
    }
}

struct ReadDone {
    shard: usize,
    place: Place,
    life: u64,
    claim: Claim,
    page: Result<EventPage, ReadError>,
    /// Held until the page is applied.
    permit: Option<OwnedSemaphorePermit>,
}

impl Lane {
    pub(crate) fn new(cx: LaneContext) -> Self {
        let lanes = cx.config.lanes.get();
        let shards = cx.config.shards.all().filter(|shard| shard.0 as usize % lanes == cx.index);
        let shards: Vec<Shard> = shards.map(|shard| Shard::new(shard, cx.writer)).collect();
        let turn = Turn::new(cx.clock.now(), cx.config.entity);
        let sweep_at = turn.now.since_start + SWEEP_EVERY;
        Self {
            is_touched: vec![false; shards.len()],
            shards,
            touched: Vec::new(),
            turn,
            actions: Vec::new(),
            store: FuturesUnordered::new(),
            reads: FuturesUnordered::new(),
            wakes: BinaryHeap::new(),
            evict_hand: 0,
            entities: 0,
            nobody_idle: false,
            count_shards: false,
            news: false,
            letters: Vec::new(),
            sweep_at,
            timer_at: sweep_at,
            timer: Box::pin(tokio::time::sleep_until(cx.clock.instant(sweep_at).into())),
            answered: metrics::counter!("abide_answers_total"),
            persisted: metrics::counter!("abide_events_persisted_total"),
            batches: metrics::histogram!("abide_batch_events"),
            stopping: false,
            cx,
        }
    }

    /// Handles requests on the spot, and does what follows from them.
    pub(crate) fn handle<'a>(&mut self, requests: impl Iterator<Item = Request<&'a Address>>) {
        self.turn.now.since_start = self.cx.clock.since_start();
        requests.for_each(|request| self.deliver(request));
        self.finish_turn();
    }

    /// Handles what lies in the inbox. `false` if there is more than one turn may take.
    pub(crate) fn empty(&mut self, inbox: &Inbox<Letter>) -> bool {
        let mut letters = std::mem::take(&mut self.letters);
        let all = inbox.take(&mut letters, LETTERS_A_TURN);
        if !letters.is_empty() {
            self.turn.now.since_start = self.cx.clock.since_start();
            for letter in letters.drain(..) {
                self.open(letter);
            }
            self.finish_turn();
        }
        self.letters = letters;
        all
    }

    /// Whether something was begun that the lane's task must wait for.
    pub(crate) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// The lane's task: waits for the journal and the clock. Ends once the lane was told to stop and its
    /// writes are through.
    pub(crate) fn poll(&mut self, inbox: &Inbox<Letter>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.turn.now.since_start = self.cx.clock.since_start();
            while let Some(done) = poll_next(&mut self.store, cx) {
                self.stored(done);
            }
            while let Some(done) = poll_next(&mut self.reads, cx) {
                self.page(done);
            }
            self.wake_up();
            if self.sweep_at <= self.turn.now.since_start {
                self.sweep_at = self.turn.now.since_start + SWEEP_EVERY;
                self.sweep();
            }
            self.finish_turn();
            if !self.empty(inbox) {
                // Others get a turn before the rest.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.stopping && self.store.is_empty() && !self.shards.iter().any(Shard::is_writing) {
                self.leave(inbox);
                return Poll::Ready(());
            }
            let wake_at = self.wakes.peek().map_or(self.sweep_at, |Reverse((at, ..))| self.sweep_at.min(*at));
            if wake_at != self.timer_at {
                self.timer_at = wake_at;
                self.timer.as_mut().reset(self.cx.clock.instant(wake_at).into());
            }
            // What was begun in this round must be polled once before anybody sleeps.
            if !self.take_news() && self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn open(&mut self, letter: Letter) {
        match letter {
            Letter::Deliver(Request { to, shard, message, caller, deadline }) => {
                self.deliver(Request { to: &to, shard, message, caller, deadline });
            }
            Letter::Assign { shards, epoch } => {
                for shard in shards {
                    let at = self.place(shard);
                    self.shards[at].assign(&mut self.turn, epoch, &mut self.actions);
                    self.act(at);
                }
                self.count_shards = true;
            }
            Letter::Stop => self.stopping = true,
        }
    }

    fn deliver(&mut self, request: Request<&Address>) {
        let Request { to, shard, message, caller, deadline } = request;
        if self.stopping {
            let refused = caller.map(|caller| (caller, Answer::failed(Failure::ShuttingDown)));
            return self.turn.answers.extend(refused);
        }
        let at = self.place(shard);
        let id = &to.persistence_id().id;
        let delivery = Delivery { entity_type: to.type_index, hash: to.hash, id, message, caller, deadline };
        self.shards[at].deliver(&mut self.turn, &self.cx.registry, delivery, &mut self.actions);
        self.act(at);
    }

    fn stored(&mut self, StoreDone { shard: at, claim, result }: StoreDone) {
        match result {
            Done::Claimed(result) => {
                if let Err(error) = &result {
                    // Once aloud: a journal that is away is told of by every shard.
                    if self.shards[at].claim_attempts() == 0 {
                        tracing::warn!(shard = %self.shards[at].id(), %claim, %error, "the shard was not claimed");
                    } else {
                        tracing::debug!(shard = %self.shards[at].id(), %claim, %error, "the shard was not claimed");
                    }
                }
                self.shards[at].claimed(&mut self.turn, claim, result, &mut self.actions);
                self.count_shards = true;
            }
            Done::Written { number, events, result } => {
                match &result {
                    Ok(()) => self.persisted.increment(events as u64),
                    Err(error) => {
                        metrics::counter!("abide_batches_failed_total").increment(1);
                        tracing::error!(claim = %claim, batch = number, %error, "a batch was not acknowledged");
                    }
                }
                self.shards[at].written(&mut self.turn, claim, number, result, &mut self.actions);
            }
        }
        self.act(at);
    }

    fn page(&mut self, done: ReadDone) {
        let ReadDone { shard: at, place, life, claim, page, permit } = done;
        self.shards[at].read(&mut self.turn, place, life, claim, page, &mut self.actions);
        drop(permit);
        self.act(at);
    }

    fn wake_up(&mut self) {
        while let Some(Reverse((due, ..))) = self.wakes.peek()
            && *due <= self.turn.now.since_start
            && let Some(Reverse((_, at, place))) = self.wakes.pop()
        {
            self.shards[at].wake(&mut self.turn, place, &mut self.actions);
            self.act(at);
        }
    }

    /// Ends a turn: what the touched shards want is begun, who has an answer gets it.
    fn finish_turn(&mut self) {
        let mut next = 0;
        while let Some(&at) = self.touched.get(next) {
            next += 1;
            self.is_touched[at] = false;
            self.turn.now = self.cx.clock.now();
            self.shards[at].flush(&mut self.turn, &mut self.actions);
            self.act(at);
        }
        self.touched.clear();
        self.entities += std::mem::take(&mut self.turn.created);
        if let Some(limit) = self.cx.config.max_active_entities {
            let share = limit.get().div_ceil(self.cx.config.lanes.get());
            while self.entities > share && !self.nobody_idle {
                self.nobody_idle = !self.evict();
            }
        }
        // A turn that only reads leaves nothing to tell; others' caches keep what it does not write.
        if next > 0 || self.count_shards {
            self.tell_stats();
            self.count_shards = false;
        }
        let answered = self.turn.answers.len() as u64;
        for (caller, answer) in self.turn.answers.drain(..) {
            caller.answer(answer);
        }
        if answered > 0 {
            self.answered.increment(answered);
        }
        self.turn.reports.drain(..).for_each(report);
    }

    fn tell_stats(&self) {
        let count = |holds: fn(&Shard) -> bool| self.shards.iter().filter(|shard| holds(shard)).count();
        let stats = &self.cx.stats;
        if self.count_shards {
            stats.shards_held.store(count(Shard::is_held), Ordering::Relaxed);
            stats.shards_assigned.store(count(Shard::is_assigned), Ordering::Relaxed);
            stats.shards_lost.store(count(Shard::is_lost), Ordering::Relaxed);
        }
        stats.entities.store(self.entities, Ordering::Relaxed);
        stats.recoveries.store(self.reads.len(), Ordering::Relaxed);
    }

    /// Begins what a shard wants done.
    fn act(&mut self, at: usize) {
        if self.shards[at].wants_flush() {
            self.touch(at);
        }
        if self.actions.is_empty() {
            return;
        }
        self.news = true;
        for action in self.actions.drain(..) {
            match action {
                Action::Claim(claim) => {
                    let call = self.cx.journal.claim(self.shards[at].id(), claim, self.cx.writer);
                    self.store.push(StoreCall { shard: at, claim, call: Call::Claim(call) });
                }
                Action::Write(batch) => {
                    let (claim, number) = (batch.claim, batch.number);
                    let events = batch.events();
                    self.batches.record(events as f64);
                    let done = self.cx.journal.write(batch);
                    self.store.push(StoreCall {
                        shard: at,
                        claim,
                        call: Call::Write { number, events, done },
                    });
                }
                Action::Read { place, life, read } => {
                    let (journal, permits) = (Arc::clone(&self.cx.journal), Arc::clone(&self.cx.permits));
                    let config = self.cx.config;
                    self.reads.push(Box::pin(async move {
                        let claim = read.claim.unwrap_or(Claim { epoch: Epoch(0), session: 0 });
                        let waited =
                            tokio::time::timeout(config.recovery_permit_timeout, permits.acquire_owned());
                        let (page, permit) = match waited.await {
                            Ok(Ok(permit)) => {
                                let read = journal.read(read);
                                let page = tokio::time::timeout(config.recovery_event_timeout, read).await;
                                let none = || Err(late("no events came", config.recovery_event_timeout));
                                (page.unwrap_or_else(|_| none()), Some(permit))
                            }
                            _ => (Err(late("no turn to recover came", config.recovery_permit_timeout)), None),
                        };
                        ReadDone { shard: at, place, life, claim, page, permit }
                    }));
                }
                Action::Wake { at: due, place } => self.wakes.push(Reverse((due, at, place))),
                Action::Lost(lost) => {
                    let shard = self.shards[at].id();
                    metrics::counter!("abide_shards_lost_total").increment(1);
                    tracing::error!(%shard, ?lost, "the shard was lost to this node");
                    self.count_shards = true;
                    self.entities = self.shards.iter().map(Shard::entities).sum();
                    if let Lost::Usurped(usurped) = lost {
                        self.cx.stopped.send_replace(Some(Stopped::Usurped(usurped.to_string())));
                    }
                }
            }
        }
    }

    fn sweep(&mut self) {
        let idle = self.turn.now.since_start.saturating_sub(self.cx.config.passivate_after);
        let idle_before = u32::try_from(idle.as_secs()).unwrap_or(u32::MAX);
        self.nobody_idle = false;
        let (mut parked, mut dropped) = (0, 0);
        for shard in &mut self.shards {
            dropped += shard.sweep(&mut self.turn, idle_before, SWEEP_PARTS);
            parked += shard.parked_count();
        }
        self.entities = self.shards.iter().map(Shard::entities).sum();
        self.tell_stats();
        self.cx.stats.entities_parked.store(parked, Ordering::Relaxed);
        if dropped > 0 {
            metrics::counter!("abide_entities_passivated_total").increment(dropped as u64);
        }
    }

    /// Drops one entity that was not used for long; `false` if none can go.
    fn evict(&mut self) -> bool {
        for _ in 0..self.shards.len() {
            self.evict_hand = (self.evict_hand + 1) % self.shards.len();
            if self.shards[self.evict_hand].evict() {
                self.entities -= 1;
                metrics::counter!("abide_entities_passivated_total").increment(1);
                return true;
            }
        }
        false
    }

    /// The end: whoever still waits is told.
    fn leave(&mut self, inbox: &Inbox<Letter>) {
        for shard in &mut self.shards {
            shard.unload(&mut self.turn, &|_| Failure::ShuttingDown);
        }
        for letter in inbox.close() {
            self.open(letter);
        }
        self.finish_turn();
    }

    fn place(&self, shard: ShardId) -> usize {
        shard.0 as usize / self.cx.config.lanes.get()
    }

    fn touch(&mut self, at: usize) {
        if !std::mem::replace(&mut self.is_touched[at], true) {
            self.touched.push(at);
        }
    }
}

/// The next result that is there, if any.
fn poll_next<F: Future>(futures: &mut FuturesUnordered<F>, cx: &mut Context<'_>) -> Option<F::Output> {
    // An empty set says so without remembering who asked; what is pushed later is polled in the next turn.
    match futures.poll_next_unpin(cx) {
        Poll::Ready(done) => done,
        Poll::Pending => None,
    }
}

fn late(what: &str, limit: Duration) -> ReadError {
    ReadError::Failed(StoreError::new(format!("{what} within {limit:?}")))
}

fn report(what: Report) {
    match what {
        Report::Panicked { id, what } => {
            metrics::counter!("abide_entity_panics_total").increment(1);
            tracing::error!(entity = %id, panic = what, "the entity's code panicked; it restarts");
        }
        Report::Parked { id, reason } => {
            metrics::counter!("abide_entities_parked_total").increment(1);
            tracing::error!(entity = %id, reason, "the entity cannot be recovered and is parked");
        }
        Report::RecoveryFailed { id, reason, retry_in } => {
            metrics::counter!("abide_recoveries_failed_total").increment(1);
            tracing::warn!(entity = %id, reason, ?retry_in, "the entity could not be recovered; it tries again");
        }
        Report::PersistFailed { id, sequence_nr, reason } => {
            metrics::counter!("abide_persist_failures_total").increment(1);
            tracing::error!(entity = %id, %sequence_nr, reason, "events were not acknowledged; the entity recovers");
        }
        Report::EventRejected { id, reason } => {
            metrics::counter!("abide_events_rejected_total").increment(1);
            tracing::warn!(entity = %id, reason, "an event was rejected; the entity goes on");
        }
        Report::ReplyWithoutCaller { id } => {
            metrics::counter!("abide_extra_replies_total").increment(1);
            tracing::debug!(entity = %id, "a reply without a caller that waits for it");
        }
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane").field("index", &self.cx.index).finish_non_exhaustive()
    }
}
