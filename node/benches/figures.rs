//! The figures of `docs/performance.md`: each one a ratio of two things measured in this one run.
//!
//! ```sh
//! cargo bench -p abide --bench figures            # all
//! cargo bench -p abide --bench figures -- asks    # those whose name contains "asks"
//! ABIDE_FIGURES_QUICK=1 cargo bench …             # one round, hundredths: tells only that they run
//! ```
//!
//! Every measurement is taken in turns with its baseline, several rounds of each, and the medians are
//! compared: two shared cores are noisy.

#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, reason = "a benchmark")]

mod common;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use abide::demo::{Counter, CounterCommand, CounterRejection, Value};
use abide::persistence::EntityId;
use abide::persistence::journal::Journal;
use abide::persistence::model::EventSourcedActor;
use abide::persistence::runtime::{EmbeddedOptions, EmbeddedStore, MemoryJournal};
use abide::sharding::{AskError, EntityRef, Region};
use common::{Line, LineCommand, all_held, directory, is_quick, many, region_of, runtime};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 7;
const ENTITIES: usize = 1000;

fn main() {
    // `cargo bench` adds --bench.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let figures: [(&str, fn()); 7] = [
        ("asks", asks),
        ("memory", memory),
        ("embedded", embedded),
        ("hot", hot),
        ("async", persist_async),
        ("recovery", recovery),
        ("http", http),
    ];
    for (name, figure) in figures {
        if wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str())) {
            figure();
        }
    }
}

type CounterRef = EntityRef<EventSourcedActor<Counter>>;

fn region(journal: Arc<dyn Journal>) -> Region {
    region_of(1, journal)
}

fn rounds() -> usize {
    if is_quick() { 1 } else { ROUNDS }
}

fn counters(region: &Region, count: usize) -> Vec<CounterRef> {
    let id = |n: usize| EntityId::new(&format!("{n:016}")).unwrap();
    (0..count).map(|n| region.entity(id(n)).unwrap()).collect()
}

type CounterAsked = Result<Value, AskError<CounterRejection>>;

fn check(asked: CounterAsked) {
    asked.unwrap();
}

/// Runs `callers` tasks, which do `operations` together, and gives operations a second.
fn rate<Fut>(runtime: &Runtime, callers: usize, operations: usize, caller: impl Fn(usize) -> Fut) -> f64
where
    Fut: Future<Output = ()> + Send + 'static,
{
    runtime.block_on(async {
        let start = Instant::now();
        let tasks: Vec<_> = (0..callers).map(|n| tokio::spawn(caller(n))).collect();
        for task in tasks {
            task.await.unwrap();
        }
        operations as f64 / start.elapsed().as_secs_f64()
    })
}

/// Which of `ENTITIES` a caller asks next.
fn pick(caller: usize, n: usize) -> usize {
    (caller * 7919 + n * 31) % ENTITIES
}

