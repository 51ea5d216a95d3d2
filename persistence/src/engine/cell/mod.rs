//! One entity: recovers, decides, waits for the journal, answers.
//!
//! ```text
//!         snapshot, pages     last page
//!  Load ──▶ Loading ─┬──────────────────▶ Ready ── stop ──▶ Stopping ──▶ Gone
//!   ▲                │ cannot be applied    │ panic             │ somebody waits
//!   │                ▼                      ▼                   │
//!   ├── release ── Parked               Draining ── finished ─▶ Load
//!   │                                       │
//!   └──────────── Waiting ◀─────────────────┴── a write failed, events unreadable
//! ```
//!
//! One that may leave (`Leaving`) goes the way of `Stopping`, but is `Ready` again if something comes.
//!
//! Invariants: an event's number is the count of events before it plus one, whatever fails; a handler
//! runs at most once and only after its event is acknowledged; an answer of an [`EventSourced`] entity
//! leaves only after every event that its state contained.
//!
//! [`EventSourced`]: crate::model::EventSourced

mod calls;
mod recovery;

use std::time::Duration;

use super::extras::Extras;
use super::kind::Shared;
use super::panics::{caught, drop_quietly};
use super::queue::{Entry, Phase, QueuedWrite, Work, WorkSlot};
use super::request::{Incoming, Request};
use super::turn::{BatchBuilder, Report, Turn, Wants, WriteFailure};
use crate::ids::{EntityId, PersistenceId, PersistenceIdHash, SequenceNr};
use crate::journal::EventToken;
use crate::model::{
    Answer, Caller, Context, EventRef, Failure, Outcome, PersistentActor, Reply, Sender, Signal, turn_away,
};

pub(crate) struct Cell<A: PersistentActor> {
    id: EntityId,
    actor: A,
    /// The last event that the state contains; of a speculative state, the last acknowledged one.
    sequence_nr: SequenceNr,
    /// Under which token that event was written; none if it is not known, because the state is not what
    /// all events add up to.
    token: EventToken,
    /// The newest snapshot that is known to be stored.
    snapshot: Option<Box<EventRef>>,
    /// Events up to this number were deleted.
    deleted_to: SequenceNr,
    /// It has recovered only part of its past, so no token is ever known.
    partial: bool,
    touched: u32,
    work: Option<Box<Work<A>>>,
}

