//! The settings that servers are started with. Pure: text out of a plan.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::certificates::{Certificates, Tls};
use super::node::Identity;
use super::plan::{Plan, Shape};

/// How long a cluster's nodes do without each other before they call it a failure.
pub const NODE_TIMEOUT_MS: u32 = 2000;
/// How long Sentinels do without an answer of the primary.
pub const SENTINEL_DOWN_AFTER_MS: u32 = 2000;
/// The name under which Sentinels watch the primary.
pub const MASTER_NAME: &str = "ground";

/// The settings of a server that holds data.
pub(super) fn node(plan: &Plan, identity: &Identity) -> String {
    let mut text = endpoint(identity);
    text.push_str(
        "appendonly yes\nappendfsync everysec\nsave \"\"\nmaxmemory-policy noeviction\n\
         repl-diskless-sync yes\nrepl-diskless-sync-delay 0\nrepl-ping-replica-period 1\n",
    );
    if let Shape::Cluster { .. } = plan.shape {
        let (bus_port, factor) = (identity.bus_port, plan.validity_factor);
        let _ = write!(
            text,
            "cluster-enabled yes\ncluster-config-file nodes.conf\ncluster-port {bus_port}\n\
             cluster-node-timeout {NODE_TIMEOUT_MS}\ncluster-require-full-coverage no\n\
             cluster-replica-validity-factor {factor}\ncluster-allow-replica-migration no\n"
        );
    }
    if let (Shape::Cluster { .. }, Some(_)) = (plan.shape, plan.tls) {
        text.push_str("tls-cluster yes\n");
    }
    if let Some(password) = &plan.password {
        let _ = write!(text, "requirepass {password}\nmasterauth {password}\n");
    }
    for (name, value) in &plan.settings {
        let _ = writeln!(text, "{name} {value}");
    }
    text
}

/// The settings of a Sentinel that watches a primary.
pub(super) fn sentinel(plan: &Plan, identity: &Identity, primary: SocketAddr) -> String {
    let mut text = endpoint(identity);
    let quorum = plan.shape.sentinels() / 2 + 1;
    let (ip, port) = (primary.ip(), primary.port());
    let _ = write!(
        text,
        "sentinel monitor {MASTER_NAME} {ip} {port} {quorum}\n\
         sentinel down-after-milliseconds {MASTER_NAME} {SENTINEL_DOWN_AFTER_MS}\n\
         sentinel failover-timeout {MASTER_NAME} 10000\n\
         sentinel parallel-syncs {MASTER_NAME} 2\n"
    );
    if let Some(password) = &plan.password {
        let _ = writeln!(text, "sentinel auth-pass {MASTER_NAME} {password}");
    }
    text
}

fn endpoint(identity: &Identity) -> String {
    let (ip, port, dir) = (identity.address.ip(), identity.address.port(), identity.inside.display());
    let mut text = format!(
        "bind {ip}\nprotected-mode no\ndaemonize no\ndir {dir}\nlogfile {dir}/log\nset-proc-title no\n"
    );
    let Some(tls) = identity.tls else {
        let _ = writeln!(text, "port {port}");
        return text;
    };
    let Certificates { ca, cert, key } = Certificates::in_folder(&identity.inside);
    let (ca, cert, key) = (ca.display(), cert.display(), key.display());
    let clients = match tls {
        Tls::OneWay => "no",
        Tls::Mutual => "yes",
    };
    let _ = write!(
        text,
        "port 0\ntls-port {port}\ntls-ca-cert-file {ca}\ntls-cert-file {cert}\ntls-key-file {key}\n\
         tls-auth-clients {clients}\ntls-replication yes\n"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::Ground;

    fn identity() -> Identity {
        let address = SocketAddr::from(([127, 0, 0, 1], 7000));
        let url = format!("redis://{address}");
        Identity {
            name: "node-0".to_owned(),
            address,
            bus_port: 7001,
            url,
            dir: "/d".into(),
            inside: "/d".into(),
            tls: None,
        }
    }

    #[test]
    fn what_a_test_sets_comes_last_and_wins() {
        let plan = Ground::cluster(3, 1).set("appendonly", "no");
        let text = node(&plan, &identity());
        assert!(text.ends_with("appendonly no\n"), "{text}");
    }

    #[test]
    fn only_a_cluster_has_a_bus() {
        let text = |plan: &Plan| node(plan, &identity());
        assert!(text(&Ground::cluster(3, 1)).contains("cluster-port 7001\n"));
        assert!(!text(&Ground::single()).contains("cluster"));
    }

    #[test]
    fn a_majority_of_sentinels_decides() {
        let text = sentinel(&Ground::sentinel(), &identity(), identity().address);
        assert!(text.contains("sentinel monitor ground 127.0.0.1 7000 2\n"), "{text}");
    }
}
