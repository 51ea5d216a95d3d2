//! `counter`: adds up numbers.

use crate::prelude::*;

/// A number that commands move.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Counter {
    value: i64,
}

/// What a counter can be told.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum CounterCommand {
    /// Adds a number; 1 if none is given.
    Increment {
        /// That number; may be negative.
        #[serde(default = "one")]
        by: i64,
    },
    /// Tells the value.
    Get {},
}

fn one() -> i64 {
    1
}

/// What happens to a counter.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Counted {
    /// A number was added.
    Incremented {
        /// That number.
        by: i64,
    },
}

impl Event for Counted {
    fn name(&self) -> &'static str {
        match self {
            Self::Incremented { .. } => "incremented",
        }
    }
}

/// What a counter answers.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Value {
    /// The value.
    pub value: i64,
}

/// Why a counter says no.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum CounterRejection {
    /// The sum would leave the range of 64 bits.
    Overflow {
        /// The value that stays.
        value: i64,
    },
}

impl Counter {
    fn value(&self) -> Value {
        Value { value: self.value }
    }
}

impl EventSourced for Counter {
    const TYPE: EntityType = EntityType::new("counter");
    type Command = CounterCommand;
    type Event = Counted;
    type Reply = Value;
    type Rejection = CounterRejection;

    fn new(_: &EntityId) -> Self {
        Self { value: 0 }
    }

    fn handle(&self, command: CounterCommand) -> Effect<Self> {
        match command {
            CounterCommand::Increment { by } if self.value.checked_add(by).is_none() => {
                Effect::reject(CounterRejection::Overflow { value: self.value })
            }
            CounterCommand::Increment { by } => {
                Effect::persist(Counted::Incremented { by }).then_reply(Self::value)
            }
            CounterCommand::Get {} => Effect::reply(self.value()),
        }
    }

    fn apply(&mut self, event: &Counted) {
        match event {
            Counted::Incremented { by } => self.value = self.value.saturating_add(*by),
        }
    }
}
