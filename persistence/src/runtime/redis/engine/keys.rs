//! Where things lie.
//!
//! | key | type | holds |
//! | --- | --- | --- |
//! | `{<prefix>:<shard>}:f` | string | the fence token |
//! | `{<prefix>:<shard>}:e:<persistence id>` | list | events; the last number is base + length |
//! | `{<prefix>:<shard>}:m` | hash | base and record of each entity whose events were deleted |
//! | `{<prefix>:<shard>}:s:<persistence id>` | list | snapshots, by their numbers |
//! | `{<prefix>:<shard>}:i:<bucket>:<type>` | sorted set | ids, in the order of their bytes |
//! | `<prefix>:meta` | hash | what the journal was first used with |
//!
//! All keys of a shard lie in one slot. Ids lie in [`ID_BUCKETS`] sets, because Redis keeps a small set in a
//! tenth of the memory of a large one.

use crate::ids::{PersistenceId, ShardId};

/// Slots of a cluster.
pub(crate) const SLOTS: u16 = 16384;
/// Sets over which the ids of a type in a shard are spread. Part of the layout.
pub(crate) const ID_BUCKETS: u64 = 16;

/// Names keys.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: String,
    /// The checksum of prefix and colon, with which that of every shard's tag begins.
    checksum: u16,
}

/// Names the keys of one shard.
#[derive(Clone, Debug)]
pub(crate) struct ShardKeys {
    /// `{<prefix>:<shard>}:`
    head: Vec<u8>,
    /// In which slot they lie.
    pub(crate) slot: u16,
}

impl Keys {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), checksum: crc16(crc16(0, prefix.as_bytes()), b":") }
    }

    /// Checks a prefix; says what it breaks.
    pub(crate) fn check(prefix: &str) -> Result<(), &'static str> {
        let is_bad = |c: char| matches!(c, '{' | '}' | ':') || c.is_control();
        match prefix.len() {
            1..=64 if !prefix.contains(is_bad) => Ok(()),
            _ => Err("a key prefix has 1 to 64 bytes, without braces, colons and control characters"),
        }
    }

    pub(crate) fn shard(&self, shard: ShardId) -> ShardKeys {
        let head = format!("{{{}:{}}}:", self.prefix, shard.0).into_bytes();
        ShardKeys { slot: self.slot(shard), head }
    }

    /// In which slot the keys of a shard lie. Asked for each command, so nothing is allocated.
    pub(crate) fn slot(&self, shard: ShardId) -> u16 {
        let mut digits = [0; 10];
        let (mut at, mut left) = (digits.len(), shard.0);
        loop {
            at -= 1;
            digits[at] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                return crc16(self.checksum, &digits[at..]) % SLOTS;
            }
        }
    }

    /// The meta record, and its slot.
    pub(crate) fn meta(&self) -> (String, u16) {
        let key = format!("{}:meta", self.prefix);
        let slot = crc16(0, key.as_bytes()) % SLOTS;
        (key, slot)
    }
}

impl ShardKeys {
    pub(crate) fn fence(&self) -> Vec<u8> {
        self.with(b"f", |_| {})
    }

    pub(crate) fn bases(&self) -> Vec<u8> {
        self.with(b"m", |_| {})
    }

    pub(crate) fn events(&self, id: &PersistenceId) -> Vec<u8> {
        self.with(b"e:", |key| id.write_to(key))
    }

    pub(crate) fn snapshots(&self, id: &PersistenceId) -> Vec<u8> {
        self.with(b"s:", |key| id.write_to(key))
    }

    pub(crate) fn ids(&self, entity_type: &str, bucket: u64) -> Vec<u8> {
        self.with(b"i:", |key| key.extend_from_slice(format!("{bucket}:{entity_type}").as_bytes()))
    }

    /// In which set the id of an entity lies.
    pub(crate) fn bucket(id: &PersistenceId) -> u64 {
        id.hash().in_shard() % ID_BUCKETS
    }

    fn with(&self, kind: &[u8], rest: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut key = Vec::with_capacity(self.head.len() + kind.len() + 48);
        key.extend_from_slice(&self.head);
        key.extend_from_slice(kind);
        rest(&mut key);
        key
    }
}

/// CRC-16/XMODEM, which Redis Cluster uses, of bytes that follow those that have this checksum.
fn crc16(before: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(before, |crc, byte| {
        let [high, low] = crc.to_be_bytes();
        u16::from_be_bytes([low, 0]) ^ REMAINDERS[usize::from(high ^ byte)]
    })
}

/// The checksum of each byte alone.
const REMAINDERS: [u16; 256] = {
    let mut remainders = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
            bit += 1;
        }
        remainders[byte] = crc;
        byte += 1;
    }
    remainders
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{EntityId, EntityType};

    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        assert_eq!(crc16(0, b"123456789"), 0x31c3);
        // `CLUSTER KEYSLOT` of a 7.0 server.
        assert_eq!(Keys::new("abide").meta().1, 753);
        for shard in [0, 7, 10, 1023, u32::MAX] {
            let tag = format!("abide:{shard}");
            assert_eq!(Keys::new("abide").slot(ShardId(shard)), crc16(0, tag.as_bytes()) % SLOTS);
        }
    }

    #[test]
    fn keys_are_named_as_the_layout_says() {
        let keys = Keys::new("abide").shard(ShardId(7));
        let id = PersistenceId::new(EntityType::new("account"), EntityId::new("a:{b}").expect("an id"));
        let text = |key: Vec<u8>| String::from_utf8(key).expect("UTF-8");
        assert_eq!(text(keys.fence()), "{abide:7}:f");
        assert_eq!(text(keys.bases()), "{abide:7}:m");
        assert_eq!(text(keys.events(&id)), "{abide:7}:e:account|a:{b}");
        assert_eq!(text(keys.snapshots(&id)), "{abide:7}:s:account|a:{b}");
        assert_eq!(text(keys.ids("account", 3)), "{abide:7}:i:3:account");
    }

    #[test]
    fn a_prefix_that_would_move_the_slot_is_refused() {
        for bad in ["", "a{b", "a}b", "a:b", "a\nb", &"x".repeat(65)] {
            Keys::check(bad).expect_err(bad);
        }
        Keys::check("abide-test.1").expect("a prefix");
    }
}
