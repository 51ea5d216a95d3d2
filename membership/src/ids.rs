//! Names of clusters, of their nodes, and of places in their log.
//!
//! The 128-bit ids are drawn at random by the host, never derived from a host name, an address or an
//! ordinal: those are used again, ids are not. Nothing here draws one; this crate owns no dice.
//!
//! An id has exactly one spelling, 32 lower-case hex digits, so that equal ids are equal strings in logs,
//! file names and URLs, and sort alike in both forms.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

/// Hex digits in the spelling of a 128-bit id.
const HEX_DIGITS: usize = 32;

/// Why a string is not an id. Nothing was made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// The string has another length than the one spelling that exists.
    #[error("an id has {HEX_DIGITS} hex digits, this has {bytes} bytes")]
    Length {
        /// Bytes that were found.
        bytes: usize,
    },
    /// Something other than `0-9a-f`. Upper case is refused too, or one id would have many spellings.
    #[error("an id has only the digits 0-9 and a-f, this has another character at byte {at}")]
    Digit {
        /// Position of the first such byte, from 0.
        at: usize,
    },
}

/// Parses the one spelling. Checks the digits itself: `from_str_radix` also takes `+` and upper case.
fn parse_hex(text: &str) -> Result<u128, ParseIdError> {
    if text.len() != HEX_DIGITS {
        return Err(ParseIdError::Length { bytes: text.len() });
    }
    text.bytes().enumerate().try_fold(0, |value: u128, (at, byte)| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return Err(ParseIdError::Digit { at }),
        };
        Ok(value << 4 | u128::from(digit))
    })
}

/// A 128-bit id: one newtype for each meaning, so that none is taken for another.
macro_rules! id128 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// Takes the number that the host drew.
            pub const fn from_u128(drawn: u128) -> Self {
                Self(drawn)
            }

            /// The number, for storing and sending.
            pub const fn as_u128(self) -> u128 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:0width$x}", self.0, width = HEX_DIGITS)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse_hex(text).map(Self)
            }
        }
    };
}

id128! {
    /// A cluster, drawn when it is formed. Two clusters that meet on one journal tell each other apart by it.
    ClusterId
}

id128! {
    /// A node: drawn once when a data directory is first used, and kept there. An empty disk is a new node.
    NodeId
}

id128! {
    /// One start of a node's process, drawn at that start and registered through the log.
    ///
    /// The order of two incarnations as numbers means nothing. Newer is the one that was *registered*
    /// later; only the log knows.
    Incarnation
}

/// A member: one start of one node. What leases and work belong to; the node alone is too little, since
/// its former process may still run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId {
    /// The node.
    pub node: NodeId,
    /// Which of its starts.
    pub incarnation: Incarnation,
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.node, self.incarnation)
    }
}

/// The place of an entry in the cluster's log, from 1. [`LogIndex::ZERO`] is the place before the first.
///
/// Whoever mints an epoch, `generation << 40 | log index`, has [`LogIndex::BITS_IN_EPOCH`] bits for the
/// index and must refuse one that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogIndex(pub u64);

impl LogIndex {
    /// Before the first entry: nothing is applied.
    pub const ZERO: Self = Self(0);

    /// Bits of an epoch that hold the log index. 40: a log that takes 1 000 entries a second for
    /// 30 years still fits, and 24 bits are left for the generation.
    pub const BITS_IN_EPOCH: u32 = 40;
}

impl fmt::Display for LogIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How often a log was begun anew over one journal; the upper part of an epoch, so that every epoch of a
/// newer log is above every epoch of an older one. Between 1 and [`Generation::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(NonZeroU32);

impl Generation {
    /// The first log over a journal.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// The last that fits into an epoch beside the log index: 24 bits.
    pub const MAX: u32 = (1 << (u64::BITS - LogIndex::BITS_IN_EPOCH)) - 1;

    /// A generation that was stored or sent.
    pub fn new(number: u32) -> Result<Self, GenerationError> {
        match NonZeroU32::new(number) {
            Some(valid) if number <= Self::MAX => Ok(Self(valid)),
            Some(_) | None => Err(GenerationError { number }),
        }
    }

    /// The number, for storing and sending.
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// The next generation; an error after the last, because wrapping would hand out old epochs again.
    pub fn next(self) -> Result<Self, GenerationError> {
        Self::new(self.get() + 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number that is no generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a generation lies between 1 and {max}, not {number}", max = Generation::MAX)]
pub struct GenerationError {
    /// The number.
    pub number: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPELLED: &str = "00000000000000000000000000abcdef";

    #[test]
    fn an_id_reads_back_from_its_own_spelling() {
        let id = NodeId::from_u128(0xab_cdef);
        assert_eq!(id.to_string(), SPELLED);
        assert_eq!(SPELLED.parse(), Ok(id));
        assert_eq!(format!("{id:?}"), format!("NodeId({SPELLED})"));
        assert_eq!("f".repeat(32).parse(), Ok(NodeId::from_u128(u128::MAX)));
    }

    #[test]
    fn an_id_has_no_second_spelling() {
        let check = |text: &str, error| assert_eq!(text.parse::<Incarnation>(), Err(error), "{text:?}");
        check("", ParseIdError::Length { bytes: 0 });
        check("abcdef", ParseIdError::Length { bytes: 6 });
        check(&SPELLED.to_uppercase(), ParseIdError::Digit { at: 26 });
        check(&SPELLED.replacen('0', "+", 1), ParseIdError::Digit { at: 0 });
        check(&SPELLED.replacen("00", "é", 1), ParseIdError::Digit { at: 0 });
    }

    #[test]
    fn ids_sort_like_their_spellings() {
        let (small, large) = (ClusterId::from_u128(9), ClusterId::from_u128(0x10));
        assert!(small < large && small.to_string() < large.to_string());
    }

    #[test]
    fn a_generation_leaves_room_for_the_log_index_and_never_wraps() {
        let last = Generation::new(Generation::MAX).unwrap();
        assert_eq!(u64::from(last.get()) << LogIndex::BITS_IN_EPOCH >> LogIndex::BITS_IN_EPOCH, 0xff_ffff);
        assert_eq!(last.next(), Err(GenerationError { number: 1 << 24 }));
        assert_eq!(Generation::new(0), Err(GenerationError { number: 0 }));
        assert_eq!(Generation::FIRST.next(), Generation::new(2));
    }
}
