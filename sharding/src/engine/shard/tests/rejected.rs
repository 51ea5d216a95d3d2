//! Batches of which single writes are rejected, with deletions among them.

use abide_persistence::model::{Context, PersistentActor, Recover, RecoveryContext};

use super::*;

/// Adds up; 100 deletes all events so far first.
struct Diary(i64);

impl PersistentActor for Diary {
    const TYPE: EntityType = EntityType::new("diary");
    type Command = i64;
    type Event = Added;
    type Reply = i64;
    type Rejection = ();
    type State = i64;
    type Message = std::convert::Infallible;

    fn new(_: &EntityId) -> Self {
        Self(0)
    }

    fn state(&self) -> &i64 {
        &self.0
    }

    fn receive_command(&mut self, by: i64, ctx: &mut Context<'_, Self>) {
        match by {
            0 => return ctx.reply(self.0),
            100 => ctx.delete_events(ctx.last_sequence_nr()),
            _ => {}
        }
        ctx.persist(Added(by), |this, Added(by), ctx| {
            this.0 += by;
            ctx.reply(this.0);
        });
    }

    fn receive_recover(&mut self, item: Recover<Self>, _: &mut RecoveryContext<'_, Self>) {
        match item {
            Recover::Event(Added(by)) => self.0 += by,
            Recover::Snapshot(sum) => self.0 = sum,
        }
    }
}

/// Held at (1:5, session 1): entity a with one event, entity b with none.
fn held() -> Stage {
    let mut registry = Registry::default();
    registry.actor::<Diary>().expect("the only type");
    let settings = EntitySettings { stash_capacity: 10, journal: LIMITS, ..EntitySettings::default() };
    let mut stage = Stage::new();
    stage.new_store = registry.kinds().next().expect("the only type").bind(settings, false);
    stage.assign(5);
    stage.claimed(claim(5, 1), Ok(()));
    for id in ["a", "b"] {
        stage.ask(id, 0);
    }
    for (place, life, _) in stage.reads() {
        stage.page(place, life, claim(5, 1), empty());
    }
    stage.ask("a", 1);
    let batch = stage.batch();
    stage.written(&batch, Ok(()));
    stage.heard();
    stage
}

/// a: a deletion and an event, b: an event; the writes are at 0, 1 and 2.
fn batch_with_a_deletion(stage: &mut Stage) -> Batch {
    stage.ask("a", 100);
    stage.ask("b", 7);
    let batch = stage.batch();
    assert!(matches!(batch.writes[..], [Write::DeleteTo { .. }, Write::Append { .. }, Write::Append { .. }]));
    batch
}

fn rejected(writes: &[usize]) -> Result<(), WriteError> {
    Err(WriteError::Rejected { writes: writes.to_vec(), reason: "too heavy".to_owned() })
}

#[test]
fn a_rejected_write_beside_a_deletion_is_told_to_its_own_entity() {
    let mut stage = held();
    let batch = batch_with_a_deletion(&mut stage);
    stage.written(&batch, rejected(&[2]));
    let heard = stage.heard();
    assert!(heard.len() == 1 && heard[0].contains("too heavy"), "b is told: {heard:?}");
    stage.claimed(claim(5, 2), Ok(()));
    let again = stage.batch();
    let of_a = again.writes.iter().all(|write| write.persistence_id().to_string().ends_with("|a"));
    assert!(again.writes.len() == 2 && of_a, "a's writes are sent again, both");
    stage.written(&again, Ok(()));
    assert_eq!(stage.heard(), ["101"]);
}

#[test]
fn an_entity_with_one_rejected_write_fails_whole() {
    let mut stage = held();
    let batch = batch_with_a_deletion(&mut stage);
    stage.written(&batch, rejected(&[1]));
    let heard = stage.heard();
    assert!(heard.len() == 1 && heard[0].contains("too heavy"), "a is told: {heard:?}");
    stage.claimed(claim(5, 2), Ok(()));
    let again = stage.batch();
    assert_eq!(again.writes.len(), 1, "its deletion is not sent either: {:?}", again.writes);
    stage.written(&again, Ok(()));
    assert_eq!(stage.heard(), ["7"]);
}

#[test]
fn a_rejection_that_names_nobody_is_not_asked_for_again() {
    let mut stage = held();
    let batch = batch_with_a_deletion(&mut stage);
    stage.written(&batch, rejected(&[9]));
    assert_eq!(stage.heard().len(), 2, "both are told");
}

#[test]
fn a_conditional_command_is_refused_while_the_journal_is_away() {
    let mut stage = held();
    stage.ask("a", 2);
    let batch = stage.batch();
    stage.written(&batch, rejected(&[0]));
    stage.claimed(claim(5, 2), Err(ClaimError::Failed(StoreError::new("away"))));
    stage.heard();
    let message = Message::CommandIf(Body::Local(Box::new(3_i64)), SequenceNr(1));
    stage.deliver("b", message);
    let heard = stage.heard();
    assert!(heard.len() == 1 && heard[0].contains("cannot be claimed"), "{heard:?}");
}
