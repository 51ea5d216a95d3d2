//! What a configuration promises.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use abide_persistence::runtime::redis::options::{Unsafe, WaitReplicas};

use super::settle::ProgramDefaults;
use super::tree::EntityConfig;
use super::*;

/// Sources for one test, on top of which others may be laid.
#[derive(Default)]
struct Given {
    directory: Option<tempfile::TempDir>,
    inputs: Inputs,
}

fn given() -> Given {
    Given::default()
}

impl Given {
    fn file(mut self, text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("abide.toml");
        std::fs::write(&path, text).unwrap();
        self.inputs.file = Some(path);
        self.directory = Some(directory);
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.inputs.environment.push((name.into(), value.into()));
        self
    }

    fn set(mut self, text: &str) -> Self {
        self.inputs.flags.push(text.parse().unwrap());
        self
    }

    fn config(&self) -> Config {
        Config::load(&self.inputs).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// The faults as printed, the file's directory cut off.
    fn faults(&self) -> Vec<String> {
        let directory = self.directory.as_ref().map(|directory| format!("{}/", directory.path().display()));
        let cut = |fault: &ConfigFault| match &directory {
            Some(directory) => fault.to_string().replace(directory, ""),
            None => fault.to_string(),
        };
        Config::load(&self.inputs).expect_err("has faults").0.iter().map(cut).collect()
    }
}

#[test]
fn every_key_has_a_default_that_keeps_all_rules() {
    let config = given().config();
    assert_eq!(config, Config::default());
    config.validate(&given().inputs.stores).unwrap();
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.http.max_body, ByteSize(1 << 20));
    assert_eq!(config.sharding.passivate_after, Duration::from_secs(120));
    assert_eq!(config.sharding.max_active_entities, None);
    assert_eq!(config.journal_dir(), PathBuf::from("abide-data/journal"));
    assert_eq!(config.snapshot_dir(), PathBuf::from("abide-data/snapshots"));
    assert_eq!(config.admin.listen.map(|listen| listen.to_string()), Some("127.0.0.1:8081".to_owned()));
    assert_eq!(config.entity.slow_handler, Duration::from_millis(100));
    let EntityConfig { backoff_min, backoff_max, backoff_factor, backoff_jitter, .. } = config.entity;
    assert_eq!((backoff_min, backoff_max), (Duration::from_millis(200), Duration::from_secs(30)));
    assert_eq!((backoff_factor, backoff_jitter), (2.0, 0.2));
    assert_eq!(config.source("http.listen"), &Source::Default);
}

#[test]
fn each_source_wins_over_the_one_before() {
    let given = given()
        .file("[sharding]\nshards = 1\n[entity]\nstash_capacity = 1\n[recovery]\nmax_concurrent = 1\n")
        .variable("ABIDE__ENTITY__STASH_CAPACITY", "2")
        .variable("ABIDE__RECOVERY__MAX_CONCURRENT", "2")
        .set("recovery.max_concurrent=3");
    let config = given.config();
    assert_eq!(config.sharding.shards.get(), 1);
    assert_eq!(config.entity.stash_capacity.get(), 2);
    assert_eq!(config.recovery.max_concurrent.get(), 3);
    assert_eq!(config.recovery.page_events, Config::default().recovery.page_events);
    assert_eq!(
        config.source("sharding.shards"),
        &Source::File { path: given.inputs.file.clone().unwrap(), line: Some(2) }
    );
    assert_eq!(
        config.source("entity.stash_capacity"),
        &Source::Variable("ABIDE__ENTITY__STASH_CAPACITY".to_owned())
    );
    assert_eq!(
        config.source("recovery.max_concurrent"),
        &Source::Flag("--set recovery.max_concurrent".to_owned())
    );
}

