//! One shard by value: what is claimed, written and read, in which order, and who learns what.

use std::sync::{Arc, Mutex};

use abide_persistence::codec::Event;
use abide_persistence::engine::{EntitySettings, Now};
use abide_persistence::envelope::StoredEvent;
use abide_persistence::journal::{StoreError, Token, WriteError};
use abide_persistence::model::{Effect, EventSourced, Format, Payload, Reply, ReplySink};
use abide_persistence::{EntityType, PersistenceId, SequenceNr};
use serde::{Deserialize, Serialize};

use super::*;
use crate::engine::registry::{NewStore, Registry};

mod gate;
mod loss;
mod rejected;

#[derive(Serialize, Deserialize)]
struct Sum(i64);

#[derive(Serialize, Deserialize)]
struct Added(i64);

impl Event for Added {
    fn name(&self) -> &'static str {
        "added"
    }
}

impl EventSourced for Sum {
    const TYPE: EntityType = EntityType::new("sum");
    type Command = i64;
    type Event = Added;
    type Reply = i64;
    type Rejection = ();

    fn new(_: &EntityId) -> Self {
        Self(0)
    }

    fn handle(&self, by: i64) -> Effect<Self> {
        if by == 0 {
            Effect::reply(self.0)
        } else {
            Effect::persist(Added(by)).then_reply(|sum: &Self| sum.0)
        }
    }

    fn apply(&mut self, Added(by): &Added) {
        self.0 += by;
    }
}

#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl ReplySink for Log {
    fn deliver(&self, _: u64, answer: Answer) {
        let words = match answer.result {
            Ok(Reply::Value(Payload::Local(value))) => value.downcast::<i64>().expect("a sum").to_string(),
            Ok(other) => format!("{other:?}"),
            Err(failure) => format!("{:?}: {failure}", failure.outcome()),
        };
        self.0.lock().expect("no panic under it").push(words);
    }
}

const US: Writer = Writer { cluster: 1, incarnation: 1 };
const LIMITS: JournalLimits =
    JournalLimits { max_event_bytes: 100, max_atomic_bytes: 100, batch_events: 3, batch_bytes: 1000 };

/// What a newer owner holds.
const NEWER: Token = Token {
    claim: Claim { epoch: Epoch(9 << 40), session: 1 },
    batch: 0,
    writer: Writer { cluster: 1, incarnation: 2 },
};

struct Stage {
    shard: Shard,
    new_store: NewStore,
    turn: Turn,
    log: Arc<Log>,
    actions: Vec<Action>,
    /// For how long the journal refuses writes.
    journal_rests: Option<Duration>,
}

fn claim(index: u64, session: u32) -> Claim {
    Claim { epoch: Epoch::new(1, index), session }
}

impl Stage {
    fn new() -> Self {
        let mut registry = Registry::default();
        registry.entity::<Sum>().expect("the only type");
        let settings = EntitySettings {
            stash_capacity: 10,
            backoff: Backoff { jitter: 0.0, ..EntitySettings::default().backoff },
            journal: LIMITS,
            ..EntitySettings::default()
        };
        let new_store = registry.kinds().next().expect("the only type").bind(settings, false);
        let now = Now { since_start: Duration::from_secs(10), wall_ms: 0 };
        let turn = Turn::new(now);
        Self {
            shard: Shard::new(ShardId(3), US, LIMITS),
            new_store,
            turn,
            log: Arc::default(),
            actions: Vec::new(),
            journal_rests: None,
        }
    }

    /// Claimed at (1:5, session 1), with these entities recovered and without a past.
    fn held(ids: &[&str]) -> Self {
        let mut stage = Self::new();
        stage.assign(5);
        stage.claimed(claim(5, 1), Ok(()));
        for id in ids {
            stage.ask(id, 0);
        }
        let reads = stage.reads();
        assert_eq!(reads.len(), ids.len());
        for (place, life, _) in reads {
            stage.page(place, life, claim(5, 1), empty());
        }
        assert_eq!(stage.heard(), vec!["0"; ids.len()]);
        stage
    }

    fn assign(&mut self, index: u64) {
        self.shard.assign(&mut self.turn, Epoch::new(1, index), &mut self.actions);
    }

    fn ask(&mut self, id: &str, command: i64) {
        self.deliver(id, Message::Command(Body::Local(Box::new(command))));
    }

