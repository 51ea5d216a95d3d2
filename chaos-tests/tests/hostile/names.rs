//! One name for whichever server is the primary: a managed endpoint, a service, a load balancer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use abide_chaos_tests::redis::{Ground, Node};
use abide_chaos_tests::wait::until;
use abide_persistence::journal::{Journal, Pending, ReadError};
use abide_persistence::runtime::redis::connector::{Address, ConnectError, Connector, Role};
use abide_persistence::testkit::Owner;
use anyhow::{Result, ensure};
use redis::aio::MultiplexedConnection;

use crate::connecting::{Options, open, options};

const LIMIT: Duration = Duration::from_secs(10);

/// Leads the one name to a server, a new connection at a time.
struct Name {
    leads_to: Mutex<Address>,
    inner: Arc<dyn Connector>,
}

impl Name {
    fn lead_to(&self, node: &Node) {
        *self.leads_to.lock().unwrap() = address(node);
    }
}

impl Connector for Name {
    fn connect(&self, _: &Address, role: Role) -> Pending<Result<MultiplexedConnection, ConnectError>> {
        self.inner.connect(&self.leads_to.lock().unwrap(), role)
    }
}

fn address(node: &Node) -> Address {
    Address::new(node.address().ip().to_string(), node.address().port())
}

/// A primary with two replicas, and a store that knows it by name.
async fn named(ground: &Ground) -> (Arc<Name>, Arc<dyn Journal>) {
    let mut known: Options = options(ground);
    let leads_to = Mutex::new(address(&ground.nodes()[0]));
    let name = Arc::new(Name { leads_to, inner: known.0.connector });
    known.0.connector = Arc::clone(&name) as Arc<dyn Connector>;
    known.0.seeds = vec![Address::new("primary.example", 6379)];
    (name, Arc::new(open(known).await))
}

/// The second server becomes a primary, and the third its replica.
async fn promote(ground: &Ground) {
    let [_, second, third] = ground.nodes() else { unreachable!("three servers") };
    let (host, port) = (second.address().ip().to_string(), second.address().port().to_string());
    second.ask::<()>(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
    third.ask::<()>(&["REPLICAOF", &host, &port]).await.unwrap();
    until("a replica in sync", LIMIT, || async {
        let info: String = second.ask(&["INFO", "replication"]).await?;
        ensure!(info.contains("state=online"), "{info}");
        Ok(())
    })
    .await
    .unwrap();
}

async fn end_connections(node: &Node, name: &str) {
    let clients: String = node.ask(&["CLIENT", "LIST"]).await.unwrap();
    for client in clients.lines().filter(|client| client.contains(&format!("name={name} "))) {
        let id = client.split(' ').next().unwrap().trim_start_matches("id=");
        node.ask::<i64>(&["CLIENT", "KILL", "ID", id]).await.unwrap();
    }
}

/// Within one claim the writes follow the name to the new primary. The connection for reads is still with the
/// old one, which nobody has told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_lacks_what_was_acknowledged_under_the_claim_decides_nothing() {
    let ground = Ground::single().replicas(2).start().await.unwrap();
    let (name, journal) = named(&ground).await;
    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    owner.append(&id, 1, 1).await.unwrap();
    owner.expect_all(&id, 1..=1, 1).await;

    promote(&ground).await;
    name.lead_to(&ground.nodes()[1]);
    end_connections(&ground.nodes()[0], "abide-write").await;
    owner.append(&id, 2, 1).await.unwrap();

    match owner.read(&id).await {
        Ok(page) => assert_eq!(page.last.0, 2, "event 2 was acknowledged before this was read"),
        Err(error) => assert!(matches!(error, ReadError::Fenced { .. }), "{error:?}"),
    }
}

/// The old primary is told, and keeps its connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_became_a_replica_is_left_for_where_its_name_leads() {
    let ground = Ground::single().replicas(2).start().await.unwrap();
    let (name, journal) = named(&ground).await;
    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    owner.append(&id, 1, 1).await.unwrap();

    promote(&ground).await;
    let new = ground.nodes()[1].address();
    let (host, port) = (new.ip().to_string(), new.port().to_string());
    ground.nodes()[0].ask::<()>(&["REPLICAOF", &host, &port]).await.unwrap();
    name.lead_to(&ground.nodes()[1]);
    owner.append(&id, 2, 1).await.unwrap();
}
