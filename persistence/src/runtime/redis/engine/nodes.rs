//! What the nodes of a cluster say of themselves and of each other.

use std::ops::RangeInclusive;

use crate::runtime::redis::connector::Address;

/// One line of `CLUSTER NODES`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) address: Address,
    /// The line is about the node that was asked.
    pub(crate) is_myself: bool,
    pub(crate) is_primary: bool,
    /// Whose replica it is, by id.
    pub(crate) replica_of: Option<String>,
    /// Marked as failed, by the node that was asked or by all.
    pub(crate) is_failed: bool,
    pub(crate) config_epoch: u64,
    pub(crate) slots: Vec<RangeInclusive<u16>>,
}

/// Reads the answer to `CLUSTER NODES`; lines that are not understood are left out. `asked` stands in where a
/// node does not know its own address yet.
pub(crate) fn parse(text: &str, asked: &Address) -> Vec<Node> {
    text.lines().filter_map(|line| parse_line(line, asked)).collect()
}

fn parse_line(line: &str, asked: &Address) -> Option<Node> {
    let mut fields = line.split(' ');
    let mut next = || fields.next();
    let (id, address, flags, master) = (next()?, next()?, next()?, next()?);
    let (_ping, _pong, config_epoch, _link) = (next()?, next()?, next()?.parse().ok()?, next()?);
    let flags: Vec<&str> = flags.split(',').collect();
    let has = |flag: &str| flags.contains(&flag);
    if has("noaddr") || has("handshake") {
        return None;
    }
    Some(Node {
        id: id.to_owned(),
        address: parse_address(address, asked)?,
        is_myself: has("myself"),
        is_primary: has("master"),
        replica_of: (master != "-").then(|| master.to_owned()),
        is_failed: has("fail") || has("fail?"),
        config_epoch,
        slots: fields.filter_map(parse_slots).collect(),
    })
}

/// `host:port@bus-port[,hostname]`; the host is empty where a node has not heard its own address.
fn parse_address(text: &str, asked: &Address) -> Option<Address> {
    let mut parts = text.split(',');
    let endpoint = parts.next()?;
    let endpoint = endpoint.split_once('@').map_or(endpoint, |(endpoint, _)| endpoint);
    let (host, port) = endpoint.rsplit_once(':')?;
    let port = port.parse().ok()?;
    Some(if host.is_empty() { Address::new(asked.host.clone(), port) } else { Address::new(host, port) })
}

/// `a` or `a-b`; slots on their way (`[a->-…]`) belong to whoever has them without brackets.
fn parse_slots(text: &str) -> Option<RangeInclusive<u16>> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    Some(from.parse().ok()?..=to.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
07c37dfeb235213a872192d90877d0cd55635b91 127.0.0.1:30004@31004,host4 slave e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca 0 1426238317239 4 connected
67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1 127.0.0.1:30002@31002 master - 0 1426238316232 2 connected 5461-10922
292f8b365bb7edb5e285caf0b7e6ddc7265d2f4f 127.0.0.1:30003@31003 master,fail? - 0 1426238318243 3 connected 10923-16383
6ec23923021cf3ffec47632106199cb7f496ce01 :0@0 slave,noaddr 67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1 0 1426238316232 5 connected
e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca :30001@31001 myself,master - 0 0 1 connected 0-5459 5460 [93-<-292f8b365bb7edb5e285caf0b7e6ddc7265d2f4f]
824fe116063bc5fcf9f4ffd895bc17aee7731ac3 ::1:30006@31006 slave 292f8b365bb7edb5e285caf0b7e6ddc7265d2f4f 0 1426238317741 6 disconnected
garbage
";

    #[test]
    fn lines_say_who_is_who() {
        let nodes = parse(TEXT, &Address::new("seed", 30001));
        assert_eq!(nodes.len(), 5, "{nodes:#?}");
        let (replica, failing, myself, six) = (&nodes[0], &nodes[2], &nodes[3], &nodes[4]);
        assert_eq!(replica.replica_of.as_deref(), Some(myself.id.as_str()));
        assert!(!replica.is_primary && replica.slots.is_empty());
        assert!(failing.is_failed && failing.is_primary);
        assert!(myself.is_myself && !myself.is_failed);
        assert_eq!(myself.address, Address::new("seed", 30001));
        assert_eq!(myself.slots, [0..=5459, 5460..=5460]);
        assert_eq!(six.address, Address::new("::1", 30006));
    }
}