    fn deliver(&mut self, id: &str, message: Message<Body>) {
        let id = EntityId::new(id).expect("a good id");
        let hash = PersistenceId::new(Sum::TYPE, id.clone()).hash();
        let delivery = Delivery {
            entity_type: TypeIndex(0),
            hash,
            id: &id,
            message,
            caller: Some(Caller::new(self.log.clone(), 0, Format::Local)),
            deadline: None,
            journal_rests: self.journal_rests,
        };
        self.shard.deliver(&mut self.turn, &self.new_store, delivery, &mut self.actions);
    }

    fn claimed(&mut self, claim: Claim, result: Result<(), ClaimError>) {
        self.shard.claimed(&mut self.turn, claim, result, &mut self.actions);
    }

    fn written(&mut self, batch: &Batch, result: Result<(), WriteError>) {
        self.shard.written(&mut self.turn, batch.claim, batch.number, result, &mut self.actions);
    }

    fn page(&mut self, place: Place, life: u64, claim: Claim, page: EventPage) {
        self.shard.read(&mut self.turn, place, life, claim, Ok(page), &mut self.actions);
    }

    /// The shard's own moment.
    fn wake(&mut self) {
        self.shard.wake_shard(&mut self.turn, self.journal_rests, &mut self.actions);
    }

    fn flush(&mut self) -> Vec<Action> {
        self.shard.flush(&mut self.turn, self.journal_rests, &mut self.actions);
        std::mem::take(&mut self.actions)
    }

    /// The claims that are wanted; nothing else may be.
    fn claims(&mut self) -> Vec<Claim> {
        let claims = self.flush().into_iter().filter_map(|action| match action {
            Action::Claim { claim, .. } => Some(claim),
            Action::Wake { .. } => None,
            other => panic!("wanted a claim, not {other:?}"),
        });
        claims.collect()
    }

    fn reads(&mut self) -> Vec<(Place, u64, ReadEvents)> {
        let reads = self.flush().into_iter().filter_map(|action| match action {
            Action::Read { place, life, read } => Some((place, life, read)),
            Action::Claim { .. } | Action::Wake { .. } => None,
            other => panic!("wanted a read, not {other:?}"),
        });
        reads.collect()
    }

    /// The one batch that is wanted.
    fn batch(&mut self) -> Batch {
        let mut batches = self.flush().into_iter().filter_map(|action| match action {
            Action::Write(batch) => Some(batch),
            _ => None,
        });
        let batch = batches.next().expect("a batch");
        assert!(batches.next().is_none(), "one batch in flight");
        batch
    }

    fn heard(&mut self) -> Vec<String> {
        for (caller, answer) in self.turn.answers.drain(..) {
            caller.answer(answer);
        }
        std::mem::take(&mut *self.log.0.lock().expect("no panic under it"))
    }
}

fn empty() -> EventPage {
    EventPage::default()
}

/// Whose events a batch holds, with the number of the first and how many.
fn contents(batch: &Batch) -> Vec<(String, u64, usize)> {
    let of = |write: &Write| match write {
        Write::Append { persistence_id, first, events } => {
            for bytes in events {
                let event = StoredEvent::from_bytes(bytes.clone()).expect("an envelope");
                assert_eq!((event.claim(), event.batch), (batch.claim, batch.number), "its own token");
            }
            (persistence_id.id.to_string(), first.0, events.len())
        }
        Write::DeleteTo { .. } => panic!("nothing is deleted here"),
    };
    batch.writes.iter().map(of).collect()
}

fn unknown() -> WriteError {
    WriteError::Unknown(StoreError::new("no answer"))
}

#[test]
fn nothing_is_read_before_the_claim_is_taken() {
    let mut stage = Stage::new();
    stage.assign(5);
    stage.ask("a", 0);
    assert_eq!(stage.claims(), [claim(5, 1)]);
    stage.claimed(claim(5, 1), Ok(()));
    let reads = stage.reads();
    assert_eq!(reads.len(), 1);
    assert_eq!(
        (reads[0].2.known, reads[0].2.from),
        (Some(Known { claim: claim(5, 1), batch: 0 }), SequenceNr(1))
    );
}

#[test]
fn a_shard_that_is_not_this_nodes_answers_so() {
    let mut stage = Stage::new();
    stage.ask("a", 1);
    assert_eq!(stage.heard(), ["None: the shard has no owner now: it is not assigned to this node"]);
}

