//! The client to compare with: it sends the store's own script with the arguments that the store would send, in
//! pipelines of the size that the store was seen to send, ended by the same `WAIT`. That is all it does: no
//! owners, no queue, no second try, no look at who the replicas are.
//!
//! At each primary it has as many flights under way as the store, each on a connection of its own, because a
//! `WAIT` holds up its connection.

use std::time::Instant;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, Value};

use crate::notes;
use crate::servers::{Counted, FLIGHTS, Servers};

const SCRIPT: &str = include_str!("../../../persistence/src/runtime/redis/scripts/append.lua");

/// The sets of ids that the entities of a shard are spread over.
const BUCKETS: usize = 16;

/// What the flights of the store were like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flights {
    /// Scripts in a flight, on average.
    pub(crate) scripts: f64,
    /// Events of a script.
    pub(crate) events: Events,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Events {
    /// 1, 2, 3, … up to this many, and again.
    UpTo(usize),
    /// This many on average.
    About(f64),
}

impl Events {
    /// How many the n-th script has.
    pub(crate) fn of(self, n: usize) -> usize {
        match self {
            Self::UpTo(most) => 1 + n % most,
            Self::About(mean) => nth_of_average(mean, n),
        }
    }
}

/// Whole numbers with an average.
fn nth_of_average(mean: f64, n: usize) -> usize {
    ((mean * (n + 1) as f64).floor() - (mean * n as f64).floor()) as usize
}

impl Flights {
    /// From what the servers counted while this many events were stored.
    pub(crate) fn seen(counted: Counted, events: f64) -> Self {
        let per_script = Events::About((events / counted.scripts).max(1.0));
        Self { scripts: (counted.scripts / counted.waits).max(1.0), events: per_script }
    }
}

/// A shard as this client knows it: its keys, and what the script will compare.
pub(crate) struct Shard {
    fence: String,
    bases: String,
    token: String,
    batch: u64,
    /// Scripts sent.
    sent: usize,
    lists: Vec<(String, u64)>,
    /// Whose turn it is.
    next: usize,
}

impl Shard {
    /// The n-th shard under this name, with so many entities.
    pub(crate) fn new(name: &str, n: usize, entities: usize) -> Self {
        let head = head(name, n);
        let list = |entity: usize| (format!("{head}e:{}", notes::id(n * 1000 + entity)), 0);
        Self {
            fence: format!("{head}f"),
            bases: format!("{head}m"),
            token: token(0),
            batch: 0,
            sent: 0,
            lists: (0..entities).map(list).collect(),
            next: 0,
        }
    }

    /// The next batch: so many events, one for each of as many entities, or more where there are not as many.
    fn call(&mut self, sha: &str, events: usize, event: &Bytes) -> Cmd {
        let lists = events.min(self.lists.len());
        let mut call = Cmd::with_capacity(12 + 4 * events, 600 + 350 * events);
        call.arg("EVALSHA").arg(sha).arg(2 + lists).arg(&self.fence).arg(&self.bases);
        let place = |at: usize| (self.next + at) % self.lists.len();
        for at in 0..lists {
            call.arg(&self.lists[place(at)].0);
        }
        self.batch += 1;
        let after = token(self.batch);
        call.arg(&self.token).arg(&after).arg(lists).arg(0).arg(0);
        self.token = after;
        for at in 0..lists {
            let count = events / lists + usize::from(at < events % lists);
            let place = (self.next + at) % self.lists.len();
            let last = &mut self.lists[place].1;
            call.arg(*last).arg(count);
            *last += count as u64;
            for _ in 0..count {
                call.arg(&event[..]);
            }
        }
        self.next = (self.next + lists) % self.lists.len();
        self.sent += 1;
        call
    }

    /// The first batch: an event of each entity, whose ids become known.
    fn begin(&mut self, sha: &str, event: &Bytes) -> Cmd {
        let head = self.fence.trim_end_matches('f');
        let (lists, sets) = (self.lists.len(), BUCKETS.min(self.lists.len()));
        let mut call = redis::cmd("EVALSHA");
        call.arg(sha).arg(2 + lists + sets).arg(&self.fence).arg(&self.bases);
        for (list, _) in &self.lists {
            call.arg(list);
        }
        for set in 0..sets {
            call.arg(format!("{head}i:{set}:notes"));
        }
        let after = token(1);
        call.arg(&self.token).arg(&after).arg(lists).arg(0).arg(lists);
        for (_, last) in &mut self.lists {
            call.arg(0).arg(1).arg(&event[..]);
            *last = 1;
        }
        for (at, (list, _)) in self.lists.iter().enumerate() {
            call.arg(at % sets + 1).arg(list);
        }
        (self.batch, self.token) = (1, after);
        call
    }
}

/// Begins all keys of the n-th shard under this name.
pub(crate) fn head(name: &str, n: usize) -> String {
    format!("{{{name}:{n}}}:")
}

/// As the store writes it.
fn token(batch: u64) -> String {
    format!("{:020}.{:010}.{batch:020}.{:032x}.{:032x}", 1, 1, 1, 1)
}

