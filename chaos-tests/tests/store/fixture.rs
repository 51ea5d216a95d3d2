//! The format of version 1, as it was written once, is read for ever.
//!
//! `fixtures/redis-v1/keys` holds what the first version wrote, as commands: one a line, words with bytes that
//! cannot be seen written as `\x00`. [`write_fixture`] made it; it is never made again for this version.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use abide_chaos_tests::redis::{Ground, Node};
use abide_persistence::journal::{
    Batch, Claim, ClaimError, Epoch, Journal, JournalMeta, Known, ListIds, SnapshotCriteria, SnapshotStore,
    Token, Write, Writer,
};
use abide_persistence::runtime::redis::RedisStore;
use abide_persistence::testkit::{event, snapshot};
use abide_persistence::{EntityId, EntityType, PersistenceId, SequenceNr, ShardCount, ShardId};
use bytes::Bytes;

use crate::connecting::{open, options};
use crate::talk::append;

const SHARD: ShardId = ShardId(7);
const WRITER: Writer = Writer { cluster: 0xc1a5, incarnation: 0x1ca7_0000_0000_0000_0000_0000_0000_0042 };
/// Beyond what a double can tell from its neighbours.
const EPOCH: Epoch = Epoch((40_000 << 40) | 9);
const CLAIM: Claim = Claim { epoch: EPOCH, session: 3 };

fn meta() -> JournalMeta {
    JournalMeta {
        format: 1,
        shards: ShardCount::new(1024).unwrap(),
        hash: "xxh3_64".to_owned(),
        cluster: WRITER.cluster,
        generation: EPOCH.generation(),
    }
}

fn id(name: &str) -> PersistenceId {
    PersistenceId::new(EntityType::new("fixture"), EntityId::new(name).unwrap())
}

/// Events that were never deleted; some that were; all of them; and an id that needs care.
const PLAIN: &str = "plain";
const CUT: &str = "cut";
const EMPTIED: &str = "emptied";
const ODD: &str = "ödd {id}:|\"'\\ 漢";

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/redis-v1/keys")
}

async fn server() -> (Ground, RedisStore) {
    let ground = Ground::single().start().await.unwrap();
    let store = open(options(&ground).alone()).await;
    (ground, store)
}

/// All that the fixture says, done with a journal.
async fn fill(store: &RedisStore) {
    assert_eq!(store.replace_meta(None, meta()).await, Ok(true));
    store.claim(SHARD, CLAIM, WRITER, None).await.unwrap();
    let delete = |name: &str, to| Write::DeleteTo {
        persistence_id: id(name),
        to: SequenceNr(to),
        record: format!("record of {name}:\n{to}").into(),
    };
    let appends = [PLAIN, CUT, EMPTIED, ODD].map(|name| append(&id(name), 1, 5)).to_vec();
    for (number, writes) in (1..).zip([appends, vec![delete(CUT, 3), delete(EMPTIED, 5)]]) {
        let writes = Arc::new(writes);
        store.write(Batch { shard: SHARD, claim: CLAIM, number, writer: WRITER, writes }).await.unwrap();
    }
    for number in [3, 5] {
        store.save(SHARD, id(CUT), snapshot(number, 1000 + number, b"state")).await.unwrap();
    }
}

/// Everything on a server as the commands that would make it, in order.
async fn commands(node: &Node) -> Vec<Vec<Vec<u8>>> {
    let mut connection = node.connect().await.unwrap();
    let mut keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
    keys.sort();
    let mut commands = Vec::new();
    for key in keys {
        let kind: String = redis::cmd("TYPE").arg(&key).query_async(&mut connection).await.unwrap();
        let ask = |words: &[&str]| {
            let mut ask = redis::cmd(words[0]);
            ask.arg(&key).arg(&words[1..]);
            ask
        };
        let (make, values): (_, Vec<Vec<u8>>) = match kind.as_str() {
            "string" => ("SET", vec![ask(&["GET"]).query_async(&mut connection).await.unwrap()]),
            "list" => ("RPUSH", ask(&["LRANGE", "0", "-1"]).query_async(&mut connection).await.unwrap()),
            "hash" => {
                let pairs: BTreeMap<Vec<u8>, Vec<u8>> =
                    ask(&["HGETALL"]).query_async(&mut connection).await.unwrap();
                ("HSET", pairs.into_iter().flat_map(|(field, value)| [field, value]).collect())
            }
            "zset" => {
                let members: Vec<Vec<u8>> =
                    ask(&["ZRANGE", "0", "-1"]).query_async(&mut connection).await.unwrap();
                ("ZADD", members.into_iter().flat_map(|member| [b"0".to_vec(), member]).collect())
            }
            other => panic!("{other} is no type of the layout"),
        };
        commands.push([vec![make.as_bytes().to_vec(), key], values].concat());
    }
    commands
}