#[test]
fn every_type_can_be_written_in_every_source() {
    let config = given()
        .file(
            "log.format = 'json'\n[http]\nlisten = '[::1]:0'\nmax_body = 2048\n\
             [entity]\nbackoff_jitter = 0.5\n\
             [sharding]\nmax_active_entities = 1_000\n[journal]\ndir = '/var/lib/abide'\n",
        )
        .variable("ABIDE__HTTP__DEFAULT_TIMEOUT", "1s 500ms")
        .variable("ABIDE__RECOVERY__PAGE_BYTES", "64KiB")
        .variable("ABIDE_BIN", "/usr/bin/abide")
        .variable("ABIDE__ENTITY__BACKOFF_FACTOR", "3")
        .set("sharding.max_active_entities=none")
        .set("entity.stash_overflow=reply")
        .set("admin.listen=none")
        .set("log.level=warn")
        .config();
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.log.level, LogLevel::Warn);
    assert_eq!(config.http.listen.to_string(), "[::1]:0");
    assert_eq!(config.http.max_body, ByteSize(2048));
    assert_eq!(config.http.default_timeout, Duration::from_millis(1500));
    assert_eq!(config.recovery.page_bytes, ByteSize(64 << 10));
    assert_eq!(config.sharding.max_active_entities, None);
    assert_eq!(config.journal_dir(), PathBuf::from("/var/lib/abide"));
    assert_eq!((config.entity.backoff_factor, config.entity.backoff_jitter), (3.0, 0.5));
    assert_eq!(config.entity.stash_overflow, StashOverflow::Reply);
    assert_eq!(config.admin.listen, None);
}

#[test]
fn every_fault_is_reported_at_once_with_its_key_value_rule_and_place() {
    let faults = given()
        .file(
            "[http]\n\
             listen = 8080\n\
             max_body = 1.5\n\
             default_timeout = \"150s\"\n\
             \n\
             [shardin]\n\
             shards = 16\n\
             [entity]\n\
             backoff_min = \"5 parsecs\"\n\
             [journal]\n\
             store = \"embeded\"\n",
        )
        .variable("ABIDE__HTPP__MAX_BODY", "1")
        .variable("ABIDE__SHARDING__SHARDS", "0")
        .variable("ABIDE__NODE__NAME", "-")
        .set("http=1")
        .set("recovery.max_concurrent=70000")
        .faults();
    let expected = [
        "abide.toml:2: http.listen = 8080: must be an address with a port, such as \"127.0.0.1:8080\" or \
         \"[::]:8080\"; found a number",
        "abide.toml:3: http.max_body = 1.5: must be a size such as \"64KiB\" or \"1MiB\", or a number of bytes; \
         found a number with a point",
        "abide.toml:7: shardin.shards = 16: unknown key; did you mean sharding.shards?",
        "abide.toml:9: entity.backoff_min = \"5 parsecs\": must be a length of time with its unit, such as \
         \"200ms\", \"5s\" or \"2m\"; found a string",
        "ABIDE__HTPP__MAX_BODY: htpp.max_body = \"1\": unknown key; did you mean ABIDE__HTTP__MAX_BODY?",
        "ABIDE__NODE__NAME: node.name = \"-\": must be 1 to 63 letters, digits, '.', '_' or '-', the first a letter \
         or a digit",
        "ABIDE__SHARDING__SHARDS: sharding.shards = \"0\": must be a whole number from 1 to 65536",
        "--set http: http = \"1\": a section, not a key; set http.… instead",
        "--set recovery.max_concurrent: recovery.max_concurrent = \"70000\": must be from 1 to 65536",
        "abide.toml:4: http.default_timeout = \"2m 30s\": must be at most http.max_timeout = \"2m\" (default), or no \
         request could keep the default",
        "abide.toml:4: http.default_timeout = \"2m 30s\": must be at most four fifths of \
         node.shutdown_timeout = \"25s\" (default), \
         or requests that run at SIGTERM could not finish",
        "abide.toml:11: journal.store = \"embeded\": must be one of \"embedded\", \"memory\", \"redis\"; did you mean \
         \"embedded\"?",
    ];
    assert_eq!(faults, expected);
}

#[test]
fn numbers_with_a_point_have_bounds_and_are_finite() {
    let faults = given()
        .file("[entity]\nbackoff_factor = inf\nbackoff_jitter = \"0.2\"\n")
        .variable("ABIDE__ENTITY__BACKOFF_FACTOR", "0.9")
        .set("entity.backoff_jitter=NaN")
        .set("entity.backoff_jitter=1.1")
        .faults();
    let expected = [
        "abide.toml:2: entity.backoff_factor = inf: must be a number such as 2 or 1.5; found a number with a point",
        "abide.toml:3: entity.backoff_jitter = \"0.2\": must be a number such as 2 or 1.5; found a string",
        "ABIDE__ENTITY__BACKOFF_FACTOR: entity.backoff_factor = \"0.9\": must be from 1 to 100",
        "--set entity.backoff_jitter: entity.backoff_jitter = \"NaN\": must be a number such as 2 or 1.5",
        "--set entity.backoff_jitter: entity.backoff_jitter = \"1.1\": must be from 0 to 1",
    ];
    assert_eq!(faults, expected);
}

