//! A counter that can do everything that a gateway must be able to tell, and an actor that never answers.

use std::collections::BTreeMap;

use abide_persistence::codec::Event;
use abide_persistence::model::{
    Context, Effect, EventSourced, PersistentActor, Recover, RecoveryContext, ReplyTo,
};
use abide_persistence::{EntityId, EntityType};
use abide_sharding::Registry;
use serde::{Deserialize, Serialize};

pub fn register(registry: &mut Registry) {
    registry.entity::<Counter>().expect("one counter");
    registry.actor::<Mute>().expect("one mute");
}

#[derive(Serialize, Deserialize)]
pub struct Counter {
    id: String,
    value: i64,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Command {
    Increment { by: i64 },
    IncrementQuietly,
    Get,
    Id,
    Refuse,
    Panic,
    PersistLarge,
    AnswerBadly,
    PersistAndAnswerBadly,
}

#[derive(Serialize, Deserialize)]
pub struct Incremented {
    by: i64,
    padding: String,
}

impl Event for Incremented {
    fn name(&self) -> &'static str {
        "incremented"
    }
}

#[derive(Serialize)]
#[serde(untagged)]
pub enum Reply {
    Value {
        value: i64,
    },
    Id(String),
    /// No JSON: its keys are no strings.
    Bad(BTreeMap<(u8, u8), u8>),
}

#[derive(Serialize)]
pub struct Refused {
    reason: &'static str,
    value: i64,
}

fn by(by: i64) -> Incremented {
    Incremented { by, padding: String::new() }
}

impl EventSourced for Counter {
    const TYPE: EntityType = EntityType::new("counter");
    type Command = Command;
    type Event = Incremented;
    type Reply = Reply;
    type Rejection = Refused;

    fn new(id: &EntityId) -> Self {
        Self { id: id.as_str().to_owned(), value: 0 }
    }

    fn handle(&self, command: Command) -> Effect<Self> {
        let bad = || Reply::Bad(BTreeMap::from([((1, 2), 3)]));
        match command {
            Command::Increment { by: step } => {
                Effect::persist(by(step)).then_reply(|counter: &Self| Reply::Value { value: counter.value })
            }
            Command::IncrementQuietly => Effect::persist(by(1)).then_nothing(),
            Command::Get => Effect::reply(Reply::Value { value: self.value }),
            Command::Id => Effect::reply(Reply::Id(self.id.clone())),
            Command::Refuse => Effect::reject(Refused { reason: "no", value: self.value }),
            Command::Panic => panic!("{}", super::journal::SECRET),
            Command::PersistLarge => {
                Effect::persist(Incremented { by: 1, padding: "x".repeat(2000) }).then_nothing()
            }
            Command::AnswerBadly => Effect::reply(bad()),
            Command::PersistAndAnswerBadly => Effect::persist(by(1)).then_reply(move |_| bad()),
        }
    }

    fn apply(&mut self, event: &Incremented) {
        self.value += event.by;
    }
}

/// Keeps the sender of every command until the next one, and never answers it.
pub struct Mute(Option<ReplyTo<Mute>>);

impl PersistentActor for Mute {
    const TYPE: EntityType = EntityType::new("mute");
    type Command = serde_json::Value;
    type Event = Incremented;
    type Reply = ();
    type Rejection = ();
    type State = ();
    type Message = std::convert::Infallible;

    fn new(_: &EntityId) -> Self {
        Self(None)
    }

    fn state(&self) -> &() {
        &()
    }

    fn receive_command(&mut self, _: serde_json::Value, ctx: &mut Context<'_, Self>) {
        self.0 = Some(ctx.sender());
    }

    fn receive_recover(&mut self, _: Recover<Self>, _: &mut RecoveryContext<'_, Self>) {}
}
