//! One entity: recovers, decides, waits for the journal, answers.
//!
//! ```text
//!            page            last page
//!  Load ──▶ Loading ─┬──────────────────▶ Ready ◀──────────────┐
//!   ▲                │ cannot be applied    │ panic            │
//!   │                ▼                      ▼                  │
//!   │              Parked               Draining ── finished ─▶ Load
//!   │                                       │
//!   └──────────── Waiting ◀─────────────────┴── a write failed, events unreadable
//! ```
//!
//! Invariants: an event's number is the count of events before it plus one, whatever fails; a handler
//! runs at most once and only after its event is acknowledged; an answer of an [`EventSourced`] entity
//! leaves only after every event that its state contained.
//!
//! [`EventSourced`]: crate::model::EventSourced

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::codec::{self, Event};
use crate::envelope::StoredEvent;
use crate::ids::{EntityId, PersistenceId, PersistenceIdHash, SequenceNr};
use crate::journal::{EventPage, ReadError};
use crate::model::{
    Answer, Caller, Context, Failure, Outcome, PersistentActor, Recover, RecoveryContext, Reply, Sender,
    Signal,
};

use super::panics::{drop_quietly, panic_message};
use super::queue::{Entry, Phase, Spare, Work, WorkSlot};
use super::request::{Message, Request};
use super::turn::{BatchBuilder, Report, Turn, Wants, WriteFailure};

pub(crate) struct Cell<A: PersistentActor> {
    id: EntityId,
    actor: A,
    /// The last event that the state contains; of a speculative state, the last acknowledged one.
    sequence_nr: SequenceNr,
    touched: u32,
    work: Option<Box<Work<A>>>,
}

impl<A: PersistentActor> Cell<A> {
    /// An entity that must recover first.
    ///
    /// # Errors
    /// What the panic of its constructor said.
    pub(crate) fn new(id: EntityId, touched: u32, spare: &mut Spare<A>) -> Result<Self, String> {
        let actor = construct(&id)?;
        let mut work = spare.take();
        work.phase = Phase::Load { from: SequenceNr(1) };
        Ok(Self { actor, id, sequence_nr: SequenceNr::ZERO, touched, work: Some(work) })
    }

    pub(crate) fn id(&self) -> &EntityId {
        &self.id
    }

    pub(crate) fn touched(&self) -> u32 {
        self.touched
    }

    /// Whether it can be dropped and recovered again without anybody noticing.
    pub(crate) fn is_idle(&self) -> bool {
        self.work.as_ref().is_none_or(|work| work.is_at_rest())
    }

    pub(crate) fn is_parked(&self) -> bool {
        self.work.as_ref().is_some_and(|work| matches!(work.phase, Phase::Parked { .. }))
    }

    fn persistence_id(&self) -> PersistenceId {
        PersistenceId::new(A::TYPE, self.id.clone())
    }

    /// A request has arrived.
    pub(crate) fn deliver(&mut self, turn: &mut Turn, spare: &mut Spare<A>, request: Request<A>) -> Wants {
        // Written only when it changes: a line that is only read stays in the caches of all cores.
        let tick = turn.now.tick();
        if self.touched != tick {
            self.touched = tick;
        }
        if let Some(work) = &mut self.work
            && (!work.takes_requests() || work.holds() >= turn.settings.stash_capacity)
        {
            if let Phase::Parked { reason } = &work.phase {
                let reason = reason.to_string();
                request.sender().fail(turn, || Failure::Parked { reason });
            } else if work.holds() >= turn.settings.stash_capacity {
                let capacity = turn.settings.stash_capacity;
                request.sender().fail(turn, || Failure::EntityBusy { capacity });
            } else {
                work.stash.push_back(request);
            }
            // It stands where it stood; what it wants was said when it came there.
            return Wants::default();
        }
        self.handle(turn, spare, request);
        self.advance(turn, spare);
        self.settle(spare)
    }

    /// Takes queued writes into a batch, as far as it has room. `true` if some are left.
    pub(crate) fn collect(&mut self, batch: &mut BatchBuilder) -> bool {
        let id = self.persistence_id();
        let Some(work) = &mut self.work else { return false };
        while !batch.is_full() {
            let Some((offset, events)) = work.take_write() else { break };
            batch.append(&id, self.sequence_nr.plus(offset), events);
        }
        work.has_writes()
    }

