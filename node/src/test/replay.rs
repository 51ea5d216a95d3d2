//! Checks that an entity's events lead to where it stands.
//!
//! ```text
//!   commands ─▶ live entity ─▶ events, and its state after each command
//!                                │
//!              twice: events 1 to n, for every n ─▶ state n        the same both times, and as it was live
//!              state n as a snapshot, events behind it ─▶ state    the same as of all events
//! ```

use abide_persistence::EntityId;
use abide_persistence::model::PersistentActor;
use abide_sharding::AskError;

use super::given::shown;
use super::node::{self, Node};
use super::resumed::{self, Resumed};
use super::stage::Stage;
use super::stored::{Record, Seen, Shown};

/// The live entity right after a command, or before all of them.
struct Moment {
    events: usize,
    state: Seen,
}

struct Check<A: PersistentActor> {
    stage: Stage,
    id: EntityId,
    records: Vec<Record>,
    moments: Vec<Moment>,
    entity: std::marker::PhantomData<fn(A)>,
}

#[track_caller]
pub(super) fn check<A: PersistentActor>(commands: Vec<A::Command>) {
    let checked = Check::<A>::live(commands).and_then(|check| {
        let states = check.replays_agree()?;
        check.live_is_as_replayed(&states)?;
        check.snapshots_lead_there(&states)?;
        if check.records.is_empty() {
            return Err("no command has stored an event, so nothing was checked; add commands".to_owned());
        }
        Ok(())
    });
    if let Err(fault) = checked {
        panic!("{}: {fault}\n", A::TYPE.as_str());
    }
}

impl<A: PersistentActor> Check<A> {
    /// Tells a fresh entity the commands, and notes what becomes of it.
    fn live(commands: Vec<A::Command>) -> Result<Self, String> {
        let (stage, id) = (Stage::new(), node::entity_id("test"));
        let node = stage.run(Node::with_past::<A>(&id, &[]))?;
        let entity = node.actor::<A>(id.as_str());
        // A read waits for the handlers before it; a run for what they have set off. So after both the
        // state is that of the events.
        let moment = || {
            stage.run(node.read_state(&entity))?;
            let state = stage.run(node.read_state(&entity))?;
            Ok::<_, String>(Moment { events: node.records(&entity)?.len(), state })
        };
        let mut moments = vec![moment()?];
        for (number, command) in (1..).zip(commands) {
            let answer = stage.run(entity.ask_within(command, node::PATIENCE));
            if let Err(AskError::Failed(_)) = &answer {
                return Err(format!("command {number} was not handled, {}", shown::<A>(&answer)));
            }
            moments.push(moment()?);
        }
        let records = node.records(&entity)?;
        stage.run(node.shutdown());
        Ok(Self { stage, id, records, moments, entity: std::marker::PhantomData })
    }

    /// The state after every number of events, from none to all.
    fn replays_agree(&self) -> Result<Vec<Seen>, String> {
        let states = (0..=self.records.len()).map(|events| self.replayed(events));
        let states: Vec<Seen> = states.collect::<Result<_, _>>()?;
        for (events, one) in states.iter().enumerate() {
            let other = self.replayed(events)?;
            if *one != other {
                return Err(format!(
                    "two replays of the same events differ from {} on\n\n  one        {one}\n  the other  \
                     {other}\n\nWhat an event does must depend on the state and the event alone: no clock, \
                     no dice, no globals, no order of a hash map.",
                    self.event(events)
                ));
            }
        }
        Ok(states)
    }

    fn live_is_as_replayed(&self, states: &[Seen]) -> Result<(), String> {
        let mut before = 0;
        for (command, moment) in self.moments.iter().enumerate() {
            let replayed = &states[moment.events];
            if moment.state != *replayed {
                let place = match moment.events {
                    events if events > before => format!("from {} on", self.event(before + 1)),
                    _ if command == 0 => "before the first command".to_owned(),
                    _ => "although it has stored no event".to_owned(),
                };
                return Err(format!(
                    "after command {command} the live entity is not what its events lead to; they differ \
                     {place}\n\n  live      {}\n  replayed  {replayed}\n\nThe state must change by events \
                     alone, in `apply` or in a persist handler, and as `receive_recover` changes it.",
                    moment.state
                ));
            }
            before = moment.events;
        }
        Ok(())
    }

    fn snapshots_lead_there(&self, states: &[Seen]) -> Result<(), String> {
        let all = self.records.len();
        // By the same way as from a snapshot, on which an entity does nothing but recover.
        let expected = self.resumed(all, None)?;
        for (snapshot, state) in states.iter().enumerate().skip(1) {
            let resumed = |events| self.resumed(events, Some((snapshot, state)));
            if resumed(all)? == expected {
                continue;
            }
            for events in snapshot..=all {
                let (found, expected) = (resumed(events)?, self.resumed(events, None)?);
                if found != expected {
                    return Err(format!(
                        "a snapshot after {} and the events behind it do not lead where all events lead; they \
                         differ from {} on\n\n  all events  {expected}\n  snapshot    {found}\n\nIs a field \
                         skipped by serde, or a snapshot not taken over whole?",
                        self.event(snapshot),
                        self.event(events)
                    ));
                }
            }
        }
        Ok(())
    }

    /// The state after so many events, recovered by a fresh node.
    fn replayed(&self, events: usize) -> Result<Seen, String> {
        let records = &self.records[..events];
        match self.recovered::<A>(records)? {
            (state, stored) if stored == events => Ok(state),
            // It has persisted more, so what it shows is not of these events alone.
            _ => self.resumed(events, None),
        }
    }

    /// The same without anything but `receive_recover`, optionally from a snapshot.
    fn resumed(&self, events: usize, snapshot: Option<(usize, &Seen)>) -> Result<Seen, String> {
        let parts = resumed::journal::<A>(&self.records[..events], snapshot)?;
        self.recovered::<Resumed<A>>(&parts).map(|(state, _)| state)
    }

    fn recovered<B: PersistentActor>(&self, records: &[Record]) -> Result<(Seen, usize), String> {
        let recovered = self.stage.run(async {
            let node = Node::with_past::<B>(&self.id, records).await?;
            let entity = node.actor::<B>(self.id.as_str());
            let state = node.read_state(&entity).await?;
            Ok::<_, String>((node, entity, state))
        });
        let read = recovered.and_then(|(node, entity, state)| {
            let stored = node.records(&entity)?.len();
            self.stage.run(node.shutdown());
            Ok((state, stored))
        });
        read.map_err(|fault| format!("it cannot be recovered from its own {} events: {fault}", records.len()))
    }

    /// An event by its number, for a message.
    fn event(&self, number: usize) -> String {
        match number.checked_sub(1).and_then(|at| self.records.get(at)) {
            Some(record) => match Shown::of::<A::Event>(record) {
                Ok(event) => format!("event {number} ({event})"),
                Err(_) => format!("event {number}"),
            },
            None => "the first moment".to_owned(),
        }
    }
}
