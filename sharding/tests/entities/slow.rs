//! Entities whose code is slow or blocks are named and counted; the others never.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use abide_persistence::runtime::MemoryJournal;
use abide_sharding::{EntityOptions, RegionConfig};
use metrics::{Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use crate::stage::*;

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn global() -> Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        let log = LOG.get_or_init(|| {
            let log = Self::default();
            let writer = log.clone();
            let made = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
            made.try_init().expect("nobody else listens");
            log
        });
        log.clone()
    }

    /// The lines that name slow code of this entity.
    fn slow(&self, entity: &str) -> Vec<String> {
        let log = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let is_it = |line: &&str| line.contains("slow or blocks") && line.contains(&format!("\"{entity}\""));
        log.lines().filter(is_it).map(str::to_owned).collect()
    }
}

/// Counts slow handlers and nothing else.
#[derive(Clone, Default)]
struct Slow(Arc<AtomicU64>);

impl CounterFn for Slow {
    fn increment(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    fn absolute(&self, _: u64) {}
}

impl Recorder for Slow {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        if key.name() == "abide_slow_handlers_total" {
            Counter::from_arc(Arc::new(self.clone()))
        } else {
            Counter::noop()
        }
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[expect(clippy::disallowed_methods, reason = "an entity that does what it must not is what is tested")]
fn block(time: Duration) {
    std::thread::sleep(time);
}

/// Sends from a thread of its own, because whoever sends may have to run it.
fn tell(entity: &ClerkRef, code: Code<0>) {
    let entity = entity.clone();
    std::thread::spawn(move || entity.tell(code));
}

/// Long enough that a fast one is not slow on a busy machine.
const LIMIT: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_that_is_slow_or_blocks_for_ever_is_named_and_counted_once_and_fast_code_never() {
    let log = Log::global();
    let counted = Slow::default();
    metrics::set_global_recorder(counted.clone()).expect("nobody else counts");
    let count = || counted.0.load(Ordering::Relaxed);
    let config = RegionConfig { slow_handler: LIMIT, ..config() };
    let region = start(clerks(EntityOptions::default()), Arc::new(MemoryJournal::new()), 1, config);
    // Recovered and busy, but fast, all the time.
    let fast = tokio::spawn({
        let region = region.clone();
        async move {
            for n in 0.. {
                clerk(&region, "fast").get(Clerk::say(n.to_string())).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
    assert_eq!(count(), 0);

    // In a command, in the handler of an event, in a message to itself, in a signal's turn: all count.
    let slow = clerk(&region, "slow");
    slow.get(Clerk::show()).await;
    tell(&slow, Code::new(|_, _| block(LIMIT * 8 / 5)));
    until("it is named", || !log.slow("clerk|slow").is_empty()).await;
    slow.get(Clerk::show()).await;
    assert_eq!((log.slow("clerk|slow").len(), count()), (1, 1));
    let in_handler = clerk(&region, "in-handler");
    in_handler.get(Clerk::show()).await;
    tell(&in_handler, Code::new(|_, ctx| ctx.persist(Said("x".to_owned()), |_, _, _| block(LIMIT * 8 / 5))));
    until("it is named", || !log.slow("clerk|in-handler").is_empty()).await;
    in_handler.get(Clerk::show()).await;
    assert_eq!((log.slow("clerk|in-handler").len(), count()), (1, 2));

    // One that never ends is counted once, and told of ever more seldom.
    let blocked = clerk(&region, "blocked");
    blocked.get(Clerk::show()).await;
    let (free, held) = mpsc::channel::<()>();
    tell(
        &blocked,
        Code::new(move |_, _| {
            let _ = held.recv();
        }),
    );
    until("it is named", || !log.slow("clerk|blocked").is_empty()).await;
    tokio::time::sleep(LIMIT * 6).await;
    let told = log.slow("clerk|blocked").len();
    assert!((2..=4).contains(&told), "at one, two, four, … times the limit: {told}");
    assert_eq!(count(), 3, "one slow run counts once");
    fast.abort();
    free.send(()).expect("it waits for this");
    blocked.get(Clerk::show()).await;

    assert_eq!(log.slow("clerk|fast"), Vec::<String>::new());
    assert_eq!(count(), 3);
    region.stop().await;
}