#[test]
fn stores_and_addresses_that_cannot_be_are_refused() {
    let faults = given()
        .set("snapshot.store=local-file")
        .set("entity.stash_overflow=block")
        .set("admin.listen=127.0.0.1:8080")
        .faults();
    let expected = [
        "--set entity.stash_overflow: entity.stash_overflow = \"block\": must be \"fail\", \"drop\" or \"reply\"",
        "--set admin.listen: admin.listen = \"127.0.0.1:8080\": must not be http.listen, or clients could give orders",
        "--set snapshot.store: snapshot.store = \"local-file\": must be one of \"embedded\", \"memory\", \"redis\", \
         \"local-files\", \"none\"; did you mean \"local-files\"?",
    ];
    assert_eq!(faults, expected);
}

fn program(journal: Option<&str>, snapshots: Option<&str>) -> ProgramDefaults {
    ProgramDefaults { journal: journal.map(str::to_owned), snapshots: snapshots.map(str::to_owned) }
}

/// The stores in force, and where they were set.
fn stores(mut config: Config, program: &ProgramDefaults) -> [String; 2] {
    let mut names = StoreNames::default();
    names.journals.push("events".to_owned());
    names.snapshots.push("both".to_owned());
    config.settle(program, &names);
    let settled = config.clone();
    config.settle(program, &names);
    assert_eq!(config, settled, "once is enough");
    let shown = |store: &str, key: &str| format!("{store} ({})", settled.source(key));
    [shown(&settled.journal.store, "journal.store"), shown(&settled.snapshot.store, "snapshot.store")]
}

#[test]
fn the_program_has_a_say_where_nobody_else_has() {
    let none = program(None, None);
    assert_eq!(stores(Config::default(), &none), ["embedded (default)", "embedded (default)"]);
    let own = program(Some("events"), Some("none"));
    assert_eq!(
        stores(Config::default(), &own),
        ["events (default of the program)", "none (default of the program)"]
    );
    let said = given().set("journal.store=embedded").set("snapshot.store=embedded").config();
    assert_eq!(
        stores(said, &own),
        ["embedded (--set journal.store)", "embedded (--set snapshot.store)"],
        "also if it says what is the default"
    );
    let mut by_hand = Config::default();
    by_hand.journal.store = "memory".to_owned();
    assert_eq!(stores(by_hand, &own), ["memory (default)", "none (default of the program)"]);
}

#[test]
fn snapshots_go_where_the_events_are_if_they_can_and_nobody_says_otherwise() {
    let memory = || given().set("journal.store=memory");
    let none = program(None, None);
    assert_eq!(stores(memory().config(), &none)[1], "memory (follows journal.store)");
    let said = memory().set("snapshot.store=local-files").config();
    assert_eq!(stores(said, &none)[1], "local-files (--set snapshot.store)");
    assert_eq!(stores(Config::default(), &program(Some("both"), None))[1], "both (follows journal.store)");
    assert_eq!(stores(Config::default(), &program(Some("events"), None))[1], "embedded (default)");
}

#[test]
fn the_admin_listener_takes_a_free_port_beside_clients_that_do() {
    let admin = |given: Given| {
        let mut config = given.config();
        config.settle(&ProgramDefaults::default(), &StoreNames::default());
        config.admin.listen.map(|listen| listen.to_string())
    };
    assert_eq!(admin(given()).as_deref(), Some("127.0.0.1:8081"));
    let free = || given().set("http.listen=127.0.0.1:0");
    assert_eq!(admin(free()).as_deref(), Some("127.0.0.1:0"));
    assert_eq!(admin(free().set("admin.listen=127.0.0.1:8081")).as_deref(), Some("127.0.0.1:8081"));
    assert_eq!(admin(free().set("admin.listen=none")), None);
}

#[test]
fn a_relation_to_a_value_that_is_itself_at_fault_is_not_judged() {
    let faults =
        given().set("http.max_timeout=soon").set("http.default_timeout=150s").set("node.shutdown_timeout=4m");
    assert_eq!(faults.faults().len(), 1, "{:?}", faults.faults());
}

#[test]
fn an_unknown_key_gets_the_best_advice_there_is() {
    let advice = |key: &str| {
        given().set(&format!("{key}=1")).faults().remove(0).split("key; ").nth(1).map(str::to_owned)
    };
    assert_eq!(advice("http.default-timeout").unwrap(), "did you mean http.default_timeout?");
    assert_eq!(advice("shards").unwrap(), "did you mean sharding.shards?");
    assert_eq!(advice("entity.passivate_after").unwrap(), "did you mean sharding.passivate_after?");
    assert_eq!(advice("log.colour_of_lines").unwrap(), "log has level, format");
    assert_eq!(
        advice("telescope.lens").unwrap(),
        "the sections are node, http, admin, sharding, entity, recovery, breaker, journal, snapshot, journal.redis, snapshot.redis, log"
    );
}

