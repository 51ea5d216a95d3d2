//! The names of things: entity types and ids, persistence ids, shards, epochs, sequence numbers.
//!
//! An entity's shard follows from its persistence id alone, by a hash with a written specification,
//! so every node of every version computes the same one.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3Default;

/// Longest entity type, in bytes.
pub const MAX_TYPE_BYTES: usize = 64;
/// Longest entity id, in bytes of UTF-8.
pub const MAX_ID_BYTES: usize = 255;

/// A registered kind of entity: `[a-z][a-z0-9-]{0,63}`.
///
/// It is part of every persistence id, so it must never change once events exist.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityType(&'static str);

impl EntityType {
    /// Names a type. In a `const` a name that breaks the rule stops the build.
    ///
    /// # Panics
    /// If the name breaks the rule `[a-z][a-z0-9-]{0,63}`.
    pub const fn new(name: &'static str) -> Self {
        assert!(is_type_name(name), "an entity type is [a-z][a-z0-9-]{{0,63}}");
        Self(name)
    }

    /// The name as written.
    pub const fn as_str(&self) -> &'static str {
        self.0
    }
}

/// Whether `name` is a well-formed entity type.
pub const fn is_type_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() > MAX_TYPE_BYTES || !bytes[0].is_ascii_lowercase() {
        return false;
    }
    let mut at = 1;
    while at < bytes.len() {
        let byte = bytes[at];
        if !(byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
            return false;
        }
        at += 1;
    }
    true
}

impl fmt::Debug for EntityType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Display for EntityType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The client's name for one entity of a type: 1 to 255 bytes of UTF-8 without control characters.
///
/// Cheap to clone: envelopes, cells and references share one allocation.
#[derive(Clone, Eq, Hash, PartialOrd, Ord)]
#[expect(clippy::derived_hash_with_manual_eq, reason = "equal ids have equal bytes")]
pub struct EntityId(Arc<str>);

impl PartialEq for EntityId {
    /// Copies of one id share their bytes: those are not looked at then, wherever they lie.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

/// Why a text is no entity id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadEntityId {
    /// Nothing was given.
    #[error("an entity id has at least one character")]
    Empty,
    /// More bytes than an id may have.
    #[error("an entity id has at most {MAX_ID_BYTES} bytes of UTF-8, this one has {0}")]
    TooLong(usize),
    /// A control character, by its position in bytes.
    #[error("an entity id has no control characters, this one has U+{code:04X} at byte {at}")]
    ControlCharacter {
        /// Where it stands.
        at: usize,
        /// Which one it is.
        code: u32,
    },
}

impl EntityId {
    /// Checks and keeps an id.
    ///
    /// # Errors
    /// If the id is empty, too long, or holds a control character.
    pub fn new(id: &str) -> Result<Self, BadEntityId> {
        if id.is_empty() {
            return Err(BadEntityId::Empty);
        }
        if id.len() > MAX_ID_BYTES {
            return Err(BadEntityId::TooLong(id.len()));
        }
        if let Some((at, bad)) = id.char_indices().find(|(_, c)| c.is_control()) {
            return Err(BadEntityId::ControlCharacter { at, code: bad.into() });
        }
        Ok(Self(id.into()))
    }

    /// The id as the client wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `type|id`: names one event stream, for ever.
///
/// The bar cannot stand in a type, so the first one ends it, whatever the id holds.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PersistenceId {
    /// The kind of entity.
    pub entity_type: EntityType,
    /// Which one.
    pub id: EntityId,
}

impl PersistenceId {
    /// Puts the two parts together.
    pub fn new(entity_type: EntityType, id: EntityId) -> Self {
        Self { entity_type, id }
    }

    /// `xxh3_64` (seed 0) over the bytes `type|id`.
    pub fn hash(&self) -> PersistenceIdHash {
        PersistenceIdHash::of(self.entity_type.as_str(), self.id.as_str())
    }

    /// Bytes of `type|id`.
    pub fn byte_len(&self) -> usize {
        self.entity_type.0.len() + 1 + self.id.0.len()
    }

    /// Appends the bytes `type|id`.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.entity_type.0.as_bytes());
        out.push(b'|');
        out.extend_from_slice(self.id.0.as_bytes());
    }
}

impl fmt::Debug for PersistenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}|{}", self.entity_type, self.id)
    }
}

impl fmt::Display for PersistenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}|{}", self.entity_type, self.id)
    }
}

/// The hash of a persistence id; decides the shard and is kept for look-ups inside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PersistenceIdHash(u64);

