//! What comes back, and whose.

use std::sync::Arc;

use super::shelf::{Shelf, five, time};
use crate::codec::{Codec, Codecs};
use crate::ids::{EntityId, EntityType, MAX_ID_BYTES, PersistenceId, SequenceNr};
use crate::journal::{Snapshot, SnapshotCriteria, SnapshotStore};
use crate::testkit::fresh::{fresh_id, named, snapshot};

/// With its time and its payload.
pub async fn a_second_one_with_the_same_number_replaces_the_first(store: Arc<dyn SnapshotStore>) {
    let shelf = Shelf::of_five(store).await;
    let second = snapshot(15, time(15) + 5, b"second");
    shelf.save(second.clone()).await;
    assert_eq!(shelf.load(SnapshotCriteria::ANY).await, Some(second));
    assert_eq!(
        shelf.load(SnapshotCriteria { max_time_ms: time(15), ..SnapshotCriteria::ANY }).await,
        Some(five(14))
    );
}

/// With every field at its highest, and at its lowest.
pub async fn a_snapshot_comes_back_as_it_was_saved(store: Arc<dyn SnapshotStore>) {
    let shelf = Shelf { store, id: fresh_id(None) };
    let bytes: bytes::Bytes = (0..=255_u8).collect::<Vec<_>>().into();
    let highest = Snapshot {
        sequence_nr: SequenceNr(u64::MAX),
        claim: crate::journal::Claim { epoch: crate::journal::Epoch(u64::MAX), session: u32::MAX },
        batch: u64::MAX,
        time_ms: u64::MAX,
        codec: u32::MAX,
        name: "\u{10ffff}".repeat(100),
        version: u32::MAX,
        payload: bytes.clone(),
        records: bytes,
    };
    let lowest = Snapshot {
        sequence_nr: SequenceNr(1),
        claim: crate::journal::Claim { epoch: crate::journal::Epoch(0), session: 0 },
        batch: 0,
        time_ms: 0,
        codec: 0,
        name: String::new(),
        version: 0,
        payload: bytes::Bytes::new(),
        records: bytes::Bytes::new(),
    };
    for snapshot in [highest, lowest] {
        shelf.save(snapshot.clone()).await;
        assert_eq!(shelf.load(SnapshotCriteria::exactly(snapshot.sequence_nr)).await, Some(snapshot));
    }
}

