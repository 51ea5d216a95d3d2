//! Which embedded engine should carry the event journal: `fjall`, `redb`, or (as an upper bound) a raw file?
//!
//! The workload is an event journal: entity `counter|<16 byte id>`, key = persistence id, 0x00, sequence
//! number (u64 big endian); value = 200 bytes, half of them incompressible. Measured for each engine:
//!
//! * group commit of 256, 16 and 1 events, each commit synced to the device, 1 000 entities in rotation
//!   (300 000 events or 20 s, whichever ends first);
//! * 1 000 000 events (100 000 entities of 10, interleaved), closed: bytes on disk; reopened: time to open,
//!   look-ups of ids without events, whole streams by prefix in random order with 1 and 2 threads, RSS;
//! * kill -9 in the middle of group commits: time to reopen, and whether every acknowledged event is there.
//!
//! `raw` is one append-only file with an index in memory, rebuilt by a scan at open. It is no contender: it
//! has no atomic batch, no page cache of its own, no deletes, and its index grows with the journal.
//! `redb-qr` is redb with quick repair. Each phase runs in a child process of its own, so RSS is per phase.
//! All reads are warm (the data fit in the page cache); both engines get a cache of 128 MiB.
//!
//! Run: `CARGO_TARGET_DIR=/tmp/engine-bench-target cargo run --release -- [--dir D]`
//! where D (default: the current directory) is on a real disk, never on tmpfs.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use fjall::PersistMode;
use redb::{ReadableDatabase, TableDefinition};

type Event = (Vec<u8>, Vec<u8>);
const ENGINES: [&str; 4] = ["fjall", "redb", "redb-qr", "raw"];
const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("events");
const CACHE: usize = 128 << 20;
const SECONDS: u64 = 20;
const ENTITIES: u64 = 100_000;
const EVENTS_EACH: u64 = 10;
const RECORD: usize = 33 + 200;

