//! A lane: many shards, run in batches by whoever holds it.
//!
//! A turn handles what has arrived, runs the entities' code inline, then hands on what the touched shards
//! want written, and delivers the answers. While a batch of a shard is being written the next one gathers:
//! group commit, never a timer. Turns are taken by senders (see [`door`](super::door)) and by the lane's own
//! task, which alone waits for the journal and the clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use abide_persistence::engine::{Call, Called, Calling, Report, Running, Ticket, Turn, panic_message};
use abide_persistence::journal::{
    Claim, ClaimError, Epoch, EventPage, Journal, Known, Loaded, Pending, ReadError, SnapshotCriteria,
    SnapshotError, SnapshotStore, StoreError, WriteError, Writer,
};
use abide_persistence::model::{Answer, Failure};
use abide_persistence::{EntityId, PersistenceId, ShardId};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::AbortHandle;

use super::clock::Clock;
use super::inbox::Inbox;
use super::region::{Address, RegionConfig, Request, Stopped};
use super::stores::Kinds;
use super::watch::Watchers;
use crate::engine::registry::TypeIndex;
use crate::engine::shard::{Action, Delivery, Lost, ParkedFor, Place, Shard};

/// What comes to a lane.
pub(crate) enum Letter {
    /// A request for an entity.
    Deliver(Request<Address>),
    /// Shards become this node's.
    Assign { shards: Vec<ShardId>, epoch: Epoch },
    /// Somebody asks which entities are parked, up to so many.
    ShowParked { most: usize, to: oneshot::Sender<Vec<(TypeIndex, EntityId, String)>> },
    /// Somebody asks which shards are parked, at which of the journals, up to so many.
    ShowParkedShards { most: usize, to: oneshot::Sender<Vec<ParkedAt>> },
    /// An operator lets a parked shard go on. Answered with where and why it was parked.
    Unpark { shard: ShardId, how: Unpark, to: oneshot::Sender<Vec<ParkedAt>> },
    /// Finish and end.
    Stop,
}

/// A parked shard, at which of the journals, and why.
pub(crate) type ParkedAt = (ShardId, usize, ParkedFor);

/// How an operator lets a parked shard go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unpark {
    /// With what is left, where there was a loss.
    AcceptLoss,
    /// If the journal holds all that is known.
    Release,
}

/// What a lane says about itself, for whoever looks.
#[derive(Debug, Default)]
pub(crate) struct LaneStats {
    pub(crate) shards_assigned: AtomicUsize,
    pub(crate) shards_held: AtomicUsize,
    pub(crate) shards_lost: AtomicUsize,
    pub(crate) shards_parked: AtomicUsize,
    pub(crate) entities: AtomicUsize,
    pub(crate) entities_parked: AtomicUsize,
    pub(crate) recoveries: AtomicUsize,
}

pub(crate) struct LaneContext {
    pub(crate) index: usize,
    pub(crate) config: RegionConfig,
    pub(crate) clock: Clock,
    pub(crate) writer: Writer,
    pub(crate) kinds: Arc<Kinds>,
    pub(crate) runtime: Handle,
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) stats: Arc<LaneStats>,
    pub(crate) watchers: Arc<Watchers>,
    pub(crate) stopped: watch::Sender<Option<Stopped>>,
    pub(crate) running: Arc<Running>,
}

/// Letters taken at once. More would only delay the first of them.
pub(crate) const LETTERS_A_TURN: usize = 1024;
/// Pause between two looks at idle entities and deadlines.
const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// A sweep looks at one part of the entities, so that no sweep takes long.
const SWEEP_PARTS: u32 = 16;

pub(crate) struct Lane {
    cx: LaneContext,
    /// Each shard as often as there are journals, side by side: it is claimed and written at each alone.
    /// The region computes the place in an address.
    shards: Vec<Shard>,
    /// Shards touched in this turn, each once.
    touched: Vec<usize>,
    is_touched: Vec<bool>,
    turn: Turn,
    actions: Vec<Action>,
    store: FuturesUnordered<Pending<StoreDone>>,
    reads: FuturesUnordered<Pending<ReadDone>>,
    /// Turns to recover of those that have just read: for their next page if they want one in this turn,
    /// else for others.
    turns: Vec<(usize, Place, OwnedSemaphorePermit)>,
    /// Events that came along with the snapshots of entities in this turn, until they ask for them.
    streams: Vec<(usize, Place, Claim, EventPage)>,
    calls: FuturesUnordered<Pending<CallDone>>,
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
    answers_untold: u64,
    persisted: metrics::Counter,
    batches: metrics::Histogram,
    stopping: bool,
}

