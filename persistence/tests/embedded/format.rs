//! The rows of the embedded store, byte for byte.
//!
//! `fixtures/embedded-v1*.txt` are whole databases: a line `<keyspace> <key> <value>` for each row, in hex. In
//! the first, snapshots have the form from before they had names and checksums. None of them changes once it
//! was released: a new format adds a file.

use bytes::Bytes;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use abide_persistence::journal::{
    Batch, Claim, ClaimError, Epoch, Journal, JournalMeta, ListIds, ReadError, ReadEvents, SnapshotCriteria,
    SnapshotError, SnapshotStore, Write, Writer,
};
use abide_persistence::runtime::EmbeddedStore;
use abide_persistence::testkit::{event, snapshot};
use abide_persistence::{EntityId, EntityType, PersistenceId, SequenceNr, ShardCount, ShardId};
use fjall::{Database, KeyspaceCreateOptions, PersistMode, Readable};

use crate::open;

const KEYSPACES: [&str; 4] = ["events", "streams", "snapshots", "meta"];
const WRITER: Writer = Writer { cluster: 0x0102_0304, incarnation: u128::MAX };
const SHARD: ShardId = ShardId(258);

fn claim(index: u64) -> Claim {
    Claim { epoch: Epoch::new(7, index), session: 3 }
}

fn id(id: &str) -> PersistenceId {
    PersistenceId::new(EntityType::new("account"), EntityId::new(id).unwrap())
}

fn meta() -> JournalMeta {
    JournalMeta {
        format: 1,
        shards: ShardCount::new(1024).unwrap(),
        hash: JournalMeta::HASH.to_owned(),
        cluster: WRITER.cluster,
        generation: 7,
    }
}

/// As the first versions wrote it.
fn first_fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/embedded-v1.txt")
}

/// As it is written today.
fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/embedded-v1-stored-snapshot.txt")
}

/// Everything that leaves a row of its own kind.
async fn write_one_of_each(store: &EmbeddedStore) {
    assert_eq!(store.replace_meta(None, meta()).await, Ok(true));
    store.claim(SHARD, claim(9), WRITER, None).await.unwrap();
    let append = |persistence_id: PersistenceId, numbers: std::ops::RangeInclusive<u64>| Write::Append {
        persistence_id,
        first: SequenceNr(*numbers.start()),
        events: numbers.map(|number| event(number, b"{}")).collect(),
    };
    let writes = [
        vec![append(id("a"), 1..=2), append(id("ab|ä"), 1..=1), append(id("gone"), 1..=300)],
        vec![Write::DeleteTo { persistence_id: id("gone"), to: SequenceNr(298), record: Bytes::new() }],
        vec![
            append(id("empty"), 1..=2),
            Write::DeleteTo { persistence_id: id("empty"), to: SequenceNr(2), record: Bytes::new() },
        ],
    ];
    for (number, writes) in (1..).zip(writes) {
        let batch = Batch { shard: SHARD, claim: claim(9), number, writer: WRITER, writes: Arc::new(writes) };
        store.write(batch).await.unwrap();
    }
    store.save(SHARD, id("gone"), snapshot(298, 1_764_000_000_123, b"state")).await.unwrap();
}

#[tokio::test]
async fn a_database_of_format_1_is_read() {
    for fixture in [first_fixture(), fixture()] {
        check_that_it_is_read(&fixture).await;
    }
}

