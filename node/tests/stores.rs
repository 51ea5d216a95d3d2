//! Stores that a program has beside those of Abide, and which type uses which: chosen by name, opened once,
//! closed whatever happens, and recovered from after any death.

mod service;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use abide::config::Config;
use abide::persistence::journal::{Journal, SnapshotCriteria, SnapshotStore};
use abide::persistence::runtime::{
    EmbeddedOptions, EmbeddedStore, LocalFiles, MemoryJournal, MemorySnapshots,
};
use abide::persistence::{EntityId, PersistenceId};
use abide::prelude::{EventSourced, PersistentActor};
use abide::{App, Node, StartError};
use serde_json::json;
use service::{Note, Other, Own, Tally, Third, ask, config, get, post};

const THREE: std::num::NonZeroU64 = std::num::NonZeroU64::new(3).expect("not zero");

/// Two journals side by side, a type on each.
fn two_journals(app: App) -> App {
    app.open_store("second", |config| async move {
        // Not only what blocks: what waits for the runtime must work, too.
        tokio::time::sleep(Duration::from_millis(1)).await;
        EmbeddedStore::open(config.node.data_dir.join("second"), EmbeddedOptions::default())
    })
    .entity_with::<Other>(|options| options.journal("second"))
    .entity::<Tally>()
}

/// Snapshots every three events, and no event before them.
fn with_retention(app: App) -> App {
    app.default_snapshot_store("local-files")
        .entity_with::<Tally>(|options| options.snapshot_every(THREE).delete_events())
}

fn only_snapshots(app: App) -> App {
    app.actor::<Note>()
}

fn program(name: &str) -> App {
    let app = App::default();
    match name {
        "two-journals" => two_journals(app),
        "retention" => with_retention(app),
        "only-snapshots" => only_snapshots(app),
        other => panic!("there is no program {other}"),
    }
}

/// A node in a process of its own, to be killed.
struct Process {
    child: Child,
    address: String,
}

const PROGRAM: &str = "ABIDE_TEST_PROGRAM";
const DATA: &str = "ABIDE_TEST_DATA";

/// Runs in the processes that the others start.
#[test]
#[ignore = "the process that other tests start and kill"]
fn a_node_in_a_process_of_its_own() {
    let (Ok(name), Ok(data)) = (std::env::var(PROGRAM), std::env::var(DATA)) else { return };
    tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let node = Node::start(program(&name), &config(Path::new(&data))).await.expect("a node");
        node.write_ports(&Path::new(&data).with_extension("ports")).expect("the ports");
        std::future::pending::<()>().await;
    });
}

impl Process {
    async fn start(name: &str, data: &Path) -> Self {
        let ports = data.with_extension("ports");
        let _ = std::fs::remove_file(&ports);
        let child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "a_node_in_a_process_of_its_own", "--ignored", "--nocapture"])
            .env(PROGRAM, name)
            .env(DATA, data)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut process = Self { child, address: String::new() };
        for _ in 0..6000 {
            if let Ok(text) = std::fs::read_to_string(&ports) {
                let ports: serde_json::Value = serde_json::from_str(&text).expect("JSON");
                process.address = ports["http"].as_str().expect("an address").to_owned();
                return process;
            }
            if let Some(status) = process.child.try_wait().expect("a child") {
                panic!("the node did not start: {status}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the node did not start in time");
    }

    /// Ends it without a warning.
    fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const ADD: &str = r#"{"add":1}"#;

async fn add(at: impl std::fmt::Display, path: &str, times: u64) {
    for _ in 0..times {
        assert_eq!(post(&at, path, ADD).await.status, 200);
    }
}

#[tokio::test]
async fn two_journals_serve_side_by_side_and_both_survive_a_kill_and_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let node = Process::start("two-journals", &data).await;
    add(&node.address, "tally/a", 3).await;
    add(&node.address, "other/a", 5).await;
    node.kill();

    let node = Process::start("two-journals", &data).await;
    assert_eq!(get(&node.address, "tally/a").await.body, json!({ "sum": 3 }));
    assert_eq!(get(&node.address, "other/a").await.body, json!({ "sum": 5 }));
    add(&node.address, "other/a", 1).await;
    node.kill();

    let node = Node::start(two_journals(App::default()), &config(&data)).await.expect("a node");
    assert_eq!(get(node.http(), "tally/a").await.body, json!({ "sum": 3 }));
    assert_eq!(get(node.http(), "other/a").await.body, json!({ "sum": 6 }));
    // The ids of a type are those in its own journal.
    assert_eq!(service::ids(node.http(), "other").await, ["a"]);
    let health = ask(node.http(), "GET", "/healthz", None).await;
    let names: Vec<_> =
        health.body["checks"].as_array().expect("checks").iter().map(|c| c["name"].clone()).collect();
    assert_eq!(names, ["journal.embedded", "journal.second", "snapshot.embedded", "shards"]);
    assert!(node.shutdown().await);

    // Closed both; three starts were counted at each.
    for name in ["journal", "second"] {
        let store = EmbeddedStore::open(data.join(name), EmbeddedOptions::default()).expect("nobody has it");
        let meta = store.meta().await.expect("it works").expect("it was used");
        assert_eq!(meta.generation, 3, "{name}");
    }
}