/// One of the flights under way at one primary.
pub(crate) struct Flight {
    connection: MultiplexedConnection,
    sha: String,
    event: Bytes,
    shards: Vec<Shard>,
    /// How many replicas it waits for.
    replicas: Option<usize>,
    sent: usize,
}

impl Flight {
    /// One that writes to these shards, which nobody knows yet.
    pub(crate) async fn new(
        mut connection: MultiplexedConnection,
        mut shards: Vec<Shard>,
        replicas: Option<usize>,
    ) -> Self {
        let load = redis::cmd("SCRIPT").arg("LOAD").arg(SCRIPT).take();
        let sha: String = load.query_async(&mut connection).await.unwrap();
        let event = notes::event(1000);
        for shard in &mut shards {
            let set = redis::cmd("SET").arg(&shard.fence).arg(&shard.token).take();
            set.exec_async(&mut connection).await.unwrap();
            let stored: u8 = shard.begin(&sha, &event).query_async(&mut connection).await.unwrap();
            assert_eq!(stored, 1);
        }
        Self { connection, sha, event, shards, replicas, sent: 0 }
    }

    /// Sends one flight after the other until the turn ends; how many events were stored.
    pub(crate) async fn fly(&mut self, like: Flights, until: Instant) -> usize {
        let mut done = 0;
        while Instant::now() < until && !self.shards.is_empty() {
            let scripts = nth_of_average(like.scripts, self.sent).clamp(1, self.shards.len());
            self.sent += 1;
            // Those in front go, and come back at the end.
            let mut pipeline = Pipeline::with_capacity(scripts + 1);
            for shard in &mut self.shards[..scripts] {
                let events = like.events.of(shard.sent);
                pipeline.add_command(shard.call(&self.sha, events, &self.event));
                done += events;
            }
            self.shards.rotate_left(scripts);
            if let Some(replicas) = self.replicas {
                pipeline.cmd("WAIT").arg(replicas).arg(5000);
            }
            let sent = self.connection.send_packed_commands(&pipeline, 0, pipeline.len());
            let mut answers = sent.await.unwrap();
            if let Some(replicas) = self.replicas {
                let have = answers.pop();
                assert!(matches!(have, Some(Value::Int(have)) if have >= replicas as i64), "{have:?}");
            }
            let is_stored = |answer: &Value| *answer == Value::Int(1);
            assert!(answers.iter().all(is_stored), "{answers:?}");
        }
        done
    }

    /// Pushes single events to the same lists, so many in a pipeline, until the turn ends.
    pub(crate) async fn push(&mut self, depth: usize, until: Instant) -> usize {
        let mut done = 0;
        while Instant::now() < until {
            let mut pipeline = Pipeline::with_capacity(depth);
            for _ in 0..depth {
                self.sent += 1;
                let at = self.sent % self.shards.len();
                let shard = &mut self.shards[at];
                shard.next = (shard.next + 1) % shard.lists.len();
                let (list, last) = &mut shard.lists[shard.next];
                *last += 1;
                pipeline.add_command(
                    Cmd::with_capacity(3, 350).arg("RPUSH").arg(&*list).arg(&self.event[..]).take(),
                );
            }
            let sent = self.connection.send_packed_commands(&pipeline, 0, depth).await.unwrap();
            assert!(sent.iter().all(|answer| matches!(answer, Value::Int(_))), "{sent:?}");
            done += depth;
        }
        done
    }
}

/// All flights at all primaries.
pub(crate) struct Bare {
    flights: Vec<Flight>,
}

impl Bare {
    /// One that writes to so many shards with so many entities each, under a name that nobody else uses.
    pub(crate) async fn new(servers: &Servers, name: &str, shards: usize, entities: usize) -> Self {
        let mut parts: Vec<Vec<Shard>> = Vec::new();
        parts.resize_with(servers.primaries().len() * FLIGHTS, Vec::new);
        let mut turn = vec![0; servers.primaries().len()];
        for n in 0..shards {
            let primary = servers.primary_of(&head(name, n));
            turn[primary] += 1;
            parts[primary * FLIGHTS + turn[primary] % FLIGHTS].push(Shard::new(name, n, entities));
        }
        let replicas = Some(servers.replicas()).filter(|replicas| *replicas > 0);
        let mut flights = Vec::new();
        for (at, shards) in parts.into_iter().enumerate() {
            let connection = servers.connect(at / FLIGHTS).await;
            flights.push(Flight::new(connection, shards, replicas).await);
        }
        Self { flights }
    }

    /// Events stored in a second, by flights like these.
    pub(crate) async fn rate(&mut self, like: Flights, until: Instant) -> f64 {
        let start = Instant::now();
        let flights = self.flights.drain(..).map(|mut flight| {
            tokio::spawn(async move {
                let done = flight.fly(like, until).await;
                (flight, done)
            })
        });
        let flights: Vec<_> = flights.collect();
        let mut all = 0;
        for flight in flights {
            let (flight, done) = flight.await.unwrap();
            self.flights.push(flight);
            all += done;
        }
        all as f64 / start.elapsed().as_secs_f64()
    }
}