async fn check_that_it_is_read(fixture: &Path) {
    let dir = tempfile::tempdir().unwrap();
    load(dir.path(), &fs::read_to_string(fixture).unwrap());
    let store = open(dir.path()).unwrap();
    assert_eq!(store.meta().await, Ok(Some(meta())));
    let streams = [("a", 0, 2), ("ab|ä", 0, 1), ("gone", 298, 300), ("empty", 2, 2), ("abc", 0, 0)];
    for (name, deleted_to, last) in streams {
        let page = store.read(window(name)).await.unwrap();
        assert_eq!((page.deleted_to, page.last), (SequenceNr(deleted_to), SequenceNr(last)), "{name}");
        let expected = (deleted_to + 1..=last).map(|number| event(number, b"{}"));
        assert!(page.events.into_iter().eq(expected), "{name}");
    }
    let loaded = store.load(SHARD, id("gone"), SnapshotCriteria::ANY).await.unwrap();
    assert_eq!(loaded, Some(snapshot(298, 1_764_000_000_123, b"state")));

    let fenced = store.claim(SHARD, claim(8), WRITER, None).await;
    assert!(
        matches!(fenced, Err(ClaimError::Fenced { held }) if held.claim == claim(9) && held.writer == WRITER)
    );
    store.claim(SHARD, claim(10), WRITER, None).await.unwrap();
}

/// It has no checksum; what can be noticed is.
#[tokio::test]
async fn a_snapshot_of_before_is_replaced_deleted_and_checked() {
    let first = fs::read_to_string(first_fixture()).unwrap();
    let row = first.lines().find(|row| row.starts_with("snapshots")).unwrap();
    let (key, value) = row.rsplit_once(' ').unwrap();
    let damages = [
        (format!("{key} 08ab{}", &value[4..]), "another number"),
        (format!("{key} {}", &value[..value.len() - 2]), "cut short"),
        (format!("{key} 09{}", &value[2..]), "no row of before"),
    ];
    for (damaged, how) in damages {
        let dir = tempfile::tempdir().unwrap();
        load(dir.path(), &first.replace(row, &damaged));
        let store = open(dir.path()).unwrap();
        let loaded = store.load(SHARD, id("gone"), SnapshotCriteria::ANY).await;
        let number = SequenceNr(298);
        assert!(
            matches!(loaded, Err(SnapshotError::Damaged { sequence_nr, .. }) if sequence_nr == number),
            "{how}: {loaded:?}"
        );
        let below = SnapshotCriteria::up_to(SequenceNr(297));
        assert_eq!(store.load(SHARD, id("gone"), below).await, Ok(None));
        store.close().await;
    }

    let dir = tempfile::tempdir().unwrap();
    load(dir.path(), &first);
    let store = open(dir.path()).unwrap();
    let early = SnapshotCriteria { max_time_ms: 1_764_000_000_122, ..SnapshotCriteria::ANY };
    store.delete(SHARD, id("gone"), early).await.unwrap();
    assert!(store.load(SHARD, id("gone"), SnapshotCriteria::ANY).await.unwrap().is_some());
    let second = snapshot(298, 5, b"second");
    store.save(SHARD, id("gone"), second.clone()).await.unwrap();
    assert_eq!(store.load(SHARD, id("gone"), SnapshotCriteria::ANY).await, Ok(Some(second)));
    store.delete(SHARD, id("gone"), SnapshotCriteria::ANY).await.unwrap();
    assert_eq!(store.load(SHARD, id("gone"), SnapshotCriteria::ANY).await, Ok(None));
    store.close().await;
}

#[tokio::test]
async fn a_database_of_format_1_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    write_one_of_each(&store).await;
    store.close().await;
    assert_eq!(fs::read_to_string(dir.path().join("abide-journal")).unwrap(), "abide-journal format 1\n");
    let found = dump(&dir.path().join("db"));
    assert!(found == fs::read_to_string(fixture()).unwrap(), "the rows are others:\n{found}");
}

#[tokio::test]
async fn the_rows_of_ids_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    write_one_of_each(&store).await;
    store.close().await;
    let db = Database::builder(dir.path().join("db")).open().unwrap();
    let ids = db.keyspace("ids", KeyspaceCreateOptions::default).unwrap();
    let mut found = String::new();
    for row in db.snapshot().iter(&ids) {
        let (key, value) = row.into_inner().unwrap();
        writeln!(found, "ids {} {}", to_hex(&key), to_hex(&value)).unwrap();
    }
    let expected = fixture().with_file_name("embedded-v1-ids.txt");
    assert!(found == fs::read_to_string(expected).unwrap(), "the rows are others:\n{found}");
}