#[test]
fn an_unknown_variable_is_refused_and_those_of_others_are_not_ours() {
    let given =
        given().variable("ABIDE__", "").variable("ABIDE__LOG", "json").variable("ABIDE_PORT", "tcp://1");
    let faults = given.faults();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].starts_with("ABIDE__:"), "{faults:?}");
    assert!(faults[1].ends_with("a section, not a key; set log.… instead"), "{faults:?}");
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_text_is_a_fault() {
    use std::os::unix::ffi::OsStringExt;
    let mut given = given();
    given.inputs.environment.push(("ABIDE__NODE__NAME".into(), OsString::from_vec(vec![b'a', 0xff])));
    assert_eq!(given.faults().len(), 1);
}

#[test]
fn every_fault_of_syntax_has_its_line() {
    let faults =
        given().file("[http]\nlisten = \nmax_body = 1\nmax_body = 2\n[log]\nlevel = \"loud\"\n").faults();
    assert!(faults.iter().any(|fault| fault.starts_with("abide.toml:2: not TOML:")), "{faults:?}");
    assert!(
        faults.iter().any(|fault| fault.starts_with("abide.toml:4: not TOML: duplicate key")),
        "{faults:?}"
    );
    assert!(faults.iter().any(|fault| fault.starts_with("abide.toml:6: log.level = \"loud\"")), "{faults:?}");
}

#[test]
fn a_file_that_cannot_be_read_is_a_fault_beside_the_others() {
    let mut given = given().set("log.level=loud");
    given.inputs.file = Some("/nowhere/abide.toml".into());
    let faults = given.faults();
    assert_eq!(faults.len(), 2);
    assert!(faults[0].starts_with("/nowhere/abide.toml: cannot be read:"), "{faults:?}");
}

#[test]
fn an_empty_file_and_empty_sections_say_nothing_but_a_misspelt_one_does() {
    assert_eq!(given().file("").config(), Config::default());
    assert_eq!(given().file("[http]\n[log]\n").config(), Config::default());
    assert_eq!(given().file("[htpp]\n").faults(), ["abide.toml:1: htpp: unknown key; did you mean http?"]);
}

#[test]
fn what_is_in_force_says_where_it_came_from_and_loads_to_the_same() {
    let config = given()
        .file("[node]\nname = \"a\"\ndata_dir = 'C:\\a \"b\"'\n")
        .variable("ABIDE__HTTP__MAX_TIMEOUT", "2h 1ms")
        .set("sharding.max_active_entities=7")
        .config();
    let text = config.to_toml();
    assert!(text.contains("max_timeout = \"2h 1ms\"  # ABIDE__HTTP__MAX_TIMEOUT\n"), "{text}");
    assert!(text.contains("max_active_entities = 7  # --set sharding.max_active_entities\n"), "{text}");
    assert!(text.contains("abide.toml:2\n"), "{text}");
    assert!(text.contains("\nlanes = 0\n"), "{text}");
    assert_eq!(given().file(&text).config(), config);
}

#[test]
fn the_sample_file_is_the_generated_one_and_loads_to_the_default() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("abide.sample.toml");
    if std::env::var_os("ABIDE_WRITE_SAMPLE").is_some() {
        std::fs::write(&path, Config::sample()).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    assert_eq!(kept, Config::sample(), "run this test with ABIDE_WRITE_SAMPLE=1 and look at the difference");
    assert_eq!(given().file(&kept).config(), Config::default());
}

#[test]
fn redis_is_set_in_every_source() {
    let config = given()
        .file(
            "[journal.redis]\nurls = ['redis://a:1', 'redis://b']\nwait_replicas = 2\ntls = false\n\
             allow_unsafe = ['eviction']\n[breaker]\nmax_failures = 3\n",
        )
        .variable("ABIDE__JOURNAL__REDIS__WAIT_AOF", "true")
        .variable("ABIDE__JOURNAL__REDIS__DATABASE", "3")
        .set("journal.redis.allow_unsafe=no-replica,unchecked")
        .config();
    let redis = &config.journal_redis;
    assert_eq!(redis.urls.0, ["redis://a:1", "redis://b"]);
    assert_eq!(redis.wait_replicas, WaitReplicas::Exactly(2));
    assert_eq!((redis.tls, redis.wait_aof, redis.database), (Some(false), true, Some(3)));
    assert_eq!(redis.allow_unsafe.0, [Unsafe::NoReplica, Unsafe::Unchecked]);
    let options = redis.options(&config.breaker).expect("options");
    assert_eq!((options.max_failures, options.seeds.len(), options.wait_aof), (3, 2, true));
}

