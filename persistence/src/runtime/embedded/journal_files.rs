//! A look at the engine's journal files before the engine itself replays them.
//!
//! The engine ends a file's replay at the first bytes that it cannot parse, cuts the file there, and goes
//! on with the next file. At the very end of the log that is the torn tail of a commit. Anywhere else it
//! would lose commits in the middle of history, with newer ones behind them, so that even the
//! [mark](super::mark) sees nothing. Here such a break is found, read-only, and the store stays shut.
//!
//! Not a check of contents: checksums are the engine's own, and it refuses where they do not hold. Knows
//! the framing of fjall's format 3 (`journal/entry.rs` there); the dependency is held to one minor version.
//!
//! Invariant: whatever the engine itself replays whole passes.

use std::fs::{self, File};
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

const MAGIC: [u8; 4] = *b"FJL\x03";
const BUFFER_BYTES: usize = 256 << 10;

/// Says where history is broken, if it is.
pub(super) fn find_break(dir: &Path) -> io::Result<Option<String>> {
    let mut broken: Option<(PathBuf, u64)> = None;
    for path in journal_files(dir)? {
        let walk = walk(&path)?;
        if let (Some((path, at)), true) = (&broken, walk.batches > 0) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            return Ok(Some(format!(
                "journal file {name} is damaged at byte {at}, and history goes on after it"
            )));
        }
        broken = broken.or(walk.broken_at.map(|at| (path, at)));
    }
    Ok(None)
}

/// Journal files by rising number.
fn journal_files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let number =
            path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jnl")?.parse::<u64>().ok());
        files.extend(number.map(|number| (number, path)));
    }
    files.sort();
    Ok(files.into_iter().map(|(_, path)| path).collect())
}

/// What lies in one file.
#[derive(Debug, PartialEq, Eq)]
struct Walk {
    /// Batches that are whole as far as framing tells.
    batches: u64,
    /// Where parsing ends before the file does, not counting room that was never written.
    broken_at: Option<u64>,
}

fn walk(path: &Path) -> io::Result<Walk> {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, File::open(path)?);
    let (mut batches, mut at) = (0, 0);
    loop {
        match batch(&mut reader) {
            Ok(Some(bytes)) => (batches, at) = (batches + 1, at + bytes),
            Ok(None) => return Ok(Walk { batches, broken_at: None }),
            Err(cause) if matches!(cause.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData) => {
                return Ok(Walk { batches, broken_at: Some(at) });
            }
            Err(cause) => return Err(cause),
        }
    }
}

/// Walks over one batch; its length, or `None` at the end of what was written.
fn batch(reader: &mut BufReader<File>) -> io::Result<Option<u64>> {
    let mut tag = [0];
    if reader.read(&mut tag)? == 0 {
        return Ok(None);
    }
    if tag == [0] {
        return only_zeros(reader).and_then(|zeros| if zeros { Ok(None) } else { Err(broken()) });
    }
    if tag != [1] {
        return Err(broken());
    }
    let [count @ .., _, _, _, _, _, _, _, _] = take::<12>(reader)?;
    let mut bytes = 1 + 12;
    for _ in 0..u32::from_le_bytes(count) {
        bytes += entry(reader)?;
    }
    let [3, _, _, _, _, _, _, _, _, magic @ ..] = take::<13>(reader)? else { return Err(broken()) };
    if magic == MAGIC { Ok(Some(bytes + 13)) } else { Err(broken()) }
}

/// Walks over one entry of a batch; its length.
fn entry(reader: &mut BufReader<File>) -> io::Result<u64> {
    match take::<1>(reader)? {
        [2] => {
            let head = take::<20>(reader)?;
            let [_, _, _, _, _, _, _, _, _, _, k0, k1, _, _, _, _, v0, v1, v2, v3] = head;
            let key = u16::from_le_bytes([k0, k1]);
            let skipped = u64::from(key) + u64::from(u32::from_le_bytes([v0, v1, v2, v3]));
            // Read, not sought: a seek beyond the end would go unnoticed.
            let found = io::copy(&mut reader.by_ref().take(skipped), &mut io::sink())?;
            if found == skipped { Ok(21 + skipped) } else { Err(ErrorKind::UnexpectedEof.into()) }
        }
        [4] => take::<8>(reader).map(|_| 9),
        _ => Err(broken()),
    }
}

fn take<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn only_zeros(reader: &mut impl Read) -> io::Result<bool> {
    let mut part = vec![0; BUFFER_BYTES];
    loop {
        match reader.read(&mut part)? {
            0 => return Ok(true),
            n if part[..n].iter().any(|byte| *byte != 0) => return Ok(false),
            _ => {}
        }
    }
}

fn broken() -> io::Error {
    ErrorKind::InvalidData.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with journals 0 and 1, written by the engine.
    fn two_journals() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        for n in [0, 1] {
            let one = tempfile::tempdir().expect("a directory");
            let db = fjall::Database::builder(one.path()).open().expect("opens");
            let rows = db.keyspace("rows", fjall::KeyspaceCreateOptions::default).expect("a keyspace");
            for key in ["a", "b", "c"] {
                let mut batch = db.batch().durability(Some(fjall::PersistMode::SyncAll));
                batch.insert(&rows, key, vec![7; 20_000]);
                batch.remove(&rows, "other");
                batch.commit().expect("commits");
            }
            let bytes = fs::read(one.path().join("0.jnl")).expect("a journal");
            let end = bytes.iter().rposition(|byte| *byte != 0).expect("not empty") + 1;
            fs::write(dir.path().join(format!("{n}.jnl")), &bytes[..end + 1_000]).expect("written");
        }
        dir
    }

    fn change(dir: &tempfile::TempDir, name: &str, with: impl FnOnce(&mut Vec<u8>)) {
        let path = dir.path().join(name);
        let mut bytes = fs::read(&path).expect("a journal");
        with(&mut bytes);
        fs::write(path, bytes).expect("written");
    }

    #[test]
    fn what_the_engine_wrote_is_whole() {
        let dir = two_journals();
        assert_eq!(walk(&dir.path().join("0.jnl")).expect("read"), Walk { batches: 3, broken_at: None });
        assert_eq!(find_break(dir.path()).expect("read"), None);
    }

    #[test]
    fn a_torn_end_of_the_last_file_is_no_break() {
        let dir = two_journals();
        change(&dir, "1.jnl", |bytes| bytes.truncate(bytes.len() - 1_500));
        assert_eq!(walk(&dir.path().join("1.jnl")).expect("read").batches, 2);
        assert_eq!(find_break(dir.path()).expect("read"), None);
    }

    #[test]
    fn a_break_with_history_after_it_is_found() {
        let dir = two_journals();
        change(&dir, "0.jnl", |bytes| bytes[13] ^= 0x40);
        let found = find_break(dir.path()).expect("read").expect("a break");
        assert!(found.contains("0.jnl is damaged at byte 0"), "{found}");
    }

    #[test]
    fn a_torn_end_is_no_break_while_the_files_after_it_are_empty() {
        let dir = two_journals();
        change(&dir, "0.jnl", |bytes| bytes.truncate(bytes.len() - 1_500));
        change(&dir, "1.jnl", |bytes| bytes.fill(0));
        assert_eq!(find_break(dir.path()).expect("read"), None);
    }
}