#[test]
fn one_batch_is_in_flight_and_the_next_gathers() {
    let mut stage = Stage::held(&["a", "b"]);
    stage.ask("a", 1);
    let first = stage.batch();
    assert_eq!((first.number, contents(&first)), (1, vec![("a".to_owned(), 1, 1)]));
    stage.ask("b", 10);
    stage.ask("a", 2);
    assert!(stage.flush().is_empty());
    stage.written(&first, Ok(()));
    let second = stage.batch();
    assert_eq!(second.number, 2);
    assert_eq!(contents(&second), [("b".to_owned(), 1, 1), ("a".to_owned(), 2, 1)]);
    assert_eq!(stage.heard(), ["1"]);
    stage.written(&second, Ok(()));
    assert_eq!(stage.heard(), ["10", "3"]);
}

#[test]
fn a_batch_is_bounded_and_the_rest_follows() {
    let mut stage = Stage::held(&["a"]);
    for _ in 0..5 {
        stage.ask("a", 1);
    }
    let first = stage.batch();
    assert_eq!(contents(&first), [("a".to_owned(), 1, 3)]);
    stage.written(&first, Ok(()));
    assert_eq!(contents(&stage.batch()), [("a".to_owned(), 4, 2)]);
}

#[test]
fn after_an_unknown_outcome_the_shard_is_claimed_again_before_anything_is_read() {
    let mut stage = Stage::held(&["a", "b", "idle"]);
    stage.ask("a", 1);
    let batch = stage.batch();
    stage.ask("b", 10);
    stage.written(&batch, Err(unknown()));
    assert_eq!(
        stage.heard(),
        ["Unknown: the journal failed: no answer", "None: the journal failed: no answer"],
        "everything unfinished fails, each with what is known of it"
    );
    stage.ask("idle", 0);
    assert_eq!(stage.heard(), ["0"], "the others go on");
    stage.ask("idle", 7);
    assert_eq!(stage.claims(), [claim(5, 2)], "and nothing is written or read meanwhile");
    stage.turn.now.since_start += Duration::from_secs(1);
    let place = |slot| (TypeIndex(0), Slot(slot));
    stage.shard.wake(&mut stage.turn, place(0), &mut stage.actions);
    assert!(stage.flush().is_empty());
    stage.claimed(claim(5, 2), Ok(()));
    let actions = stage.flush();
    let batches: Vec<_> = actions
        .iter()
        .filter_map(|action| if let Action::Write(batch) = action { Some(batch) } else { None })
        .collect();
    assert_eq!(contents(batches[0]), [("idle".to_owned(), 1, 1)]);
    assert_eq!((batches[0].claim, batches[0].number), (claim(5, 2), 1));
    let read = actions
        .iter()
        .any(|action| matches!(action, Action::Read { read, .. } if read.known == Some(Known { claim: claim(5, 2), batch: 0 })));
    assert!(read, "the entity in doubt recovers under the new claim: {actions:?}");
}

#[test]
fn a_late_answer_to_an_earlier_batch_changes_nothing() {
    let mut stage = Stage::held(&["a"]);
    stage.ask("a", 1);
    let old = stage.batch();
    stage.written(&old, Err(unknown()));
    stage.heard();
    stage.claimed(claim(5, 2), Ok(()));
    stage.written(&old, Ok(()));
    stage.written(&old, Err(unknown()));
    assert_eq!(stage.heard(), Vec::<String>::new());
    assert!(stage.shard.is_held());
}

#[test]
fn a_read_names_the_last_batch_that_was_acknowledged_under_its_claim() {
    let mut stage = Stage::held(&["b"]);
    stage.ask("b", 1);
    let batch = stage.batch();
    stage.written(&batch, Ok(()));
    stage.ask("a", 0);
    let (_, _, read) = stage.reads().remove(0);
    assert_eq!(read.known, Some(Known { claim: claim(5, 1), batch: 1 }));
}

#[test]
fn what_was_read_under_an_older_claim_does_not_count() {
    let mut stage = Stage::held(&["b"]);
    stage.ask("a", 0);
    let (place, life, _) = stage.reads().remove(0);
    stage.ask("b", 1);
    let batch = stage.batch();
    stage.written(&batch, Err(unknown()));
    stage.claimed(claim(5, 2), Ok(()));
    stage.heard();
    stage.page(place, life, claim(5, 1), empty());
    assert_eq!(stage.heard(), Vec::<String>::new());
    let (place, life, read) = stage.reads().remove(0);
    assert_eq!(read.known, Some(Known { claim: claim(5, 2), batch: 0 }));
    stage.page(place, life, claim(5, 2), empty());
    assert_eq!(stage.heard(), ["0"]);
}

