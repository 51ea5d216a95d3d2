//! While a journal's breaker is open commands are refused before they run, states are shown, nobody stops,
//! and the shard comes back by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use abide_persistence::engine::Message;
use abide_persistence::model::{Failure, Format};
use abide_persistence::runtime::{Call, Fault, MemoryJournal, On};
use abide_persistence::{ShardCount, ShardId};
use abide_sharding::{EntityOptions, Region, RegionConfig};

use crate::stage::*;

const SHARD: ShardId = ShardId(0);
const OPEN: Duration = Duration::from_secs(30);

/// A region of one shard, with an entity that has noted something in this incarnation.
async fn begun() -> (MemoryJournal, Region, ClerkRef) {
    let journal = MemoryJournal::new();
    let config = RegionConfig { shards: ShardCount::new(1).unwrap(), ..config() };
    let region = start(clerks(EntityOptions::default()), Arc::new(journal.clone()), 1, config);
    let entity = clerk(&region, "x");
    entity.get(Clerk::say("one")).await;
    entity.run(|this, _| this.seen.push("this incarnation".to_owned())).await;
    (journal, region, entity)
}

async fn has_not_stopped(entity: &ClerkRef) {
    let seen = entity.get(Clerk::seen()).await;
    assert!(seen.contains(&"this incarnation".to_owned()), "{seen:?}");
}

/// A command is refused, with this much time at least.
async fn refused(entity: &ClerkRef, at_least: Duration) {
    let ran = Arc::<AtomicUsize>::default();
    let runs = Arc::clone(&ran);
    let code = Code::new(move |_: &mut Clerk<0>, _| {
        runs.fetch_add(1, Ordering::Relaxed);
    });
    let failure = entity.fail(code).await;
    assert!(
        matches!(failure, Failure::JournalUnavailable { retry_after } if retry_after >= at_least),
        "{failure:?}"
    );
    assert_eq!(ran.load(Ordering::Relaxed), 0, "before it runs");
}

#[tokio::test]
async fn commands_are_refused_with_the_time_that_is_left_and_states_are_shown() {
    let (journal, region, entity) = begun().await;
    journal.control().rest(SHARD, Some(OPEN));
    refused(&entity, OPEN / 2).await;
    let state = region.ask(entity.address(), Message::ReadState, Format::Json, LONG).await;
    state.result.expect("the state");
    let cold = clerk(&region, "cold");
    refused(&cold, OPEN / 2).await;
    let state = region.ask(cold.address(), Message::ReadState, Format::Json, LONG).await;
    state.result.expect("reading is another matter");
    journal.control().rest(SHARD, None);
    assert_eq!(entity.get(Clerk::say("two")).await, ["one", "two"]);
    has_not_stopped(&entity).await;
    let refused = journal.control().faults().injected_in_all();
    assert_eq!(refused, 0, "nobody has knocked meanwhile");
}

#[tokio::test]
async fn a_claim_finds_out_that_it_is_over_and_until_then_commands_are_refused() {
    let (journal, _region, entity) = begun().await;
    let (control, faults) = (journal.control(), journal.control().faults().clone());
    control.rest(SHARD, Some(Duration::from_millis(20)));
    refused(&entity, Duration::ZERO).await;
    faults.hold(Call::Claim);
    control.rest(SHARD, Some(Duration::ZERO));
    faults.until_held(1).await;
    refused(&entity, Duration::ZERO).await;
    assert_eq!(faults.held(), 1, "only one call is tried");
    faults.release_all();
    control.rest(SHARD, None);
    assert_eq!(entity.get(Clerk::say("two")).await, ["one", "two"]);
    assert_eq!(control.token(SHARD).unwrap().claim.session, 2);
    has_not_stopped(&entity).await;
}

#[tokio::test]
async fn a_shard_that_finds_out_in_vain_tries_again_and_nobody_stops() {
    let (journal, _region, entity) = begun().await;
    let (control, faults) = (journal.control(), journal.control().faults().clone());
    control.rest(SHARD, Some(Duration::from_millis(20)));
    refused(&entity, Duration::ZERO).await;
    faults.next(1, Call::Claim, Fault::RequestLost);
    control.rest(SHARD, Some(Duration::ZERO));
    until("the first try is lost", || faults.injected(Call::Claim, Fault::RequestLost) == 1).await;
    refused(&entity, Duration::ZERO).await;
    control.rest(SHARD, Some(Duration::ZERO));
    until("another claim is taken", || control.token(SHARD).unwrap().claim.session == 2).await;
    control.rest(SHARD, None);
    assert_eq!(entity.get(Clerk::say("two")).await, ["one", "two"]);
    has_not_stopped(&entity).await;
}

#[tokio::test]
async fn what_an_entity_stores_by_itself_meanwhile_is_held_back() {
    let (journal, region, entity) = begun().await;
    let control = journal.control();
    let (now, then) = tokio::sync::oneshot::channel();
    let has_run = Arc::<AtomicBool>::default();
    let ran = Arc::clone(&has_run);
    entity
        .run(move |_, ctx| {
            let later = async move {
                then.await.expect("it is told");
                Code::new(move |_: &mut Clerk<0>, ctx| {
                    ran.store(true, Ordering::Release);
                    ctx.persist(Said("two".to_owned()), |this, Said(line), _| this.lines.push(line.clone()));
                })
            };
            ctx.pipe_to_self(later, |code| code);
        })
        .await;
    control.rest(SHARD, Some(Duration::from_millis(20)));
    let batches = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&batches);
    control.faults().always(
        On::call(Call::Write).that(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            false
        }),
        Fault::Refused,
    );
    now.send(()).unwrap();
    until("it wants to store an event", || has_run.load(Ordering::Acquire)).await;
    // A neighbour's turn comes after the one in which the batch would have been sent.
    let neighbour = clerk(&region, "y");
    let state = region.ask(neighbour.address(), Message::ReadState, Format::Json, LONG).await;
    state.result.expect("the state");
    assert_eq!(batches.load(Ordering::Relaxed), 0, "a batch would have stopped it");
    control.rest(SHARD, Some(Duration::ZERO));
    until("a claim was let through", || control.token(SHARD).unwrap().claim.session == 2).await;
    control.rest(SHARD, None);
    until("it is written by itself", || control.events(&persistence_id("x")).len() == 2).await;
    assert_eq!(entity.get(Clerk::show()).await, ["one", "two"]);
    has_not_stopped(&entity).await;
}
