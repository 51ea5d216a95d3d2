//! The store "redis": looked at before it is trusted, and opened once its servers are there.

use std::sync::Arc;

use abide_persistence::runtime::redis::RedisStore;
use abide_persistence::runtime::redis::options::RedisOptions;

use super::health::StoreHealth;
use super::registered::{Attempt, Opened, Use};
use super::waiting::Failed;
use crate::config::{BreakerConfig, Config, HealthFailure, RedisConfig};

/// What the configuration says. Snapshots have a store of their own if more of it differs than how it shows in
/// `/healthz`.
pub(super) fn open(config: &Config, has: Use) -> Attempt {
    let Config { journal_redis, snapshot_redis, breaker, .. } = config.clone();
    Box::pin(async move {
        let health = [health_of(&journal_redis), health_of(&snapshot_redis)];
        if journal_redis.is_one_store_with(&snapshot_redis) {
            let store = open_store(journal_redis.options(&breaker)?).await?;
            return Ok(Opened { health, ..store });
        }
        let mut opened = Opened { health, ..Opened::default() };
        if has.of_journal() {
            opened.journal = open_store(journal_redis.options(&breaker)?).await?.journal;
        }
        if has.of_snapshots() {
            match open_snapshots(&snapshot_redis, &breaker).await {
                Ok(store) => {
                    opened.snapshots = store.snapshots;
                    opened.also = store.journal;
                }
                Err(failed) => {
                    // The next attempt begins anew, so this one leaves nothing behind.
                    if let Some(journal) = &opened.journal {
                        journal.close().await;
                    }
                    return Err(failed);
                }
            }
        }
        Ok(opened)
    })
}

async fn open_snapshots(redis: &RedisConfig, breaker: &BreakerConfig) -> Result<Opened, Failed> {
    open_store(redis.options(breaker)?).await
}

/// One that the program sets up, for events and snapshots.
pub(crate) fn open_with(options: &RedisOptions) -> Attempt {
    let options = options.clone();
    Box::pin(async move {
        let health = StoreHealth::default().tag("redis");
        Ok(Opened { health: [health.clone(), health], ..open_store(options).await? })
    })
}

/// Opens if the servers are there and safe.
async fn open_store(options: RedisOptions) -> Result<Opened, Failed> {
    match RedisStore::open(options).await {
        Ok(store) => Ok(Opened {
            journal: Some(Arc::new(store.clone())),
            snapshots: Some(Arc::new(store)),
            ..Opened::default()
        }),
        Err(error) if error.may_pass() => Err(Failed::Later(error.to_string())),
        Err(error) => Err(Failed::from(error)),
    }
}

fn health_of(redis: &RedisConfig) -> StoreHealth {
    let health = StoreHealth::default().tags(&redis.health_tags.0);
    let health = match &redis.health_name {
        Some(name) => health.name(name),
        None => health,
    };
    match redis.health_failure {
        HealthFailure::Unhealthy => health,
        HealthFailure::Degraded => health.degraded(),
    }
}
