//! Entities that stop and leave while commands pour in: nobody waits in vain, nothing is done twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use abide_persistence::engine::{Body, Message};
use abide_persistence::model::{Answer, Caller, Format, Payload, Reply, ReplySink};
use abide_persistence::runtime::MemoryJournal;
use abide_sharding::{EntityOptions, RegionConfig};

use crate::stage::*;

/// Keeps every answer, so that a second one to the same request shows.
#[derive(Default)]
struct Answers(Mutex<HashMap<u64, Vec<Result<bool, String>>>>);

impl ReplySink for Answers {
    fn deliver(&self, tag: u64, answer: Answer) {
        let heard = match answer.result {
            Ok(Reply::Value(Payload::Local(value))) => Ok(value.is::<Vec<String>>()),
            Ok(_) => Ok(false),
            Err(failure) => Err(failure.to_string()),
        };
        self.0.lock().unwrap().entry(tag).or_default().push(heard);
    }
}

const SENDERS: u64 = 8;
const EACH: u64 = 300;
const ENTITIES: u64 = 3;

async fn storm(config: RegionConfig, leave: fn() -> Code<0>) {
    let journal = MemoryJournal::new();
    let region = start(clerks(EntityOptions::default()), Arc::new(journal.clone()), 1, config);
    let answers = Arc::<Answers>::default();
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (region, answers) = (region.clone(), Arc::clone(&answers));
            tokio::spawn(async move {
                for n in 0..EACH {
                    let tag = sender * EACH + n;
                    let entity = clerk(&region, &(n % ENTITIES).to_string());
                    let code = if n % 20 == sender { leave() } else { Clerk::say(tag.to_string()) };
                    let sink: Arc<dyn ReplySink> = Arc::clone(&answers) as _;
                    let caller = Caller::new(sink, tag, Format::Local);
                    let message = Message::Command(Body::Local(Box::new(code)));
                    region.send(entity.address(), message, Some(caller), None);
                    if n % 16 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    let all = (SENDERS * EACH) as usize;
    until("everybody is answered", || answers.0.lock().unwrap().len() == all).await;
    // A second answer would come about now.
    tokio::time::sleep(Duration::from_millis(20)).await;

    let mut expected: Vec<Vec<u64>> = vec![Vec::new(); ENTITIES as usize];
    for (tag, heard) in answers.0.lock().unwrap().iter() {
        let (sender, n) = (tag / EACH, tag % EACH);
        let is_said = n % 20 != sender;
        assert_eq!(heard, &[Ok(is_said)], "request {n} of sender {sender}");
        if is_said {
            expected[(n % ENTITIES) as usize].push(*tag);
        }
    }
    for (name, mut tags) in expected.into_iter().enumerate() {
        let name = name.to_string();
        let said = clerk(&region, &name).get(Clerk::show()).await;
        let said: Vec<u64> = said.iter().map(|tag| tag.parse().unwrap()).collect();
        for sender in 0..SENDERS {
            let of_one: Vec<_> = said.iter().filter(|tag| **tag / EACH == sender).collect();
            assert!(of_one.is_sorted(), "what one sender says keeps its order");
        }
        let mut sorted = said.clone();
        sorted.sort_unstable();
        tags.sort_unstable();
        assert_eq!(sorted, tags, "each is stored once");
        assert_eq!(journal.control().events(&persistence_id(&name)).len(), said.len());
    }
    region.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entities_that_stop_in_a_storm_answer_every_command_once() {
    storm(config(), || Code::new(|_, ctx| ctx.stop())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entities_that_passivate_in_a_storm_answer_every_command_once() {
    storm(config(), || Code::new(|_, ctx| ctx.passivate())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entities_that_stash_and_stop_in_a_storm_answer_every_command_once() {
    // Aside, and then gone: what was put aside meets the next incarnation.
    storm(config(), || {
        Code::new(|_, ctx| {
            ctx.stash(Code::new(|_, _| {}));
            ctx.stop();
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entities_that_are_pushed_out_in_a_storm_answer_every_command_once() {
    let max_active_entities = std::num::NonZeroUsize::new(2);
    storm(RegionConfig { max_active_entities, ..config() }, || Code::new(|_, _| {})).await;
}

#[tokio::test]
async fn what_waits_when_an_entity_stops_is_handled_first_and_what_comes_later_meets_a_new_one() {
    let journal = MemoryJournal::new();
    let region = start(clerks(EntityOptions::default()), Arc::new(journal.clone()), 1, config());
    let entity = clerk(&region, "a");
    entity.get(Clerk::say("one")).await;
    entity.run(|this, _| this.seen.push("first incarnation".to_owned())).await;
    journal.control().hold_writes();
    // All of these wait behind the write.
    entity.tell(Clerk::say("two"));
    entity.tell(Code::new(|_, ctx| ctx.stop()));
    let before = tokio::spawn({
        let entity = entity.clone();
        async move { entity.get(Clerk::seen()).await }
    });
    journal.control().until_held(1).await;
    tokio::task::yield_now().await;
    journal.control().release_writes();
    let before = before.await.unwrap();
    assert!(
        before.contains(&"first incarnation".to_owned()),
        "it waited before the stop was due: {before:?}"
    );
    until("it has left", || region.status().entities == 0).await;
    let seen = entity.get(Clerk::seen()).await;
    assert!(!seen.contains(&"first incarnation".to_owned()), "{seen:?}");
    assert_eq!(entity.get(Clerk::show()).await, ["one", "two"]);
}
