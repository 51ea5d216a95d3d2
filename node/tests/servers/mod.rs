//! Redis servers of a test's own, the program on them, and their end with the test.

// Each test file uses its own part.
#![allow(dead_code, unreachable_pub)]
#![expect(clippy::disallowed_methods, reason = "tests wait for processes on threads of their own")]

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Nothing here takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Waits until it is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(BETWEEN_LOOKS);
    }
}

/// A port that is free now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

/// Ends with its test.
pub struct Process(Child);

impl Process {
    pub fn signal(&self, name: &str) {
        let id = self.0.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// The code with which it ends by itself.
    pub fn code(mut self) -> Option<i32> {
        self.0.wait().expect("an end").code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A `redis-server`, which can be killed and started again with what it has stored.
pub struct Server {
    pub port: u16,
    settings: Vec<String>,
    process: Option<Process>,
    dir: TempDir,
}

impl Server {
    /// One that is safe but for its settings, and runs.
    pub fn start(settings: &[&str]) -> Self {
        Self::start_on(free_port(), settings)
    }

    pub fn start_on(port: u16, settings: &[&str]) -> Self {
        let settings = settings.iter().map(|word| (*word).to_owned()).collect();
        let dir = tempfile::tempdir().expect("a directory");
        let mut server = Self { port, settings, process: None, dir };
        server.start_again();
        server
    }

    /// The copy of another one, once it is in sync.
    pub fn replica_of(primary: &Self) -> Self {
        let replica = Self::start(&["--replicaof", "127.0.0.1", &primary.port.to_string()]);
        until("a replica in sync", || replica.cli(&["ROLE"]).contains("connected"));
        replica
    }

    pub fn kill(&mut self) {
        self.process = None;
    }

    pub fn start_again(&mut self) {
        let process = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "yes", "--repl-diskless-sync-delay", "0", "--dir"])
            .arg(self.dir.path())
            .args(&self.settings)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        self.process = Some(Process(process));
        until("a server that answers", || self.cli(&["PING"]).trim() == "PONG");
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// What the server answers.
    pub fn cli(&self, words: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        printed(&cli.args(["-p", &self.port.to_string()]).args(words).output().expect("redis-cli runs"))
    }

    pub fn keys(&self) -> u64 {
        self.cli(&["DBSIZE"]).trim().parse().expect("a number")
    }
}

/// Three primaries with a replica each.
pub fn cluster() -> Vec<Server> {
    let server = |_| {
        let bus = free_port().to_string();
        Server::start(
            &[
                ["--cluster-enabled", "yes"],
                ["--cluster-port", &bus],
                ["--cluster-node-timeout", "1000"],
                ["--cluster-require-full-coverage", "no"],
                ["--cluster-replica-validity-factor", "5"],
                ["--repl-ping-replica-period", "1"],
            ]
            .concat(),
        )
    };
    let servers: Vec<Server> = (0..6).map(server).collect();
    let addresses = servers.iter().map(|server| format!("127.0.0.1:{}", server.port));
    let created = Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(addresses)
        .args(["--cluster-replicas", "1", "--cluster-yes"])
        .output()
        .expect("redis-cli runs");
    assert!(created.status.success(), "{}", printed(&created));
    for server in &servers {
        until("a cluster that agrees", || {
            server.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
                && match server.cli(&["ROLE"]) {
                    role if role.starts_with("master") => {
                        server.cli(&["INFO", "replication"]).contains("state=online")
                    }
                    role => role.contains("connected"),
                }
        });
    }
    servers
}

/// Runs the program to its end.
pub fn abide(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_abide"));
    command.args(args).env_remove("RUST_LOG").stdin(Stdio::null()).output().expect("the program runs")
}

pub fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// `abide serve` with these keys, its data and log in a folder of the test.
pub struct Abide {
    pub process: Process,
    pub address: String,
}

impl Abide {
    /// Starts it and waits until it listens.
    pub fn start(dir: &Path, keys: &[String]) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let log = std::fs::File::options().create(true).append(true).open(dir.join("log")).expect("a log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_abide"));
        command.args(["serve", "--listen", &address, "--set", "admin.listen=none", "--data-dir"]);
        command.arg(dir.join("data")).args(["--set", "journal.store=redis"]);
        for key in keys {
            command.args(["--set", key]);
        }
        let command = command.env_remove("RUST_LOG").stdin(Stdio::null()).stderr(log);
        let mut process = Process(command.spawn().expect("the program starts"));
        until("a node that listens", || {
            let ended = process.0.try_wait().expect("a child");
            assert!(ended.is_none(), "{}", std::fs::read_to_string(dir.join("log")).unwrap_or_default());
            TcpStream::connect(&address).is_ok()
        });
        Self { process, address }
    }
}

/// The keys of a node on one server without a replica.
pub fn alone(server: &Server) -> Vec<String> {
    let keys = [format!("urls={}", server.url()), "wait_replicas=0".into(), "allow_unsafe=no-replica".into()];
    keys.map(|key| format!("journal.redis.{key}")).to_vec()
}
