//! What servers say of themselves, taken apart. Pure.

use std::collections::BTreeMap;

use super::super::connector::Address;

/// Settings that are asked for, one by one: all at once would show passwords.
pub(super) const SETTINGS: [&str; 9] = [
    "save",
    "appendonly",
    "appendfsync",
    "min-replicas-to-write",
    "repl-ping-replica-period",
    "proto-max-bulk-len",
    "cluster-require-full-coverage",
    "cluster-replica-validity-factor",
    "cluster-node-timeout",
];

/// The answer to `INFO`: names and values.
#[derive(Clone, Debug, Default)]
pub(super) struct Info(BTreeMap<String, String>);

impl Info {
    pub(super) fn parse(text: &str) -> Self {
        let pairs =
            text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(':'));
        Self(pairs.map(|(name, value)| (name.to_owned(), value.trim_end().to_owned())).collect())
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.text("redis_mode") == Some("cluster") || self.text("cluster_enabled") == Some("1")
    }

    pub(super) fn is_primary(&self) -> bool {
        self.text("role") == Some("master")
    }

    /// The replicas that this server, as a primary, knows.
    pub(super) fn replicas(&self) -> Vec<Address> {
        let lines = self.0.iter().filter(|(name, _)| {
            name.strip_prefix("slave")
                .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
        });
        lines.filter_map(|(_, fields)| field_address(fields)).collect()
    }

    /// The primary that this server, as a replica, follows.
    pub(super) fn primary(&self) -> Option<Address> {
        Some(Address::new(self.text("master_host")?, self.text("master_port")?.parse().ok()?))
    }
}

fn field_address(fields: &str) -> Option<Address> {
    let field = |name: &str| fields.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    Some(Address::new(field("ip")?, field("port")?.parse().ok()?))
}

/// The addresses in the answer to `CLUSTER NODES` of the server at `asked`, who may not know its own; those that
/// nobody can reach by now are left out.
pub(super) fn cluster_nodes(asked: &Address, text: &str) -> Vec<Address> {
    let nodes = text.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (place, flags) = (words.next()?, words.next()?);
        if flags.split(',').any(|flag| flag == "myself") {
            return Some(asked.clone());
        }
        let gone = flags.split(',').any(|flag| ["fail", "handshake", "noaddr"].contains(&flag));
        // host:port@bus-port,hostname
        let place = place.split(['@', ',']).next()?;
        let (host, port) = place.rsplit_once(':')?;
        let address = Address::new(host.trim_matches(['[', ']']), port.parse().ok()?);
        (!gone && !address.host.is_empty() && address.port != 0).then_some(address)
    });
    nodes.collect()
}

/// The settings of one server, as far as it tells them.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    known: BTreeMap<String, String>,
    /// Why they were not told.
    pub(super) unreadable: Option<String>,
}

impl Settings {
    pub(super) fn add(&mut self, name: &str, value: String) {
        self.known.insert(name.to_owned(), value);
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.known.get(name).map(String::as_str)
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_primary_tells_its_replicas_and_a_replica_its_primary() {
        let primary = Info::parse(
            "# Replication\r\nrole:master\r\nconnected_slaves:2\r\n\
             slave0:ip=10.0.0.2,port=7001,state=online,offset=14,lag=1\r\n\
             slave1:ip=fd00::3,port=7002,state=online,offset=14,lag=0\r\nslave_expires_tracked_keys:0\r\n",
        );
        assert!(primary.is_primary() && !primary.is_cluster());
        assert_eq!(primary.replicas(), [Address::new("10.0.0.2", 7001), Address::new("fd00::3", 7002)]);
        let replica = Info::parse("role:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:7000\r\n");
        assert_eq!(replica.primary(), Some(Address::new("10.0.0.1", 7000)));
    }

    #[test]
    fn nodes_that_are_gone_are_not_asked() {
        let nodes = "\
            a1 :7000@17000 myself,master - 0 0 1 connected 0-5460\n\
            a2 10.0.0.2:7001@17001,db-2.example slave a1 0 1 1 connected\n\
            a3 fd00::3:7002@17002 master - 0 1 2 connected 5461-10922\n\
            a4 10.0.0.4:7003@17003 master,fail - 0 1 3 disconnected\n\
            a5 10.0.0.5:7004@17004 master,fail? - 0 1 3 disconnected\n\
            a6 :0@0 master,noaddr - 0 1 3 disconnected\n";
        let expected = [("10.0.0.1", 7000), ("10.0.0.2", 7001), ("fd00::3", 7002), ("10.0.0.5", 7004)];
        let asked = Address::new("10.0.0.1", 7000);
        assert_eq!(cluster_nodes(&asked, nodes), expected.map(|(host, port)| Address::new(host, port)));
    }
}