/// Medians of two measurements taken in turns.
fn in_turns(mut a: impl FnMut() -> f64, mut b: impl FnMut() -> f64) -> (f64, f64) {
    a();
    b();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for _ in 0..rounds() {
        first.push(a());
        second.push(b());
    }
    (median(first), median(second))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn show(what: &str, ours: f64, baseline: f64, bar: f64) {
    let ratio = ours / baseline;
    let met = if ratio >= bar { "met" } else { "NOT MET" };
    println!("{what}\n    {ours:>12.0}/s against {baseline:>12.0}/s: {ratio:.2} (bar {bar}, {met})");
}

/// A counter as one would write it by hand: a task, a channel, a reply channel for each ask.
type Mailbox = mpsc::Sender<(CounterCommand, oneshot::Sender<i64>)>;

fn task_for_each(count: usize) -> Vec<Mailbox> {
    let spawn = |_| {
        let (mailbox, mut commands) = mpsc::channel::<(CounterCommand, oneshot::Sender<i64>)>(64);
        tokio::spawn(async move {
            let mut value = 0_i64;
            while let Some((command, reply)) = commands.recv().await {
                if let CounterCommand::Increment { by } = command {
                    value += by;
                }
                let _ = reply.send(value);
            }
        });
        mailbox
    };
    (0..count).map(spawn).collect()
}

async fn ask_task(mailbox: &Mailbox) -> i64 {
    let (reply, answer) = oneshot::channel();
    mailbox.send((CounterCommand::Get {}, reply)).await.unwrap();
    answer.await.unwrap()
}

/// Asks one at a time, in asks a second.
fn tasks_rate(runtime: &Runtime, mailboxes: &Arc<Vec<Mailbox>>, callers: usize, each: usize) -> f64 {
    rate(runtime, callers, callers * each, |caller| {
        let mailboxes = Arc::clone(mailboxes);
        async move {
            for n in 0..each {
                ask_task(&mailboxes[pick(caller, n)]).await;
            }
        }
    })
}

fn asks() {
    const CALLERS: usize = 64;
    let runtime = runtime();
    let (region, entities, mailboxes) = runtime.block_on(async {
        let region = region(Arc::new(MemoryJournal::new()));
        let entities = counters(&region, ENTITIES);
        for entity in &entities {
            check(entity.ask(CounterCommand::Get {}).await);
        }
        (region, Arc::new(entities), Arc::new(task_for_each(ENTITIES)))
    });
    const EACH: usize = 5_000;

    let (ours, baseline) = in_turns(
        || {
            rate(&runtime, CALLERS, CALLERS * EACH, |caller| {
                let entities = Arc::clone(&entities);
                async move {
                    for n in 0..EACH {
                        check(entities[pick(caller, n)].ask(CounterCommand::Get {}).await);
                    }
                }
            })
        },
        || tasks_rate(&runtime, &mailboxes, CALLERS, EACH),
    );
    show(
        "in-memory asks, one at a time, 64 callers, 1 000 entities, against a task for each entity",
        ours,
        baseline,
        0.6,
    );

    const BATCH: usize = 64;
    let (batched, baseline) = in_turns(
        || {
            rate(&runtime, CALLERS, CALLERS * EACH, |caller| {
                let (region, entities) = (region.clone(), Arc::clone(&entities));
                async move {
                    for start in (0..EACH).step_by(BATCH) {
                        let batch: Vec<_> = (start..EACH.min(start + BATCH))
                            .map(|n| (&entities[pick(caller, n)], CounterCommand::Get {}))
                            .collect();
                        region.ask_all(batch).await.into_iter().for_each(check);
                    }
                }
            })
        },
        || tasks_rate(&runtime, &mailboxes, CALLERS, EACH),
    );
    show(
        "in-memory asks, in batches of 64, against a task for each entity asked one at a time",
        batched,
        baseline,
        2.0,
    );
}

fn resident_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0
}