#[tokio::test]
async fn a_journal_that_joins_later_gets_a_generation_above_all() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config(dir.path());
    for _ in 0..2 {
        let node = Node::start(App::default().entity::<Tally>(), &config).await.expect("a node");
        add(node.http(), "tally/a", 1).await;
        assert!(node.shutdown().await);
    }
    let node = Node::start(two_journals(App::default()), &config).await.expect("a node");
    add(node.http(), "other/a", 1).await;
    add(node.http(), "tally/a", 1).await;
    assert!(node.shutdown().await);
    let node = Node::start(two_journals(App::default()), &config).await.expect("a node");
    assert_eq!(get(node.http(), "tally/a").await.body, json!({ "sum": 3 }));
    assert_eq!(get(node.http(), "other/a").await.body, json!({ "sum": 1 }));
    assert!(node.shutdown().await);
}

/// Adds until events were deleted, which follows the snapshots. How many events that takes is nobody's promise:
/// a snapshot that is due while another is being saved waits for the next multiple.
async fn add_until_deleted(at: &str, path: &str) -> (u64, u64) {
    for sum in 1..=1000 {
        add(at, path, 1).await;
        let page = get(at, &format!("{path}/events")).await.body;
        if let Some(to @ 1..) = page["deleted_to"].as_u64() {
            return (sum, to);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no event was deleted");
}

#[tokio::test]
async fn an_entity_without_its_first_events_recovers_from_a_snapshot_and_parks_without_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let node = Process::start("retention", &data).await;
    let (sum, deleted) = add_until_deleted(&node.address, "tally/a").await;
    assert!(
        deleted.is_multiple_of(3) && deleted + 6 <= sum,
        "{deleted} of {sum}: two snapshots contain them"
    );
    node.kill();

    let node = Process::start("retention", &data).await;
    assert_eq!(get(&node.address, "tally/a").await.body, json!({ "sum": sum }));
    node.kill();

    std::fs::remove_dir_all(data.join("snapshots")).expect("the snapshots were there");
    let node = Node::start(with_retention(App::default()), &config(&data)).await.expect("a node");
    let gone = get(node.http(), "tally/a").await;
    assert_eq!((gone.status, gone.kind()), (503, "urn:abide:problem:entity-parked".to_owned()));
    assert_eq!(post(node.http(), "tally/a", ADD).await.status, 503, "it does not begin anew");
    let admin = node.admin().expect("an admin listener");
    let parked = ask(admin, "GET", "/v1/entities/parked", None).await.body;
    let reason = parked["entities"][0]["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("were deleted because a snapshot contains what they said"), "{reason}");
    add(node.http(), "tally/b", 1).await;
    assert!(node.shutdown().await);

    // To have no snapshots at all is no way around it.
    let mut config = config(&data);
    config.snapshot.store = "none".to_owned();
    let app = App::default().entity::<Tally>();
    let node = Node::start(app, &config).await.expect("a node");
    assert_eq!(get(node.http(), "tally/a").await.status, 503);
    assert_eq!(get(node.http(), "tally/b").await.body, json!({ "sum": 1 }));
    assert!(node.shutdown().await);
}

#[tokio::test]
async fn a_store_that_is_both_is_opened_once_and_keeps_the_snapshots_beside_the_events() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config(dir.path());
    let opened = Arc::new(AtomicU32::new(0));
    let app = || {
        let opened = Arc::clone(&opened);
        App::default()
            .open_journal_and_snapshots("both", move |config| async move {
                opened.fetch_add(1, Ordering::Relaxed);
                EmbeddedStore::open(config.node.data_dir.join("both"), EmbeddedOptions::default())
            })
            .default_journal("both")
            .entity_with::<Tally>(|options| options.snapshot_every(THREE).delete_events())
    };
    let node = Node::start(app(), &config).await.expect("a node");
    let (sum, _) = add_until_deleted(&node.http().to_string(), "tally/a").await;
    assert!(node.shutdown().await);
    let node = Node::start(app(), &config).await.expect("a node");
    assert_eq!(get(node.http(), "tally/a").await.body, json!({ "sum": sum }));
    assert!(node.shutdown().await);
    assert_eq!(opened.load(Ordering::Relaxed), 2, "once in each life");
    assert!(!dir.path().join("journal").exists());
}

#[tokio::test]
async fn snapshots_may_outlive_a_journal_that_nobody_writes_to() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut config = config(dir.path());
    config.journal.store = "memory".to_owned();
    let app = || only_snapshots(App::default()).default_snapshot_store("local-files");
    for expected in ["", "kept"] {
        let node = Node::start(app(), &config).await.expect("a node");
        assert_eq!(get(node.http(), "note/a").await.body, json!(expected));
        assert_eq!(post(node.http(), "note/a", r#""kept""#).await.status, 200);
        assert!(node.shutdown().await);
    }
}

#[tokio::test]
async fn a_program_without_snapshots_recovers_from_events_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut config = config(dir.path());
    config.snapshot.store = "none".to_owned();
    let app = || with_retention(App::default());
    let node = Node::start(app(), &config).await.expect("a node");
    add(node.http(), "tally/a", 11).await;
    assert!(node.shutdown().await);
    let node = Node::start(app(), &config).await.expect("a node");
    let page = get(node.http(), "tally/a/events").await.body;
    assert_eq!((page["deleted_to"].as_u64(), page["events"].as_array().map(Vec::len)), (Some(0), Some(11)));
    assert_eq!(get(node.http(), "tally/a").await.body, json!({ "sum": 11 }));
    let health = ask(node.http(), "GET", "/healthz?tag=persistence", None).await.body;
    assert_eq!(health["checks"].as_array().map(Vec::len), Some(1), "{health}");
    assert!(node.shutdown().await);
    assert!(!dir.path().join("snapshots").exists());
}

#[tokio::test]
async fn a_type_that_only_saves_snapshots_needs_no_event() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let node = Process::start("only-snapshots", &data).await;
    assert_eq!(post(&node.address, "note/a", r#""first""#).await.status, 200);
    assert_eq!(post(&node.address, "note/a", r#""second""#).await.status, 200);
    node.kill();
    let node = Node::start(only_snapshots(App::default()), &config(&data)).await.expect("a node");
    assert_eq!(get(node.http(), "note/a").await.body, json!("second"));
    assert_eq!(get(node.http(), "note/a/events").await.body["last"], 0);
    assert!(node.shutdown().await);
}

/// A type that names a store keeps to it, whatever the configuration says for the others.
#[tokio::test]
async fn a_named_snapshot_store_is_used_though_there_is_no_default_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut config = config(dir.path());
    config.snapshot.store = "none".to_owned();
    let app = || {
        App::default()
            .open_snapshot_store("notes", |config| async move {
                std::fs::create_dir_all(&config.node.data_dir)?;
                LocalFiles::open(config.node.data_dir.join("notes")).map_err(std::io::Error::other)
            })
            .actor_with::<Note>(|options| options.snapshots("notes"))
            .entity_with::<Tally>(|options| options.snapshot_every(THREE).delete_events())
    };
    let node = Node::start(app(), &config).await.expect("a node");
    assert_eq!(post(node.http(), "note/a", r#""kept""#).await.status, 200);
    add(node.http(), "tally/a", 9).await;
    assert!(node.shutdown().await);
    let node = Node::start(app(), &config).await.expect("the directory was let go of");
    assert_eq!(get(node.http(), "note/a").await.body, json!("kept"));
    assert!(node.shutdown().await);
    let store = LocalFiles::open(dir.path().join("notes")).expect("it was let go of");
    let newest = async |entity_type, id: &str| {
        let id = PersistenceId::new(entity_type, EntityId::new(id).expect("an id"));
        let shard = id.hash().shard(config.sharding.shards);
        store.load(shard, id, SnapshotCriteria::ANY).await.expect("it works")
    };
    assert!(newest(Note::TYPE, "a").await.is_some());
    assert_eq!(newest(Tally::TYPE, "a").await, None, "its type names no store");
}

#[tokio::test]
async fn a_store_of_ones_own_serves_as_default_unless_the_configuration_says_otherwise() {
    let dir = tempfile::tempdir().expect("a directory");
    let (journal, snapshots) = (MemoryJournal::new(), MemorySnapshots::new());
    let app = || {
        App::default()
            .store("events", journal.clone())
            .snapshot_store("states", snapshots.clone())
            .default_journal("events")
            .default_snapshot_store("states")
            .entity::<Tally>()
    };
    let mut config = config(dir.path());
    let node = Node::start(app(), &config).await.expect("a node");
    add(node.http(), "tally/a", 1).await;
    assert!(node.shutdown().await);
    assert!(!dir.path().join("journal").exists(), "what nobody uses is not opened");
    let journal = journal.clone();
    assert_eq!(journal.meta().await.expect("a clone is open").map(|meta| meta.generation), Some(1));

    config = abide::config::Config::load(&abide::config::Inputs {
        flags: vec![
            abide::config::Override::new("node.data_dir", dir.path().display(), "test"),
            abide::config::Override::new("http.listen", "127.0.0.1:0", "test"),
            abide::config::Override::new("journal.store", "embedded", "test"),
        ],
        stores: app().store_names(),
        ..Default::default()
    })
    .expect("a configuration");
    let node = Node::start(app(), &config).await.expect("a node");
    assert_eq!(get(node.http(), "tally/a").await.body, json!({ "sum": 0 }), "another journal");
    assert!(dir.path().join("journal").exists());
    assert!(node.shutdown().await);
}

async fn refused(app: App, config: &Config) -> String {
    match Node::start(app, config).await {
        Ok(_) => panic!("it started"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_name_that_nobody_has_is_refused_with_those_that_there_are() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config(&dir.path().join("data"));
    let app = || App::default().store("events", MemoryJournal::new());
    let said = refused(app().entity_with::<Tally>(|options| options.journal("evnts")), &config).await;
    for part in ["\"tally\"", "\"evnts\"", "\"events\"", "\"embedded\"", "\"memory\""] {
        assert!(said.contains(part), "{part} is missing in: {said}");
    }
    let said = refused(app().entity_with::<Tally>(|options| options.snapshots("events")), &config).await;
    assert!(said.contains("the snapshot store \"events\"") && said.contains("\"local-files\""), "{said}");
    let said = refused(app().default_journal("nothing").entity::<Tally>(), &config).await;
    assert!(said.contains("journal.store = \"nothing\"") && said.contains("\"events\""), "{said}");
    let said = refused(app().store("events", MemoryJournal::new()).entity::<Tally>(), &config).await;
    assert!(said.contains("\"events\" is there already"), "{said}");
    let said = refused(app().store("memory", MemoryJournal::new()).entity::<Tally>(), &config).await;
    assert!(said.contains("\"memory\" is there already"), "{said}");
    assert!(!dir.path().join("data").exists(), "nothing was touched");
}

#[tokio::test]
async fn a_store_that_does_not_open_ends_the_start_and_closes_what_was_open() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config(dir.path());
    let attempts = Arc::new(AtomicU32::new(0));
    let own = Own::new();
    let closed = || own.closed.load(Ordering::Relaxed);
    let app = |fault: &'static str| {
        let attempts = Arc::clone(&attempts);
        App::default()
            .entity::<Tally>()
            .store("own", own.clone())
            .entity_with::<Third>(|options| options.journal("own"))
            .open_store("far", move |_| async move {
                attempts.fetch_add(1, Ordering::Relaxed);
                match fault {
                    "panic" => panic!("it went off"),
                    "refused" => Err("nobody answers at far:6379"),
                    _ => Ok(MemoryJournal::new()),
                }
            })
            .entity_with::<Other>(|options| options.journal("far"))
    };
    for (fault, words) in [("refused", "nobody answers at far:6379"), ("panic", "it went off")] {
        let said = refused(app(fault), &config).await;
        assert!(said.contains("the store \"far\" cannot be used") && said.contains(words), "{said}");
    }
    assert_eq!(closed(), 2, "also one of the program's own");
    // The journal that was opened before it can be opened again, in the same process.
    let node = Node::start(app("none"), &config).await.expect("a node");
    add(node.http(), "other/a", 1).await;
    add(node.http(), "tally/a", 1).await;
    assert!(node.shutdown().await);
    assert_eq!(attempts.load(Ordering::Relaxed), 3);

    // So it is when a journal is refused after all were opened.
    let mut other = config.clone();
    other.sharding.shards = abide::persistence::ShardCount::new(8).expect("in range");
    let said = refused(app("none"), &other).await;
    assert_eq!(closed(), 4, "at the end of the node, and again");
    assert!(said.contains("the store \"embedded\"") && said.contains("sharding.shards"), "{said}");
    let node = Node::start(app("none"), &config).await.expect("a node");
    assert_eq!(get(node.http(), "tally/a").await.body, json!({ "sum": 1 }));
    assert!(node.shutdown().await);
}

#[tokio::test]
async fn a_busy_admin_port_is_named_with_a_way_out_and_no_data_is_touched() {
    let dir = tempfile::tempdir().expect("a directory");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut config = config(&dir.path().join("data"));
    config.admin.listen = Some(taken.local_addr().expect("an address"));
    let error = Node::start(App::default().entity::<Tally>(), &config).await.expect_err("the port is taken");
    assert!(matches!(error, StartError::Listen { key: "admin.listen", .. }), "{error}");
    assert!(error.to_string().contains("--set admin.listen=127.0.0.1:0"), "{error}");
    assert!(!dir.path().join("data").exists());
    config.admin.listen = None;
    let node = Node::start(App::default().entity::<Tally>(), &config).await.expect("it can do without");
    assert_eq!(node.admin(), None);
    assert!(node.shutdown().await);
}
