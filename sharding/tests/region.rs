//! A region on the memory journal, with real tasks: what callers see when the journal, the owner or the
//! load misbehave.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use abide_persistence::codec::Event;
use abide_persistence::engine::{Backoff, Body, EntitySettings, Message};
use abide_persistence::journal::{Epoch, Journal, Writer};
use abide_persistence::model::{Effect, EventSourced, EventSourcedActor, Failure, Format, Outcome};
use abide_persistence::runtime::{Call, Fault, MemoryControl, MemoryJournal};
use abide_persistence::{EntityId, EntityType, ShardCount};
use abide_sharding::{AskError, EntityRef, Region, RegionConfig, Registry, Stopped};
use serde::{Deserialize, Serialize};

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
    type Rejection = String;

    fn new(_: &EntityId) -> Self {
        Self(0)
    }

    fn handle(&self, by: i64) -> Effect<Self> {
        match by {
            0 => Effect::reply(self.0),
            666 => Effect::reject("not that".to_owned()),
            by => Effect::persist(Added(by)).then_reply(|sum: &Self| sum.0),
        }
    }

    fn apply(&mut self, Added(by): &Added) {
        self.0 += by;
    }
}

type SumRef = EntityRef<EventSourcedActor<Sum>>;

fn config(journal: &MemoryJournal) -> RegionConfig {
    RegionConfig {
        shards: ShardCount::new(8).expect("in range"),
        lanes: NonZeroUsize::new(2).expect("not zero"),
        inbox_capacity: 1000,
        entity: EntitySettings {
            stash_capacity: 100,
            backoff: Backoff {
                min: Duration::from_millis(5),
                max: Duration::from_millis(50),
                factor: 2.0,
                jitter: 0.2,
            },
            journal: journal.limits(),
            page_events: 7,
            ..EntitySettings::default()
        },
        passivate_after: Duration::from_secs(3600),
        max_active_entities: None,
        max_recoveries: NonZeroUsize::new(4).expect("not zero"),
        recovery_permit_timeout: Duration::from_secs(30),
        recovery_event_timeout: Duration::from_secs(30),
        slow_handler: Duration::from_millis(100),
        journal_timeout: Duration::from_secs(10),
    }
}

fn start(journal: &MemoryJournal, generation: u32, config: RegionConfig) -> Region {
    let mut registry = Registry::default();
    registry.entity::<Sum>().expect("the only type");
    let writer = Writer { cluster: 1, incarnation: u128::from(generation) };
    let region = Region::start(Arc::new(registry), Arc::new(journal.clone()), writer, config)
        .expect("it has the only store");
    region.assign(config.shards.all(), Epoch::new(generation, 1));
    region
}

fn region() -> (Region, MemoryControl, MemoryJournal) {
    let journal = MemoryJournal::new();
    (start(&journal, 1, config(&journal)), journal.control(), journal)
}

fn sum(region: &Region, id: &str) -> SumRef {
    region.entity(EntityId::new(id).expect("a good id")).expect("a known type")
}

fn outcome<T: std::fmt::Debug>(asked: Result<T, AskError<String>>) -> Outcome {
    match asked {
        Err(AskError::Failed(failure)) => failure.outcome(),
        other => panic!("expected a failure, not {other:?}"),
    }
}