fn memory() {
    const MILLION: usize = 1_000_000;
    let runtime = runtime();
    runtime.block_on(async {
        let region = region(Arc::new(MemoryJournal::new()));
        for entity in counters(&region, 100) {
            check(entity.ask(CounterCommand::Get {}).await);
        }
        let before = resident_bytes();
        for start in (0..MILLION).step_by(1000) {
            let entities: Vec<CounterRef> = (start..start + 1000)
                .map(|n| region.entity(EntityId::new(&format!("x{n:015}")).unwrap()).unwrap())
                .collect();
            region
                .ask_all(entities.iter().map(|entity| (entity, CounterCommand::Get {})))
                .await
                .into_iter()
                .for_each(check);
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let live = region.status().entities as f64;
        assert!(live >= MILLION as f64, "{live} entities are live");
        let each = (resident_bytes() - before) / MILLION as f64;
        let met = if each <= 200.0 { "met" } else { "NOT MET" };
        println!("memory of an idle live counter with a 16-byte id, one million live, everything included");
        println!("    {each:>12.0} bytes (bar 200, {met})");
    });
}

/// Increments, in commands a second.
fn increments(runtime: &Runtime, entities: &Arc<Vec<CounterRef>>, callers: usize, each: usize) -> f64 {
    rate(runtime, callers, callers * each, |caller| {
        let entities = Arc::clone(entities);
        async move {
            for n in 0..each {
                let entity = &entities[pick(caller, n) % entities.len()];
                check(entity.ask(CounterCommand::Increment { by: 1 }).await);
            }
        }
    })
}

/// The engine below, used as raw as it can be: 256 events of 200 bytes a commit, each commit synced.
struct RawEngine {
    database: fjall::Database,
    events: fjall::Keyspace,
    next: u64,
}

impl RawEngine {
    fn open(path: &Path) -> Self {
        let database = fjall::Database::builder(path).open().unwrap();
        let events = database.keyspace("events", fjall::KeyspaceCreateOptions::default).unwrap();
        Self { database, events, next: 0 }
    }

    fn rate(&mut self, commits: usize) -> f64 {
        let start = Instant::now();
        for _ in 0..commits {
            let mut batch = self.database.batch().durability(Some(fjall::PersistMode::SyncAll));
            for _ in 0..256 {
                let n = self.next;
                self.next += 1;
                let mut key = format!("counter|{:016}\0", n % 1000).into_bytes();
                key.extend_from_slice(&(n / 1000).to_be_bytes());
                let mut value = vec![b'x'; 200];
                value[..8].copy_from_slice(&n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
                batch.insert(&self.events, key, value);
            }
            batch.commit().unwrap();
        }
        (commits * 256) as f64 / start.elapsed().as_secs_f64()
    }
}

fn embedded() {
    let (ours_at, raw_at) = (directory("ours"), directory("raw"));
    let runtime = runtime();
    let mut raw = RawEngine::open(&raw_at);
    let (store, entities) = runtime.block_on(async {
        let store = EmbeddedStore::open(&ours_at, EmbeddedOptions::default()).unwrap();
        let region = region(Arc::new(store.clone()));
        (store, Arc::new(counters(&region, ENTITIES)))
    });
    let (ours, baseline) = in_turns(|| increments(&runtime, &entities, 256, 600), || raw.rate(600));
    show(
        "acknowledged commands on the embedded journal, 256 callers, 1 000 entities, against raw group commit",
        ours,
        baseline,
        0.5,
    );
    runtime.block_on(store.close());
    let _ = (std::fs::remove_dir_all(&ours_at), std::fs::remove_dir_all(&raw_at));
}

fn hot() {
    let at = directory("hot");
    let runtime = runtime();
    let (store, many, one) = runtime.block_on(async {
        let store = EmbeddedStore::open(&at, EmbeddedOptions::default()).unwrap();
        let region = region(Arc::new(store.clone()));
        let many = counters(&region, ENTITIES);
        let one = vec![region.entity(EntityId::new("the one").unwrap()).unwrap()];
        (store, Arc::new(many), Arc::new(one))
    });
    let (hot, spread) =
        in_turns(|| increments(&runtime, &one, 64, 1000), || increments(&runtime, &many, 64, 1000));
    show("one hot event-sourced entity, 64 callers, against the same load over 1 000", hot, spread, 0.4);
    runtime.block_on(store.close());
    let _ = std::fs::remove_dir_all(&at);
}

/// Sends commands to one actor as fast as it takes them: so many wait there that it never has none.
fn to_one(
    runtime: &Runtime,
    region: &Region,
    line: &EntityRef<Line>,
    count: usize,
    make: fn(String) -> LineCommand,
) -> f64 {
    const WAITING: usize = 2000;
    runtime.block_on(async {
        let start = Instant::now();
        // Two halves, so that one is waiting there while the answers of the other are looked at.
        let half = |mut left: usize| async move {
            while left > 0 {
                let now = left.min(WAITING / 2);
                left -= now;
                let commands: Vec<_> = (0..now).map(|_| (line, make("x".repeat(40)))).collect();
                for stored in region.ask_all(commands).await {
                    stored.unwrap();
                }
            }
        };
        tokio::join!(half(count / 2), half(count - count / 2));
        count as f64 / start.elapsed().as_secs_f64()
    })
}

fn persist_async() {
    let at = directory("async");
    let runtime = runtime();
    let (store, region) = runtime.block_on(async {
        let store = EmbeddedStore::open(&at, EmbeddedOptions::default()).unwrap();
        let region = region(Arc::new(store.clone()));
        all_held(&region).await;
        (store, region)
    });
    let line = |id: &str| region.entity::<Line>(EntityId::new(id).unwrap()).unwrap();
    let (one, other) = (line("async"), line("stashing"));
    let (ours, baseline) = in_turns(
        || to_one(&runtime, &region, &one, many(100_000), LineCommand::StoreAsync),
        || to_one(&runtime, &region, &other, many(4000), LineCommand::Store),
    );
    show(
        "persist_async of one event on one actor, as fast as it takes commands, against persist, embedded journal",
        ours,
        baseline,
        5.0,
    );
    runtime.block_on(async {
        region.stop().await;
        store.close().await;
    });
    let _ = std::fs::remove_dir_all(&at);
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_all(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Reads all streams out of the engine below, by two threads, as the cores are two. In streams a second.
fn raw_streams(events: &fjall::Keyspace, names: &[String]) -> f64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for part in names.chunks(names.len().div_ceil(2)) {
            scope.spawn(move || {
                for name in part {
                    let key = |number: u64| {
                        let mut key = format!("counter|{name}\0").into_bytes();
                        key.extend_from_slice(&number.to_be_bytes());
                        key
                    };
                    let rows = events.range(key(1)..=key(u64::MAX));
                    let values: Vec<_> = rows.map(|row| row.into_inner().unwrap().1).collect();
                    assert_eq!(values.len(), 10);
                    std::hint::black_box(values);
                }
            });
        }
    });
    names.len() as f64 / start.elapsed().as_secs_f64()
}

fn recovery() {
    let (at, copy) = (directory("recovery"), directory("recovery-raw"));
    let runtime = runtime();
    let count = many(20_000);
    // In no order that the engine would like.
    let names: Vec<_> = (0..count).map(|n| format!("{:016}", n * 7919 % count)).collect();
    let store = runtime.block_on(async {
        let store = EmbeddedStore::open(&at, EmbeddedOptions::default()).unwrap();
        let region = region(Arc::new(store.clone()));
        let entities = counters(&region, count);
        for part in entities.chunks(1000) {
            let ten = (0..10).flat_map(|_| part).map(|entity| (entity, CounterCommand::Increment { by: 1 }));
            region.ask_all(ten.collect::<Vec<_>>()).await.into_iter().for_each(check);
        }
        region.stop().await;
        store.close().await;
        drop((region, store));
        copy_all(&at, &copy);
        EmbeddedStore::open(&at, EmbeddedOptions::default()).unwrap()
    });
    let cache = EmbeddedOptions::default().cache_bytes;
    let raw = fjall::Database::builder(copy.join("db")).cache_size(cache).open().unwrap();
    let events = raw.keyspace("events", fjall::KeyspaceCreateOptions::default).unwrap();
    let mut generation = 1;
    let mut recover_all = || {
        generation += 1;
        runtime.block_on(async {
            let region = region_of(generation, Arc::new(store.clone()));
            all_held(&region).await;
            let entities: Vec<CounterRef> =
                names.iter().map(|name| region.entity(EntityId::new(name).unwrap()).unwrap()).collect();
            let start = Instant::now();
            for part in entities.chunks(1000) {
                for asked in region.ask_all(part.iter().map(|entity| (entity, CounterCommand::Get {}))).await
                {
                    assert_eq!(asked.unwrap().value, 10);
                }
            }
            let rate = count as f64 / start.elapsed().as_secs_f64();
            region.stop().await;
            rate
        })
    };
    let (ours, baseline) = in_turns(&mut recover_all, || raw_streams(&events, &names));
    show(
        "recovery of entities with 10 events, against raw reads of the same streams from the same engine",
        ours,
        baseline,
        0.5,
    );
    runtime.block_on(store.close());
    drop((events, raw));
    let _ = (std::fs::remove_dir_all(&at), std::fs::remove_dir_all(&copy));
}

/// What one would write by hand for durability alone: append to a file, sync for all that wait, answer.
async fn log_handler(
    axum::extract::State(log): axum::extract::State<mpsc::Sender<(bytes::Bytes, oneshot::Sender<()>)>>,
    body: bytes::Bytes,
) -> &'static str {
    let (done, stored) = oneshot::channel();
    log.send((body, done)).await.unwrap();
    stored.await.unwrap();
    "{\"value\":1}"
}