#[test]
fn what_contradicts_itself_is_refused_with_both_keys() {
    let faults = given()
        .file(
            "[journal.redis]\nurls = ['rediss://ann:hunter2@h/1']\ntls = false\ndatabase = 2\n\
             password_file = 'p'\nwait_timeout = '11s'\nkey_prefix = 'a:b'\n",
        )
        .faults();
    for (key, words) in [
        ("journal.redis.tls = false", "rediss://h:6379"),
        ("journal.redis.database = 2", "urls say 1"),
        ("journal.redis.password_file", "a password in urls too"),
        ("journal.redis.wait_timeout", "at most breaker.call_timeout"),
        ("journal.redis.key_prefix", "without braces, colons"),
    ] {
        assert!(faults.iter().any(|fault| fault.contains(key) && fault.contains(words)), "{key}: {faults:?}");
    }
    assert!(faults.iter().all(|fault| !fault.contains("hunter2")), "{faults:?}");
    let late = given().set("journal.store=redis").set("breaker.call_timeout=20s").faults();
    assert!(late.len() == 1 && late[0].contains("at most http.default_timeout"), "{late:?}");
}

#[test]
fn no_password_is_shown_whatever_is_wrong_with_it() {
    let faulty = given()
        .file("[journal.redis]\nurls = ['redis://ann:hunter2@h', 'redis:/:hunter2@h']\nurl = 'redis://:hunter2@h'\npassword = 'hunter2'\n")
        .variable("ABIDE__JOURNAL__REDIS__URL", "redis://:hunter2@h")
        .set("journal.redis.password=hunter2");
    let faults = faulty.faults();
    assert_eq!(faults.len(), 5, "{faults:?}");
    assert!(faults.iter().all(|fault| !fault.contains("hunter2")), "{faults:?}");
    let config = given().set("journal.redis.urls=redis://ann:hunter2@h").config();
    let shown = config.to_toml();
    assert!(shown.contains(r#"urls = ["redis://ann:***@h"]"#), "{shown}");
    assert!(!shown.contains("hunter2") && !format!("{config:?}").contains("hunter2"));
}

#[test]
fn snapshots_follow_the_journals_redis_and_its_servers_only_together() {
    let settled = |given: Given| {
        let mut config = given.config();
        config.settle(&ProgramDefaults::default(), &StoreNames::default());
        config
    };
    let journal = "[journal.redis]\nurls = ['redis://:pw@a']\ndatabase = 1\nkey_prefix = 'shop'\n";
    let config = settled(given().file(journal));
    assert_eq!(config.snapshot_redis, config.journal_redis);
    assert_eq!(config.source("snapshot.redis.urls"), &Source::Follows("journal.redis.urls"));
    let config = settled(given().file(journal).set("snapshot.redis.urls=redis://b"));
    let snapshots = &config.snapshot_redis;
    assert_eq!((snapshots.urls.0.as_slice(), snapshots.database), (&["redis://b".to_owned()][..], None));
    assert_eq!(snapshots.key_prefix, "shop");
    let config = settled(given().file(journal).set("snapshot.redis.max_value=1MiB"));
    assert_eq!(config.snapshot_redis.urls, config.journal_redis.urls);
    assert_ne!(config.snapshot_redis, config.journal_redis);
    let faults = given()
        .file(journal)
        .set("snapshot.redis.urls=redis://b/2")
        .set("snapshot.redis.database=3")
        .faults();
    assert!(faults.len() == 1 && faults[0].contains("snapshot.redis.database"), "{faults:?}");
}

#[test]
fn a_tree_changed_by_hand_is_held_to_the_same_rules() {
    let mut config = Config::default();
    config.http.max_timeout = Duration::ZERO;
    config.sharding.lanes = 1025;
    let errors = config.validate(&given().inputs.stores).expect_err("has faults");
    let keys: Vec<_> = errors.0.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(keys, ["http.max_timeout", "sharding.lanes"]);
    assert!(
        errors
            .to_string()
            .starts_with("the configuration has 2 faults:\n  default: http.max_timeout = \"0s\":")
    );
}