/// Ten million bytes that do not compress well.
pub async fn a_large_snapshot_is_kept(store: Arc<dyn SnapshotStore>) {
    let shelf = Shelf { store, id: fresh_id(None) };
    let payload: Vec<u8> = (0..10_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let large = snapshot(1, 1, &payload);
    shelf.save(large.clone()).await;
    assert!(shelf.load(SnapshotCriteria::ANY).await == Some(large), "the same bytes");
}

/// Neither loading nor deleting reaches beyond its entity.
pub async fn ids_that_are_prefixes_of_each_other_have_snapshots_of_their_own(store: Arc<dyn SnapshotStore>) {
    let base = fresh_id(None).id;
    let ids = ["", "0", "|", "\u{10ffff}"].map(|tail| named(&format!("{base}{tail}")));
    let shelves = ids.map(|id| Shelf { store: store.clone(), id });
    for (at, shelf) in shelves.iter().enumerate() {
        shelf.save(five(11 + at as u64)).await;
    }
    for (at, shelf) in shelves.iter().enumerate() {
        assert_eq!(shelf.load(SnapshotCriteria::ANY).await, Some(five(11 + at as u64)));
        shelf.delete(SnapshotCriteria::ANY).await;
        assert_eq!(shelf.load(SnapshotCriteria::ANY).await, None);
    }
}

/// Ten thousand bytes, as a first step above what fits in a page.
pub async fn a_bigger_snapshot_is_kept(store: Arc<dyn SnapshotStore>) {
    let shelf = Shelf { store, id: fresh_id(None) };
    let bigger = snapshot(1, 1, &[0xff; 10_000]);
    shelf.save(bigger.clone()).await;
    assert_eq!(shelf.load(SnapshotCriteria::ANY).await, Some(bigger));
}

/// A codec of a user's own.
struct Reversed;

impl Codec<String> for Reversed {
    fn id(&self) -> u32 {
        4_711
    }

    fn encode(&self, value: &String) -> Result<bytes::Bytes, String> {
        Ok(value.bytes().rev().collect())
    }

    fn decode(&self, name: &str, version: u32, bytes: &[u8]) -> Result<String, String> {
        assert_eq!((name, version), ("line", 9), "as they were stored");
        String::from_utf8(bytes.iter().rev().copied().collect()).map_err(|cause| cause.to_string())
    }
}

/// Number, name and version come back, so that the right codec is found.
pub async fn what_a_codec_of_a_users_own_wrote_is_read_by_it(store: Arc<dyn SnapshotStore>) {
    let shelf = Shelf { store, id: fresh_id(None) };
    let codecs: Codecs<String> = Codecs::new(Reversed);
    let (codec, payload) = codecs.encode_named("line", &"forwards".to_owned()).expect("encoded");
    let name = "line".to_owned();
    shelf.save(Snapshot { codec, name, version: 9, payload, ..five(11) }).await;
    let loaded = shelf.load(SnapshotCriteria::ANY).await.expect("there is one");
    let state = codecs.decode(loaded.codec, &loaded.name, loaded.version, &loaded.payload);
    assert_eq!(state, Ok("forwards".to_owned()));
    assert_eq!(loaded.payload, "sdrawrof");
}

/// Whatever a store makes of an id, it is one entity's and no other's.
pub async fn odd_ids_have_snapshots_of_their_own(store: Arc<dyn SnapshotStore>) {
    let long = |text: &str| text.repeat(MAX_ID_BYTES / text.len());
    let ids = [
        "/",
        "//",
        "/etc/passwd",
        ".",
        "..",
        "../..",
        "../0",
        "a/../b",
        "a/b",
        "a%2Fb",
        "%",
        "%25",
        "%00",
        "\\",
        "C:",
        "con",
        "CON",
        "*",
        "?",
        "'",
        "\"",
        "$HOME",
        "`",
        ";",
        "{0}",
        "{1}:e",
        "-",
        "--",
        "-rf",
        "~",
        " ",
        "  ",
        " a",
        "a ",
        "a.",
        "a",
        "A",
        "é",
        "e\u{301}",
        "ﬁ",
        "fi",
        "\u{200b}",
        "\u{202e}",
        "\u{feff}a",
        "\u{10ffff}",
        "名前",
        "0",
        "00",
        "00000000000000000011",
        "unfinished",
        "abide-snapshots",
    ];
    let mut ids: Vec<PersistenceId> = ids.map(named).into();
    ids.extend(
        [long("x"), long("/"), long("%"), long("."), long("é"), long("\u{10ffff}")].map(|id| named(&id)),
    );
    ids.push(named(&format!("{}y", &long("x")[1..])));
    let other_type =
        |name, id| PersistenceId::new(EntityType::new(name), EntityId::new(id).expect("an entity id"));
    ids.extend([other_type("testkit-a", "b"), other_type("testkit", "-a|b"), other_type("testkit", "a|b")]);
    ids.extend([other_type("t", "estkit|a"), other_type("con", "a"), other_type("t", "a")]);
    let shelves: Vec<Shelf> = ids.into_iter().map(|id| Shelf { store: store.clone(), id }).collect();
    let state = |at: usize| snapshot(11, time(11), format!("state of {at}").as_bytes());
    for (at, shelf) in shelves.iter().enumerate() {
        assert_eq!(shelf.load(SnapshotCriteria::ANY).await, None, "{}", shelf.id);
        shelf.save(state(at)).await;
    }
    for (at, shelf) in shelves.iter().enumerate() {
        assert_eq!(shelf.load(SnapshotCriteria::ANY).await, Some(state(at)), "{}", shelf.id);
        shelf.delete(SnapshotCriteria::ANY).await;
        assert_eq!(shelf.load(SnapshotCriteria::ANY).await, None, "{}", shelf.id);
    }
}
