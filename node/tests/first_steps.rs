//! What goes wrong in a first hour, on the real program: each fault is named, with the remedy, and nothing is
//! left half done.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

fn abide(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_abide"))
        .args(args)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .output()
        .expect("the program runs")
}

fn says(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

#[test]
fn every_typo_in_the_configuration_is_named_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("abide.toml");
    std::fs::write(
        &file,
        "[htpp]\nlisten = \"127.0.0.1:0\"\n[sharding]\nshard = 7\npassivate_after = \"soon\"\n",
    )
    .expect("a file");
    let output = abide(&["serve", "--config", utf8(&file)]);
    let said = says(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for part in ["htpp", "http", "sharding.shards", "passivate_after", "soon", "abide.toml:"] {
        assert!(said.contains(part), "{part} is missing in: {said}");
    }
    assert!(!dir.path().join("abide-data").exists(), "nothing was started");
}

#[test]
fn a_busy_port_is_named_with_a_way_out() {
    let dir = tempfile::tempdir().expect("a directory");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let output = abide(&["dev", "--listen", &address, "--data-dir", utf8(&dir.path().join("data"))]);
    let said = says(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&address) && said.contains("choose another port"), "{said}");
    assert!(!dir.path().join("data").exists(), "the data was not touched");
}

#[test]
fn a_busy_admin_port_is_named_with_a_way_out() {
    let dir = tempfile::tempdir().expect("a directory");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let admin = format!("admin.listen={}", taken.local_addr().expect("an address"));
    let data = dir.path().join("data");
    let output = abide(&["dev", "--listen", "127.0.0.1:0", "--set", &admin, "--data-dir", utf8(&data)]);
    let said = says(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in ["admin.listen", "choose another port", "--set admin.listen=127.0.0.1:0"] {
        assert!(said.contains(part), "{part} is missing in: {said}");
    }
    assert!(!data.exists(), "the data was not touched");
}

#[test]
fn two_nodes_on_free_ports_do_not_meet_and_tell_both_ports() {
    let dir = tempfile::tempdir().expect("a directory");
    let nodes = ["a", "b"].map(|name| dir.path().join(name)).map(|data| {
        let node = Started::new(&data);
        let ports = std::fs::read_to_string(data.with_extension("ports")).expect("the ports");
        let ports: serde_json::Value = serde_json::from_str(&ports).expect("JSON");
        (node, ports)
    });
    let mut all = std::collections::BTreeSet::new();
    for (node, ports) in nodes {
        for listener in ["http", "admin"] {
            let address = ports[listener].as_str().expect("an address").to_owned();
            std::net::TcpStream::connect(&address).expect("somebody listens");
            assert!(!address.ends_with(":8081"), "{address}");
            all.insert(address);
        }
        node.signal("TERM");
        node.ended_in_order();
    }
    assert_eq!(all.len(), 4);
}

#[test]
fn a_store_that_nobody_has_is_named_with_those_that_there_are() {
    let output = abide(&["serve", "--set", "snapshot.store=local_files"]);
    let said = says(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("snapshot.store") && said.contains("did you mean \"local-files\"?"), "{said}");
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let output = abide(&["dev", "--listen", "127.0.0.1:0", "--data-dir", "/proc/abide"]);
    let said = says(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("/proc/abide"), "{said}");
}

#[test]
fn a_foreign_directory_is_not_taken_for_a_journal() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("holiday.jpg"), "not an event").expect("a file");
    let journal = format!("journal.dir={}", dir.path().display());
    let output = abide(&["serve", "--set", "http.listen=127.0.0.1:0", "--set", &journal]);
    let said = says(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("holiday.jpg") && said.contains("not a journal"), "{said}");
}

#[test]
fn another_number_of_shards_is_refused_with_both_numbers() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let node = Started::new(&data);
    node.signal("TERM");
    node.ended_in_order();
    let output = abide(&[
        "serve",
        "--data-dir",
        utf8(&data),
        "--listen",
        "127.0.0.1:0",
        "--set",
        "sharding.shards=64",
    ]);
    let said = says(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("1024") && said.contains("64"), "{said}");
}

#[test]
fn a_second_node_on_the_same_data_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let node = Started::new(&data);
    let output = abide(&["serve", "--data-dir", utf8(&data), "--listen", "127.0.0.1:0"]);
    let said = says(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("in use by another process"), "{said}");
    node.signal("TERM");
    node.ended_in_order();
}

#[test]
fn ctrl_c_ends_in_order_with_exit_code_0() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = Started::new(&dir.path().join("data"));
    node.signal("INT");
    node.ended_in_order();
}

#[test]
fn help_teaches_and_the_effective_configuration_is_printed() {
    let help = abide(&["--help"]);
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    for part in ["dev", "serve", "config", "bench", "curl"] {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
    let config = abide(&["config", "--set", "sharding.passivate_after=7m"]);
    let text = String::from_utf8_lossy(&config.stdout).into_owned();
    assert!(config.status.success() && text.contains("7m") && text.contains("--set"), "{text}");
    let config = abide(&["config", "--set", "journal.store=memory"]);
    let text = String::from_utf8_lossy(&config.stdout).into_owned();
    assert!(text.contains("store = \"memory\"  # follows journal.store\n"), "{text}");
}

struct Started {
    child: std::process::Child,
}

impl Started {
    fn new(data: &Path) -> Self {
        let ports = data.with_extension("ports");
        let child = Command::new(env!("CARGO_BIN_EXE_abide"))
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--data-dir",
                utf8(data),
                "--ports-file",
                utf8(&ports),
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let started = Self { child };
        for _ in 0..6000 {
            if ports.exists() {
                return started;
            }
            wait(Duration::from_millis(10));
        }
        panic!("the node did not listen");
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().expect("kill runs");
        assert!(sent.success());
    }

    fn ended_in_order(mut self) {
        let status = self.child.wait().expect("it ends");
        assert_eq!(status.code(), Some(0));
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own thread may sleep")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}