/// What came of a claim or a batch at the journal.
struct StoreDone {
    shard: usize,
    claim: Claim,
    result: Done,
}

enum Done {
    Claimed(Result<(), ClaimError>),
    Written { number: u64, events: usize, result: Result<(), WriteError> },
}

struct ReadDone {
    shard: usize,
    place: Place,
    life: u64,
    claim: Claim,
    read: Read,
    /// Held until what was read is applied, and on to the next page.
    permit: Option<OwnedSemaphorePermit>,
}

enum Read {
    Page(Result<EventPage, ReadError>),
    Snapshot(Result<Loaded, SnapshotError>),
}

struct CallDone {
    shard: usize,
    place: Place,
    life: u64,
    ticket: Ticket,
    called: Called,
}

/// Ends a future of an entity, when the incarnation that waits for it does.
struct EndsFuture(AbortHandle);

impl Drop for EndsFuture {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Lane {
    pub(crate) fn new(cx: LaneContext) -> Self {
        let lanes = cx.config.lanes.get();
        let shards = cx.config.shards.all().filter(|shard| shard.0 as usize % lanes == cx.index);
        let journals = &cx.kinds.journals;
        let shards: Vec<Shard> = shards
            .flat_map(|shard| {
                journals.iter().enumerate().map(move |(at, journal)| {
                    // Two names of one store must not take each other's claims for their own.
                    let incarnation = cx.writer.incarnation ^ at as u128;
                    Shard::new(shard, Writer { incarnation, ..cx.writer }, journal.limits())
                })
            })
            .collect();
        let mut turn = Turn::new(cx.clock.now());
        turn.running = Arc::clone(&cx.running);
        let sweep_at = turn.now.since_start + SWEEP_EVERY;
        Self {
            is_touched: vec![false; shards.len()],
            shards,
            touched: Vec::new(),
            turn,
            actions: Vec::new(),
            store: FuturesUnordered::new(),
            reads: FuturesUnordered::new(),
            turns: Vec::new(),
            streams: Vec::new(),
            calls: FuturesUnordered::new(),
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
            answers_untold: 0,
            persisted: metrics::counter!("abide_events_persisted_total"),
            batches: metrics::histogram!("abide_batch_events"),
            stopping: false,
            cx,
        }
    }

    /// Handles requests on the spot, and does what follows from them.
    pub(crate) fn handle<'a>(&mut self, requests: impl Iterator<Item = Request<&'a Address>>) {
        self.look_at_clock();
        requests.for_each(|request| self.deliver(request));
        self.finish_turn();
    }

    /// Handles what lies in the inbox. `false` if there is more than one turn may take.
    pub(crate) fn empty(&mut self, inbox: &Inbox<Letter>) -> bool {
        let mut letters = std::mem::take(&mut self.letters);
        let all = inbox.take(&mut letters, LETTERS_A_TURN);
        if !letters.is_empty() {
            self.look_at_clock();
            for letter in letters.drain(..) {
                self.open(letter);
            }
            self.finish_turn();
        }
        self.letters = letters;
        all
    }

    /// Roughly is enough for requests; and time does not go back after an exact look.
    fn look_at_clock(&mut self) {
        let now = &mut self.turn.now.since_start;
        *now = (*now).max(self.cx.clock.roughly_since_start());
    }

