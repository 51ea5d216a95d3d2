//! What servers refuse with: each refusal is met on purpose. Those that can be had from a real server are; the
//! proxy gives the others.

use std::sync::Arc;
use std::time::Duration;

use abide_chaos_tests::proxy::{Fault, Proxies, Request};
use abide_chaos_tests::redis::{Failover, Ground, Node, view::slot_of};
use abide_persistence::PersistenceId;
use abide_persistence::journal::{ClaimError, Journal, WriteError};
use abide_persistence::testkit::Owner;

use crate::connecting::{Options, options};
use crate::dump::dump;
use crate::talk::{append, is_change};

/// Refused before anything ran.
const REFUSALS: [&str; 14] = [
    "MOVED 1 127.0.0.1:1",
    "ASK 1 127.0.0.1:1",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "READONLY You can't write against a read only replica.",
    "LOADING Redis is loading the dataset in memory",
    "CLUSTERDOWN The cluster is down",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "NOSCRIPT No matching script. Please use EVAL.",
    "BUSY Redis is busy running a script.",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "NOREPLICAS Not enough good replicas to write.",
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
    "NOPERM this user has no permissions to run the 'evalsha' command",
    "NOAUTH Authentication required.",
];
/// Nobody knows what ran.
const DOUBTS: [&str; 3] = [
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
    "ERR something that no version says today",
    "NOPERM The user executing the script can't run this command or subcommand script: x, on @user_script:1.",
];

const SHORT: Duration = Duration::from_millis(1500);