impl<A: PersistentActor> Cell<A> {
    /// An entity that must recover first.
    ///
    /// # Errors
    /// What the panic of its constructor said.
    pub(crate) fn new(id: EntityId, touched: u32, shared: &mut Shared<A>) -> Result<Self, String> {
        let actor = construct(&id)?;
        let mut work = shared.take();
        work.phase = Phase::Load;
        let (sequence_nr, token) = (SequenceNr::ZERO, EventToken::NONE);
        let deleted_to = SequenceNr::ZERO;
        Ok(Self {
            actor,
            id,
            sequence_nr,
            token,
            snapshot: None,
            deleted_to,
            partial: false,
            touched,
            work: Some(work),
        })
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

    /// Whether it has stopped, and waits only for its calls to be taken.
    pub(crate) fn is_gone(&self) -> bool {
        self.work.as_ref().is_some_and(|work| work.phase == Phase::Gone)
    }

    pub(crate) fn is_parked(&self) -> bool {
        self.work.as_ref().is_some_and(|work| matches!(work.phase, Phase::Parked { .. }))
    }

    fn persistence_id(&self) -> PersistenceId {
        PersistenceId::new(A::TYPE, self.id.clone())
    }

    /// Why it is parked, if it is.
    pub(crate) fn parked(&self) -> Option<&str> {
        match &self.work.as_ref()?.phase {
            Phase::Parked { reason } => Some(reason),
            _ => None,
        }
    }

    /// A request has arrived.
    pub(crate) fn deliver(&mut self, turn: &mut Turn, shared: &mut Shared<A>, request: Request<A>) -> Wants {
        // Written only when it changes: a line that is only read stays in the caches of all cores.
        let tick = turn.now.tick();
        if self.touched != tick {
            self.touched = tick;
        }
        let revived = self.is_gone();
        if revived {
            self.restart(turn, Phase::Load);
        }
        if let Some(work) = &mut self.work {
            if work.phase == Phase::Leaving {
                work.phase = Phase::Ready;
            }
            let is_full = work.is_full(shared.kind.settings.stash_capacity);
            if is_full || !work.takes_requests() {
                if let Phase::Parked { reason } = &work.phase {
                    let reason = reason.to_string();
                    request.sender.fail(turn, || Failure::Parked { reason });
                } else if is_full {
                    work.lose(turn);
                    turn_away(&self.id, &shared.kind, turn, request);
                } else {
                    work.stash.push_back(request);
                }
                // It stands where it stood; what it wants was said when it came there.
                return if revived { self.wants() } else { Wants::default() };
            }
        }
        self.handle(turn, shared, request);
        self.advance(turn, shared);
        self.settle(shared)
    }

    /// Takes queued writes into a batch, as far as it has room. `true` if some are left.
    pub(crate) fn collect(&mut self, batch: &mut BatchBuilder) -> bool {
        let id = self.persistence_id();
        let Some(work) = &mut self.work else { return false };
        while !batch.is_full() {
            match work.take_write() {
                None => break,
                Some((offset, QueuedWrite::Append(events))) => {
                    batch.append(&id, self.sequence_nr.plus(offset), events);
                }
                Some((_, QueuedWrite::DeleteTo(to, record))) => batch.delete(&id, to, record),
            }
        }
        work.has_writes()
    }

    /// The entity's part of the batch in flight is acknowledged, written under this token.
    pub(crate) fn written(&mut self, turn: &mut Turn, shared: &mut Shared<A>, token: EventToken) -> Wants {
        if let Some(work) = &mut self.work {
            if work.in_flight() > 0 && !self.partial {
                self.token = token;
            }
            for to in work.store() {
                self.deleted_to = self.deleted_to.max(to);
                work.enqueue(Incoming::signal(Signal::EventsDeleted { to }));
            }
        }
        self.advance(turn, shared);
        self.settle(shared)
    }

    /// A write of this entity was not acknowledged: everything unfinished is dropped, and it recovers.
    pub(crate) fn failed(
        &mut self,
        turn: &mut Turn,
        shared: &mut Shared<A>,
        failure: &WriteFailure,
    ) -> Wants {
        let Some(work) = &mut self.work else { return Wants::default() };
        if !work.is_writing() {
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
                retry_after: shared.kind.settings.backoff.min,
            };
            Self::fail_entry(turn, entry, failure());
        }
        if let Err(what) = caught(|| self.actor.on_persist_failure(&failure.reason, first)) {
            turn.reports.push(Report::Panicked { id: self.persistence_id(), what });
        }
        turn.reports.push(Report::PersistFailed {
            id: self.persistence_id(),
            sequence_nr: first,
            reason: failure.reason.clone(),
        });
        self.retry_later(turn, shared);
        self.wants()
    }

    /// Reads again from the start, because what was read may not be the truth.
    pub(crate) fn reload(&mut self, turn: &mut Turn) -> Wants {
        if self.work.as_ref().is_some_and(|work| work.phase == Phase::Loading) {
            self.restart(turn, Phase::Load);
        }
        self.wants()
    }

    /// A parked entity is tried again.
    pub(crate) fn release(&mut self, turn: &mut Turn) -> Wants {
        if self.is_parked() {
            self.restart(turn, Phase::Load);
        }
        self.wants()
    }