fn write_line(words: &[Vec<u8>]) -> String {
    // A space would end the word.
    let word = |word: &Vec<u8>| word.escape_ascii().to_string().replace(' ', "\\x20");
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn read_line(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(read_word).collect()
}

fn read_word(word: &str) -> Vec<u8> {
    let mut bytes = word.bytes();
    let mut read = Vec::new();
    while let Some(byte) = bytes.next() {
        read.push(match (byte, (byte == b'\\').then(|| bytes.next().unwrap())) {
            (_, Some(b'x')) => {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            (_, Some(b'n')) => b'\n',
            (_, Some(b'r')) => b'\r',
            (_, Some(b't')) => b'\t',
            (_, Some(itself)) => itself,
            (byte, None) => byte,
        });
    }
    read
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "makes the fixture of a new version"]
async fn write_fixture() {
    let (ground, store) = server().await;
    fill(&store).await;
    let mut lines: String =
        commands(&ground.nodes()[0]).await.iter().map(|words| write_line(words) + "\n").collect();
    // Differs each time: by whom the record was written.
    let by = lines.find("by ").map(|at| at + 3).unwrap();
    lines.replace_range(by..by + 32, &"0".repeat(32));
    std::fs::create_dir_all(file().parent().unwrap()).unwrap();
    std::fs::write(file(), lines).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_first_version_wrote_is_read_for_ever() {
    let (ground, store) = server().await;
    let mut connection = ground.nodes()[0].connect().await.unwrap();
    for line in std::fs::read_to_string(file()).unwrap().lines() {
        let words = read_line(line);
        let make = redis::cmd(std::str::from_utf8(&words[0]).unwrap()).arg(&words[1..]).to_owned();
        make.query_async::<()>(&mut connection).await.unwrap();
    }

    assert_eq!(store.meta().await, Ok(Some(meta())));
    let read = |name: &str, claim| {
        store.read(abide_persistence::journal::ReadEvents {
            shard: SHARD,
            persistence_id: id(name),
            from: SequenceNr(1),
            to: SequenceNr(u64::MAX),
            max_events: 100,
            max_bytes: usize::MAX,
            known: Some(Known { claim, batch: 0 }),
        })
    };
    for (name, deleted_to) in [(PLAIN, 0), (CUT, 3), (EMPTIED, 5), (ODD, 0)] {
        let page = read(name, CLAIM).await.unwrap();
        let noted = |number: u64| event(number, format!("event-{number}").as_bytes());
        let events: Vec<Bytes> = (deleted_to + 1..=5).map(noted).collect();
        assert_eq!((page.events, page.deleted_to.0, page.last.0), (events, deleted_to, 5), "{name}");
        let record = if deleted_to == 0 { String::new() } else { format!("record of {name}:\n{deleted_to}") };
        assert_eq!(page.record, record, "{name}");
    }
    for number in [3, 5] {
        let criteria = SnapshotCriteria::up_to(SequenceNr(number + 1));
        let loaded = store.load(SHARD, id(CUT), criteria).await.unwrap().expect("it is there");
        assert_eq!(loaded, snapshot(number, 1000 + number, b"state"));
    }
    let query = ListIds { shard: SHARD, entity_type: "fixture".to_owned(), after: None, limit: 10 };
    let mut ids: Vec<&str> = vec![PLAIN, CUT, EMPTIED, ODD];
    ids.sort_unstable();
    let found = store.persistence_ids(query).await.unwrap().ids;
    assert_eq!(found.iter().map(EntityId::as_str).collect::<Vec<_>>(), ids);

    // The token: whoever knows of more than it says sees a loss; the next owner goes on.
    let (known, next) = (Known { claim: CLAIM, batch: 2 }, CLAIM.again());
    let held = Some(Token { claim: CLAIM, batch: 2, writer: WRITER });
    let least = Known { batch: 3, ..known };
    let lost = store.claim(SHARD, next, WRITER, Some(least)).await;
    assert_eq!(lost, Err(ClaimError::Lost { held, least }));
    store.claim(SHARD, next, WRITER, Some(known)).await.unwrap();
    let writes = Arc::new([PLAIN, CUT, EMPTIED, ODD].map(|name| append(&id(name), 6, 1)).to_vec());
    store.write(Batch { shard: SHARD, claim: next, number: 1, writer: WRITER, writes }).await.unwrap();
    assert_eq!(read(EMPTIED, next).await.unwrap().last.0, 6);
}

/// So that nobody changes the format without a thought for what is stored: a new one is a new version.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_today_is_what_the_first_version_wrote() {
    let (ground, store) = server().await;
    fill(&store).await;
    let today = commands(&ground.nodes()[0]).await;
    let kept: Vec<Vec<Vec<u8>>> = std::fs::read_to_string(file()).unwrap().lines().map(read_line).collect();
    for (today, kept) in today.iter().zip(&kept) {
        let is_meta = kept[1] == b"abide:meta";
        let differ = today.iter().zip(kept).filter(|(today, kept)| today != kept).count();
        assert!(differ == usize::from(is_meta), "{}\nwas\n{}", write_line(today), write_line(kept));
    }
    assert_eq!(today.len(), kept.len());
}
