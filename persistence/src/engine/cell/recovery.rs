//! How an entity comes back from what is stored.

use super::{Cell, construct};
use crate::engine::cells::Load;
use crate::engine::kind::Shared;
use crate::engine::panics::{caught, drop_quietly};
use crate::engine::queue::Phase;
use crate::engine::recovering::{Doubt, Recovering, Step, base, verify};
use crate::engine::turn::{Report, Turn, Wants};
use crate::envelope::{EventView, StoredEvent};
use crate::ids::SequenceNr;
use crate::journal::{Claim, Epoch, EventPage, EventToken, ReadError, Snapshot, SnapshotError};
use crate::model::{EventRef, PersistentActor, Recover, RecoveryContext, Sender, Signal};

/// Why a recovery ends: in words, and the event that stood in the way, if it was one.
struct Stop {
    reason: String,
    event: Option<SequenceNr>,
}

impl From<String> for Stop {
    fn from(reason: String) -> Self {
        Self { reason, event: None }
    }
}

enum Progress {
    Done,
    More,
}

impl<A: PersistentActor> Cell<A> {
    /// Begins to read; says what.
    pub(crate) fn begin_load(&mut self, turn: &mut Turn, shared: &Shared<A>) -> Option<Load> {
        if self.work.as_ref()?.phase != Phase::Load {
            return None;
        }
        if self.work.as_ref()?.recovering.is_none() {
            match caught(|| A::recovery(&self.id)) {
                Ok(recovery) => {
                    let recovering = Recovering::begin(recovery, shared.kind.looks_for_snapshots());
                    self.work.as_mut()?.recovering = Some(Box::new(recovering));
                }
                Err(what) => {
                    self.recovery_failed(turn, what, None);
                    return None;
                }
            }
        }
        let persistence_id = self.persistence_id();
        let work = self.work.as_mut()?;
        work.phase = Phase::Loading;
        let recovering = work.recovering.as_ref()?;
        Some(match recovering.step {
            Step::Snapshot(criteria) => Load::Snapshot { persistence_id, criteria },
            Step::Events => {
                let (from, max_events) = recovering.window(self.sequence_nr, &shared.kind.settings);
                let max_bytes = shared.kind.settings.page_bytes;
                Load::Events { persistence_id, from, to: recovering.recovery.to, max_events, max_bytes }
            }
        })
    }

    /// A snapshot, or the reason why there is none.
    pub(crate) fn snapshot_loaded(
        &mut self,
        turn: &mut Turn,
        shared: &mut Shared<A>,
        loaded: Result<Option<Snapshot>, SnapshotError>,
    ) -> Wants {
        let Some(recovering) = self.loading() else { return self.wants() };
        match loaded {
            Ok(None) => recovering.step = Step::Events,
            Ok(Some(snapshot)) => {
                recovering.candidate = Some(snapshot);
                recovering.step = Step::Events;
            }
            Err(SnapshotError::Damaged { sequence_nr, reason }) => recovering.reject(sequence_nr, reason),
            Err(cause @ SnapshotError::Failed(_)) => {
                return self.unreadable(turn, shared, &cause.to_string());
            }
        }
        self.set_phase(Phase::Load);
        self.settle(shared)
    }

    /// A page of events, or the reason why there is none.
    pub(crate) fn loaded(
        &mut self,
        turn: &mut Turn,
        shared: &mut Shared<A>,
        page: Result<EventPage, ReadError>,
    ) -> Wants {
        if self.loading().is_none() {
            return self.wants();
        }
        match page {
            Ok(page) => match self.recover_watched(turn, shared, page) {
                Ok(Progress::Done) => self.recovered(turn, shared),
                Ok(Progress::More) => self.set_phase(Phase::Load),
                Err(Stop { reason, event }) => self.recovery_failed(turn, reason, event),
            },
            Err(ReadError::Damaged(reason)) => self.recovery_failed(turn, reason, None),
            Err(cause @ (ReadError::Failed(_) | ReadError::Fenced { .. })) => {
                return self.unreadable(turn, shared, &cause.to_string());
            }
        }
        self.settle(shared)
    }

    fn loading(&mut self) -> Option<&mut Recovering<A>> {
        let work = self.work.as_mut().filter(|work| work.phase == Phase::Loading)?;
        work.recovering.as_deref_mut()
    }

    /// A store could not be read: worth another try, later.
    fn unreadable(&mut self, turn: &mut Turn, shared: &mut Shared<A>, cause: &str) -> Wants {
        self.tell_failure(turn, cause, None);
        let retry_in = self.retry_later(turn, shared);
        let (id, reason) = (self.persistence_id(), cause.to_owned());
        turn.reports.push(Report::RecoveryFailed { id, reason, retry_in });
        self.settle(shared)
    }

