//! A store on a test ground.

use std::sync::Arc;
use std::time::Duration;

use abide_chaos_tests::redis::{Ground, Shape};
use abide_persistence::runtime::redis::options::{RedisOptions, Unsafe};
use abide_persistence::runtime::redis::{Dial, RedisStore, Setup};

/// Options for a ground; a test that wants others changes them.
pub(crate) struct Options(pub(crate) RedisOptions);

/// What suits the ground.
pub(crate) fn options(ground: &Ground) -> Options {
    let mut setup = Setup { urls: ground.urls(), ..Setup::default() };
    if let Shape::Sentinel { .. } = ground.shape() {
        setup.sentinel_master = Some("ground".to_owned());
    }
    let dial = Dial::new(&setup).unwrap();
    let (seeds, deployment) = (dial.seeds().to_vec(), dial.deployment().clone());
    let mut options = RedisOptions::new(Arc::new(dial), seeds);
    options.deployment = deployment;
    options.topology_check = Duration::from_secs(2);
    Options(options)
}

impl Options {
    /// Of a server that has no replica.
    pub(crate) fn alone(mut self) -> Self {
        self.0.allow_unsafe.push(Unsafe::NoReplica);
        self
    }
}

/// Opens it.
pub(crate) async fn open(options: Options) -> RedisStore {
    RedisStore::open(options.0).await.unwrap()
}