    /// The entity's part of the batch in flight is acknowledged.
    pub(crate) fn written(&mut self, turn: &mut Turn, spare: &mut Spare<A>) -> Wants {
        if let Some(work) = &mut self.work {
            work.store();
        }
        self.advance(turn, spare);
        self.settle(spare)
    }

    /// A write of this entity was not acknowledged: everything unfinished is dropped, and it recovers.
    pub(crate) fn failed(&mut self, turn: &mut Turn, failure: &WriteFailure) -> Wants {
        let Some(work) = &mut self.work else { return Wants::default() };
        if work.in_flight() == 0 && !work.has_writes() {
            // Whoever is told this by an old note has nothing unfinished.
            return self.wants();
        }
        let first = self.sequence_nr.next();
        let mut in_doubt = work.in_flight();
        for entry in work.abandon() {
            // What is behind the events in flight was never sent.
            let outcome = if in_doubt > 0 { failure.outcome } else { Outcome::None };
            in_doubt = in_doubt.saturating_sub(entry.events());
            let failure = || Failure::JournalFailed {
                reason: failure.reason.clone(),
                outcome,
                retry_after: turn.settings.backoff.min,
            };
            Self::fail_entry(turn, entry, failure());
        }
        let told = catch_unwind(AssertUnwindSafe(|| self.actor.on_persist_failure(&failure.reason, first)));
        if let Err(panic) = told {
            let what = panic_message(panic.as_ref());
            turn.reports.push(Report::Panicked { id: self.persistence_id(), what });
        }
        turn.reports.push(Report::PersistFailed {
            id: self.persistence_id(),
            sequence_nr: first,
            reason: failure.reason.clone(),
        });
        self.retry_later(turn);
        self.wants()
    }

    /// Begins to read: the first number wanted.
    pub(crate) fn begin_load(&mut self) -> Option<SequenceNr> {
        let work = self.work.as_mut()?;
        let Phase::Load { from } = work.phase else { return None };
        work.phase = Phase::Loading;
        Some(from)
    }

    /// A page of events, or the reason why there is none.
    pub(crate) fn loaded(
        &mut self,
        turn: &mut Turn,
        spare: &mut Spare<A>,
        page: Result<EventPage, ReadError>,
    ) -> Wants {
        if self.work.as_ref().is_none_or(|work| work.phase != Phase::Loading) {
            return self.wants();
        }
        match page {
            Ok(page) => match self.recover(page) {
                Ok(true) => self.recovered(turn, spare),
                Ok(false) => self.set_phase(Phase::Load { from: self.sequence_nr.next() }),
                Err(reason) => self.park(turn, reason),
            },
            Err(ReadError::Damaged(reason)) => self.park(turn, reason),
            Err(cause @ (ReadError::Failed(_) | ReadError::Fenced { .. })) => {
                let retry_in = self.retry_later(turn);
                turn.reports.push(Report::RecoveryFailed {
                    id: self.persistence_id(),
                    reason: cause.to_string(),
                    retry_in,
                });
            }
        }
        self.settle(spare)
    }

    /// Reads again from the start, because what was read may not be the truth.
    pub(crate) fn reload(&mut self, turn: &mut Turn) -> Wants {
        if self.work.as_ref().is_some_and(|work| work.phase == Phase::Loading) {
            self.restart(turn, Phase::Load { from: SequenceNr(1) });
        }
        self.wants()
    }

    /// The moment has come that it wanted to be woken at.
    pub(crate) fn wake(&mut self, turn: &Turn) -> Wants {
        if let Some(Work { phase: Phase::Waiting { until }, .. }) = self.work.as_deref()
            && *until <= turn.now.since_start
        {
            self.set_phase(Phase::Load { from: SequenceNr(1) });
        }
        self.wants()
    }

    /// The entity leaves this node, or the shard is lost: whoever waits is told.
    pub(crate) fn unload(mut self, turn: &mut Turn, failure: &dyn Fn(Outcome) -> Failure) {
        let Some(mut work) = self.work.take() else { return };
        let mut in_doubt = work.in_flight();
        for entry in work.abandon() {
            let outcome = if in_doubt > 0 { Outcome::Unknown } else { Outcome::None };
            in_doubt = in_doubt.saturating_sub(entry.events());
            Self::fail_entry(turn, entry, failure(outcome));
        }
        for request in work.stash.drain(..) {
            request.sender().fail(turn, || failure(Outcome::None));
        }
    }

