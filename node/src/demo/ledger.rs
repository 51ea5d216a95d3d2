//! `ledger`: appends values and shows them all, for checkers that want to know whether one is missing.
//!
//! Written through the full-power door: its list grows in a persist handler only.

use crate::prelude::*;

/// Every value ever appended, in order.
#[derive(Debug)]
pub struct Ledger {
    values: Vec<String>,
}

/// What a ledger can be told.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum LedgerCommand {
    /// Appends a value.
    Append {
        /// The value.
        value: String,
    },
    /// Shows all values.
    Read {},
}

/// What happens to a ledger.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Appended {
    /// A value was appended.
    Appended {
        /// The value.
        value: String,
    },
}

impl Event for Appended {
    fn name(&self) -> &'static str {
        match self {
            Self::Appended { .. } => "appended",
        }
    }
}

/// What a ledger answers.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum LedgerReply {
    /// To an append.
    Index {
        /// The value's place, from 0.
        index: usize,
    },
    /// To a read.
    Values {
        /// All values.
        values: Vec<String>,
    },
}

impl PersistentActor for Ledger {
    const TYPE: EntityType = EntityType::new("ledger");
    type Command = LedgerCommand;
    type Event = Appended;
    type Reply = LedgerReply;
    type Rejection = ();
    type State = Vec<String>;
    type Message = std::convert::Infallible;

    fn new(_: &EntityId) -> Self {
        Self { values: Vec::new() }
    }

    fn state(&self) -> &Vec<String> {
        &self.values
    }

    fn receive_command(&mut self, command: LedgerCommand, ctx: &mut Context<'_, Self>) {
        match command {
            LedgerCommand::Append { value } => {
                ctx.persist_async(Appended::Appended { value }, |this, Appended::Appended { value }, ctx| {
                    let index = this.values.len();
                    this.values.push(value.clone());
                    ctx.reply(LedgerReply::Index { index });
                });
            }
            LedgerCommand::Read {} => ctx.reply(LedgerReply::Values { values: self.values.clone() }),
        }
    }

    fn receive_recover(&mut self, item: Recover<Self>, _: &mut RecoveryContext<'_, Self>) {
        match item {
            Recover::Event(Appended::Appended { value }) => self.values.push(value),
            Recover::Snapshot(values) => self.values = values,
        }
    }
}