    /// Whether something was begun that the lane's task must wait for.
    pub(crate) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// The lane's task: waits for the journal and the clock. Ends once the lane was told to stop and its
    /// writes are through.
    pub(crate) fn poll(&mut self, inbox: &Inbox<Letter>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.turn.now = self.cx.clock.now();
            self.tell_answers();
            while let Some(done) = poll_next(&mut self.store, cx) {
                self.stored(done);
            }
            while let Some(done) = poll_next(&mut self.reads, cx) {
                self.page(done);
            }
            while let Some(done) = poll_next(&mut self.calls, cx) {
                self.called(done);
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
            Letter::Deliver(Request { to, at, message, caller, deadline }) => {
                self.deliver(Request { to: &to, at, message, caller, deadline });
            }
            Letter::Assign { shards, epoch } => {
                for shard in shards {
                    for journal in 0..self.cx.kinds.journals.len() {
                        let at = self.place(shard, journal);
                        self.shards[at].assign(&mut self.turn, epoch, &mut self.actions);
                        self.act(at);
                    }
                }
                self.count_shards = true;
            }
            Letter::ShowParked { most, to } => {
                // Who asked may have gone; then nobody misses the answer.
                let _ = to.send(self.parked(most));
            }
            Letter::ShowParkedShards { most, to } => {
                let parked = self.parked_shards(0..self.shards.len());
                let _ = to.send(parked.take(most).collect());
            }
            Letter::Unpark { shard, how, to } => {
                let _ = to.send(self.unpark(shard, how));
            }
            Letter::Stop => self.stopping = true,
        }
    }

    fn deliver(&mut self, request: Request<&Address>) {
        let Request { to, at, message, caller, deadline } = request;
        if self.stopping {
            let refused = caller.map(|caller| (caller, Answer::failed(Failure::ShuttingDown)));
            return self.turn.answers.extend(refused);
        }
        let kind = self.cx.kinds.get(to.type_index);
        let id = &to.persistence_id().id;
        let journal_rests = self.cx.kinds.journals[kind.journal].refuses_writes(self.shards[at].id());
        let (entity_type, hash) = (to.type_index, to.hash);
        let delivery = Delivery { entity_type, hash, id, message, caller, deadline, journal_rests };
        self.shards[at].deliver(&mut self.turn, || kind.new_store(), delivery, &mut self.actions);
        self.act(at);
    }

    fn parked(&self, most: usize) -> Vec<(TypeIndex, EntityId, String)> {
        self.shards.iter().flat_map(|shard| shard.parked(most)).take(most).collect()
    }

    fn parked_shards(&self, places: Range<usize>) -> impl Iterator<Item = ParkedAt> {
        let journals = self.cx.kinds.journals.len();
        let of = move |at: usize| {
            let shard = &self.shards[at];
            shard.parked_for().map(|cause| (shard.id(), at % journals, cause.clone()))
        };
        places.filter_map(of)
    }

    /// Lets a shard go on at every journal where it is parked and may go on in this way.
    fn unpark(&mut self, shard: ShardId, how: Unpark) -> Vec<ParkedAt> {
        let journals = self.cx.kinds.journals.len();
        let mut unparked = Vec::new();
        for journal in 0..journals {
            let at = self.place(shard, journal);
            let cause = match how {
                Unpark::AcceptLoss => self.shards[at].accept_loss(&mut self.actions).map(ParkedFor::Loss),
                Unpark::Release => self.shards[at].release(&mut self.actions),
            };
            self.act(at);
            if let Some(cause) = cause {
                let name = &self.cx.kinds.journal_names[journal];
                tracing::warn!(%shard, journal = name, %cause, ?how, "an operator lets a parked shard go on");
                unparked.push((shard, journal, cause));
            }
        }
        self.count_shards = true;
        unparked
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
                    Ok(()) => {
                        self.persisted.increment(events as u64);
                        self.cx.watchers.stored(self.shards[at].id());
                    }
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
        let ReadDone { shard: at, place, life, claim, read, permit } = done;
        let (turn, actions) = (&mut self.turn, &mut self.actions);
        match read {
            Read::Page(page) => self.shards[at].read(turn, place, life, claim, page, actions),
            Read::Snapshot(loaded) => {
                let loaded = loaded.map(|Loaded { snapshot, stream }| {
                    self.streams.extend(stream.map(|stream| (at, place, claim, stream)));
                    snapshot
                });
                self.shards[at].snapshot_loaded(turn, place, life, claim, loaded, actions);
            }
        }
        self.turns.extend(permit.map(|permit| (at, place, permit)));
        self.act(at);
    }