#[test]
fn a_fenced_batch_unloads_the_shard_and_only_a_new_assignment_brings_it_back() {
    let mut stage = Stage::held(&["a", "b"]);
    stage.ask("a", 1);
    let batch = stage.batch();
    stage.ask("b", 1);
    let held = Token { claim: claim(6, 1), batch: 0, writer: US };
    stage.written(&batch, Err(WriteError::Fenced { held, sent_again: false }));
    assert_eq!(stage.heard(), vec!["None: the shard has another owner now"; 2]);
    assert!(matches!(stage.flush()[..], [Action::Lost(Lost::Fenced(_))]));
    assert_eq!(stage.shard.entities(), 0);
    stage.ask("a", 1);
    assert!(
        stage.heard()[0].starts_with("None: the shard has no owner now: batch 1 of claim 1:5.1 was fenced")
    );
    stage.assign(7);
    assert_eq!(stage.claims(), [claim(7, 1)]);
    stage.ask("a", 0);
    stage.claimed(claim(7, 1), Ok(()));
    assert_eq!(stage.reads().len(), 1, "the entity starts from the journal");
}

#[test]
fn a_read_that_a_newer_owner_fences_loses_the_shard_at_once() {
    let mut stage = Stage::held(&["b"]);
    stage.ask("b", 7);
    stage.batch();
    stage.ask("a", 1);
    let (place, life, _) = stage.reads().remove(0);
    let held = Token { claim: claim(6, 1), batch: 0, writer: US };
    let fenced = Err(ReadError::Fenced { held: Some(held) });
    stage.shard.read(&mut stage.turn, place, life, claim(5, 1), fenced, &mut stage.actions);
    let mut heard = stage.heard();
    heard.sort();
    let words = "the shard has another owner now";
    assert_eq!(heard, [format!("None: {words}"), format!("Unknown: {words}")], "b's batch may be stored");
    assert!(matches!(stage.flush()[..], [Action::Lost(Lost::Fenced(_))]));
}

#[test]
fn a_read_from_a_server_that_lags_behind_is_tried_again() {
    let mut stage = Stage::held(&[]);
    stage.ask("a", 0);
    let (place, life, _) = stage.reads().remove(0);
    for (session, held) in [(1, None), (2, Some(Token { claim: claim(4, 9), batch: 3, writer: US }))] {
        let fenced = Err(ReadError::Fenced { held });
        stage.shard.read(&mut stage.turn, place, life, claim(5, session), fenced, &mut stage.actions);
        let actions = stage.flush();
        let [Action::Wake { at, place: Some(woken) }, Action::Claim { claim: next, least }] = actions[..]
        else {
            panic!("a pause, and a claim that finds out: {actions:?}")
        };
        assert_eq!((woken, next), (place, claim(5, session + 1)));
        assert_eq!(least, Some(Known { claim: claim(5, session), batch: 0 }));
        stage.claimed(next, Ok(()));
        stage.turn.now.since_start = at;
        stage.shard.wake(&mut stage.turn, place, &mut stage.actions);
        assert_eq!(stage.reads().len(), 1);
    }
    stage.page(place, life, claim(5, 3), empty());
    assert_eq!(stage.heard(), ["0"]);
}

#[test]
fn a_fenced_batch_that_was_sent_twice_may_be_stored() {
    let mut stage = Stage::held(&["a"]);
    stage.ask("a", 1);
    let batch = stage.batch();
    stage.written(&batch, Err(WriteError::Fenced { held: NEWER, sent_again: true }));
    assert_eq!(stage.heard(), ["Unknown: the shard has another owner now"]);
}

#[test]
fn a_conflict_unloads_the_shard() {
    let mut stage = Stage::held(&["a"]);
    stage.ask("a", 1);
    let batch = stage.batch();
    let persistence_id = batch.writes[0].persistence_id().clone();
    let conflict = WriteError::Conflict { persistence_id, first: SequenceNr(1), found: SequenceNr(9) };
    stage.written(&batch, Err(conflict));
    assert_eq!(stage.heard(), ["None: the shard has another owner now"]);
    assert!(matches!(stage.flush()[..], [Action::Lost(Lost::Conflict(_))]));
}

