//! What one node of a cluster believes, read from its `CLUSTER NODES`. Pure.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use anyhow::{Context, Result};

/// Slots of a cluster.
pub const SLOTS: u16 = 16_384;

/// The slot of a key: of what stands in its first braces, if anything does.
pub fn slot_of(key: &[u8]) -> u16 {
    let open = key.iter().position(|&byte| byte == b'{');
    let tag = open.and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|&byte| byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM, bit by bit: nothing here is in a hurry.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

/// A node, as another one (or itself) sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its id for life.
    pub id: String,
    /// Where it is.
    pub address: SocketAddr,
    /// Whether this line is about the node that was asked.
    pub myself: bool,
    /// The id of its primary, or `None` if it is one.
    pub primary: Option<String>,
    /// Whether it is suspected, failed, or not known well yet.
    pub doubtful: bool,
    /// Whether the node that was asked has a link to it.
    pub linked: bool,
    /// Orders claims to the same slot: the higher wins.
    pub config_epoch: u64,
    /// The slots that it serves, without those on their way.
    pub slots: Vec<RangeInclusive<u16>>,
}

impl Peer {
    /// Whether it is a primary that serves this slot.
    pub fn serves(&self, slot: u16) -> bool {
        self.slots.iter().any(|range| range.contains(&slot))
    }

    /// How many slots it serves.
    pub fn slot_count(&self) -> usize {
        self.slots.iter().map(ExactSizeIterator::len).sum()
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let id = words.next()?.to_owned();
        let address = words.next()?.split(['@', ',']).next()?;
        let flags: Vec<&str> = words.next()?.split(',').collect();
        let primary = words.next().filter(|id| *id != "-").map(str::to_owned);
        let (_ping, _pong) = (words.next()?, words.next()?);
        let config_epoch = words.next()?.parse().ok()?;
        let linked = words.next()? == "connected";
        let slots = words.filter(|word| !word.starts_with('[')).map(range).collect::<Option<_>>()?;
        let doubt = ["fail", "fail?", "handshake", "noaddr"];
        Some(Self {
            id,
            // A node that has not been met yet has no address.
            address: address.parse().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0))),
            myself: flags.contains(&"myself"),
            primary,
            doubtful: flags.iter().any(|flag| doubt.contains(flag)),
            linked,
            config_epoch,
            slots,
        })
    }
}

fn range(word: &str) -> Option<RangeInclusive<u16>> {
    let (from, to) = word.split_once('-').unwrap_or((word, word));
    Some(from.parse().ok()?..=to.parse().ok()?)
}

/// All that one node believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Itself and all others.
    pub peers: Vec<Peer>,
}

impl View {
    /// Reads the answer of `CLUSTER NODES`.
    ///
    /// # Errors
    /// If a line does not look like one, or none is about the node itself.
    pub fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().filter(|line| !line.is_empty());
        let peer = |line| Peer::parse(line).with_context(|| format!("not a line of CLUSTER NODES: {line:?}"));
        let view = Self { peers: lines.map(peer).collect::<Result<_>>()? };
        view.peers.iter().find(|peer| peer.myself).context("a node that does not know itself")?;
        Ok(view)
    }

    /// The line about the node that was asked.
    ///
    /// # Panics
    /// Never: a view without it cannot be made.
    pub fn myself(&self) -> &Peer {
        self.peers.iter().find(|peer| peer.myself).expect("parsing checks it")
    }

    /// The line about the node at an address.
    pub fn at(&self, address: SocketAddr) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.address == address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
aa 127.0.0.1:7000@7001 myself,master - 0 0 3 connected 0-99 200 [150->-bb] [151-<-bb]
bb 127.0.0.1:7002@7003,some.host master,fail? - 1 2 4 disconnected 100-199
cc 127.0.0.1:7004@7005 slave aa 1 2 3 connected
";

    #[test]
    fn a_line_tells_role_slots_epoch_and_doubt() {
        let view = View::parse(TEXT).expect("it is well formed");
        let [aa, bb, cc] = view.peers.as_slice() else { panic!("three lines") };
        assert_eq!(view.myself(), aa);
        assert_eq!((aa.slot_count(), aa.serves(200), aa.serves(150)), (101, true, false));
        assert_eq!((bb.address.port(), bb.doubtful, bb.linked, bb.config_epoch), (7002, true, false, 4));
        assert_eq!((cc.primary.as_deref(), cc.slots.is_empty()), (Some("aa"), true));
    }

    #[test]
    fn nonsense_is_refused_by_its_line() {
        let error = View::parse("aa 127.0.0.1:7000@7001 myself").expect_err("it is cut off");
        assert!(error.to_string().contains("myself"), "{error}");
    }

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot_of(b"foo"), 12_182);
        assert_eq!(slot_of(b"{foo}:bar"), 12_182);
        assert_eq!(slot_of(b"a{}b"), crc16(b"a{}b") % SLOTS);
    }
}
