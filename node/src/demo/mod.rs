//! The entity types of the stock program: small, but real.

mod account;
mod counter;
mod ledger;

pub use account::{Account, AccountCommand, AccountEvent, AccountRejection, Balance};
pub use counter::{Counted, Counter, CounterCommand, CounterRejection, Value};
pub use ledger::{Appended, Ledger, LedgerCommand, LedgerReply};

use crate::App;

/// Adds the demo types to a program.
#[must_use]
pub fn register(app: App) -> App {
    app.entity_with::<Counter>(|options| options.schemas())
        .entity_with::<Account>(|options| options.schemas())
        .actor_with::<Ledger>(|options| options.schemas())
}
