//! What several tests of the store need.

use std::sync::Arc;

use abide_chaos_tests::proxy::Proxies;
use abide_persistence::journal::Pending;
use abide_persistence::runtime::redis::connector::{Address, ConnectError, Connector, Role};
use redis::aio::MultiplexedConnection;

/// Connects to the proxies before a ground's servers instead of to the servers. The store believes that it
/// talks to the servers themselves, and learns of new ones by their own addresses.
pub(crate) struct Proxied {
    /// Stand before the servers.
    pub(crate) proxies: Arc<Proxies>,
    /// Makes the connections.
    pub(crate) inner: Arc<dyn Connector>,
}

impl Connector for Proxied {
    fn connect(&self, to: &Address, role: Role) -> Pending<Result<MultiplexedConnection, ConnectError>> {
        let (host, port) = self.proxies.map(&to.host, to.port);
        self.inner.connect(&Address::new(host, port), role)
    }
}