    /// The turn to recover that an entity has already, or the wait for one.
    fn turn_to_recover(
        &mut self,
        at: usize,
        place: Place,
    ) -> impl Future<Output = Result<OwnedSemaphorePermit, StoreError>> + Send + use<> {
        let held = self.turns.iter().position(|(shard, of, _)| (*shard, *of) == (at, place));
        let held = held.map(|held| self.turns.swap_remove(held).2);
        let (permits, limit) = (Arc::clone(&self.cx.permits), self.cx.config.recovery_permit_timeout);
        async move {
            match held {
                Some(permit) => Ok(permit),
                None => permit(permits, limit).await,
            }
        }
    }

    fn called(&mut self, done: CallDone) {
        let CallDone { shard: at, place, life, ticket, called } = done;
        self.shards[at].called(&mut self.turn, place, life, ticket, called, &mut self.actions);
        self.act(at);
    }

    fn wake_up(&mut self) {
        while let Some(Reverse((due, ..))) = self.wakes.peek()
            && *due <= self.turn.now.since_start
            && let Some(Reverse((_, at, place))) = self.wakes.pop()
        {
            match place {
                Some(place) => self.shards[at].wake(&mut self.turn, place, &mut self.actions),
                None => {
                    let rests = self.journal_rests(at);
                    self.shards[at].wake_shard(&mut self.turn, rests, &mut self.actions);
                }
            }
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
            let rests = self.journal_rests(at);
            self.shards[at].flush(&mut self.turn, rests, &mut self.actions);
            self.act(at);
        }
        self.touched.clear();
        self.turns.clear();
        // Whoever wanted one has asked by now.
        self.streams.clear();
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
        self.answers_untold += answered;
        self.turn.reports.drain(..).for_each(report);
    }

    /// The counter is one for all lanes: told with every answer, its line would travel with every answer.
    fn tell_answers(&mut self) {
        let untold = std::mem::take(&mut self.answers_untold);
        if untold > 0 {
            self.answered.increment(untold);
        }
    }

