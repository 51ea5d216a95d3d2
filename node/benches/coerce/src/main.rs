//! Persistent actors of `coerce` on `coerce-redis`, loaded as the entities that they are compared with.
//!
//! `coerce-baseline <url> <callers> <actors> <bytes>`; each line that it reads is the length of a turn in
//! milliseconds, and it answers with the commands acknowledged in a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use coerce::actor::context::ActorContext;
use coerce::actor::message::{Handler, Message, MessageUnwrapErr, MessageWrapErr};
use coerce::actor::system::ActorSystem;
use coerce::actor::{IntoActor, LocalActorRef};
use coerce::persistent::journal::types::JournalTypes;
use coerce::persistent::{Persistence, PersistentActor, Recover};
use coerce_redis::journal::{RedisStorageConfig, RedisStorageProvider};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many texts were noted.
struct Notes(u64);

/// Has a text noted. It is its own event.
struct Note(String);

impl Message for Note {
    type Result = u64;

    fn as_bytes(&self) -> Result<Vec<u8>, MessageWrapErr> {
        Ok(self.0.clone().into_bytes())
    }

    fn from_bytes(bytes: Vec<u8>) -> Result<Self, MessageUnwrapErr> {
        String::from_utf8(bytes).map(Self).map_err(|_| MessageUnwrapErr::NotTransmittable)
    }
}

#[async_trait]
impl PersistentActor for Notes {
    fn configure(types: &mut JournalTypes<Self>) {
        types.message::<Note>("noted");
    }
}

#[async_trait]
impl Recover<Note> for Notes {
    async fn recover(&mut self, _: Note, _: &mut ActorContext) {
        self.0 += 1;
    }
}

#[async_trait]
impl Handler<Note> for Notes {
    async fn handle(&mut self, note: Note, ctx: &mut ActorContext) -> u64 {
        self.persist(&note, ctx).await.expect("it is stored");
        self.0 += 1;
        self.0
    }
}

async fn call(actors: Arc<Vec<LocalActorRef<Notes>>>, caller: usize, bytes: usize, until: Instant) -> usize {
    let mut done = 0;
    while Instant::now() < until {
        let actor = &actors[(caller * 7919 + done * 31) % actors.len()];
        actor.send(Note("x".repeat(bytes))).await.expect("it answers");
        done += 1;
    }
    done
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let mut args = std::env::args().skip(1);
    let url = args.next().expect("a URL");
    let mut number = || args.next().and_then(|arg| arg.parse::<usize>().ok()).expect("a number");
    let (callers, count, bytes) = (number(), number(), number());

    let system = ActorSystem::new();
    let config = RedisStorageConfig {
        nodes: vec![url],
        key_prefix: "coerce:".to_owned(),
        cluster: false,
        use_key_hashtags: false,
    };
    let provider = RedisStorageProvider::connect(config, &system).await;
    let system = system.to_persistent(Persistence::from(provider));
    let mut actors = Vec::new();
    for n in 0..count {
        let actor = Notes(0).into_actor(Some(format!("{n:016}")), &system).await;
        actors.push(actor.expect("an actor"));
    }
    let actors = Arc::new(actors);

    for line in std::io::stdin().lines() {
        let turn = line.expect("a line").trim().parse().expect("milliseconds");
        let start = Instant::now();
        let until = start + Duration::from_millis(turn);
        let calls = (0..callers).map(|caller| tokio::spawn(call(Arc::clone(&actors), caller, bytes, until)));
        let calls: Vec<_> = calls.collect();
        let mut done = 0;
        for call in calls {
            done += call.await.expect("no panic");
        }
        println!("{:.0}", done as f64 / start.elapsed().as_secs_f64());
    }
}
