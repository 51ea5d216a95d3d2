//! A look at the engine's journal files before the engine itself replays them.
//!
//! The engine ends a file's replay at the first bytes that it cannot parse, cuts the file there, and goes
//! on with the next file. At the very end of the log that is the torn tail of a commit. Anywhere else it
//! would lose commits in the middle of history, with newer ones behind them, so that even the
//! [mark](super::mark) sees nothing. Here such a break is found, and the store stays shut.
//!
//! A torn tail is cut off here rather than by the engine. Its files are made longer than they are filled, so
//! what was not written reads as zeros, and an entry that breaks off inside its head trips the engine's own
//! assertions where they are compiled in: a commit that nobody was told of would keep the store shut.
//!
//! Not a check of contents: checksums are the engine's own, and it refuses where they do not hold. Knows
//! the framing of fjall's format 3 (`journal/entry.rs` there); the dependency is held to one minor version.
//!
//! Invariant: whatever the engine itself replays whole passes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

const MAGIC: [u8; 4] = *b"FJL\x03";
const BUFFER_BYTES: usize = 256 << 10;

/// What a look at the files found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing, or what the engine itself must judge.
    Whole,
    /// A commit that was being written when the process or the machine died, the last one: nothing from here
    /// on ends a commit.
    Torn {
        /// The file.
        path: PathBuf,
        /// Where that commit begins.
        at: u64,
    },
    /// Commits come after a break.
    Broken(String),
}

/// Looks for the first break, and for what comes after it.
pub(super) fn look(dir: &Path) -> io::Result<Found> {
    let mut broken: Option<(PathBuf, u64)> = None;
    for path in journal_files(dir)? {
        let walk = walk(&path)?;
        if let (Some((path, at)), true) = (&broken, walk.batches > 0) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            return Ok(Found::Broken(format!(
                "journal file {name} is damaged at byte {at}, and history goes on after it"
            )));
        }
        broken = broken.or(walk.broken_at.map(|at| (path, at)));
    }
    match broken {
        Some((path, at)) if !ends_a_commit(&path, at)? => Ok(Found::Torn { path, at }),
        _ => Ok(Found::Whole),
    }
}

/// Cuts a torn commit off, as the engine would.
pub(super) fn cut(path: &Path, at: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(at)?;
    file.sync_all()
}

/// Whether the mark of a commit's end lies somewhere from `at` on.
fn ends_a_commit(path: &Path, at: u64) -> io::Result<bool> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(at))?;
    let mut last = [0; MAGIC.len()];
    for byte in BufReader::with_capacity(BUFFER_BYTES, file).bytes() {
        last.rotate_left(1);
        last[MAGIC.len() - 1] = byte?;
        if last == MAGIC {
            return Ok(true);
        }
    }
    Ok(false)
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
        assert_eq!(look(dir.path()).expect("read"), Found::Whole);
    }

    #[test]
    fn a_torn_end_of_the_last_file_is_no_break() {
        let dir = two_journals();
        let whole = two_journals();
        for torn in [1_001, 1_500, 15_000, 20_060] {
            // Cut off, and never written where room was made for it.
            for is_cut in [true, false] {
                change(&dir, "1.jnl", |bytes| {
                    *bytes = fs::read(whole.path().join("1.jnl")).expect("a journal");
                    let (len, end) = (bytes.len(), bytes.len() - torn);
                    bytes.truncate(end);
                    bytes.resize(if is_cut { end } else { len }, 0);
                });
                let path = dir.path().join("1.jnl");
                assert_eq!(walk(&path).expect("read").batches, 2);
                let found = look(dir.path()).expect("read");
                let Found::Torn { path: torn, at } = found else { panic!("{found:?}") };
                assert_eq!(torn, path);
                cut(&path, at).expect("cut");
                assert_eq!(look(dir.path()).expect("read"), Found::Whole);
                assert_eq!(walk(&path).expect("read"), Walk { batches: 2, broken_at: None });
            }
        }
    }

    #[test]
    fn damage_before_the_end_of_a_commit_is_no_torn_end() {
        let dir = two_journals();
        change(&dir, "1.jnl", |bytes| bytes[13] ^= 0x40);
        assert_eq!(walk(&dir.path().join("1.jnl")).expect("read").broken_at, Some(0));
        assert_eq!(look(dir.path()).expect("read"), Found::Whole, "left to the engine, and to the mark");
    }

    #[test]
    fn a_break_with_history_after_it_is_found() {
        let dir = two_journals();
        change(&dir, "0.jnl", |bytes| bytes[13] ^= 0x40);
        let found = look(dir.path()).expect("read");
        let Found::Broken(found) = found else { panic!("{found:?}") };
        assert!(found.contains("0.jnl is damaged at byte 0"), "{found}");
    }

    #[test]
    fn a_torn_end_is_no_break_while_the_files_after_it_are_empty() {
        let dir = two_journals();
        change(&dir, "0.jnl", |bytes| bytes.truncate(bytes.len() - 1_500));
        change(&dir, "1.jnl", |bytes| bytes.fill(0));
        let found = look(dir.path()).expect("read");
        assert!(matches!(&found, Found::Torn { path, .. } if path.ends_with("0.jnl")), "{found:?}");
    }
}