impl PersistenceIdHash {
    /// `xxh3_64` (seed 0) over the bytes `type|id`.
    pub fn of(entity_type: &str, id: &str) -> Self {
        let mut hasher = Xxh3Default::new();
        hasher.update(entity_type.as_bytes());
        hasher.update(b"|");
        hasher.update(id.as_bytes());
        Self(hasher.digest())
    }

    /// The shard, of `shards` in all.
    pub fn shard(self, shards: ShardCount) -> ShardId {
        // The remainder fits: it is below a u32.
        ShardId((self.0 % u64::from(shards.0.get())) as u32)
    }

    /// The hash for a table of one shard's entities: all of them agree in the remainder, which with a
    /// power of two are the low bits, so those are turned out of the table's sight.
    pub fn in_shard(self) -> u64 {
        self.0.rotate_right(32)
    }
}

/// How many shards there are: fixed when a journal is first used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardCount(NonZeroU32);

impl ShardCount {
    /// Most shards that may be configured; beyond it the table itself becomes the load.
    pub const MAX: u32 = 65_536;

    /// `None` unless `1 ..= 65536`.
    pub fn new(count: u32) -> Option<Self> {
        if count > Self::MAX { None } else { NonZeroU32::new(count).map(Self) }
    }

    /// As a number.
    pub fn get(self) -> u32 {
        self.0.get()
    }

    /// Every shard, in order.
    pub fn all(self) -> impl Iterator<Item = ShardId> {
        (0..self.get()).map(ShardId)
    }
}

/// `hash(persistence id) % shards`: the unit of ownership, fencing and batching.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u32);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// 1, 2, 3, … within one persistence id, without gaps. 0 stands for "before the first event".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceNr(pub u64);

impl SequenceNr {
    /// Before the first event.
    pub const ZERO: Self = Self(0);

    /// The number that follows.
    #[must_use]
    pub fn next(self) -> Self {
        self.plus(1)
    }

    /// The number `events` later.
    #[must_use]
    pub fn plus(self, events: u64) -> Self {
        // 2^64 events of one entity are not written in the life of a planet.
        Self(self.0.saturating_add(events))
    }
}

impl fmt::Display for SequenceNr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shard_hash_is_frozen() {
        // These vectors may never change: they decide where existing events are looked for.
        let shards = ShardCount::new(1024).expect("in range");
        let of = |entity_type: &str, id: &str| PersistenceIdHash::of(entity_type, id);
        assert_eq!(of("counter", "a").0, xxhash_rust::xxh3::xxh3_64(b"counter|a"));
        assert_eq!(of("counter", "a").0, 0xd477_b294_6cbb_4675);
        assert_eq!(of("counter", "a").shard(shards), ShardId(629));
        assert_eq!(of("account", "äöü/€").0, 0xc8c1_bef3_fe19_decc);
        assert_eq!(of("ledger", "x|y").shard(shards), ShardId(793));
    }

    #[test]
    fn an_id_is_one_to_255_bytes_without_control_characters() {
        assert!(EntityId::new("a").is_ok());
        assert!(EntityId::new(&"ä".repeat(127)).is_ok());
        assert_eq!(EntityId::new(""), Err(BadEntityId::Empty));
        assert_eq!(EntityId::new(&"ä".repeat(128)), Err(BadEntityId::TooLong(256)));
        assert_eq!(EntityId::new("a\u{7f}"), Err(BadEntityId::ControlCharacter { at: 1, code: 0x7f }));
        assert_eq!(EntityId::new("\u{85}"), Err(BadEntityId::ControlCharacter { at: 0, code: 0x85 }));
    }

    #[test]
    fn a_type_is_lower_case_digits_and_dashes() {
        assert!(is_type_name("a") && is_type_name("web-store-2") && is_type_name(&"a".repeat(64)));
        for bad in ["", "A", "2a", "-a", "a_b", "a|b", "ä", &"a".repeat(65)] {
            assert!(!is_type_name(bad), "{bad}");
        }
    }

    #[test]
    fn hashes_inside_a_shard_spread_over_a_table() {
        let shards = ShardCount::new(1024).expect("in range");
        let mut low = std::collections::BTreeSet::new();
        let mut seen = 0;
        for n in 0..200_000 {
            let hash = PersistenceIdHash::of("counter", &n.to_string());
            if hash.shard(shards) == ShardId(7) {
                seen += 1;
                low.insert(hash.in_shard() % 256);
            }
        }
        assert!(seen > 100 && low.len() > seen / 2, "{seen} entities fall on {} places", low.len());
    }
}
