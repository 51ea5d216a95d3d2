//! One writer: whoever was paused, wherever it was paused, stores nothing after a newer claim.

use std::sync::Arc;
use std::time::Duration;

use abide_chaos_tests::proxy::{Fault, Proxies, Proxy};
use abide_chaos_tests::redis::Ground;
use abide_chaos_tests::wait::until;
use abide_persistence::PersistenceId;
use abide_persistence::journal::{Batch, ClaimError, Journal, Usurped, WriteError};
use abide_persistence::testkit::{Owner, fresh_writer};
use anyhow::bail;
use tokio::task::JoinHandle;

use crate::connecting::options;
use crate::talk::{append, is_batch};

const LIMIT: Duration = Duration::from_secs(10);

/// Where the older writer is when the newer one comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    BeforeItSends,
    SentNotExecuted,
    ExecutedNotAnswered,
    Answered,
}

const STEPS: [Step; 4] =
    [Step::BeforeItSends, Step::SentNotExecuted, Step::ExecutedNotAnswered, Step::Answered];

impl Step {
    fn is_stored(self) -> bool {
        matches!(self, Self::ExecutedNotAnswered | Self::Answered)
    }
}

/// One server; a journal that reaches it through a proxy, and one that does not.
struct Two {
    ground: Ground,
    proxies: Arc<Proxies>,
    paused: Arc<dyn Journal>,
    direct: Arc<dyn Journal>,
}

impl Two {
    async fn journals() -> Self {
        let ground = Ground::single().start().await.unwrap();
        let proxies = Arc::new(Proxies::before(&ground).await.unwrap());
        let paused = options(&ground).alone().through(&proxies).journal().await;
        let direct = options(&ground).alone().journal().await;
        Self { ground, proxies, paused, direct }
    }

    fn proxy(&self) -> &Proxy {
        self.proxies.of(&self.ground.nodes()[0]).unwrap()
    }

    /// An owner who has written two events, and is at this step with two more.
    async fn pause(&self, step: Step) -> Paused {
        let (mut owner, id) = Owner::of_fresh_entity(&self.paused).await;
        owner.append(&id, 1, 2).await.unwrap();
        let batch = owner.next_batch(vec![append(&id, 3, 2)]);
        let write = |journal: &Arc<dyn Journal>| tokio::spawn(journal.write(batch.clone()));
        let fault = match step {
            Step::BeforeItSends => return Paused { owner, id, batch, flight: None, trap: None },
            Step::SentNotExecuted => Fault::Hold,
            Step::ExecutedNotAnswered => Fault::HoldReply,
            Step::Answered => Fault::None,
        };
        let mut trap = self.proxy().trap(is_batch(owner.shard), fault);
        let flight = write(&self.paused);
        trap.sprung().await.unwrap();
        if step.is_stored() {
            until("the execution", LIMIT, || async {
                let read =
                    abide_persistence::journal::ReadEvents { known: None, ..owner.window(&id, 1, 9, 9) };
                match self.direct.read(read).await?.last.0 {
                    4 => Ok(()),
                    other => bail!("the stream ends at {other}"),
                }
            })
            .await
            .unwrap();
        }
        Paused { owner, id, batch, flight: Some(flight), trap: Some(trap) }
    }
}

struct Paused {
    owner: Owner,
    id: PersistenceId,
    batch: Batch,
    flight: Option<JoinHandle<Result<(), WriteError>>>,
    trap: Option<abide_chaos_tests::proxy::Trap>,
}

impl Paused {
    /// Lets it go on, and gives what it is told of its batch.
    async fn go_on(&mut self) -> Result<(), WriteError> {
        if let Some(trap) = self.trap.take() {
            trap.release();
        }
        match self.flight.take() {
            Some(flight) => flight.await.unwrap(),
            None => self.owner.journal.write(self.batch.clone()).await,
        }
    }

    /// Waits until the store has given up waiting, sent again and been told; only then the first copy goes on.
    async fn wake_late(&mut self) -> Result<(), WriteError> {
        let told = match self.flight.take() {
            Some(flight) => flight.await.unwrap(),
            None => self.owner.journal.write(self.batch.clone()).await,
        };
        if let Some(trap) = self.trap.take() {
            trap.release();
        }
        told
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_owner_stores_nothing_after_the_newer_claim_wherever_it_was_paused() {
    let two = Two::journals().await;
    for step in STEPS {
        for is_late in [false, true] {
            let mut older = two.pause(step).await;
            let mut newer = Owner::of(&two.direct, &older.id).await;
            let last = if step.is_stored() { 4 } else { 2 };
            newer.expect_all(&older.id, 1..=last, last).await;
            let told = if is_late { older.wake_late().await } else { older.go_on().await };
            match &told {
                // It was stored before the newer claim.
                Ok(()) => assert!(step.is_stored(), "{step:?}, late: {is_late}"),
                Err(refused @ WriteError::Fenced { held, .. }) => {
                    assert_eq!(held.claim, newer.claim);
                    assert!(!(step.is_stored() && refused.nothing_stored()), "{step:?}: {refused}");
                }
                Err(other) => panic!("{step:?}, late: {is_late}: {other}"),
            }
            newer.expect_all(&older.id, 1..=last, last).await;
            let next = older.owner.next_batch(vec![append(&older.id, last + 1, 1)]);
            let again = [Batch { number: 3, ..next.clone() }, Batch { number: 2, ..next }];
            for batch in again {
                let refused = two.paused.write(batch).await;
                assert!(matches!(refused, Err(WriteError::Fenced { .. })), "{step:?}: {refused:?}");
            }
            newer.append(&older.id, last + 1, 1).await.unwrap();
            newer.expect_all(&older.id, 1..=last + 1, last + 1).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_of_a_node_gets_nothing_in_at_the_same_epoch_wherever_the_first_was_paused() {
    let two = Two::journals().await;
    for step in STEPS {
        let mut first = two.pause(step).await;
        let writer = fresh_writer();
        for claim in [first.owner.claim, first.owner.claim.again()] {
            let twin = Owner { journal: two.direct.clone(), claim, writer, batch: 0, ..first.owner };
            let usurped = ClaimError::Usurped(Usurped::Incarnation(claim.epoch));
            assert_eq!(twin.claim().await, Err(usurped), "{step:?}");
        }
        // Its own bytes under the first one's claim and numbers.
        for number in [2, 3] {
            let id = first.owner.fresh_id();
            let batch = Batch { writer, number, ..first.owner.next_batch(vec![append(&id, 1, 1)]) };
            let refused = two.direct.write(batch).await;
            let is_refused = matches!(refused, Err(WriteError::Fenced { .. } | WriteError::Lost { .. }));
            assert!(is_refused, "{step:?}, batch {number}: {refused:?}");
            first.owner.expect_all(&id, [], 0).await;
        }
        assert_eq!(first.go_on().await, Ok(()), "{step:?}: the first process has the shard");
        first.owner.batch = 2;
        first.owner.append(&first.id, 5, 1).await.unwrap();
        first.owner.expect_all(&first.id, 1..=5, 5).await;
    }
}
