//! How far a recovery has come: which snapshot, which events, what stood in the way.
//!
//! A snapshot is never believed by itself. It is a candidate until the journal has shown the event that it
//! ends with, written under the token that the snapshot names; else the one before it is tried, and then
//! the events alone, if they are all there.

use prost::Message;

use super::turn::EntitySettings;
use crate::envelope::{BaseRecord, StoredEvent};
use crate::ids::SequenceNr;
use crate::journal::{Claim, Epoch, EventPage, EventToken, Snapshot, SnapshotCriteria};
use crate::model::{Behaviour, PersistentActor, Recovery};

pub(crate) struct Recovering<A: PersistentActor> {
    pub(crate) recovery: Recovery,
    pub(crate) step: Step,
    /// Loaded, and not yet checked against the journal.
    pub(crate) candidate: Option<Snapshot>,
    /// What was wrong with snapshots that were not used.
    pub(crate) trouble: Vec<String>,
    /// Whether snapshots were looked for.
    looked: bool,
    pub(crate) replayed: u64,
    /// What the entity's past has switched to.
    pub(crate) behaviours: Vec<Behaviour<A>>,
}

#[derive(Clone, Copy)]
pub(crate) enum Step {
    Snapshot(SnapshotCriteria),
    Events,
}

/// Why a snapshot is not used.
pub(crate) enum Doubt {
    /// Another one may be.
    Unusable(String),
    /// Events after it were deleted, and not because of it.
    Obsolete,
    /// The journal has lost events.
    Lost(String),
}

impl<A: PersistentActor> Recovering<A> {
    pub(crate) fn begin(recovery: Recovery, looks_for_snapshots: bool) -> Self {
        let mut new = Self {
            recovery,
            step: Step::Events,
            candidate: None,
            trouble: Vec::new(),
            looked: false,
            replayed: 0,
            behaviours: Vec::new(),
        };
        if looks_for_snapshots {
            new.look();
        }
        new
    }

    /// Goes to the snapshots, if they may be used and were not looked for.
    pub(crate) fn look(&mut self) -> bool {
        let criteria = self.recovery.snapshots.filter(|_| !self.looked);
        let Some(criteria) = criteria else { return false };
        self.looked = true;
        let max_sequence_nr = criteria.max_sequence_nr.min(self.recovery.to);
        self.step = Step::Snapshot(SnapshotCriteria { max_sequence_nr, ..criteria });
        true
    }

    /// A snapshot cannot be used, and should be: on to the one before it.
    pub(crate) fn reject(&mut self, sequence_nr: SequenceNr, reason: String) {
        self.trouble.push(format!("the snapshot that ends with event {sequence_nr} is of no use: {reason}"));
        self.pass_over(sequence_nr);
    }

    /// On to the snapshot before one.
    pub(crate) fn pass_over(&mut self, sequence_nr: SequenceNr) {
        self.candidate = None;
        let criteria = self.recovery.snapshots.unwrap_or(SnapshotCriteria::ANY);
        self.step = match sequence_nr.0.checked_sub(1) {
            Some(below) if SequenceNr(below) >= criteria.min_sequence_nr => {
                Step::Snapshot(SnapshotCriteria { max_sequence_nr: SequenceNr(below), ..criteria })
            }
            _ => Step::Events,
        };
    }

    /// Which events to read next: the first number and how many. A candidate's own last event comes too.
    pub(crate) fn window(&self, last: SequenceNr, settings: &EntitySettings) -> (SequenceNr, usize) {
        let left =
            usize::try_from(self.recovery.max_events.saturating_sub(self.replayed)).unwrap_or(usize::MAX);
        match &self.candidate {
            Some(candidate) if candidate.sequence_nr > SequenceNr::ZERO => {
                (candidate.sequence_nr, settings.page_events.min(left.saturating_add(1)))
            }
            _ => (last.next(), settings.page_events.min(left)),
        }
    }

    /// Whether all is replayed that is to be, once `last` was.
    pub(crate) fn is_done(&self, last: SequenceNr, end: SequenceNr) -> bool {
        last >= end.min(self.recovery.to) || self.replayed >= self.recovery.max_events
    }
}

/// Checks that a snapshot ends with an event that the journal knows, and takes that event out of the page.
pub(crate) fn verify(snapshot: &Snapshot, page: &mut EventPage) -> Result<(), Doubt> {
    let number = snapshot.sequence_nr;
    if number > page.last {
        return Err(Doubt::Lost(format!(
            "a snapshot contains event {number}, but the journal ends with {}: events were lost; restore the journal, \
             or delete the snapshot to accept the loss",
            page.last
        )));
    }
    if number < page.deleted_to {
        if !base(page).rests_on_snapshot {
            return Err(Doubt::Obsolete);
        }
        let deleted_to = page.deleted_to;
        return Err(Doubt::Unusable(format!("events up to {deleted_to} were deleted")));
    }
    let known = if number == SequenceNr::ZERO {
        Some(EventToken::NONE)
    } else if number == page.deleted_to {
        base_token(page)
    } else if page.events.is_empty() {
        None
    } else {
        StoredEvent::from_bytes(page.events.remove(0))
            .ok()
            .filter(|event| event.sequence_nr() == number)
            .map(|event| event.token())
    };
    match known {
        Some(token) if token == snapshot.token() => Ok(()),
        Some(token) => Err(Doubt::Unusable(format!(
            "it contains an event that was written under {}, the journal's was written under {token}",
            snapshot.token()
        ))),
        None => Err(Doubt::Unusable(
            "the journal does not say under which token that event was written".to_owned(),
        )),
    }
}

/// The record that stands in place of deleted events.
pub(crate) fn base(page: &EventPage) -> BaseRecord {
    // A record that cannot be read says nothing, as that of an older version.
    BaseRecord::decode(page.record.clone()).unwrap_or_default()
}

fn base_token(page: &EventPage) -> Option<EventToken> {
    let base = base(page);
    let token =
        EventToken { claim: Claim { epoch: Epoch(base.epoch), session: base.session }, batch: base.batch };
    Some(token).filter(|token| *token != EventToken::NONE)
}
