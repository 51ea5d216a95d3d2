//! Given events, when a command, then what.

use std::fmt::Write;

use abide_persistence::EntityId;
use abide_persistence::model::{Failure, PersistentActor};
use abide_sharding::{AskError, EntityRef};
use serde::Serialize;
use serde_json::Value;

use super::node::{self, Node};
use super::stage::Stage;
use super::stored::{self, Record, Shown};

/// An entity with its past; made by [`given`](super::given).
#[must_use = "say what the entity is told: .when(command)"]
#[derive(Debug)]
pub struct Given<A: PersistentActor> {
    id: EntityId,
    past: Vec<Record>,
    entity: std::marker::PhantomData<fn(A)>,
}

impl<A: PersistentActor> Given<A> {
    #[track_caller]
    pub(super) fn new(events: impl IntoIterator<Item = A::Event>) -> Self {
        let past = events.into_iter().map(|event| Record::of(&event)).collect();
        match past {
            Ok(past) => Self { id: node::entity_id("test"), past, entity: std::marker::PhantomData },
            Err(fault) => panic!("a given event cannot be stored: {fault}"),
        }
    }

    /// Gives the entity an id; without it, it is called `test`.
    ///
    /// # Panics
    /// If it is no entity id.
    #[track_caller]
    pub fn with_id(mut self, id: &str) -> Self {
        self.id = node::entity_id(id);
        self
    }

    /// Lets the entity recover from its events, then handle a command.
    ///
    /// # Panics
    /// If it cannot be recovered from them.
    #[track_caller]
    pub fn when(self, command: A::Command) -> Then<A> {
        let stage = Stage::new();
        let recovered = stage.run(async {
            let node = Node::with_past::<A>(&self.id, &self.past).await?;
            let entity = node.actor::<A>(self.id.as_str());
            node.read_state(&entity).await?;
            Ok::<_, String>((node, entity))
        });
        match recovered {
            Ok((node, entity)) => Then::of(Scene { stage, node, entity }, command),
            Err(fault) => {
                panic!("{}|{} cannot be recovered from the given events: {fault}", A::TYPE.as_str(), self.id)
            }
        }
    }
}

/// What is needed as long as the entity is told things.
struct Scene<A: PersistentActor> {
    stage: Stage,
    node: Node,
    entity: EntityRef<A>,
}

impl<A: PersistentActor> Scene<A> {
    #[track_caller]
    fn records(&self) -> Vec<Record> {
        match self.node.records(&self.entity) {
            Ok(records) => records,
            Err(fault) => panic!("what {} has stored cannot be read: {fault}", node::name(&self.entity)),
        }
    }
}

/// What came of a command; made by [`Given::when`].
///
/// Every check looks at the last command. Events, replies and rejections are compared as what leaves the
/// entity, which is JSON, so their types need neither `PartialEq` nor `Debug`.
pub struct Then<A: PersistentActor> {
    scene: Scene<A>,
    /// What the command has stored.
    events: Vec<Shown>,
    answer: Result<A::Reply, AskError<A::Rejection>>,
}

impl<A: PersistentActor> std::fmt::Debug for Then<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Then").field("entity", &self.scene.entity).finish_non_exhaustive()
    }
}

impl<A: PersistentActor> Then<A> {
    #[track_caller]
    fn of(scene: Scene<A>, command: A::Command) -> Self {
        let before = scene.records().len();
        // All that the command sets off is waited for, so what is stored behind the reply is seen too.
        let answer = scene.stage.run(scene.entity.ask_within(command, node::PATIENCE));
        let stored = scene.records().into_iter().skip(before);
        match stored.map(|record| Shown::of::<A::Event>(&record)).collect() {
            Ok(events) => Self { scene, events, answer },
            Err(fault) => panic!("{}: {fault}", node::name(&scene.entity)),
        }
    }

    /// Tells the same entity another command. It has stayed in memory.
    #[track_caller]
    pub fn when(self, command: A::Command) -> Self {
        Self::of(self.scene, command)
    }

    /// The command has stored exactly these events, in this order.
    ///
    /// # Panics
    /// If it has not.
    #[track_caller]
    pub fn then_events(self, expected: impl IntoIterator<Item = A::Event>) -> Self {
        let shown = |event: A::Event| Shown::of::<A::Event>(&Record::of(&event)?);
        match expected.into_iter().map(shown).collect::<Result<Vec<_>, _>>() {
            Ok(expected) if expected == self.events => self,
            Ok(expected) => self.differs("has stored other events", &list(&expected), &list(&self.events)),
            Err(fault) => panic!("an expected event cannot be stored: {fault}"),
        }
    }

    /// The command has stored exactly events with this JSON, in this order.
    ///
    /// # Panics
    /// If it has not.
    #[track_caller]
    pub fn then_events_json(self, expected: impl IntoIterator<Item: Serialize>) -> Self {
        let expected: Vec<Value> = expected.into_iter().map(|event| json(&event)).collect();
        if self.events.iter().map(Shown::json).eq(&expected) {
            return self;
        }
        self.differs("has stored other events", &list(&expected), &list(&self.events))
    }

