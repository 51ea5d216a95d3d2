//! Servers that have forgotten, or hold what nobody of ours has written: the shard is parked, nothing is written
//! over, and an operator has the word.

use abide_chaos_tests::redis::{Ground, Node};
use abide_persistence::ShardId;
use abide_persistence::model::{Failure, Outcome};
use abide_persistence::runtime::redis::RedisStore;
use abide_sharding::{ParkedFor, Region};

use crate::connecting::{open, options};
use crate::stage::*;

const SHARD: ShardId = ShardId(0);
const LOST: Failure = Failure::EventsLost { outcome: Outcome::None };
const DAMAGED: Failure = Failure::JournalDamaged { outcome: Outcome::None };

/// A region of one shard, with an entity that has one event.
async fn begun() -> (Ground, RedisStore, Region, DiaryRef) {
    let ground = Ground::single().start().await.unwrap();
    let store = open(options(&ground).alone()).await;
    let region = start(&store, 1, config(1));
    let told = diary(&region, "a");
    get(&told, Order::Add(1)).await;
    (ground, store, region, told)
}

/// Why the one shard is parked.
async fn parked_for(region: &Region) -> ParkedFor {
    let parked = region.parked_shards(10).await.unwrap();
    assert_eq!((parked.len(), parked[0].shard, parked[0].journal.as_str()), (1, SHARD, "redis"));
    parked[0].cause.clone()
}

async fn held(region: &Region) {
    until("the shard is held", async || region.status().shards_held, |held| *held == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flushed_server_parks_the_shard_and_nothing_is_written_before_the_loss_is_accepted() {
    let (ground, store, region, told) = begun().await;
    let node = server(&ground, "").await;
    node.ask::<()>(&["FLUSHALL"]).await.unwrap();
    let keys = async || node.ask::<u64>(&["DBSIZE"]).await.unwrap();
    assert_eq!(fail(&told, Order::Add(1)).await, LOST);
    assert_eq!(fail(&told, Order::Add(1)).await, LOST);
    assert_eq!(fail(&diary(&region, "cold"), Order::Add(1)).await, LOST);
    assert_eq!(read_state(&region, &told).await, Err(LOST));
    assert!(matches!(parked_for(&region).await, ParkedFor::Loss(loss) if loss.held.is_none()));
    assert_eq!(region.release_shard(SHARD).await.unwrap().len(), 1);
    let parked = async || region.status().shards_parked;
    until("the same is found again", parked, |parked| *parked == 1).await;
    assert_eq!(fail(&told, Order::Add(1)).await, LOST);
    assert_eq!(keys().await, 0, "not even a claim");

    assert_eq!(region.accept_loss(SHARD).await.unwrap().len(), 1);
    held(&region).await;
    assert_eq!(get(&told, Order::Add(1)).await.totals, Totals::ones(1), "it begins anew");
    end(region, store).await;
}

/// Puts something else in a key's place; hands back what was there.
async fn replace(node: &Node, key: &str) -> Vec<u8> {
    let kept: Vec<u8> = node.ask(&["DUMP", key]).await.unwrap();
    node.ask::<()>(&["SET", key, "somebody else's"]).await.unwrap();
    kept
}

async fn put_back(node: &Node, key: &str, kept: Vec<u8>) {
    let mut connection = node.connect().await.unwrap();
    let mut restore = redis::cmd("RESTORE");
    restore.arg(key).arg(0).arg(kept).arg("REPLACE");
    restore.query_async::<()>(&mut connection).await.unwrap();
}

async fn is_untouched(node: &Node, key: &str) {
    assert_eq!(node.ask::<String>(&["GET", key]).await.unwrap(), "somebody else's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_key_in_a_streams_place_parks_the_shard_until_it_is_released() {
    let (ground, store, region, told) = begun().await;
    let list = stream(config(1), told.address().persistence_id());
    let node = server(&ground, &list).await;
    let kept = replace(node, &list).await;
    let failure = fail(&told, Order::Add(1)).await;
    assert!(matches!(failure, Failure::JournalDamaged { .. }), "{failure:?}");
    let ParkedFor::Damage(words) = parked_for(&region).await else { panic!("nothing is lost") };
    assert!(words.contains("not Abide's"), "{words}");
    assert_eq!(fail(&told, Order::Add(1)).await, DAMAGED);
    assert_eq!(read_state(&region, &told).await, Err(DAMAGED));
    is_untouched(node, &list).await;
    assert_eq!(region.accept_loss(SHARD).await.unwrap(), [], "nothing is lost");

    put_back(node, &list, kept).await;
    assert_eq!(region.release_shard(SHARD).await.unwrap().len(), 1);
    held(&region).await;
    assert_eq!(get(&told, Order::Add(1)).await.totals, Totals::ones(2));
    end(region, store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_key_before_a_recovery_parks_the_entity_alone() {
    let (ground, store, region, told) = begun().await;
    let cold = diary(&region, "cold");
    let list = stream(config(1), cold.address().persistence_id());
    let node = server(&ground, &list).await;
    node.ask::<()>(&["SET", &list, "somebody else's"]).await.unwrap();
    let failure = fail(&cold, Order::Add(1)).await;
    let named = matches!(&failure, Failure::Parked { reason } if reason.contains("not Abide's"));
    assert!(named, "{failure:?}");
    is_untouched(node, &list).await;
    assert_eq!(get(&told, Order::Add(1)).await.totals, Totals::ones(2), "the others of its shard live on");
    end(region, store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_went_away_is_not_begun_anew() {
    let (ground, store, region, told) = begun().await;
    let list = stream(config(1), told.address().persistence_id());
    let node = server(&ground, &list).await;
    let kept: Vec<u8> = node.ask(&["DUMP", &list]).await.unwrap();
    node.ask::<()>(&["DEL", &list]).await.unwrap();
    assert_eq!(fail(&told, Order::Add(1)).await, DAMAGED);
    let ParkedFor::Damage(words) = parked_for(&region).await else { panic!("the fence is there") };
    assert!(words.contains("diary|a ends at 0"), "{words}");
    assert_eq!(node.ask::<u64>(&["EXISTS", &list]).await.unwrap(), 0);
    put_back(node, &list, kept).await;
    region.release_shard(SHARD).await.unwrap();
    held(&region).await;
    assert_eq!(get(&told, Order::Add(1)).await.totals, Totals::ones(2));
    end(region, store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_fence_parks_the_shard_and_a_release_too_early_parks_it_again() {
    let (ground, store, region, told) = begun().await;
    let fence = key(config(1), told.address().persistence_id(), "f");
    let node = server(&ground, &fence).await;
    let kept = replace(node, &fence).await;
    let failure = fail(&told, Order::Add(1)).await;
    assert!(matches!(failure, Failure::JournalDamaged { .. }), "{failure:?}");
    region.release_shard(SHARD).await.unwrap();
    // Asked of the shard itself: the counts of the status may be a moment old.
    let parked = async || region.parked_shards(10).await.unwrap().len();
    until("the same is found again", parked, |parked| *parked == 1).await;
    let ParkedFor::Damage(words) = parked_for(&region).await else { panic!("nothing is lost") };
    assert!(words.contains("somebody else's"), "{words}");
    is_untouched(node, &fence).await;
    put_back(node, &fence, kept).await;
    region.release_shard(SHARD).await.unwrap();
    held(&region).await;
    assert_eq!(get(&told, Order::Add(1)).await.totals, Totals::ones(2));
    end(region, store).await;
}