/// splitmix64: scrambles entity numbers into ids, and makes the incompressible half of the values.
fn mix(n: u64) -> u64 {
    let z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn prefix(entity: u64) -> Vec<u8> {
    format!("counter|{:016x}\0", mix(entity)).into_bytes()
}

fn event(entity: u64, seq: u64) -> Event {
    let key = [prefix(entity), seq.to_be_bytes().to_vec()].concat();
    let noise = (0..12).flat_map(|i| mix(entity << 24 ^ seq << 4 ^ i).to_le_bytes());
    let mut value: Vec<u8> = noise.collect();
    value.resize(200, b'.');
    (key, value)
}

/// An open engine; every method panics on an error, this is a benchmark.
enum Engine {
    Fjall(fjall::Database, fjall::Keyspace),
    /// With or without quick repair.
    Redb(redb::Database, bool),
    /// The file; its length, and the offsets of the events of each prefix.
    Raw(File, Mutex<(u64, HashMap<Vec<u8>, Vec<u64>>)>),
}

impl Engine {
    fn open(engine: &str, dir: &Path) -> Engine {
        fs::create_dir_all(dir).unwrap();
        if engine == "fjall" {
            let db = fjall::Database::builder(dir).cache_size(CACHE as u64);
            let db = db.open().unwrap();
            let events = db.keyspace("events", fjall::KeyspaceCreateOptions::default);
            return Engine::Fjall(db, events.unwrap());
        }
        if engine == "raw" {
            let mut options = OpenOptions::new();
            options.create(true).read(true).append(true);
            let mut file = options.open(dir.join("journal")).unwrap();
            let (mut end, mut index, mut all) = (0, HashMap::<_, Vec<u64>>::new(), Vec::new());
            file.read_to_end(&mut all).unwrap();
            for record in all.chunks_exact(RECORD) {
                index.entry(record[..25].to_vec()).or_default().push(end);
                end += RECORD as u64;
            }
            return Engine::Raw(file, Mutex::new((end, index)));
        }
        let mut builder = redb::Database::builder();
        let db = builder.set_cache_size(CACHE).create(dir.join("db.redb"));
        let db = Engine::Redb(db.unwrap(), engine == "redb-qr");
        db.commit(&[]); // creates the table
        db
    }

    /// One atomic commit, on the device when it returns.
    fn commit(&self, events: &[Event]) {
        match self {
            Engine::Fjall(db, keyspace) => {
                let mut batch = db.batch().durability(Some(PersistMode::SyncAll));
                for (key, value) in events {
                    batch.insert(keyspace, key.as_slice(), value.as_slice());
                }
                batch.commit().unwrap();
            }
            Engine::Redb(db, quick_repair) => {
                let mut tx = db.begin_write().unwrap();
                tx.set_durability(redb::Durability::Immediate).unwrap();
                tx.set_quick_repair(*quick_repair);
                let mut table = tx.open_table(TABLE).unwrap();
                for (key, value) in events {
                    table.insert(key.as_slice(), value.as_slice()).unwrap();
                }
                drop(table);
                tx.commit().unwrap();
            }
            Engine::Raw(file, state) => {
                let (end, index) = &mut *state.lock().unwrap();
                let block: Vec<u8> = events
                    .iter()
                    .flat_map(|(k, v)| [k.as_slice(), v].concat())
                    .collect();
                (&*file).write_all(&block).unwrap();
                file.sync_data().unwrap();
                for (key, _) in events {
                    index.entry(key[..25].to_vec()).or_default().push(*end);
                    *end += RECORD as u64;
                }
            }
        }
    }

    /// Reads a whole stream; returns the number of events.
    fn read(&self, prefix: &[u8]) -> u64 {
        let check = |value: &[u8]| assert_eq!(value.len(), 200);
        match self {
            Engine::Fjall(_, keyspace) => {
                let items = keyspace.prefix(prefix);
                items.map(|item| check(&item.into_inner().unwrap().1)).count() as u64
            }
            Engine::Redb(db, _) => {
                let table = db.begin_read().unwrap().open_table(TABLE).unwrap();
                let mut end = prefix.to_vec();
                *end.last_mut().unwrap() = 1;
                let items = table.range::<&[u8]>(prefix..end.as_slice()).unwrap();
                items.map(|item| check(item.unwrap().1.value())).count() as u64
            }
            Engine::Raw(file, state) => {
                let offsets = state.lock().unwrap().1.get(prefix).cloned().unwrap_or_default();
                let mut record = [0; RECORD];
                for offset in &offsets {
                    file.read_exact_at(&mut record, *offset).unwrap();
                    check(&record[33..]);
                }
                offsets.len() as u64
            }
        }
    }

    /// Whether there is an event with this very key.
    fn has(&self, key: &[u8]) -> bool {
        match self {
            Engine::Fjall(_, keyspace) => keyspace.contains_key(key).unwrap(),
            Engine::Redb(db, _) => {
                let table = db.begin_read().unwrap().open_table(TABLE).unwrap();
                table.get(key).unwrap().is_some()
            }
            Engine::Raw(_, state) => state.lock().unwrap().1.contains_key(&key[..25]),
        }
    }
}

/// Commits events in groups, over `entities` in rotation, until `end`: a number of events, or a time.
fn write(db: &Engine, group: u64, entities: u64, end: (u64, u64), acked: impl Fn(u64)) -> (u64, f64) {
    let (start, mut n) = (Instant::now(), 0);
    while n < end.0 && start.elapsed().as_secs() < end.1 {
        let events = (n..n + group).map(|n| event(n % entities, n / entities + 1));
        db.commit(&events.collect::<Vec<_>>());
        n += group;
        acked(n);
    }
    (n, start.elapsed().as_secs_f64())
}

/// Does `op` for each of 100 000 entity numbers from `first` on, in random order, on `threads` threads; per second.
fn lookups(first: u64, threads: u64, op: impl Fn(u64) + Sync) -> f64 {
    let mut order: Vec<u64> = (first..first + ENTITIES).collect();
    order.sort_by_key(|n| mix(n ^ 0xabcd ^ threads << 40));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for part in order.chunks(ENTITIES.div_ceil(threads) as usize) {
            scope.spawn(|| part.iter().for_each(|entity| op(*entity)));
        }
    });
    ENTITIES as f64 / start.elapsed().as_secs_f64()
}

