//! `account`: money that cannot be spent twice.

use crate::prelude::*;

/// A balance in the smallest unit of its currency.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Account {
    balance: u64,
}

/// What an account can be told.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum AccountCommand {
    /// Puts money in.
    Deposit {
        /// How much; at least 1.
        amount: u64,
    },
    /// Takes money out.
    Withdraw {
        /// How much; at least 1.
        amount: u64,
    },
    /// Tells the balance.
    Balance {},
}

/// What happens to an account.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AccountEvent {
    /// Money came in.
    Deposited {
        /// How much.
        amount: u64,
    },
    /// Money went out.
    Withdrawn {
        /// How much.
        amount: u64,
    },
}

impl Event for AccountEvent {
    fn name(&self) -> &'static str {
        match self {
            Self::Deposited { .. } => "deposited",
            Self::Withdrawn { .. } => "withdrawn",
        }
    }
}

/// What an account answers.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Balance {
    /// The balance.
    pub balance: u64,
}

/// Why an account says no.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AccountRejection {
    /// More was to be withdrawn than there is.
    InsufficientFunds {
        /// What there is.
        balance: u64,
    },
    /// Nothing was to be moved.
    NoAmount,
    /// The balance would leave the range of 64 bits.
    BalanceTooHigh {
        /// What there is.
        balance: u64,
    },
}

impl Account {
    fn balance(&self) -> Balance {
        Balance { balance: self.balance }
    }
}

impl EventSourced for Account {
    const TYPE: EntityType = EntityType::new("account");
    type Command = AccountCommand;
    type Event = AccountEvent;
    type Reply = Balance;
    type Rejection = AccountRejection;

    fn new(_: &EntityId) -> Self {
        Self { balance: 0 }
    }

    fn handle(&self, command: AccountCommand) -> Effect<Self> {
        let balance = self.balance;
        match command {
            AccountCommand::Deposit { amount: 0 } | AccountCommand::Withdraw { amount: 0 } => {
                Effect::reject(AccountRejection::NoAmount)
            }
            AccountCommand::Deposit { amount } if balance.checked_add(amount).is_none() => {
                Effect::reject(AccountRejection::BalanceTooHigh { balance })
            }
            AccountCommand::Withdraw { amount } if amount > balance => {
                Effect::reject(AccountRejection::InsufficientFunds { balance })
            }
            AccountCommand::Deposit { amount } => {
                Effect::persist(AccountEvent::Deposited { amount }).then_reply(Self::balance)
            }
            AccountCommand::Withdraw { amount } => {
                Effect::persist(AccountEvent::Withdrawn { amount }).then_reply(Self::balance)
            }
            AccountCommand::Balance {} => Effect::reply(self.balance()),
        }
    }

    fn apply(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Deposited { amount } => self.balance = self.balance.saturating_add(*amount),
            AccountEvent::Withdrawn { amount } => self.balance = self.balance.saturating_sub(*amount),
        }
    }
}