/// A journal that was written before there were rows of ids gets them, each in the shard of its hash.
#[tokio::test]
async fn an_older_database_gets_its_ids_at_its_next_start() {
    let dir = tempfile::tempdir().unwrap();
    load(dir.path(), &fs::read_to_string(fixture()).unwrap());
    for start in 1..=2 {
        let store = open(dir.path()).unwrap();
        for (name, there) in [("a", 1), ("ab|ä", 1), ("gone", 1), ("empty", 1), ("ab", 0), ("gon", 0)] {
            let shard = id(name).hash().shard(meta().shards);
            let query = ListIds { shard, entity_type: "account".to_owned(), after: None, limit: 10 };
            let page = store.persistence_ids(query).await.unwrap();
            let listed = page.ids.iter().filter(|listed| listed.as_str() == name).count();
            assert_eq!(listed, there, "{name} at start {start}");
        }
        store.close().await;
    }
}

/// Rows that this store never writes: what is read is refused, not guessed.
#[tokio::test]
async fn damage_inside_a_stream_is_told() {
    let text = fs::read_to_string(fixture()).unwrap();
    let rows: Vec<&str> = text.lines().filter(|row| row.starts_with("events")).collect();
    let without = |row: &str| text.replace(&format!("{row}\n"), "");
    // The rows of the events, in order: a 1, a 2, ab|ä 1, gone 299, gone 300.
    let (key, _) = rows[1].rsplit_once(' ').unwrap();
    let swapped = text.replace(rows[1], &format!("{key} {}", rows[0].rsplit_once(' ').unwrap().1));
    let no_event = text.replace(rows[1], &format!("{key} ffff"));
    let damages = [(without(rows[3]), "gone"), (swapped, "a"), (no_event, "a")];
    for (text, name) in damages {
        let dir = tempfile::tempdir().unwrap();
        load(dir.path(), &text);
        let store = open(dir.path()).unwrap();
        let refused = store.read(window(name)).await;
        assert!(matches!(refused, Err(ReadError::Damaged(_))), "{name}: {refused:?}");
        store.close().await;
    }
}

fn window(name: &str) -> ReadEvents {
    ReadEvents {
        shard: SHARD,
        persistence_id: id(name),
        from: SequenceNr(1),
        to: SequenceNr(u64::MAX),
        max_events: 1_000,
        max_bytes: usize::MAX,
        known: None,
    }
}

/// Makes a store of a dump, past the store's own code.
fn load(dir: &Path, text: &str) {
    fs::write(dir.join("abide-journal"), "abide-journal format 1\n").unwrap();
    let db = Database::builder(dir.join("db")).open().unwrap();
    for name in KEYSPACES {
        let keyspace = db.keyspace(name, KeyspaceCreateOptions::default).unwrap();
        for row in text.lines().filter_map(|row| row.strip_prefix(name)?.strip_prefix(' ')) {
            let (key, value) = row.split_once(' ').unwrap();
            keyspace.insert(from_hex(key), from_hex(value)).unwrap();
        }
    }
    db.persist(PersistMode::SyncAll).unwrap();
}

/// All rows of a database, past the store's own code.
fn dump(db: &Path) -> String {
    let db = Database::builder(db).open().unwrap();
    let mut text = String::new();
    for name in KEYSPACES {
        assert!(db.keyspace_exists(name), "{name}");
        let keyspace = db.keyspace(name, KeyspaceCreateOptions::default).unwrap();
        for row in db.snapshot().iter(&keyspace) {
            let (key, value) = row.into_inner().unwrap();
            writeln!(text, "{name} {} {}", to_hex(&key), to_hex(&value)).unwrap();
        }
    }
    // `ids` came later and has a file of its own.
    assert_eq!(db.keyspace_count(), KEYSPACES.len() + 1);
    text
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}
