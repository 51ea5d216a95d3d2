//! The README's session, replayed against the real program: what is printed there is what happens.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(dir: &Path) -> (Running, String) {
    let ports = dir.join("ports.json");
    let _ = std::fs::remove_file(&ports);
    let child = Command::new(env!("CARGO_BIN_EXE_abide"))
        // No command, as the README has it; only the address is another, because tests run side by side.
        .args(["--listen", "127.0.0.1:0", "--ports-file"])
        .arg(&ports)
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let running = Running(child);
    for _ in 0..6000 {
        if let Ok(text) = std::fs::read_to_string(&ports) {
            let ports: serde_json::Value = serde_json::from_str(&text).expect("the ports are JSON");
            return (running, ports["http"].as_str().expect("an address").to_owned());
        }
        wait(Duration::from_millis(10));
    }
    panic!("the node did not listen");
}

/// Commands and what they print, from every `console` block.
fn session(readme: &str) -> Vec<(String, String)> {
    let mut steps: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        match (inside, line) {
            (false, "```console") => inside = true,
            (true, "```") => inside = false,
            (true, line) => match line.strip_prefix("$ ") {
                Some(command) => steps.push((command.to_owned(), String::new())),
                None => {
                    let (_, output) = steps.last_mut().expect("a session begins with a command");
                    output.push_str(line);
                    output.push('\n');
                }
            },
            _ => {}
        }
    }
    steps
}

#[test]
fn the_session_of_the_readme_works_as_printed() {
    let readme = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let steps = session(&std::fs::read_to_string(readme).expect("the README"));
    assert!(steps.len() >= 7, "the session has gone from the README");
    let dir = tempfile::tempdir().expect("a directory");
    let mut node = Some(start(dir.path()));
    for (command, expected) in steps {
        if command == "kill -9 $ABIDE_PID" {
            // Dropping kills with SIGKILL.
            node = None;
            continue;
        }
        if command == "cargo run --release" {
            assert!(node.is_none(), "the README starts a second node");
            node = Some(start(dir.path()));
            continue;
        }
        let (_, address) = node.as_ref().expect("a node runs");
        let here = command.replace("127.0.0.1:8080", address);
        let output = Command::new("sh").args(["-c", &here]).output().expect("a shell");
        let printed = String::from_utf8_lossy(&output.stdout);
        assert_eq!(printed.trim_end(), expected.trim_end(), "$ {command}");
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own thread may sleep")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}
