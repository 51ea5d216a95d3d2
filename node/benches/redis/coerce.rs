//! Commands through entities on one server without replicas, against the crates `coerce` and `coerce-redis`.
//!
//! Those pull old crates, so the program on them is no part of the workspace (`node/benches/coerce`) and is
//! built only when it is asked for by name. It has no fence, no numbers that are checked, and one connection.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use crate::entities::commands;
use crate::notes;
use crate::servers::Servers;
use crate::turns::{in_turns, runtime, show_rate, turn};

pub(crate) const NAME: &str = "coerce";

const CALLERS: usize = 256;
const ENTITIES: usize = 1000;

/// The program, which measures a turn for each line that it reads.
struct Theirs {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Theirs {
    fn start(url: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/coerce");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("coerce");
        let built = Command::new(env!("CARGO"))
            .args(["build", "--release", "--locked", "--target-dir"])
            .arg(&target)
            .current_dir(folder)
            .status();
        assert!(built.unwrap().success());
        let mut child = Command::new(target.join("release/coerce-baseline"))
            .args([url, &CALLERS.to_string(), &ENTITIES.to_string(), &notes::PAYLOAD.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said }
    }

    fn rate(&mut self) -> f64 {
        writeln!(self.child.stdin.as_mut().unwrap(), "{}", turn().as_millis()).unwrap();
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim().parse().unwrap()
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        // It is killed whatever it does.
        let _ = (self.child.kill(), self.child.wait());
    }
}

pub(crate) fn coerce() {
    let runtime = runtime();
    // Each on a server of its own; a turn is one's alone.
    let (_servers, other, region, entities) = runtime.block_on(async {
        let (servers, other) = (Servers::single().await, Servers::single().await);
        let region = notes::region(Arc::new(servers.store().await)).await;
        let entities = Arc::new(notes::entities(&region, ENTITIES));
        (servers, other, region, entities)
    });
    let mut theirs = Theirs::start(other.url(0));
    let [ours, baseline] =
        in_turns([&mut || runtime.block_on(commands(&entities, CALLERS)), &mut || theirs.rate()]);
    show_rate(
        "acknowledged commands, 256 callers, 1 000 entities, one server without replicas, against coerce",
        ours,
        baseline,
        1.5,
    );
    runtime.block_on(region.stop());
}
