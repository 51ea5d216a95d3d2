//! The acknowledged mark: a small file that says how many commits were acknowledged.
//!
//! The engine shortens its journal file at the first byte that it cannot parse. That is right for the
//! torn end of a commit that nobody was told of, but damage in the middle of the file takes acknowledged
//! commits with it, silently. The mark makes that loss visible: a database that knows of fewer commits
//! than the mark is not opened.
//!
//! Invariant: the mark is written after the commit's fsync and never before, and not synced itself, so it may
//! lag behind and can never be ahead of what the disk holds. A mark that cannot be read says nothing.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

pub(super) const FILE: &str = "acknowledged";
const BYTES: usize = 16;

pub(super) struct Mark {
    file: File,
}

impl Mark {
    /// Opens or creates the mark; hands back what it says.
    pub(super) fn open(dir: &Path) -> io::Result<(Self, Option<u64>)> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(dir.join(FILE))?;
        let mut bytes = Vec::with_capacity(BYTES);
        file.read_to_end(&mut bytes)?;
        Ok((Self { file }, decode(&bytes)))
    }

    /// Marks a commit as acknowledged. Best effort: an older mark is still a true one.
    pub(super) fn set(&mut self, commit: u64) {
        let written = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.write_all(&encode(commit)));
        drop(written);
    }
}

fn encode(commit: u64) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    let (number, checksum) = bytes.split_at_mut(8);
    number.copy_from_slice(&commit.to_le_bytes());
    checksum.copy_from_slice(&xxh3_64(number).to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<u64> {
    let commit = u64::from_le_bytes(*bytes.first_chunk::<8>()?);
    (bytes == encode(commit)).then_some(commit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_or_foreign_mark_says_nothing() {
        let whole = encode(7);
        assert_eq!(decode(&whole), Some(7));
        assert_eq!(decode(&[]), None);
        assert_eq!(decode(&whole[..15]), None);
        assert_eq!(decode(&[whole.as_slice(), &[0]].concat()), None);
        let mut flipped = whole;
        flipped[0] ^= 1;
        assert_eq!(decode(&flipped), None);
    }
}