    /// The command has stored nothing.
    ///
    /// # Panics
    /// If it has.
    #[track_caller]
    pub fn then_no_events(self) -> Self {
        self.then_events([])
    }

    /// The command was answered with this reply.
    ///
    /// # Panics
    /// If it was not.
    #[track_caller]
    pub fn then_reply(self, expected: A::Reply) -> Self {
        self.then_reply_json(expected)
    }

    /// The command was answered with a reply that has this JSON.
    ///
    /// # Panics
    /// If it was not.
    #[track_caller]
    pub fn then_reply_json(self, expected: impl Serialize) -> Self {
        let expected = json(&expected);
        match &self.answer {
            Ok(reply) if json(reply) == expected => self,
            found => self.differs("was answered otherwise", &format!("reply {expected}"), &shown::<A>(found)),
        }
    }

    /// The command was answered with a reply, of which the closure asserts what matters.
    ///
    /// # Panics
    /// If it was not, or as the closure does.
    #[track_caller]
    pub fn then_reply_with(self, check: impl FnOnce(&A::Reply)) -> Self {
        match &self.answer {
            Ok(reply) => check(reply),
            found => self.differs("was answered otherwise", "a reply", &shown::<A>(found)),
        }
        self
    }

    /// The command was rejected with this.
    ///
    /// # Panics
    /// If it was not.
    #[track_caller]
    pub fn then_rejection(self, expected: A::Rejection) -> Self {
        self.then_rejection_json(expected)
    }

    /// The command was rejected with something that has this JSON.
    ///
    /// # Panics
    /// If it was not.
    #[track_caller]
    pub fn then_rejection_json(self, expected: impl Serialize) -> Self {
        let expected = json(&expected);
        match &self.answer {
            Err(AskError::Rejected(rejection)) if json(rejection) == expected => self,
            found => {
                self.differs("was answered otherwise", &format!("rejection {expected}"), &shown::<A>(found))
            }
        }
    }

    /// The command was handled and ended without a reply.
    ///
    /// # Panics
    /// If it was answered, or not handled.
    #[track_caller]
    pub fn then_no_reply(self) -> Self {
        match &self.answer {
            Err(AskError::NoReply) => self,
            found => self.differs("was answered otherwise", "no reply", &shown::<A>(found)),
        }
    }

    /// The command failed, as it does when the entity's code panics or an event cannot be encoded; the
    /// closure asserts of the failure what matters.
    ///
    /// # Panics
    /// If it did not, or as the closure does.
    #[track_caller]
    pub fn then_failure(self, check: impl FnOnce(&Failure)) -> Self {
        match &self.answer {
            Err(AskError::Failed(failure)) => check(failure),
            found => self.differs("was answered otherwise", "a failure", &shown::<A>(found)),
        }
        self
    }

    /// The entity now has a state of which the closure asserts what matters. It is the state that `GET` shows,
    /// read back from its JSON: what serde skips is not in it.
    ///
    /// # Panics
    /// If it cannot be shown and read back, or as the closure does.
    #[track_caller]
    pub fn then_state(self, check: impl FnOnce(&A::State)) -> Self {
        let Scene { stage, node, entity } = &self.scene;
        let state = stage.run(node.read_state(entity)).and_then(|seen| seen.read_back::<A::State>());
        match state {
            Ok(state) => check(&state),
            Err(fault) => panic!("the state of {} {fault}", node::name(entity)),
        }
        self
    }

    #[track_caller]
    fn differs(&self, how: &str, expected: &str, found: &str) -> ! {
        panic!(
            "the command to {} {how}\n\n  expected  {expected}\n  found     {found}\n\n  events    {}\n  answer    {}\n",
            node::name(&self.scene.entity),
            list(&self.events),
            shown::<A>(&self.answer)
        )
    }
}

/// One below the other, numbered, in the column of the messages.
fn list(items: &[impl std::fmt::Display]) -> String {
    let mut all = String::new();
    for (number, item) in (1..).zip(items) {
        let indent = if number == 1 { "" } else { "\n            " };
        let _ = write!(all, "{indent}{number}. {item}");
    }
    if all.is_empty() { "none".to_owned() } else { all }
}

pub(super) fn shown<A: PersistentActor>(answer: &Result<A::Reply, AskError<A::Rejection>>) -> String {
    match answer {
        Ok(reply) => format!("reply {}", json(reply)),
        Err(AskError::Rejected(rejection)) => format!("rejection {}", json(rejection)),
        Err(AskError::NoReply) => "no reply".to_owned(),
        Err(AskError::Failed(failure)) => format!("failure: {failure}"),
    }
}

#[track_caller]
fn json(value: &impl Serialize) -> Value {
    match stored::json(value) {
        Ok(json) => json,
        Err(fault) => panic!("{fault}"),
    }
}