/// A line of /proc/self/status in MiB.
fn status(field: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

/// Allocated bytes under `path`.
fn disk(path: &Path) -> u64 {
    match fs::read_dir(path) {
        Ok(entries) => entries.map(|entry| disk(&entry.unwrap().path())).sum(),
        Err(_) => fs::metadata(path).unwrap().blocks() * 512,
    }
}

/// One phase, in a process of its own: prints lines of "metric<TAB>value".
fn phase(engine: &str, phase: &str, dir: &Path) {
    let print = |metric: &str, value: f64| println!("{metric}\t{value}");
    let start = Instant::now();
    let db = Engine::open(engine, dir);
    let open_ms = start.elapsed().as_secs_f64() * 1e3;
    let total = ENTITIES * EVENTS_EACH;
    match phase {
        "load" => {
            let (n, took) = write(&db, 1_000, ENTITIES, (total, u64::MAX), |_| ());
            print("load 1M, 1000/commit: events/s", n as f64 / took);
            print("load 1M: peak RSS, MiB", status("VmHWM:"));
            let start = Instant::now();
            drop(db);
            print("clean close after 1M, ms", start.elapsed().as_secs_f64() * 1e3);
            print("disk after 1M, bytes/event", disk(dir) as f64 / n as f64);
        }
        "read" => {
            print("open 1M after clean close, ms", open_ms);
            print("open 1M: RSS, MiB", status("VmRSS:"));
            let absent = |n| assert_eq!(db.read(&prefix(n)), 0);
            let stream = |n| assert_eq!(db.read(&prefix(n)), EVENTS_EACH);
            print("absent id, scan, cold: look-ups/s", lookups(1 << 40, 1, absent));
            print("recover, 1 thread: entities/s", lookups(0, 1, stream));
            print("recover, 2 threads: entities/s", lookups(0, 2, stream));
            print("absent id, scan: look-ups/s", lookups(1 << 41, 1, absent));
            let absent = |n| assert!(!db.has(&event(n, 1).0));
            print("absent id, get: look-ups/s", lookups(1 << 42, 1, absent));
            print("after the reads: RSS, MiB", status("VmRSS:"));
        }
        "crash" => {
            let ack = File::create(dir.join("acked")).unwrap();
            let acked = |n: u64| ack.write_all_at(&n.to_le_bytes(), 0).unwrap();
            write(&db, 256, 1_000, (u64::MAX, u64::MAX), acked);
        }
        "verify" => {
            let acked = fs::read(dir.join("acked")).unwrap();
            let acked = u64::from_le_bytes(acked.try_into().unwrap());
            let (mut lost, mut found) = (0, 0);
            for entity in 0..1_000 {
                let events = db.read(&prefix(entity));
                let want = acked / 1_000 + u64::from(entity < acked % 1_000);
                (lost, found) = (lost + want.saturating_sub(events), found + events);
            }
            print("kill -9: events acknowledged", acked as f64);
            print("kill -9: reopen, ms", open_ms);
            print("kill -9: acknowledged but lost", lost as f64);
            print("kill -9: there, not acknowledged", found as f64 - acked as f64);
        }
        _ => {
            let group = phase.parse().unwrap();
            let print = |metric: &str, value: f64| print(&format!("write, {phase}/commit: {metric}"), value);
            let (n, took) = write(&db, group, 1_000, (300_000, SECONDS), |_| ());
            print("events/s", n as f64 / took);
            print("commits/s", (n / group) as f64 / took);
            print("peak RSS, MiB", status("VmHWM:"));
        }
    }
}

/// Runs a phase in a child process; returns what it printed.
fn spawn(engine: &str, phase: &str, dir: &Path) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([engine, phase]).arg(dir).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    if phase == "crash" {
        std::thread::sleep(Duration::from_secs(4));
        child.kill().unwrap(); // SIGKILL
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() || phase == "crash", "{phase} failed");
    String::from_utf8(output.stdout).unwrap()
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [engine, name, dir] = args.as_slice() {
        return phase(engine, name, Path::new(dir)); // a child
    }
    let base = args
        .get(1)
        .map_or_else(|| std::env::current_dir().unwrap(), PathBuf::from);
    let root = base.join(format!("engine-bench-{}", std::process::id()));
    let mut rows: Vec<(String, String)> = Vec::new();
    for engine in ENGINES {
        for name in ["256", "16", "1", "load", "read", "crash", "verify"] {
            let dir = name.replace("read", "load").replace("verify", "crash");
            for line in spawn(engine, name, &root.join(engine).join(dir)).lines() {
                let (metric, value) = line.split_once('\t').unwrap();
                let value = format!(" {:.1} |", value.parse::<f64>().unwrap());
                match rows.iter_mut().find(|row| row.0 == metric) {
                    Some(row) => row.1.push_str(&value),
                    None => rows.push((metric.into(), value)),
                }
            }
        }
        fs::remove_dir_all(root.join(engine)).unwrap();
    }
    fs::remove_dir_all(&root).unwrap();
    println!("| | {} |\n|---{}|", ENGINES.join(" | "), "|--:".repeat(4));
    for (metric, values) in rows {
        println!("| {metric} |{values}");
    }
}
