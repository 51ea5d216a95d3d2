//! The output gate of event-sourced entities: decided ahead, answered in order, never before it is true.

use serde::{Deserialize, Serialize};

use super::stage::Stage;
use crate::codec::Event;
use crate::model::{Effect, EventSourced, EventSourcedActor, Outcome};
use crate::{EntityId, EntityType};

#[derive(Serialize, Deserialize)]
struct Till {
    cash: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    Put(i64),
    Take(i64),
    Count,
    Split(i64, i64),
    Nothing,
    Cursed,
    CursedApply,
}

#[derive(Serialize, Deserialize)]
enum Moved {
    By(i64),
    Cursed,
}

impl Event for Moved {
    fn name(&self) -> &'static str {
        "moved"
    }
}

impl EventSourced for Till {
    const TYPE: EntityType = EntityType::new("till");
    type Command = Order;
    type Event = Moved;
    type Reply = String;
    type Rejection = String;

    fn new(_: &EntityId) -> Self {
        Self { cash: 0 }
    }

    fn handle(&self, order: Order) -> Effect<Self> {
        match order {
            Order::Put(by) => Effect::persist(Moved::By(by)).then_reply(|till: &Self| till.cash.to_string()),
            Order::Take(by) if by > self.cash => Effect::reject(format!("only {}", self.cash)),
            Order::Take(by) => {
                Effect::persist(Moved::By(-by)).then_reply(|till: &Self| till.cash.to_string())
            }
            Order::Count => Effect::reply(self.cash.to_string()),
            Order::Split(a, b) => Effect::persist_all([Moved::By(a), Moved::By(b)]).then_nothing(),
            Order::Nothing => Effect::nothing(),
            Order::Cursed => panic!("cursed"),
            Order::CursedApply => Effect::persist_all([Moved::By(1000), Moved::Cursed]).then_nothing(),
        }
    }

    fn apply(&mut self, event: &Moved) {
        match event {
            Moved::By(by) => self.cash += by,
            Moved::Cursed => panic!("cursed event"),
        }
    }
}

type TillStage = Stage<EventSourcedActor<Till>>;

fn till() -> TillStage {
    let mut stage = TillStage::unborn("x");
    stage.command(0, Order::Count);
    stage.recover();
    assert_eq!(stage.heard(), ["0: 0"]);
    stage
}

#[test]
fn commands_are_decided_on_the_newest_state_while_earlier_events_are_written() {
    let mut stage = till();
    stage.command(1, Order::Put(5));
    assert_eq!(stage.flush().len(), 1);
    stage.command(2, Order::Put(2));
    stage.command(3, Order::Take(7));
    stage.command(4, Order::Take(1));
    stage.command(5, Order::Count);
    stage.read_state(6);
    stage.command(7, Order::Nothing);
    assert_eq!(stage.heard(), Vec::<String>::new(), "nothing is shown that is not stored");
    stage.stored();
    assert_eq!(stage.heard(), ["1: 5 @1"]);
    assert_eq!(stage.flush().len(), 2, "the rest went in one batch");
    stage.stored();
    assert_eq!(
        stage.heard(),
        ["2: 7 @2", "3: 0 @3", "4: no: only 0 @3", "5: 0 @3", "6: {\"cash\":0} @3", "7: done @3"]
    );
    assert!(stage.is_idle());
}

#[test]
fn a_read_of_settled_state_is_answered_at_once() {
    let mut stage = till();
    stage.command(1, Order::Put(5));
    stage.settle();
    stage.read_state(2);
    stage.command(3, Order::Count);
    assert_eq!(stage.heard(), ["1: 5 @1", "2: {\"cash\":5} @1", "3: 5 @1"]);
}

#[test]
fn a_failed_write_drops_the_speculative_state_and_all_that_was_gated_behind_it() {
    let mut stage = till();
    stage.command(1, Order::Put(5));
    stage.settle();
    stage.command(2, Order::Put(90));
    stage.flush();
    stage.command(3, Order::Take(95));
    stage.command(4, Order::Count);
    stage.read_state(5);
    stage.heard();
    stage.failed(Outcome::Unknown);
    assert_eq!(
        stage.heard(),
        [
            "2: failed (Unknown): the journal failed: disk on fire",
            "3: failed (None): the journal failed: disk on fire",
            "4: failed (None): the journal failed: disk on fire",
            "5: failed (None): the journal failed: disk on fire",
        ]
    );
    stage.command(6, Order::Count);
    stage.wait();
    stage.recover();
    assert_eq!(stage.heard(), ["6: 5 @1"]);
}

#[test]
fn several_events_of_one_command_are_one_write() {
    let mut stage = till();
    stage.command(1, Order::Split(1, 2));
    assert_eq!(stage.flush().len(), 2);
    stage.stored();
    assert_eq!(stage.heard(), ["1: done @2"]);
}

#[test]
fn a_panic_in_handle_spares_what_was_decided_before_it() {
    let mut stage = till();
    stage.command(1, Order::Put(5));
    stage.flush();
    stage.command(2, Order::Put(1));
    stage.command(3, Order::Cursed);
    stage.command(4, Order::Count);
    assert_eq!(stage.heard(), ["3: failed (None): the entity's code panicked: cursed"]);
    stage.settle();
    stage.recover();
    assert_eq!(stage.heard(), ["1: 5 @1", "2: 6 @2", "4: 6 @2"]);
}

#[test]
fn a_panic_in_apply_stores_nothing_of_its_command() {
    let mut stage = till();
    stage.command(1, Order::CursedApply);
    stage.command(2, Order::Count);
    assert!(!stage.wants.write);
    stage.recover();
    assert_eq!(stage.heard(), ["1: failed (None): the entity's code panicked: cursed event", "2: 0"]);
}