#[test]
fn a_session_is_never_used_twice_at_one_epoch() {
    let mut stage = Stage::held(&["a"]);
    stage.ask("a", 1);
    let batch = stage.batch();
    stage.written(&batch, Err(WriteError::Fenced { held: NEWER, sent_again: false }));
    stage.flush();
    stage.assign(5);
    assert_eq!(stage.claims(), [claim(5, 2)]);
}

#[test]
fn an_older_assignment_does_not_bring_back_an_older_session() {
    let mut stage = Stage::held(&["a"]);
    stage.ask("a", 1);
    let batch = stage.batch();
    stage.written(&batch, Err(WriteError::Fenced { held: NEWER, sent_again: false }));
    stage.flush();
    stage.assign(4);
    assert!(stage.flush().is_empty(), "it was given to this node before, and taken away since");
    stage.assign(5);
    assert_eq!(stage.claims(), [claim(5, 2)]);
}

#[test]
fn while_the_journal_is_away_commands_are_refused_before_they_run() {
    let mut stage = Stage::held(&["a", "b"]);
    stage.ask("a", 1);
    let batch = stage.batch();
    stage.written(&batch, Err(unknown()));
    stage.claimed(claim(5, 2), Err(ClaimError::Failed(StoreError::new("no answer"))));
    stage.heard();
    stage.ask("b", 7);
    assert_eq!(stage.heard(), ["None: the journal failed: the shard cannot be claimed"]);
}

#[test]
fn of_a_rejected_batch_the_innocent_writes_are_numbered_anew() {
    let mut stage = Stage::held(&["a", "b"]);
    stage.ask("a", 1);
    stage.ask("b", 10);
    let batch = stage.batch();
    stage.ask("b", 20);
    let rejected = WriteError::Rejected { writes: vec![0], reason: "too heavy".to_owned() };
    stage.written(&batch, Err(rejected));
    assert_eq!(stage.heard(), ["None: the journal failed: too heavy"]);
    assert_eq!(stage.claims(), [claim(5, 2)]);
    stage.claimed(claim(5, 2), Ok(()));
    let again = stage.batch();
    assert_eq!((again.claim, again.number), (claim(5, 2), 1));
    assert_eq!(contents(&again), [("b".to_owned(), 1, 1)], "what b persisted later waits for it");
    stage.written(&again, Ok(()));
    assert_eq!(contents(&stage.batch()), [("b".to_owned(), 2, 1)]);
    assert_eq!(stage.heard(), ["10"]);
}

#[test]
fn a_claim_that_fails_is_sent_again_as_it_is() {
    let mut stage = Stage::new();
    stage.assign(5);
    assert_eq!(stage.claims(), [claim(5, 1)]);
    for pause in [100, 200, 400] {
        stage.claimed(claim(5, 1), Err(ClaimError::Failed(StoreError::new("no answer"))));
        let at = stage.turn.now.since_start + Duration::from_millis(pause);
        let Some(Action::Wake { at: due, place: None }) = stage.flush().pop() else {
            panic!("wants to be woken")
        };
        assert!(due >= at && due <= at + Duration::from_millis(pause / 5), "after about {pause} ms");
        stage.wake();
        assert!(stage.flush().is_empty(), "not before its time");
        stage.turn.now.since_start = due;
        stage.wake();
        assert_eq!(stage.claims(), [claim(5, 1)]);
    }
}

#[test]
fn a_usurped_journal_stops_the_node() {
    let mut stage = Stage::new();
    stage.assign(5);
    stage.ask("a", 1);
    stage.flush();
    let usurped = Usurped::Generation { ours: 1, theirs: 2 };
    stage.claimed(claim(5, 1), Err(ClaimError::Usurped(usurped)));
    assert!(matches!(stage.flush()[..], [Action::Lost(Lost::Usurped(_))]));
    assert_eq!(stage.heard(), ["None: the shard has another owner now"]);
}

#[test]
fn an_older_assignment_is_not_followed() {
    let mut stage = Stage::held(&[]);
    stage.assign(4);
    stage.assign(5);
    assert!(stage.flush().is_empty() && stage.shard.is_held());
    stage.assign(6);
    assert_eq!(stage.claims(), [claim(6, 1)]);
}
