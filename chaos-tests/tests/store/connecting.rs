//! A store on a test ground.

use std::sync::Arc;
use std::time::Duration;

use abide_chaos_tests::proxy::Proxies;
use abide_chaos_tests::redis::{Ground, Node, Shape};
use abide_persistence::journal::Journal;
use abide_persistence::runtime::redis::connector::Address;
use abide_persistence::runtime::redis::options::{RedisOptions, Unsafe};
use abide_persistence::runtime::redis::{Dial, RedisStore, Setup};

use crate::common::Proxied;

/// Options for a ground; a test that wants others changes them.
#[derive(Clone)]
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
    // Its Sentinels would elect a replica that was lost for twenty seconds.
    options.allow_unsafe.push(Unsafe::ReplicaValidity);
    Options(options)
}

impl Options {
    /// Of a server that has no replica.
    pub(crate) fn alone(mut self) -> Self {
        self.0.allow_unsafe.push(Unsafe::NoReplica);
        self
    }
}

impl Options {
    /// With the proxies before the servers between them and the store.
    pub(crate) fn through(mut self, proxies: &Arc<Proxies>) -> Self {
        self.0.connector = Arc::new(Proxied { proxies: Arc::clone(proxies), inner: self.0.connector });
        self
    }

    /// Told of one server only.
    pub(crate) fn of(mut self, node: &Node) -> Self {
        self.0.seeds = vec![Address::new(node.address().ip().to_string(), node.address().port())];
        self
    }

    /// Calls take no longer than this.
    pub(crate) fn calls_within(mut self, limit: Duration) -> Self {
        self.0.call_timeout = limit;
        self
    }

    /// Opens a journal.
    pub(crate) async fn journal(self) -> Arc<dyn Journal> {
        Arc::new(open(self).await)
    }
}

/// Opens it.
pub(crate) async fn open(options: Options) -> RedisStore {
    RedisStore::open(options.0).await.unwrap()
}