    /// Tells the waiting requests whose deadline has passed.
    pub(crate) fn expire(&mut self, turn: &mut Turn) {
        let Some(work) = &mut self.work else { return };
        let now = turn.now.since_start;
        if !work.stash.iter().any(|request| request.is_past(now)) {
            return;
        }
        for request in std::mem::take(&mut work.stash) {
            if request.is_past(now) {
                request.sender().fail(turn, || Failure::Expired);
            } else {
                work.stash.push_back(request);
            }
        }
    }

    fn wants(&self) -> Wants {
        let Some(work) = self.work.as_deref() else { return Wants::default() };
        Wants {
            write: work.has_writes(),
            load: matches!(work.phase, Phase::Load { .. }),
            wake_at: if let Phase::Waiting { until } = work.phase { Some(until) } else { None },
        }
    }

    /// Runs one request through the entity's code.
    fn handle(&mut self, turn: &mut Turn, spare: &mut Spare<A>, request: Request<A>) {
        if request.is_past(turn.now.since_start) {
            return request.sender().fail(turn, || Failure::Expired);
        }
        let Request { message, caller, .. } = request;
        // A caller that gave up before this moment may be told that nothing has happened.
        if !caller.as_ref().is_none_or(Caller::begin) {
            return;
        }
        let queued = self.work.as_ref().map_or(0, |work| work.unstored());
        let sender = Sender::new(caller);
        let (sender, fate) = match message {
            Message::Command(command) => {
                self.run(turn, spare, sender, |actor, ctx| actor.receive_command(command, ctx))
            }
            Message::ReadState => self.run(turn, spare, sender, |actor, ctx| {
                let state = crate::model::json(actor.state());
                ctx.release(0, state.map(Reply::Value).map_err(Box::new));
            }),
        };
        match fate {
            Ok(()) => sender.finish(turn, self.sequence_nr),
            Err(what) => {
                let wrote = self.work.as_ref().map_or(0, |work| work.unstored()) > queued;
                let outcome = if wrote { Outcome::Unknown } else { Outcome::None };
                self.panicked(turn, sender, what, outcome);
            }
        }
    }