    /// The past cannot be recovered: the entity is parked, and somebody must look at it.
    fn recovery_failed(&mut self, turn: &mut Turn, reason: String, event: Option<SequenceNr>) {
        self.tell_failure(turn, &reason, event);
        self.park(turn, reason);
    }

    fn tell_failure(&mut self, turn: &mut Turn, cause: &str, event: Option<SequenceNr>) {
        if let Err(what) = caught(|| self.actor.on_recovery_failure(cause, event)) {
            turn.reports.push(Report::Panicked { id: self.persistence_id(), what });
        }
    }

    /// Applies a page, with the entity's name on show.
    fn recover_watched(
        &mut self,
        turn: &Turn,
        shared: &Shared<A>,
        page: EventPage,
    ) -> Result<Progress, Stop> {
        turn.running.enter(shared.kind.type_tag, &self.id);
        let recovered = self.recover(shared, page);
        turn.running.leave();
        recovered
    }

    /// Applies a page.
    fn recover(&mut self, shared: &Shared<A>, mut page: EventPage) -> Result<Progress, Stop> {
        let recovering = self.work.as_mut().and_then(|work| work.recovering.as_deref_mut());
        let Some(recovering) = recovering else { return Ok(Progress::More) };
        let mut moved = false;
        self.deleted_to = page.deleted_to;
        if let Some(candidate) = recovering.candidate.take() {
            match verify(&candidate, &mut page) {
                Err(Doubt::Lost(reason)) => return Err(reason.into()),
                Err(Doubt::Obsolete) => {
                    recovering.pass_over(candidate.sequence_nr);
                    return Ok(Progress::More);
                }
                Err(Doubt::Unusable(reason)) => {
                    recovering.reject(candidate.sequence_nr, reason);
                    return Ok(Progress::More);
                }
                Ok(()) => {
                    if let Err(reason) = self.recover_snapshot(shared, &candidate) {
                        self.reject_snapshot(&candidate, reason)?;
                        return Ok(Progress::More);
                    }
                    moved = true;
                }
            }
        } else if page.deleted_to > self.sequence_nr && !self.begin_after_deleted(shared, &page)? {
            return Ok(Progress::More);
        }
        for bytes in page.events {
            if self.recovering().is_none_or(|recovering| recovering.is_done(self.sequence_nr, page.last)) {
                break;
            }
            self.recover_next(shared, bytes)?;
            moved = true;
            if let Some(recovering) = self.recovering_mut() {
                recovering.replayed += 1;
            }
        }
        let done = self.recovering().is_none_or(|recovering| recovering.is_done(self.sequence_nr, page.last));
        if !done && !moved {
            let (at, end) = (self.sequence_nr, page.last);
            return Err(format!("events after {at} are missing, the stream ends with {end}").into());
        }
        if !done {
            return Ok(Progress::More);
        }
        if self.sequence_nr < page.last {
            // What is persisted next comes after all events; the state is not what they add up to.
            self.sequence_nr = page.last;
            self.partial = true;
        }
        if self.partial {
            self.token = EventToken::NONE;
        }
        Ok(Progress::Done)
    }

    fn recovering(&self) -> Option<&Recovering<A>> {
        self.work.as_ref()?.recovering.as_deref()
    }

    fn recovering_mut(&mut self) -> Option<&mut Recovering<A>> {
        self.work.as_mut()?.recovering.as_deref_mut()
    }

    fn snapshot_nr(&self) -> SequenceNr {
        self.snapshot.as_ref().map_or(SequenceNr::ZERO, |snapshot| snapshot.sequence_nr)
    }

    /// The first events were deleted and no snapshot is at hand. `false` if snapshots are to be looked for
    /// first.
    fn begin_after_deleted(&mut self, shared: &Shared<A>, page: &EventPage) -> Result<bool, Stop> {
        let (base, deleted_to) = (base(page), page.deleted_to);
        if self.sequence_nr > SequenceNr::ZERO {
            return Err(format!("events up to {deleted_to} were deleted while they were being read").into());
        }
        let wanted = self.recovering().is_some_and(|recovering| recovering.recovery.snapshots.is_some());
        if shared.kind.has_snapshots && self.recovering_mut().is_some_and(Recovering::look) {
            return Ok(false);
        }
        let trouble = self.recovering().map(|recovering| recovering.trouble.join("; ")).unwrap_or_default();
        if wanted && (base.rests_on_snapshot || !trouble.is_empty()) {
            let but = if trouble.is_empty() { "none was found".to_owned() } else { trouble };
            return Err(format!(
                "events up to {deleted_to} were deleted because a snapshot contains what they said, but {but}"
            )
            .into());
        }
        self.sequence_nr = deleted_to;
        // What they said is in a snapshot that this recovery may not use.
        self.partial = base.rests_on_snapshot;
        self.token = EventToken {
            claim: Claim { epoch: Epoch(base.epoch), session: base.session },
            batch: base.batch,
        };
        Ok(true)
    }