fn start_log(path: &Path) -> mpsc::Sender<(bytes::Bytes, oneshot::Sender<()>)> {
    use std::io::Write;
    let mut file = std::fs::File::create(path.join("log")).unwrap();
    let (log, mut lines) = mpsc::channel::<(bytes::Bytes, oneshot::Sender<()>)>(4096);
    std::thread::spawn(move || {
        let mut batch = Vec::new();
        let mut buffer = Vec::new();
        while lines.blocking_recv_many(&mut batch, 1024) > 0 {
            buffer.clear();
            batch.iter().for_each(|(line, _)| buffer.extend_from_slice(line));
            file.write_all(&buffer).unwrap();
            file.sync_data().unwrap();
            batch.drain(..).for_each(|(_, done)| done.send(()).unwrap());
        }
    });
    log
}

fn http() {
    let at = directory("http");
    let runtime = runtime();
    let load = |runtime: &Runtime, address: std::net::SocketAddr| {
        let url = format!("http://{address}");
        let args = ["bench", "--quiet", "--connections", "64", "--requests", "60000", "--url", &url];
        let args = <abide::bench::BenchArgs as abide_bench_args::Parse>::parse(args);
        runtime.block_on(async {
            let summary = abide::bench::run(args).await.unwrap();
            assert_eq!(summary.failed, 0, "{summary}");
            summary.succeeded_per_second
        })
    };
    let (node, baseline) = runtime.block_on(async {
        let config = abide::config::Config::load(&abide::config::Inputs {
            flags: vec![
                abide::config::Override::new("http.listen", "127.0.0.1:0", "bench"),
                abide::config::Override::new("node.data_dir", at.display(), "bench"),
            ],
            ..Default::default()
        });
        let app = abide::demo::register(abide::App::default());
        let node = abide::Node::start(app, &config.unwrap()).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let baseline = listener.local_addr().unwrap();
        let handler = axum::routing::post(log_handler).get(|| async { "ok" });
        let router = axum::Router::new().fallback(handler).with_state(start_log(&at));
        let serve =
            abide::http::serve(listener, router, abide::http::ServeConfig::default(), std::future::pending());
        tokio::spawn(serve);
        (node, baseline)
    });
    let (ours, by_hand) = in_turns(|| load(&runtime, node.http()), || load(&runtime, baseline));
    show(
        "durable commands over HTTP, 64 keep-alive connections, against a handler that only group-commits to a file",
        ours,
        by_hand,
        0.6,
    );
    runtime.block_on(node.shutdown());
    let _ = std::fs::remove_dir_all(&at);
}

mod abide_bench_args {
    /// The options of `abide bench`, as its command line would read them.
    pub(super) trait Parse: clap::Args {
        fn parse<const N: usize>(args: [&str; N]) -> Self {
            let command = <Self as clap::Args>::augment_args(clap::Command::new("bench"));
            let matches = command.get_matches_from(args);
            <Self as clap::FromArgMatches>::from_arg_matches(&matches).unwrap()
        }
    }

    impl Parse for abide::bench::BenchArgs {}
}