    /// Runs the entity's code; a panic stays here.
    fn run(
        &mut self,
        turn: &mut Turn,
        spare: &mut Spare<A>,
        sender: Sender,
        code: impl FnOnce(&mut A, &mut Context<'_, A>),
    ) -> (Sender, Result<(), String>) {
        let mut ctx = Context {
            id: &self.id,
            sequence_nr: self.sequence_nr,
            sender,
            work: WorkSlot { held: &mut self.work, spare },
            turn,
        };
        // What a panic leaves half-done is the entity's state, which is thrown away, and the queue, which
        // only grows by whole entries.
        let fate = catch_unwind(AssertUnwindSafe(|| code(&mut self.actor, &mut ctx)));
        (ctx.sender, fate.map_err(|panic| panic_message(panic.as_ref())))
    }

    /// Runs every entry whose turn has come, then the requests that waited for them.
    fn advance(&mut self, turn: &mut Turn, spare: &mut Spare<A>) {
        loop {
            while let Some(entry) = self.work.as_mut().and_then(|work| work.next_entry()) {
                self.run_entry(turn, spare, entry);
            }
            let Some(work) = self.work.as_mut() else { return };
            if work.phase == Phase::Draining && work.unstored() == 0 && work.nothing_waits() {
                return self.restart(turn, Phase::Load { from: SequenceNr(1) });
            }
            if !work.takes_requests() {
                return;
            }
            let Some(request) = work.stash.pop_front() else { return };
            self.handle(turn, spare, request);
        }
    }

    fn run_entry(&mut self, turn: &mut Turn, spare: &mut Spare<A>, entry: Entry<A>) {
        let stashing = match entry {
            Entry::Release { events, to, answer } => {
                self.consume(events);
                turn.answers.extend(to.map(|to| (to, answer)));
                return;
            }
            Entry::Spent { events } => return self.consume(events),
            Entry::Event { event, handler, mut sender, stashing } => {
                self.consume(1);
                sender.mark_stored();
                let ran = self.run(turn, spare, sender, |actor, ctx| handler(actor, &event, ctx));
                self.ran(turn, ran);
                stashing
            }
            Entry::Events { events, mut handler, mut sender, stashing } => {
                for event in events {
                    self.consume(1);
                    sender.mark_stored();
                    // Once the code has panicked, its other events only count.
                    if self.is_ready() {
                        let ran = self.run(turn, spare, sender.share(), |actor, ctx| {
                            handler(actor, &event, ctx);
                        });
                        self.ran(turn, ran);
                    }
                }
                sender.finish(turn, self.sequence_nr);
                stashing
            }
            Entry::Defer { handler, sender, stashing } => {
                let ran = self.run(turn, spare, sender, handler);
                self.ran(turn, ran);
                stashing
            }
            Entry::Rejected { event, reason, sender, stashing } => {
                turn.reports
                    .push(Report::EventRejected { id: self.persistence_id(), reason: reason.clone() });
                let (sender, fate) =
                    self.run(turn, spare, sender, |actor, _| actor.on_persist_rejected(&reason, &event));
                let outcome = if sender.is_held_elsewhere() { Outcome::Unknown } else { Outcome::None };
                sender.fail(turn, || Failure::EventRejected { reason, outcome });
                self.ran(turn, (Sender::Nobody, fate));
                stashing
            }
        };
        // A restart meanwhile has taken all holds.
        if let Some(work) = self.work.as_mut().filter(|work| work.phase == Phase::Ready) {
            work.unblock(stashing);
        }
    }

    fn ran(&mut self, turn: &mut Turn, (sender, fate): (Sender, Result<(), String>)) {
        match fate {
            Ok(()) => sender.finish(turn, self.sequence_nr),
            // Its event is stored, so something of the command has happened.
            Err(what) => self.panicked(turn, sender, what, Outcome::Unknown),
        }
    }

    /// The entity's code panicked. What it has persisted is persisted; its state cannot be trusted.
    fn panicked(&mut self, turn: &mut Turn, sender: Sender, what: String, outcome: Outcome) {
        turn.reports.push(Report::Panicked { id: self.persistence_id(), what: what.clone() });
        sender.fail(turn, || Failure::Panicked { what: what.clone(), outcome });
        let work = self.work.get_or_insert_default();
        work.phase = Phase::Draining;
        for entry in work.take_entries() {
            // Answers behind the gate were computed before, from a sound state.
            let kept = match entry {
                Entry::Release { .. } | Entry::Spent { .. } => entry,
                other => {
                    let events = other.events();
                    let outcome = if events > 0 { Outcome::Unknown } else { Outcome::None };
                    Self::fail_entry(turn, other, Failure::Panicked { what: what.clone(), outcome });
                    Entry::Spent { events }
                }
            };
            if kept.events() > 0 || matches!(kept, Entry::Release { .. }) {
                work.push(kept);
            }
        }
    }

    fn fail_entry(turn: &mut Turn, entry: Entry<A>, failure: Failure) {
        match entry {
            Entry::Event { sender, .. }
            | Entry::Events { sender, .. }
            | Entry::Defer { sender, .. }
            | Entry::Rejected { sender, .. } => sender.fail(turn, || failure),
            Entry::Release { to, .. } => turn.answers.extend(to.map(|to| (to, Answer::failed(failure)))),
            Entry::Spent { .. } => {}
        }
    }

    /// Applies a page. `true` if it was the last.
    fn recover(&mut self, page: EventPage) -> Result<bool, String> {
        if page.deleted_to > self.sequence_nr {
            return Err(format!(
                "events up to {} were deleted and no snapshot replaces them",
                page.deleted_to
            ));
        }
        let read = page.events.len();
        for bytes in page.events {
            let expected = self.sequence_nr.next();
            let stored = StoredEvent::from_bytes(bytes)
                .map_err(|cause| format!("what is stored as event {expected} is no event: {cause}"))?;
            if stored.sequence_nr() != expected {
                return Err(format!(
                    "event {expected} is missing, the journal goes on with {}",
                    stored.sequence_nr
                ));
            }
            self.recover_event(&stored).map_err(|cause| {
                format!("event {expected} (\"{}\" version {}) {cause}", stored.name, stored.version)
            })?;
        }
        if self.sequence_nr < page.last && read == 0 {
            return Err(format!(
                "events after {} are missing, the stream ends with {}",
                self.sequence_nr, page.last
            ));
        }
        Ok(self.sequence_nr >= page.last)
    }

    fn recover_event(&mut self, stored: &StoredEvent) -> Result<(), String> {
        let decoded = catch_unwind(|| codec::decode::<A::Event>(stored.codec, &stored.payload));
        let event = decoded
            .unwrap_or_else(|panic| Err(panic_message(panic.as_ref())))
            .map_err(|cause| format!("cannot be decoded: {cause}"))?;
        debug_assert!(!event.name().is_empty(), "an event has a name");
        let sequence_nr = stored.sequence_nr();
        let mut ctx = RecoveryContext { id: &self.id, sequence_nr };
        catch_unwind(AssertUnwindSafe(|| self.actor.receive_recover(Recover::Event(event), &mut ctx)))
            .map_err(|panic| format!("cannot be applied: {}", panic_message(panic.as_ref())))?;
        self.sequence_nr = sequence_nr;
        Ok(())
    }

    fn recovered(&mut self, turn: &mut Turn, spare: &mut Spare<A>) {
        self.set_phase(Phase::Ready);
        let (_, fate) = self.run(turn, spare, Sender::Nobody, |actor, ctx| {
            actor.receive_signal(Signal::RecoveryCompleted, ctx);
        });
        if let Err(what) = fate {
            // It would panic at once again: come back later, without losing who waits.
            turn.reports.push(Report::Panicked { id: self.persistence_id(), what });
            self.retry_later(turn);
        }
        self.advance(turn, spare);
    }

    fn park(&mut self, turn: &mut Turn, reason: String) {
        turn.reports.push(Report::Parked { id: self.persistence_id(), reason: reason.clone() });
        self.set_phase(Phase::Parked { reason: reason.as_str().into() });
        let waiting = self.work.as_mut().map(|work| std::mem::take(&mut work.stash));
        for request in waiting.into_iter().flatten() {
            request.sender().fail(turn, || Failure::Parked { reason: reason.clone() });
        }
    }

    /// Throws the state away; the entity comes back after a pause that grows with each failure.
    fn retry_later(&mut self, turn: &mut Turn) -> Duration {
        let attempts = self.work.as_ref().map_or(0, |work| work.attempts);
        let seed = PersistenceIdHash::of(A::TYPE.as_str(), self.id.as_str()).in_shard();
        let pause = turn.settings.backoff.pause(attempts, seed);
        self.restart(turn, Phase::Waiting { until: turn.now.since_start + pause });
        if let Some(work) = &mut self.work {
            work.attempts = attempts.saturating_add(1);
            for entry in work.abandon() {
                let failure = Failure::JournalFailed {
                    reason: "the entity is recovering".to_owned(),
                    outcome: Outcome::None,
                    retry_after: pause,
                };
                Self::fail_entry(turn, entry, failure);
            }
        }
        pause
    }

    /// Back to before the first event.
    fn restart(&mut self, turn: &mut Turn, phase: Phase) {
        self.sequence_nr = SequenceNr::ZERO;
        match construct(&self.id) {
            Ok(actor) => {
                let old = std::mem::replace(&mut self.actor, actor);
                drop_quietly(old);
                self.set_phase(phase);
            }
            Err(what) => self.park(turn, what),
        }
    }

    fn set_phase(&mut self, phase: Phase) {
        self.work.get_or_insert_default().phase = phase;
    }

    fn is_ready(&self) -> bool {
        self.work.as_ref().is_none_or(|work| work.phase == Phase::Ready)
    }

    fn consume(&mut self, events: u64) {
        self.sequence_nr = self.sequence_nr.plus(events);
        if let Some(work) = &mut self.work {
            work.consume(events);
        }
    }

    /// Gives back what is no longer needed, and says what is.
    fn settle(&mut self, spare: &mut Spare<A>) -> Wants {
        if self.work.as_ref().is_some_and(|work| work.is_finished())
            && let Some(work) = self.work.take()
        {
            spare.put(work);
        }
        self.wants()
    }
}

fn construct<A: PersistentActor>(id: &EntityId) -> Result<A, String> {
    catch_unwind(|| A::new(id)).map_err(|panic| panic_message(panic.as_ref()))
}