    fn recover_snapshot(&mut self, shared: &Shared<A>, snapshot: &Snapshot) -> Result<(), String> {
        let state =
            shared.kind.decode_state(snapshot).map_err(|cause| format!("it cannot be decoded: {cause}"))?;
        self.sequence_nr = snapshot.sequence_nr;
        self.token = snapshot.token();
        self.snapshot =
            Some(Box::new(EventRef { sequence_nr: snapshot.sequence_nr, token: snapshot.token() }));
        self.recover_item(Recover::Snapshot(state)).map_err(|cause| format!("it cannot be applied: {cause}"))
    }

    /// A snapshot that could not be applied may have left anything behind: begin anew with the one before.
    fn reject_snapshot(&mut self, snapshot: &Snapshot, reason: String) -> Result<(), Stop> {
        self.sequence_nr = SequenceNr::ZERO;
        self.token = EventToken::NONE;
        self.snapshot = None;
        let fresh = construct(&self.id)?;
        drop_quietly(std::mem::replace(&mut self.actor, fresh));
        if let Some(recovering) = self.recovering_mut() {
            recovering.behaviours.clear();
            recovering.reject(snapshot.sequence_nr, reason);
        }
        Ok(())
    }

    fn recover_next(&mut self, shared: &Shared<A>, bytes: bytes::Bytes) -> Result<(), Stop> {
        let expected = self.sequence_nr.next();
        let stop = |reason| Stop { reason, event: Some(expected) };
        let decoded;
        let stored = match EventView::of(&bytes) {
            Some(plain) => plain,
            None => {
                decoded = StoredEvent::from_bytes(bytes).map_err(|cause| {
                    stop(format!("what is stored as event {expected} is no event: {cause}"))
                })?;
                decoded.view()
            }
        };
        if stored.sequence_nr != expected {
            let found = stored.sequence_nr;
            return Err(stop(format!("event {expected} is missing, the journal goes on with {found}")));
        }
        self.recover_event(shared, stored).map_err(|cause| {
            stop(format!("event {expected} (\"{}\" version {}) {cause}", stored.name, stored.version))
        })
    }

    fn recover_event(&mut self, shared: &Shared<A>, stored: EventView<'_>) -> Result<(), String> {
        let event =
            shared.kind.decode_event(stored).map_err(|cause| format!("cannot be decoded: {cause}"))?;
        let before = self.sequence_nr;
        self.sequence_nr = stored.sequence_nr;
        if let Err(cause) = self.recover_item(Recover::Event(event)) {
            self.sequence_nr = before;
            return Err(format!("cannot be applied: {cause}"));
        }
        self.token = stored.token;
        Ok(())
    }

    /// Hands a part of its past to the entity.
    fn recover_item(&mut self, item: Recover<A>) -> Result<(), String> {
        let snapshot_nr = self.snapshot_nr();
        let mut behaviours = Vec::new();
        let recovering = self.work.as_mut().and_then(|work| work.recovering.as_deref_mut());
        let mut ctx = RecoveryContext {
            id: &self.id,
            sequence_nr: self.sequence_nr,
            snapshot_nr,
            behaviours: recovering.map_or(&mut behaviours, |recovering| &mut recovering.behaviours),
        };
        caught(|| self.actor.receive_recover(item, &mut ctx))
    }

    fn recovered(&mut self, turn: &mut Turn, shared: &mut Shared<A>) {
        let recovering = self.work.as_mut().and_then(|work| work.recovering.take());
        if let Some(recovering) = recovering {
            if !recovering.trouble.is_empty() {
                let (id, reasons) = (self.persistence_id(), recovering.trouble);
                turn.reports.push(Report::SnapshotUnusable { id, reasons });
            }
            if !recovering.behaviours.is_empty() {
                self.work.get_or_insert_default().extras(turn).behaviours = recovering.behaviours;
            }
        }
        self.set_phase(Phase::Ready);
        // One that should be there and is not: its save failed, or the node did.
        self.snapshot_if_due(turn, shared, self.snapshot_nr(), Ok(false));
        let (_, fate) = self.run(turn, shared, Sender::Nobody, |actor, ctx| {
            actor.receive_signal(Signal::RecoveryCompleted, ctx);
        });
        if let Err(what) = fate {
            // It would panic at once again: come back later, without losing who waits.
            turn.reports.push(Report::Panicked { id: self.persistence_id(), what });
            self.retry_later(turn, shared);
        }
        self.advance(turn, shared);
    }
}
