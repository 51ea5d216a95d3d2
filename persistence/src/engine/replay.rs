//! An entity's state as it was, put together from its events outside of its shard.
//!
//! Pure, and apart from the live entity: it has no mailbox, no sender and no journal, and nothing that it
//! computes is kept.

use std::fmt;
use std::sync::Arc;

use super::panics::{caught, drop_quietly};
use crate::codec::{Codecs, Event};
use crate::envelope::StoredEvent;
use crate::ids::{EntityId, SequenceNr};
use crate::journal::EventPage;
use crate::model::{Behaviour, PersistentActor, Recover, RecoveryContext};

/// A replay whose type is erased.
pub trait StateReplay: Send {
    /// The last event that was applied; 0 for a fresh entity.
    fn sequence_nr(&self) -> SequenceNr;

    /// Applies the next page of events.
    ///
    /// # Errors
    /// See [`ReplayError`]; the replay is of no use then.
    fn feed(&mut self, page: EventPage) -> Result<(), ReplayError>;

    /// The state as JSON.
    ///
    /// # Errors
    /// See [`ReplayError`].
    fn state(&self) -> Result<Vec<u8>, ReplayError>;
}

/// Why a state cannot be put together. The reasons are for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// Events that are needed were deleted.
    #[error("the events up to {to} were deleted")]
    Deleted {
        /// The last of them.
        to: SequenceNr,
    },
    /// An event cannot be decoded or applied, or is not where it must be.
    #[error("{0}")]
    Broken(String),
    /// The state cannot be written as JSON.
    #[error("the state cannot be encoded: {0}")]
    NotEncodable(String),
}

/// Puts the state of one entity together, event by event.
pub struct Replay<A: PersistentActor> {
    id: EntityId,
    /// Nobody, once its code has panicked.
    actor: Option<A>,
    sequence_nr: SequenceNr,
    codecs: Arc<Codecs<A::Event>>,
    /// A past that switches behaviours switches these; no command meets them.
    behaviours: Vec<Behaviour<A>>,
}

impl<A: PersistentActor> fmt::Debug for Replay<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").field("id", &self.id).field("sequence_nr", &self.sequence_nr).finish()
    }
}

impl<A: PersistentActor> Replay<A> {
    /// An entity to which nothing has happened yet.
    ///
    /// # Errors
    /// If its constructor panics.
    pub fn new(id: EntityId, codecs: Arc<Codecs<A::Event>>) -> Result<Self, ReplayError> {
        let actor = guarded("its constructor", || A::new(&id))?;
        let (sequence_nr, behaviours) = (SequenceNr::ZERO, Vec::new());
        Ok(Self { id, actor: Some(actor), sequence_nr, codecs, behaviours })
    }

    fn apply(&mut self, event: &StoredEvent) -> Result<(), ReplayError> {
        let number = self.sequence_nr.next();
        if event.sequence_nr() != number {
            let what = format!("event {} was read where {number} was due", event.sequence_nr());
            return Err(ReplayError::Broken(what));
        }
        let Some(actor) = &mut self.actor else {
            return Err(ReplayError::Broken("the entity's code has panicked before".to_owned()));
        };
        let what = format!("event {number} ({} v{})", event.name, event.version);
        let (id, codecs, behaviours) = (&self.id, &self.codecs, &mut self.behaviours);
        guarded(&what, || {
            let decoded = codecs.decode(event.codec, &event.name, event.version, &event.payload);
            let decoded = decoded.map_err(|cause| ReplayError::Broken(format!("{what}: {cause}")))?;
            let snapshot_nr = SequenceNr::ZERO;
            let mut ctx = RecoveryContext { id, sequence_nr: number, snapshot_nr, behaviours };
            actor.receive_recover(Recover::Event(decoded), &mut ctx);
            Ok(())
        })??;
        self.sequence_nr = number;
        Ok(())
    }
}

impl<A: PersistentActor> StateReplay for Replay<A> {
    fn sequence_nr(&self) -> SequenceNr {
        self.sequence_nr
    }

    fn feed(&mut self, page: EventPage) -> Result<(), ReplayError> {
        if page.deleted_to > self.sequence_nr {
            return Err(ReplayError::Deleted { to: page.deleted_to });
        }
        for bytes in page.events {
            let event = StoredEvent::from_bytes(bytes)
                .map_err(|cause| ReplayError::Broken(format!("an event has no envelope: {cause}")))?;
            if let Err(error) = self.apply(&event) {
                drop_quietly(self.actor.take());
                return Err(error);
            }
        }
        Ok(())
    }

    fn state(&self) -> Result<Vec<u8>, ReplayError> {
        let Some(actor) = &self.actor else {
            return Err(ReplayError::Broken("the entity's code has panicked before".to_owned()));
        };
        let json = guarded("its state", || serde_json::to_vec(actor.state()))?;
        json.map_err(|cause| ReplayError::NotEncodable(cause.to_string()))
    }
}

