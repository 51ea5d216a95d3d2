//! What an event takes of a server's processor: the script, against plain `RPUSH`.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Mutex;

use crate::bare::{Events, Flight, Flights, Shard, head};
use crate::servers::Servers;
use crate::turns::{in_turns, rate, runtime, show_cost, turn};

/// Connections, all to one primary.
const CONNECTIONS: usize = 8;
/// Commands of a pipeline, and entities of a shard.
const DEPTH: usize = 16;
const NAME: &str = "bare";

type All = Vec<Arc<Mutex<Flight>>>;

/// Flights to shards of the first primary, nobody else's.
async fn flights(servers: &Servers) -> All {
    let mut mine = (0..).filter(|n| servers.primary_of(&head(NAME, *n)) == 0);
    let mut all = Vec::new();
    for _ in 0..CONNECTIONS {
        let shards = mine.by_ref().take(DEPTH).map(|n| Shard::new(NAME, n, DEPTH)).collect();
        let flight = Flight::new(servers.connect(0).await, shards, None).await;
        all.push(Arc::new(Mutex::new(flight)));
    }
    all
}

/// Microseconds of the first primary's processor for each event.
async fn cost<Fut>(servers: &Servers, all: &All, run: impl Fn(Arc<Mutex<Flight>>, Instant) -> Fut) -> f64
where
    Fut: Future<Output = usize> + Send + 'static,
{
    let (before, start) = (servers.counted_by(0).await, Instant::now());
    let rate = rate(all.iter().map(|flight| run(Arc::clone(flight), start + turn()))).await;
    let events = rate * start.elapsed().as_secs_f64();
    (servers.counted_by(0).await - before).processor * 1e6 / events
}

async fn scripts(servers: &Servers, all: &All, events: usize) -> f64 {
    let like = Flights { scripts: DEPTH as f64, events: Events::About(events as f64) };
    cost(servers, all, |flight, until| async move { flight.lock().await.fly(like, until).await }).await
}

async fn pushes(servers: &Servers, all: &All, depth: usize) -> f64 {
    cost(servers, all, |flight, until| async move { flight.lock().await.push(depth, until).await }).await
}

pub(crate) fn work() {
    let runtime = runtime();
    // Two times servers: the lists of one must end where its scripts believe.
    let (servers, all, plain, pushed) = runtime.block_on(async {
        let (servers, plain) = (Servers::cluster().await, Servers::cluster().await);
        let (all, pushed) = (flights(&servers).await, flights(&plain).await);
        (servers, all, plain, pushed)
    });
    let [sixteen, one, push, deep] = in_turns([
        &mut || runtime.block_on(scripts(&servers, &all, DEPTH)),
        &mut || runtime.block_on(scripts(&servers, &all, 1)),
        &mut || runtime.block_on(pushes(&plain, &pushed, DEPTH)),
        &mut || runtime.block_on(pushes(&plain, &pushed, DEPTH * DEPTH)),
    ]);
    let what =
        "a primary's processor for each event, 8 connections, 16 commands in a pipeline, against RPUSH";
    show_cost(&format!("{what}: 16 entities a script"), "us", sixteen, push, 2.2);
    println!("    against pipelines of as many events, 256 RPUSH, {deep:.2} us: {:.2}", sixteen / deep);
    show_cost(&format!("{what}: one entity a script"), "us", one, push, 4.0);
}
