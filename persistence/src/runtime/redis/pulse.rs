//! Whether every primary answers, on connections of their own: what waits in the queues delays no answer, and
//! what is asked here never counts against a primary.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use redis::Pipeline;
use tokio::time::timeout;

use super::connector::{Address, Role};
use super::engine::replies::{Reply, connected_replicas, reply};
use super::hub::Hub;
use super::link::Link;
use crate::journal::StoreError;

/// With connecting. A server that is there answers within milliseconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Connections to the primaries that answered the last time.
#[derive(Default)]
pub(super) struct Pulse(Mutex<HashMap<Address, Link>>);

impl Pulse {
    /// Asks all primaries at the same time.
    ///
    /// # Errors
    /// If one does not answer or is none any more, or some slots have none; says which and why.
    pub(super) async fn take(&self, hub: &Hub) -> Result<(), StoreError> {
        let addresses: Vec<Address> = hub.primaries().iter().map(|primary| primary.address.clone()).collect();
        self.links().retain(|address, _| addresses.contains(address));
        let asked = join_all(addresses.iter().map(|address| self.ask(hub, address))).await;
        let troubles: Vec<String> =
            asked.into_iter().filter_map(Result::err).chain(hub.blindness()).collect();
        if troubles.is_empty() { Ok(()) } else { Err(StoreError(troubles.join("; "))) }
    }

    async fn ask(&self, hub: &Hub, address: &Address) -> Result<(), String> {
        let known = self.links().remove(address);
        let asking = async {
            let mut link = match known {
                Some(link) => link,
                None => Link::open(&hub.options.connector, address, Role::Watch).await?,
            };
            let mut asked = Pipeline::new();
            // A server that still loads its data says so to the first, and what it is to the second.
            asked.cmd("PING");
            asked.cmd("ROLE");
            link.send(&asked).await.map(|answers| (answers, link))
        };
        let (answers, link) = match timeout(ANSWER_WITHIN, asking).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(error)) => return Err(format!("{address} does not answer: {error}")),
            Err(_) => return Err(format!("{address} did not answer within {ANSWER_WITHIN:?}")),
        };
        self.links().insert(address.clone(), link);
        for (answer, is_role) in answers.into_iter().map(reply).zip([false, true]) {
            match answer {
                Reply::Done(role) if is_role && connected_replicas(&role).is_none() => {
                    return Err(format!("{address} is no primary any more"));
                }
                Reply::Done(_) => {}
                Reply::Refused { reason, .. } | Reply::Foreign(reason) | Reply::Doubt(reason) => {
                    return Err(format!("{address}: {reason}"));
                }
            }
        }
        Ok(())
    }

    fn links(&self) -> MutexGuard<'_, HashMap<Address, Link>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