    fn tell_stats(&self) {
        let stats = &self.cx.stats;
        if self.count_shards {
            // A shard counts once, whatever the number of its journals.
            let shards = || self.shards.chunks(self.cx.kinds.journals.len().max(1));
            let held = shards().filter(|shard| shard.iter().all(Shard::is_held)).count();
            let assigned = shards().filter(|shard| shard.iter().all(Shard::is_assigned)).count();
            let lost = shards().filter(|shard| shard.iter().any(Shard::is_lost)).count();
            stats.shards_held.store(held, Ordering::Relaxed);
            stats.shards_assigned.store(assigned, Ordering::Relaxed);
            stats.shards_lost.store(lost, Ordering::Relaxed);
            let parked = shards().filter(|shard| shard.iter().any(|at| at.parked_for().is_some())).count();
            stats.shards_parked.store(parked, Ordering::Relaxed);
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
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            match action {
                Action::Claim { claim, least } => {
                    let (shard, writer) = (self.shards[at].id(), self.shards[at].writer());
                    let call = self.journal(at).claim(shard, claim, writer, least);
                    let limit = self.cx.config.journal_timeout;
                    self.store.push(Box::pin(async move {
                        let claimed = in_time(call, limit, NO_ANSWER, ClaimError::Failed).await;
                        StoreDone { shard: at, claim, result: Done::Claimed(claimed) }
                    }));
                }
                Action::Write(batch) => {
                    let (claim, number) = (batch.claim, batch.number);
                    let events = batch.events();
                    self.batches.record(events as f64);
                    let call = self.journal(at).write(batch);
                    let limit = self.cx.config.journal_timeout;
                    self.store.push(Box::pin(async move {
                        let result = in_time(call, limit, NO_ANSWER, WriteError::Unknown).await;
                        StoreDone { shard: at, claim, result: Done::Written { number, events, result } }
                    }));
                }
                Action::Read { place, life, read } => {
                    let (journal, permit) = (Arc::clone(self.journal(at)), self.turn_to_recover(at, place));
                    let config = self.cx.config;
                    let known = self.streams.iter().position(|(shard, of, under, _)| {
                        (*shard, *of) == (at, place) && read.known.is_some_and(|known| known.claim == *under)
                    });
                    let known = known.map(|known| self.streams.swap_remove(known).3);
                    self.reads.push(Box::pin(async move {
                        let claim =
                            read.known.map_or(Claim { epoch: Epoch(0), session: 0 }, |known| known.claim);
                        let (page, permit) = match permit.await {
                            Ok(permit) => match known {
                                Some(stream) => (Ok(stream.window(&read)), Some(permit)),
                                None => {
                                    let (limit, none) = (config.recovery_event_timeout, "no events came");
                                    let page = in_time(journal.read(read), limit, none, ReadError::Failed);
                                    (page.await, Some(permit))
                                }
                            },
                            Err(cause) => (Err(ReadError::Failed(cause)), None),
                        };
                        ReadDone { shard: at, place, life, claim, read: Read::Page(page), permit }
                    }));
                }
                Action::LoadSnapshot { place, life, known, persistence_id, criteria } => {
                    let claim = known.claim;
                    let kind = self.cx.kinds.get(place.0);
                    let (store, under) = (kind.snapshots.clone(), kind.is_one_store.then_some(known));
                    let permit = self.turn_to_recover(at, place);
                    let (config, id) = (self.cx.config, self.shards[at].id());
                    self.reads.push(Box::pin(async move {
                        let (loaded, permit) = match permit.await {
                            Ok(permit) => (
                                load(store, id, persistence_id, (criteria, under), &config).await,
                                Some(permit),
                            ),
                            Err(cause) => (Err(SnapshotError::Failed(cause)), None),
                        };
                        ReadDone { shard: at, place, life, claim, read: Read::Snapshot(loaded), permit }
                    }));
                }
                Action::Call { place, life, calling: Calling { ticket, persistence_id, call } } => {
                    let called = self.call(at, (place, life, ticket), persistence_id, call);
                    self.calls.push(Box::pin(async move {
                        CallDone { shard: at, place, life, ticket, called: called.await }
                    }));
                }
                Action::Wake { at: due, place } => {
                    // Counted from a rough time, perhaps: nobody is woken early.
                    self.wakes.push(Reverse((due + self.cx.clock.roughness(), at, place)));
                }
                Action::Parked(cause) => {
                    let (shard, journals) = (self.shards[at].id(), &self.cx.kinds.journal_names);
                    let journal = &journals[at % journals.len()];
                    metrics::counter!("abide_shards_parked_total").increment(1);
                    let words = match &cause {
                        ParkedFor::Loss(_) => {
                            "the journal has lost events; the shard is parked until an operator accepts the loss"
                        }
                        ParkedFor::Damage(_) => {
                            "the journal holds what it did not write; the shard is parked until an operator \
                             releases it"
                        }
                    };
                    tracing::error!(%shard, journal, %cause, "{words}");
                    self.count_shards = true;
                    self.entities = self.shards.iter().map(Shard::entities).sum();
                }
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
        self.actions = actions;
    }

    /// Does what an entity wants done.
    fn call(
        &mut self,
        at: usize,
        (place, life, ticket): (Place, u64, Ticket),
        persistence_id: PersistenceId,
        call: Call,
    ) -> Pending<Called> {
        let (config, shard) = (self.cx.config, self.shards[at].id());
        let store = self.cx.kinds.get(place.0).snapshots.clone();
        match call {
            Call::Run(future) => {
                let spawned = self.cx.runtime.spawn(future);
                let ends = Box::new(EndsFuture(spawned.abort_handle()));
                self.shards[at].guard(place, life, ticket, ends);
                Box::pin(async move {
                    Called::Ran(spawned.await.map_err(|error| match error.try_into_panic() {
                        Ok(panic) => panic_message(panic.as_ref()),
                        Err(error) => error.to_string(),
                    }))
                })
            }
            Call::Load(criteria) => Box::pin(async move {
                let loaded = load(store, shard, persistence_id, (criteria, None), &config).await;
                Called::Loaded(loaded.map(|loaded| loaded.snapshot))
            }),
            Call::Save { snapshot, read_back } => Box::pin(async move {
                let save = async {
                    let store = store.ok_or_else(no_store)?;
                    store.save(shard, persistence_id.clone(), snapshot.clone()).await?;
                    if read_back {
                        let criteria = SnapshotCriteria::exactly(snapshot.sequence_nr);
                        let found =
                            store.load(shard, persistence_id, criteria).await.map_err(StoreError::new)?;
                        if found.as_ref() != Some(&snapshot) {
                            return Err(StoreError::new("what was read back is not what was saved"));
                        }
                    }
                    Ok(())
                };
                Called::Saved(in_time(save, config.recovery_event_timeout, SILENT, |cause| cause).await)
            }),
            Call::Delete(criteria) => Box::pin(async move {
                let delete = async {
                    let store = store.ok_or_else(no_store)?;
                    store.delete(shard, persistence_id, criteria).await
                };
                Called::Deleted(in_time(delete, config.recovery_event_timeout, SILENT, |cause| cause).await)
            }),
        }
    }

    fn journal(&self, at: usize) -> &Arc<dyn Journal> {
        let journals = &self.cx.kinds.journals;
        &journals[at % journals.len()]
    }

    fn journal_rests(&self, at: usize) -> Option<Duration> {
        self.journal(at).refuses_writes(self.shards[at].id())
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
        self.tell_answers();
        // Whoever keeps the region keeps the lane: what runs for its entities must not go on until then.
        self.calls.clear();
        self.reads.clear();
    }

    fn place(&self, shard: ShardId, journal: usize) -> usize {
        shard.0 as usize / self.cx.config.lanes.get() * self.cx.kinds.journals.len() + journal
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

const NO_ANSWER: &str = "the journal did not answer";
const SILENT: &str = "the snapshot store did not answer";

/// Waits for a turn to recover.
async fn permit(permits: Arc<Semaphore>, limit: Duration) -> Result<OwnedSemaphorePermit, StoreError> {
    match tokio::time::timeout(limit, permits.acquire_owned()).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(late("no turn to recover came", limit)),
    }
}

async fn load(
    store: Option<Arc<dyn SnapshotStore>>,
    shard: ShardId,
    persistence_id: PersistenceId,
    (criteria, under): (SnapshotCriteria, Option<Known>),
    config: &RegionConfig,
) -> Result<Loaded, SnapshotError> {
    let store = store.ok_or_else(no_store)?;
    let load = async {
        match under {
            Some(known) => store.load_for_recovery(shard, persistence_id, criteria, known).await,
            None => store.load(shard, persistence_id, criteria).await.map(Loaded::from),
        }
    };
    in_time(load, config.recovery_event_timeout, "no snapshot came", SnapshotError::Failed).await
}

/// Waits for a store; says `what` did not come if it takes too long.
async fn in_time<T, E>(
    call: impl Future<Output = Result<T, E>>,
    limit: Duration,
    what: &str,
    failed: impl FnOnce(StoreError) -> E,
) -> Result<T, E> {
    let done = tokio::time::timeout(limit, call).await;
    done.unwrap_or_else(|_| Err(failed(late(what, limit))))
}

fn no_store() -> StoreError {
    StoreError::new("this type has no snapshot store")
}

fn late(what: &str, limit: Duration) -> StoreError {
    StoreError::new(format!("{what} within {limit:?}"))
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
            tracing::error!(entity = %id, reason, ?retry_in, "the entity could not be recovered; it tries again");
        }
        Report::PersistFailed { id, sequence_nr, reason } => {
            metrics::counter!("abide_persist_failures_total").increment(1);
            tracing::error!(entity = %id, %sequence_nr, reason, "events were not acknowledged; the entity recovers");
        }
        Report::SnapshotUnusable { id, reasons } => {
            metrics::counter!("abide_snapshots_unusable_total").increment(reasons.len() as u64);
            tracing::warn!(entity = %id, ?reasons, "the entity recovered without snapshots that it should have had");
        }
        Report::Unhandled { id, signal } => {
            metrics::counter!("abide_signals_unhandled_total").increment(1);
            tracing::warn!(entity = %id, ?signal, "something failed around the entity, and it does not handle that");
        }
        Report::DeadLetter { id } => {
            metrics::counter!("abide_dead_letters_total").increment(1);
            tracing::warn!(entity = %id, "the entity had no room for a command; it went to the dead letters");
        }
        Report::EventRejected { id, reason } => {
            metrics::counter!("abide_events_rejected_total").increment(1);
            tracing::error!(entity = %id, reason, "an event was rejected; the entity goes on");
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
