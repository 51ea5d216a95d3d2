//! An entity that recovers from a snapshot which the check chooses, on the engine that recovers all others.
//!
//! The journal of such an entity holds, in place of event n, the snapshot after event n, and in place of
//! those before it nothing of interest. So the entity is handed the snapshot and then the events behind it,
//! each under its own number.

use std::convert::Infallible;

use abide_persistence::codec::Event;
use abide_persistence::model::{Context, PersistentActor, Recover, RecoveryContext};
use abide_persistence::{EntityId, EntityType};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::stored::{Record, Seen};

/// Part of such a journal.
#[derive(Serialize, Deserialize)]
#[serde(bound(
    serialize = "S: Serialize, E: Serialize",
    deserialize = "S: DeserializeOwned, E: DeserializeOwned"
))]
pub(super) enum Part<S, E> {
    /// Contained in the snapshot.
    Past,
    Snapshot(S),
    Event(E),
}

impl<S, E> Event for Part<S, E>
where
    S: Serialize + DeserializeOwned + Send + 'static,
    E: Event,
{
    fn name(&self) -> &'static str {
        match self {
            Self::Past => "past",
            Self::Snapshot(_) => "snapshot",
            Self::Event(event) => event.name(),
        }
    }
}

/// The journal for a snapshot after so many events, or for none.
pub(super) fn journal<A: PersistentActor>(
    records: &[Record],
    snapshot: Option<(usize, &Seen)>,
) -> Result<Vec<Record>, String> {
    let mut parts = Vec::with_capacity(records.len());
    for (number, record) in (1..).zip(records) {
        let part = match snapshot {
            Some((at, _)) if number < at => Part::Past,
            Some((at, seen)) if number == at => {
                let state = seen.read_back::<A::State>();
                Part::Snapshot(state.map_err(|fault| format!("a snapshot after event {at} {fault}"))?)
            }
            _ => Part::Event(record.event::<A::Event>()?),
        };
        parts.push(Record::of::<Part<A::State, A::Event>>(&part)?);
    }
    Ok(parts)
}

/// An `A` that only recovers.
pub(super) struct Resumed<A>(A);

impl<A: PersistentActor> PersistentActor for Resumed<A> {
    const TYPE: EntityType = A::TYPE;
    type Command = ();
    type Event = Part<A::State, A::Event>;
    type Reply = ();
    type Rejection = ();
    type State = A::State;
    type Message = Infallible;

    fn new(id: &EntityId) -> Self {
        Self(A::new(id))
    }

    fn state(&self) -> &A::State {
        self.0.state()
    }

    fn receive_command(&mut self, (): (), _: &mut Context<'_, Self>) {}

    fn receive_recover(&mut self, item: Recover<Self>, ctx: &mut RecoveryContext<'_, Self>) {
        match item {
            Recover::Event(Part::Past) => {}
            Recover::Event(Part::Event(event)) => {
                ctx.lend(|ctx| self.0.receive_recover(Recover::Event(event), ctx));
            }
            Recover::Event(Part::Snapshot(state)) | Recover::Snapshot(state) => {
                ctx.lend(|ctx| self.0.receive_recover(Recover::Snapshot(state), ctx));
            }
        }
    }
}