async fn all_held(region: &Region) {
    while region.status().shards_held < 8 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_entity_is_asked_from_rust() {
    let (region, ..) = region();
    let entity = sum(&region, "a");
    assert_eq!(entity.ask(2).await, Ok(2));
    assert_eq!(entity.ask(3).await, Ok(5));
    assert_eq!(entity.ask(666).await, Err(AskError::Rejected("not that".to_owned())));
    entity.tell(5);
    assert_eq!(entity.ask(0).await, Ok(10));
}

#[tokio::test]
async fn a_batch_is_answered_in_its_own_order() {
    let (region, ..) = region();
    let entities: Vec<_> = (0..100).map(|n| sum(&region, &n.to_string())).collect();
    let replies = region.ask_all(entities.iter().enumerate().map(|(n, entity)| (entity, n as i64 + 1))).await;
    assert_eq!(replies, (1..=100).map(Ok).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_one_sender_keep_their_order_whoever_runs_the_lane() {
    let (region, ..) = region();
    let senders: Vec<_> = (0..8)
        .map(|n| {
            let entity = sum(&region, &(n % 2).to_string());
            tokio::spawn(async move {
                let mut last = 0;
                for _ in 0..2000 {
                    let now = entity.ask(1).await.expect("an answer");
                    assert!(now > last, "{now} came after {last}");
                    last = now;
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.expect("in order");
    }
    assert_eq!(sum(&region, "0").ask(0).await, Ok(8000));
    assert_eq!(sum(&region, "1").ask(0).await, Ok(8000));
}

#[tokio::test]
async fn a_write_of_unknown_outcome_says_so_and_the_entity_comes_back_with_the_truth() {
    for (fault, expected) in [(Fault::AnswerLost, 7), (Fault::RequestLost, 2)] {
        let (region, control, _) = region();
        let entity = sum(&region, "a");
        assert_eq!(entity.ask(2).await, Ok(2));
        control.fail_next(Call::Write, fault);
        assert_eq!(outcome(entity.ask(5).await), Outcome::Unknown);
        assert_eq!(entity.ask(0).await, Ok(expected), "{fault:?}");
    }
}

#[tokio::test]
async fn a_write_that_was_refused_had_no_effect_and_the_entity_comes_back() {
    let (region, control, _) = region();
    let entity = sum(&region, "a");
    assert_eq!(entity.ask(2).await, Ok(2));
    control.fail_next(Call::Write, Fault::Refused);
    assert_eq!(outcome(entity.ask(5).await), Outcome::None);
    assert_eq!(entity.ask(0).await, Ok(2));
}

#[tokio::test]
async fn nothing_is_shown_before_it_is_stored() {
    let (region, control, _) = region();
    let entity = sum(&region, "a");
    assert_eq!(entity.ask(0).await, Ok(0));
    control.hold_writes();
    let write = tokio::spawn({
        let entity = entity.clone();
        async move { entity.ask(5).await }
    });
    control.until_held(1).await;
    let read = tokio::spawn(async move { entity.ask(0).await });
    tokio::task::yield_now().await;
    assert!(!write.is_finished() && !read.is_finished());
    control.release_writes();
    assert_eq!(write.await.expect("no panic"), Ok(5));
    assert_eq!(read.await.expect("no panic"), Ok(5));
}

#[tokio::test]
async fn a_newer_owner_fences_the_older_one_out() {
    let journal = MemoryJournal::new();
    let old = start(&journal, 1, config(&journal));
    assert_eq!(sum(&old, "a").ask(1).await, Ok(1));
    let new = start(&journal, 2, config(&journal));
    assert_eq!(sum(&new, "a").ask(1).await, Ok(2));
    assert_eq!(outcome(sum(&old, "a").ask(1).await), Outcome::None);
    assert!(outcome(sum(&old, "a").ask(0).await) == Outcome::None, "nor does it answer from memory");
    assert_eq!(sum(&new, "a").ask(0).await, Ok(2));
    assert_eq!(old.status().shards_lost, 1);
}

#[tokio::test]
async fn a_node_of_an_older_generation_is_told_to_stop() {
    let journal = MemoryJournal::new();
    let new = start(&journal, 5, config(&journal));
    assert_eq!(sum(&new, "a").ask(1).await, Ok(1));
    let old = start(&journal, 4, config(&journal));
    assert!(matches!(old.stopped().await, Stopped::Usurped(_)));
}

#[tokio::test]
async fn many_events_are_recovered_in_pages() {
    let journal = MemoryJournal::new();
    let first = start(&journal, 1, config(&journal));
    let entity = sum(&first, "a");
    for _ in 0..50 {
        entity.ask(1).await.expect("stored");
    }
    first.stop().await;
    let second = start(&journal, 2, config(&journal));
    assert_eq!(sum(&second, "a").ask(0).await, Ok(50));
}

#[tokio::test]
async fn beyond_the_limit_the_least_used_entities_leave_and_come_back() {
    let journal = MemoryJournal::new();
    let config = RegionConfig { max_active_entities: NonZeroUsize::new(20), ..config(&journal) };
    let region = start(&journal, 1, config);
    for n in 0..200 {
        assert_eq!(sum(&region, &n.to_string()).ask(n + 1).await, Ok(n + 1));
    }
    assert!(region.status().entities <= 22, "{:?}", region.status());
    for n in 0..200 {
        assert_eq!(sum(&region, &n.to_string()).ask(0).await, Ok(n + 1));
    }
}

#[tokio::test]
async fn idle_entities_leave() {
    let journal = MemoryJournal::new();
    let config = RegionConfig { passivate_after: Duration::from_millis(1), ..config(&journal) };
    let region = start(&journal, 1, config);
    assert_eq!(sum(&region, "a").ask(3).await, Ok(3));
    while region.status().entities > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(sum(&region, "a").ask(0).await, Ok(3));
}

#[tokio::test]
async fn a_caller_that_gives_up_before_the_entity_begins_knows_that_nothing_happened() {
    let (region, control, _) = region();
    all_held(&region).await;
    control.set_down(Some("out to lunch"));
    let cold = region.address("sum", EntityId::new("cold").expect("good")).expect("known");
    let limit = Duration::from_millis(50);
    let answer =
        region.ask(&cold, Message::Command(Body::Local(Box::new(5_i64))), Format::Local, limit).await;
    assert_eq!(answer.result.err().map(|failure| *failure), Some(Failure::Expired));
    control.set_down(None);
    assert_eq!(sum(&region, "cold").ask(0).await, Ok(0), "and indeed it did not");
}

#[tokio::test]
async fn a_caller_that_gives_up_on_a_running_write_knows_that_it_does_not_know() {
    let (region, control, _) = region();
    assert_eq!(sum(&region, "a").ask(0).await, Ok(0));
    control.hold_writes();
    let asked = sum(&region, "a").ask_within(5, Duration::from_millis(50)).await;
    assert_eq!(asked, Err(AskError::Failed(Failure::TimedOut)));
    control.release_writes();
    assert_eq!(sum(&region, "a").ask(0).await, Ok(5));
}

#[tokio::test]
async fn a_full_lane_refuses_and_says_that_nothing_happened() {
    let journal = MemoryJournal::new();
    let entity = EntitySettings { stash_capacity: 3, ..config(&journal).entity };
    let region = start(&journal, 1, RegionConfig { entity, ..config(&journal) });
    all_held(&region).await;
    journal.control().set_down(Some("out to lunch"));
    let cold = sum(&region, "cold");
    let batch: Vec<_> = (0..10).map(|n| (&cold, n + 1)).collect();
    let asked = tokio::time::timeout(Duration::from_millis(300), region.ask_all(batch)).await;
    assert!(asked.is_err(), "three of them wait");
    let refused = cold.ask(1).await;
    assert_eq!(refused, Err(AskError::Failed(Failure::EntityBusy { capacity: 3 })));
}

#[tokio::test]
async fn stopping_finishes_what_is_being_written_and_refuses_the_rest() {
    let (region, control, journal) = region();
    let entity = sum(&region, "a");
    assert_eq!(entity.ask(1).await, Ok(1));
    control.hold_writes();
    let write = tokio::spawn({
        let entity = entity.clone();
        async move { entity.ask(5).await }
    });
    control.until_held(1).await;
    let stop = tokio::spawn({
        let region = region.clone();
        async move { region.stop().await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!stop.is_finished(), "a write is on its way");
    control.release_writes();
    stop.await.expect("no panic");
    assert_eq!(write.await.expect("no panic"), Ok(6));
    assert_eq!(entity.ask(1).await, Err(AskError::Failed(Failure::ShuttingDown)));
    let next = start(&journal, 2, config(&journal));
    assert_eq!(sum(&next, "a").ask(0).await, Ok(6));
}