impl<A: PersistentActor> Drop for Replay<A> {
    fn drop(&mut self) {
        drop_quietly(self.actor.take());
    }
}

fn guarded<T>(what: &str, run: impl FnOnce() -> T) -> Result<T, ReplayError> {
    caught(run).map_err(|said| ReplayError::Broken(format!("{what}: the entity's code panicked: {said}")))
}

/// An event's payload as JSON, decoded by the codec that wrote it.
///
/// # Errors
/// Why it cannot be shown.
pub fn payload_as_json<E: Event>(codecs: &Codecs<E>, event: &StoredEvent) -> Result<Vec<u8>, String> {
    let shown = guarded("the event", || {
        let decoded = codecs.decode(event.codec, &event.name, event.version, &event.payload)?;
        serde_json::to_vec(&decoded).map_err(|cause| cause.to_string())
    });
    // What the panic said is in the log of the process, and may name places of this machine.
    shown.unwrap_or_else(|_| Err("the entity's code panicked over it".to_owned()))
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::codec::JSON;
    use crate::ids::EntityType;
    use crate::model::{Effect, EventSourced, EventSourcedActor};

    #[derive(Serialize, Deserialize)]
    struct Sum(i64);

    #[derive(Serialize, Deserialize)]
    struct Added(i64);

    impl Event for Added {
        fn name(&self) -> &'static str {
            "added"
        }
    }

    impl EventSourced for Sum {
        const TYPE: EntityType = EntityType::new("sum");
        type Command = ();
        type Event = Added;
        type Reply = ();
        type Rejection = ();

        fn new(_: &EntityId) -> Self {
            Self(0)
        }
        fn handle(&self, (): ()) -> Effect<Self> {
            Effect::nothing()
        }
        fn apply(&mut self, Added(by): &Added) {
            assert_ne!(*by, 13, "unlucky");
            self.0 += by;
        }
    }

    type Sums = Replay<EventSourcedActor<Sum>>;

    fn stored(sequence_nr: u64, payload: &str) -> StoredEvent {
        let payload = payload.as_bytes().to_vec().into();
        StoredEvent {
            sequence_nr,
            payload,
            codec: JSON,
            name: "added".to_owned(),
            version: 1,
            ..StoredEvent::default()
        }
    }

    fn page(events: &[(u64, &str)], deleted_to: u64) -> EventPage {
        let last = SequenceNr(events.last().map_or(deleted_to, |(number, _)| *number));
        let events = events.iter().map(|(number, payload)| stored(*number, payload).to_bytes()).collect();
        EventPage { events, deleted_to: SequenceNr(deleted_to), last, ..EventPage::default() }
    }

    fn fresh() -> Sums {
        Replay::new(EntityId::new("a").expect("an id"), Arc::new(Codecs::json()))
            .expect("a constructor that does not panic")
    }

    #[test]
    fn pages_add_up_to_the_state() {
        let mut replay = fresh();
        assert_eq!((replay.state(), replay.sequence_nr()), (Ok(b"0".to_vec()), SequenceNr(0)));
        assert_eq!(replay.feed(page(&[(1, "1"), (2, "2")], 0)), Ok(()));
        assert_eq!(replay.feed(page(&[(3, "4")], 0)), Ok(()));
        assert_eq!((replay.state(), replay.sequence_nr()), (Ok(b"7".to_vec()), SequenceNr(3)));
    }

    #[test]
    fn deleted_events_are_told() {
        assert_eq!(fresh().feed(page(&[(3, "1")], 2)), Err(ReplayError::Deleted { to: SequenceNr(2) }));
    }

    #[test]
    fn what_cannot_be_applied_is_told_with_its_event_and_ends_the_replay() {
        for (events, words) in [
            (page(&[(1, "1"), (2, "13")], 0), "event 2 (added v1): the entity's code panicked"),
            (page(&[(1, "\"no\"")], 0), "event 1 (added v1): invalid type"),
            (page(&[(1, "1"), (3, "1")], 0), "event 3 was read where 2 was due"),
        ] {
            let mut replay = fresh();
            let error = replay.feed(events).expect_err("it is broken").to_string();
            assert!(error.starts_with(words), "{error}");
            assert!(matches!(replay.state(), Err(ReplayError::Broken(_))));
        }
    }

    #[test]
    fn a_payload_is_shown_as_json_or_with_the_reason_why_not() {
        let show = |event: &StoredEvent| payload_as_json::<Added>(&Codecs::json(), event);
        assert_eq!(show(&stored(1, " 5 ")), Ok(b"5".to_vec()));
        assert!(show(&stored(1, "")).is_err_and(|why| why.contains("EOF")));
        let foreign = StoredEvent { codec: 77, ..stored(1, "5") };
        assert!(show(&foreign).is_err_and(|why| why.contains("77")));
    }
}