    /// A moment has come that it wanted to be woken at.
    pub(crate) fn wake(&mut self, turn: &mut Turn, shared: &mut Shared<A>) -> Wants {
        let now = turn.now.since_start;
        if let Some(work) = &mut self.work {
            match work.phase {
                Phase::Waiting { until } if until <= now => work.phase = Phase::Load,
                Phase::Ready | Phase::Leaving => {
                    if let Some(extras) = &mut work.extras {
                        let (timers, timed_out) = extras.due(now);
                        for timer in timers {
                            work.enqueue(Incoming::Timer(timer));
                        }
                        if timed_out {
                            work.enqueue(Incoming::Silence);
                        }
                    }
                    self.advance(turn, shared);
                }
                _ => {}
            }
        }
        self.settle(shared)
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
        work.end_incarnation();
        for request in work.stash.drain(..) {
            request.sender.fail(turn, || failure(Outcome::None));
        }
        drop_quietly((work, self.actor));
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
                request.sender.fail(turn, || Failure::Expired);
            } else {
                work.stash.push_back(request);
            }
        }
    }

    fn wants(&mut self) -> Wants {
        let Some(work) = self.work.as_deref_mut() else { return Wants::default() };
        let due = if work.phase == Phase::Ready {
            work.extras.as_mut().and_then(|extras| extras.ask_to_be_woken())
        } else {
            None
        };
        Wants {
            write: work.has_writes(),
            load: work.phase == Phase::Load,
            wake_at: if let Phase::Waiting { until } = work.phase { Some(until) } else { due },
            calls: work.has_calls(),
            gone: work.phase == Phase::Gone && !work.has_calls(),
        }
    }

    /// Runs one request through the entity's code.
    fn handle(&mut self, turn: &mut Turn, shared: &mut Shared<A>, request: Request<A>) {
        if request.is_past(turn.now.since_start) {
            return request.sender.fail(turn, || Failure::Expired);
        }
        let Request { incoming, mut sender, .. } = request;
        // A caller that gave up before this moment may be told that nothing has happened.
        if !sender.with(|caller| caller.as_ref().is_none_or(Caller::begin)) {
            return;
        }
        let from_outside = incoming.is_from_outside();
        let mut behaviour = None;
        if let Some(work) = &mut self.work
            && let Some(extras) = &mut work.extras
        {
            if matches!(incoming, Incoming::Command(_) | Incoming::CommandIf(..) | Incoming::Message(_)) {
                extras.received(turn.now.since_start);
            }
            behaviour = work.behaviour();
        }
        let queued = self.work.as_ref().map_or(0, |work| work.unstored());
        // Called by name where it is not switched, so that it can be inlined.
        let behave = move |actor: &mut A, command, ctx: &mut Context<'_, A>| match behaviour {
            None => actor.receive_command(command, ctx),
            Some(behave) => behave(actor, command, ctx),
        };
        let (sender, fate) = match incoming {
            Incoming::Command(command) => {
                self.run(turn, shared, sender, |actor, ctx| behave(actor, command, ctx))
            }
            Incoming::CommandIf(command, expected) => self.run(turn, shared, sender, |actor, ctx| {
                let found = ctx.decided_sequence_nr();
                if found == expected {
                    ctx.expected = Some(expected);
                    behave(actor, command, ctx);
                } else {
                    ctx.release(0, Err(Box::new(Failure::ConditionFailed { expected, found })));
                }
            }),
            Incoming::ReadState => self.run(turn, shared, sender, |actor, ctx| {
                let state = crate::model::json(actor.state());
                ctx.release(0, state.map(Reply::Value).map_err(Box::new));
            }),
            Incoming::Message(message) => {
                self.run(turn, shared, sender, |actor, ctx| actor.receive_message(message, ctx))
            }
            Incoming::Timer(number) => {
                let now = turn.now.since_start;
                // Its maker runs here too: a panic in it is the entity's.
                let Some(extras) = self.extras() else { return };
                match caught(|| extras.fire(number, now)) {
                    Ok(None) => return,
                    Ok(Some(message)) => {
                        if let Some(extras) = self.extras() {
                            extras.received(now);
                        }
                        self.run(turn, shared, sender, |actor, ctx| actor.receive_message(message, ctx))
                    }
                    Err(what) => (sender, Err(what)),
                }
            }
            Incoming::Signal(signal) => {
                self.run(turn, shared, sender, |actor, ctx| actor.receive_signal(*signal, ctx))
            }
            Incoming::Silence => {
                let now = turn.now.since_start;
                if !self.extras().is_some_and(|extras| extras.is_still_silent(now)) {
                    return;
                }
                let signal = Signal::ReceiveTimeout;
                self.run(turn, shared, sender, |actor, ctx| actor.receive_signal(signal, ctx))
            }
            Incoming::Overflow => {
                let capacity = shared.kind.settings.stash_capacity;
                let lost = self.extras().map_or(0, |extras| std::mem::take(&mut extras.lost));
                let signal = Signal::StashOverflowed { capacity, lost };
                self.run(turn, shared, sender, |actor, ctx| actor.receive_signal(signal, ctx))
            }
            Incoming::Run(code) => self.run(turn, shared, sender, code),
            Incoming::Stop => return self.set_phase(Phase::Stopping),
            Incoming::Passivate => {
                if self.work.as_ref().is_none_or(|work| !work.is_needed()) {
                    self.set_phase(Phase::Leaving);
                }
                return;
            }
        };
        match fate {
            Ok(()) => {
                if from_outside && let Some(work) = &mut self.work {
                    work.panics = 0;
                }
                sender.finish(turn, self.sequence_nr);
            }
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
        shared: &mut Shared<A>,
        sender: Sender,
        code: impl FnOnce(&mut A, &mut Context<'_, A>),
    ) -> (Sender, Result<(), String>) {
        self.run_as(turn, shared, sender, false, code)
    }

    fn run_as(
        &mut self,
        turn: &mut Turn,
        shared: &mut Shared<A>,
        sender: Sender,
        in_handler: bool,
        code: impl FnOnce(&mut A, &mut Context<'_, A>),
    ) -> (Sender, Result<(), String>) {
        let mut ctx = Context {
            id: &self.id,
            sequence_nr: self.sequence_nr,
            token: self.token,
            snapshot: self.snapshot.as_deref().copied(),
            deleted_to: self.deleted_to,
            in_handler,
            expected: None,
            sender,
            work: WorkSlot { held: &mut self.work, shared },
            turn,
        };
        // What a panic leaves half-done is the entity's state, which is thrown away, and the queue, which
        // only grows by whole entries.
        ctx.turn.running.enter(ctx.work.shared.kind.type_tag, ctx.id);
        let fate = caught(|| code(&mut self.actor, &mut ctx));
        ctx.turn.running.leave();
        (ctx.sender, fate)
    }

    /// Runs every entry whose turn has come, then the requests that waited for them.
    fn advance(&mut self, turn: &mut Turn, shared: &mut Shared<A>) {
        loop {
            while let Some(entry) = self.work.as_mut().and_then(|work| work.next_entry()) {
                self.run_entry(turn, shared, entry);
            }
            let Some(work) = self.work.as_mut() else { return };
            let finished = work.unstored() == 0 && !work.is_writing() && work.nothing_waits();
            if work.phase == Phase::Draining && finished {
                return self.restart_after_panic(turn, shared);
            }
            if work.phase == Phase::Leaving && work.is_needed() {
                work.phase = Phase::Ready;
            }
            if matches!(work.phase, Phase::Stopping | Phase::Leaving) && finished {
                work.end_incarnation();
                return if work.stash.is_empty() {
                    self.set_phase(Phase::Gone);
                } else {
                    self.restart(turn, Phase::Load);
                };
            }
            if !work.takes_requests() {
                return;
            }
            let Some(request) = work.stash.pop_front() else { return };
            self.handle(turn, shared, request);
        }
    }

    fn run_entry(&mut self, turn: &mut Turn, shared: &mut Shared<A>, entry: Entry<A>) {
        let before = self.sequence_nr;
        let stashing = match entry {
            Entry::Release { events, to, answer } => {
                self.consume(events);
                turn.answers.extend(to.map(|to| (to, answer)));
                return;
            }
            Entry::Spent { events } => return self.consume(events),
            Entry::Snapshot { state } => return self.save(turn, shared, state),
            Entry::Event { event, handler, mut sender, stashing } => {
                self.consume(1);
                sender.mark_stored();
                let ran = self.run_as(turn, shared, sender, true, |actor, ctx| handler(actor, &event, ctx));
                self.ran(turn, ran);
                let says_so = self.wants_snapshot(shared, &event);
                drop_quietly(event);
                self.snapshot_if_due(turn, shared, before, says_so);
                stashing
            }
            Entry::Events { events, mut handler, mut sender, stashing } => {
                let mut says_so = Ok(false);
                for event in events {
                    self.consume(1);
                    sender.mark_stored();
                    // Once the code has panicked, its other events only count.
                    if self.is_running() {
                        let ran = self.run_as(turn, shared, sender.share(), true, |actor, ctx| {
                            handler(actor, &event, ctx);
                        });
                        self.ran(turn, ran);
                        says_so = says_so.and_then(|said| Ok(said || self.wants_snapshot(shared, &event)?));
                    }
                    drop_quietly(event);
                }
                drop_quietly(handler);
                sender.finish(turn, self.sequence_nr);
                self.snapshot_if_due(turn, shared, before, says_so);
                stashing
            }
            Entry::Defer { handler, sender, stashing } => {
                let ran = self.run(turn, shared, sender, handler);
                self.ran(turn, ran);
                stashing
            }
            Entry::Rejected { event, reason, sender, stashing } => {
                turn.reports
                    .push(Report::EventRejected { id: self.persistence_id(), reason: reason.clone() });
                let (sender, fate) =
                    self.run(turn, shared, sender, |actor, _| actor.on_persist_rejected(&reason, &event));
                let outcome = if sender.is_held_elsewhere() { Outcome::Unknown } else { Outcome::None };
                sender.fail(turn, || Failure::EventRejected { reason, outcome });
                self.ran(turn, (Sender::Nobody, fate));
                stashing
            }
        };
        // A restart meanwhile has taken all holds.
        if self.is_running()
            && let Some(work) = &mut self.work
        {
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
                // What it would save was encoded from a sound state, but is not worth the wait.
                Entry::Snapshot { .. } => continue,
                other => {
                    let events = other.events();
                    // Another handler of the same command may wait for an event that is let finish.
                    let outcome =
                        if events > 0 || other.is_shared() { Outcome::Unknown } else { Outcome::None };
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
            Entry::Event { event, handler, sender, .. } => {
                sender.fail(turn, || failure);
                drop_quietly((event, handler));
            }
            Entry::Events { events, handler, sender, .. } => {
                sender.fail(turn, || failure);
                drop_quietly((events, handler));
            }
            Entry::Defer { handler, sender, .. } => {
                sender.fail(turn, || failure);
                drop_quietly(handler);
            }
            Entry::Rejected { event, sender, .. } => {
                sender.fail(turn, || failure);
                drop_quietly(event);
            }
            Entry::Release { to, .. } => turn.answers.extend(to.map(|to| (to, Answer::failed(failure)))),
            Entry::Spent { .. } | Entry::Snapshot { .. } => {}
        }
    }

    fn park(&mut self, turn: &mut Turn, reason: String) {
        turn.reports.push(Report::Parked { id: self.persistence_id(), reason: reason.clone() });
        self.set_phase(Phase::Parked { reason: reason.as_str().into() });
        let waiting = self.work.as_mut().map(|work| std::mem::take(&mut work.stash));
        for request in waiting.into_iter().flatten() {
            request.sender.fail(turn, || Failure::Parked { reason: reason.clone() });
        }
    }

    /// Throws the state away; the entity comes back after a pause that grows with each failure.
    fn retry_later(&mut self, turn: &mut Turn, shared: &Shared<A>) -> Duration {
        let attempts = self.work.as_ref().map_or(0, |work| work.attempts);
        let pause = self.pause(shared, attempts);
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

    /// The pause before it comes back, spread by its id.
    fn pause(&self, shared: &Shared<A>, attempt: u32) -> Duration {
        let seed = PersistenceIdHash::of(A::TYPE.as_str(), self.id.as_str()).in_shard();
        shared.kind.settings.backoff.pause(attempt, seed)
    }

    /// Comes back at once after the first panic, and after ever longer pauses if nothing goes well between
    /// it and the next: an entity that panics over what it tells itself would do so for ever.
    fn restart_after_panic(&mut self, turn: &mut Turn, shared: &Shared<A>) {
        let work = self.work.get_or_insert_default();
        let panics = work.panics;
        work.panics = panics.saturating_add(1);
        let phase = match panics.checked_sub(1) {
            None => Phase::Load,
            Some(attempt) => Phase::Waiting { until: turn.now.since_start + self.pause(shared, attempt) },
        };
        self.restart(turn, phase);
    }

    /// Back to before the first event.
    fn restart(&mut self, turn: &mut Turn, phase: Phase) {
        self.sequence_nr = SequenceNr::ZERO;
        self.token = EventToken::NONE;
        self.snapshot = None;
        self.deleted_to = SequenceNr::ZERO;
        self.partial = false;
        if let Some(work) = &mut self.work {
            work.end_incarnation();
        }
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

    /// What only some entities have, if this one has it.
    fn extras(&mut self) -> Option<&mut Extras<A>> {
        self.work.as_mut()?.extras.as_deref_mut()
    }

    /// Whether its code runs: it has not panicked, and is not about to recover.
    fn is_running(&self) -> bool {
        self.work
            .as_ref()
            .is_none_or(|work| matches!(work.phase, Phase::Ready | Phase::Stopping | Phase::Leaving))
    }

    fn consume(&mut self, events: u64) {
        self.sequence_nr = self.sequence_nr.plus(events);
        if let Some(work) = &mut self.work {
            work.consume(events);
        }
    }

    /// Gives back what is no longer needed, and says what is.
    fn settle(&mut self, shared: &mut Shared<A>) -> Wants {
        if let Some(work) = &mut self.work
            && work.extras.as_ref().is_some_and(|extras| extras.is_empty())
        {
            work.extras = None;
        }
        if self.work.as_ref().is_some_and(|work| work.phase == Phase::Ready && work.is_finished())
            && let Some(work) = self.work.take()
        {
            shared.put(work);
        }
        self.wants()
    }
}

fn construct<A: PersistentActor>(id: &EntityId) -> Result<A, String> {
    caught(|| A::new(id))
}