async fn proxied() -> (Ground, Arc<Proxies>) {
    let ground = Ground::single().start().await.unwrap();
    let proxies = Arc::new(Proxies::before(&ground).await.unwrap());
    (ground, proxies)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_once_is_sent_again_and_stored_once() {
    let (ground, proxies) = proxied().await;
    let proxy = proxies.of(&ground.nodes()[0]).unwrap();
    let journal = options(&ground).alone().through(&proxies).journal().await;
    for error in REFUSALS.into_iter().chain(DOUBTS) {
        let (owner, id) = Owner::of_fresh_entity(&journal).await;
        let _trap = proxy.trap(is_change(owner.shard), Fault::Refuse(error));
        let mut owner = owner.again().await;
        for first in 1..=3 {
            let mut trap = proxy.trap(is_change(owner.shard), Fault::Refuse(error));
            owner.append(&id, first, 1).await.expect(error);
            trap.sprung().await.unwrap();
        }
        owner.expect_all(&id, 1..=3, 3).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_until_the_end_was_not_written_unless_it_may_have_run() {
    let (ground, proxies) = proxied().await;
    let proxy = proxies.of(&ground.nodes()[0]).unwrap();
    let journal = options(&ground).alone().through(&proxies).calls_within(SHORT).journal().await;
    for error in REFUSALS.into_iter().chain(DOUBTS) {
        let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
        let before = dump(&ground.nodes()[0]).await;
        let is_change = is_change(owner.shard);
        proxy.set_rule(move |request| if is_change(request) { Fault::Refuse(error) } else { Fault::None });
        let again = Owner { journal: journal.clone(), claim: owner.claim.again(), batch: 0, ..owner };
        let (told, claimed) =
            tokio::join!(journal.write(owner.next_batch(vec![append(&id, 1, 1)])), again.claim());
        proxy.clear_rule();
        let code = error.split(' ').next().unwrap();
        match &told {
            Err(WriteError::NotWritten(why)) if REFUSALS.contains(&error) => {
                assert!(why.0.contains(code), "{why}");
            }
            Err(WriteError::Unknown(why)) if DOUBTS.contains(&error) => {
                assert!(why.0.contains(code), "{why}")
            }
            other => panic!("{error}: {other:?}"),
        }
        assert!(matches!(&claimed, Err(ClaimError::Failed(why)) if why.0.contains(code)), "{claimed:?}");
        assert!(dump(&ground.nodes()[0]).await == before, "{error}");
        owner.append(&id, 1, 1).await.expect("it would have been taken");
    }
}

/// In the place of a WAIT's number: who is demoted says so to all that are blocked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_is_broken_off_acknowledges_nothing() {
    let ground = Ground::single().replicas(1).start().await.unwrap();
    let primary = ground.primary().await.unwrap();
    let proxies = Arc::new(Proxies::before(&ground).await.unwrap());
    let journal = options(&ground).of(primary).through(&proxies).calls_within(SHORT).journal().await;
    let proxy = proxies.of(primary).unwrap();
    let (owner, id) = Owner::of_fresh_entity(&journal).await;
    proxy.set_rule(
        |request: &Request| {
            if request.is("WAIT") { Fault::Refuse(DOUBTS[0]) } else { Fault::None }
        },
    );
    let told = journal.write(owner.next_batch(vec![append(&id, 1, 1)])).await;
    assert!(matches!(&told, Err(WriteError::Unknown(why)) if why.0.contains("UNBLOCKED")), "{told:?}");
    proxy.clear_rule();
    let _trap = proxy.trap(|request| request.is("WAIT"), Fault::Refuse(DOUBTS[0]));
    let mut owner = owner.again().await;
    owner.expect_all(&id, [1], 1).await;
    owner.append(&id, 2, 1).await.unwrap();
    owner.expect_all(&id, 1..=2, 2).await;
}

/// A real server, how it is made to refuse, and how it is made whole.
struct Real {
    journal: Arc<dyn Journal>,
    ground: Ground,
}

impl Real {
    async fn server(with: impl Fn(Options) -> Options) -> Self {
        let ground = Ground::single().start().await.unwrap();
        let journal = with(options(&ground).alone().calls_within(SHORT)).journal().await;
        Self { journal, ground }
    }

    fn node(&self) -> &Node {
        &self.ground.nodes()[0]
    }

    async fn ask(&self, words: &str) {
        let words: Vec<String> = words.split(' ').map(|word| word.replace('_', " ")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.node().ask::<redis::Value>(&words).await.unwrap();
    }

    /// While the server refuses, nothing is written, and the words say why; then it is.
    async fn refuses(&self, code: &str, owner: &mut Owner, id: &PersistenceId, mend: &[&str]) {
        let last = owner.read(id).await.unwrap().last.0;
        let told = owner.append(id, last + 1, 2).await;
        let is_named = |why: &str| why.contains(code);
        assert!(matches!(&told, Err(WriteError::NotWritten(why)) if is_named(&why.0)), "{code}: {told:?}");
        // One that is refused is still on its way when the server is whole again.
        let flight = tokio::spawn(self.journal.write(owner.next_batch(vec![append(id, last + 1, 2)])));
        for words in mend {
            self.ask(words).await;
        }
        flight.await.unwrap().expect(code);
        owner.batch += 1;
        owner.expect_all(id, 1..=last + 2, last + 2).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_cannot_write_is_waited_for() {
    let real = Real::server(|options| options).await;
    let (mut owner, id) = Owner::of_fresh_entity(&real.journal).await;
    owner.append(&id, 1, 2).await.unwrap();

    real.ask("SCRIPT FLUSH").await;
    owner.append(&id, 3, 1).await.expect("the scripts are loaded again");

    real.ask("CONFIG SET maxmemory 1").await;
    real.refuses("OOM", &mut owner, &id, &["CONFIG SET maxmemory 0"]).await;

    real.ask("CONFIG SET min-replicas-to-write 1").await;
    real.refuses("NOREPLICAS", &mut owner, &id, &["CONFIG SET min-replicas-to-write 0"]).await;

    // It cannot put its dump in the place of a directory.
    let dump = real.node().dir().join("dump.rdb");
    std::fs::create_dir(&dump).unwrap();
    real.ask("CONFIG SET save 3600_1").await;
    real.ask("BGSAVE").await;
    abide_chaos_tests::wait::until("a save that fails", Duration::from_secs(10), || async {
        let info: String = real.node().ask(&["INFO", "persistence"]).await?;
        anyhow::ensure!(info.contains("rdb_last_bgsave_status:err"), "not yet");
        Ok(())
    })
    .await
    .unwrap();
    real.refuses("MISCONF", &mut owner, &id, &["CONFIG SET stop-writes-on-bgsave-error no"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_that_are_taken_away_are_named_and_waited_for() {
    let real = Real::server(|options| options).await;
    let (mut owner, id) = Owner::of_fresh_entity(&real.journal).await;
    owner.append(&id, 1, 2).await.unwrap();
    real.ask("ACL SETUSER default -evalsha").await;
    real.refuses("NOPERM", &mut owner, &id, &["ACL SETUSER default +evalsha"]).await;

    // What comes late in the script is looked at before the first write.
    let fresh = owner.fresh_id();
    real.ask("ACL SETUSER default -zadd").await;
    real.refuses("NOPERM", &mut owner, &fresh, &["ACL SETUSER default +zadd"]).await;

    // The rest may stop it half-way, so nobody says that nothing is stored.
    for command in ["rpush", "set"] {
        let fresh = owner.fresh_id();
        real.ask(&format!("ACL SETUSER default -{command}")).await;
        let told = owner.append(&fresh, 1, 2).await;
        real.ask(&format!("ACL SETUSER default +{command}")).await;
        assert!(matches!(told, Err(WriteError::Unknown(_))), "{command}: {told:?}");
        owner = owner.again().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_on_its_way_is_waited_for_and_never_read_as_empty() {
    let ground = Ground::cluster(3, 1).start().await.unwrap();
    let journal = options(&ground).journal().await;
    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    let other = owner.fresh_id();
    for id in [&id, &other] {
        owner.append(id, 1, 3).await.unwrap();
    }
    let slot = slot_of(format!("{{abide:{}}}", owner.shard.0).as_bytes());
    let from = ground.primary_of(slot).await.unwrap();
    let to = ground.primary_of((slot + 8192) % 16384).await.unwrap();
    let moving = ground.begin_slot_move(slot, to).await.unwrap();
    // TRYAGAIN or ASK, by what has gone.
    moving.move_keys(1).await.unwrap();
    let asks =
        |id: PersistenceId, owner: &Owner| tokio::spawn(journal.read(owner.window(&id, 1, u64::MAX, 10)));
    let reads = [asks(id.clone(), &owner), asks(other.clone(), &owner)];
    let write = tokio::spawn(journal.write(owner.next_batch(vec![append(&id, 4, 1), append(&other, 4, 1)])));
    while moving.move_keys(1).await.unwrap() > 0 {}
    moving.finish().await.unwrap();
    for read in reads {
        let page = read.await.unwrap().expect("a page");
        assert!(page.last.0 >= 3, "it was read as shorter than it is: {}", page.last.0);
    }
    write.await.unwrap().expect("it was sent again");
    owner.batch += 1;
    owner.expect_all(&id, 1..=4, 4).await;
    owner.expect_all(&other, 1..=4, 4).await;

    // The next one finds the slot elsewhere: MOVED. So does whoever comes to a deposed primary.
    let [replica] = ground.replicas_of(to).await.unwrap()[..] else { panic!("one replica each") };
    ground.failover(replica, Failover::Graceful).await.unwrap();
    owner.append(&id, 5, 1).await.unwrap();
    owner.expect_all(&id, 1..=5, 5).await;
    assert_ne!(ground.primary_of(slot).await.unwrap(), from);
}

/// READONLY, and UNBLOCKED, from a real server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_sentinels_demote_is_left_for_the_new_one() {
    let ground = Ground::sentinel().start().await.unwrap();
    let journal = options(&ground).journal().await;
    let (mut owner, id) = Owner::of_fresh_entity(&journal).await;
    let failover = ground.sentinel_failover();
    tokio::pin!(failover);
    let mut last = 0;
    let new = loop {
        tokio::select! {
            new = &mut failover => break new.unwrap(),
            written = owner.append(&id, last + 1, 1) => written.expect("a pause and no error"),
        }
        last += 1;
    };
    // Whatever was in flight when the loop ended is in doubt.
    let mut owner = owner.again().await;
    last = owner.read(&id).await.unwrap().last.0;
    owner.append(&id, last + 1, 1).await.unwrap();
    owner.expect_all(&id, 1..=last + 1, last + 1).await;
    assert_eq!(ground.primary().await.unwrap(), new);
}
