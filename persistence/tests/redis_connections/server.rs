//! A `redis-server` of a test's own: on a free port, in a directory of its own, gone with the test.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Far more than a start takes; a test that reaches it fails.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    process: Child,
    pub(crate) port: u16,
    pub(crate) dir: TempDir,
}

impl Server {
    /// Without a password.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// With these arguments; `{port}` in them is its port.
    pub(crate) fn with(arguments: &[&str]) -> Self {
        Self::started("--port", arguments)
    }

    /// A Sentinel with this file.
    pub(crate) fn sentinel(conf: &str) -> Self {
        Self::started("--port", &[conf, "--sentinel"])
    }

    /// With these users besides the default one, who needs no password.
    pub(crate) fn with_users(rules: &[&str]) -> Self {
        let server = Self::start();
        for rule in rules {
            let answer = server.say(None, &format!("ACL SETUSER {rule}"));
            assert!(answer.starts_with("OK"), "{rule}: {answer}");
        }
        server
    }

    /// On a port that speaks TLS only.
    pub(crate) fn with_tls(arguments: &[&str]) -> Self {
        Self::started("--tls-port", arguments)
    }

    fn started(port_key: &str, arguments: &[&str]) -> Self {
        // Somebody else may take the port in between.
        (0..5).find_map(|_| Self::try_start(port_key, arguments)).expect("redis-server starts")
    }

    fn try_start(port_key: &str, arguments: &[&str]) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let mut command = Command::new("redis-server");
        // A file comes first, and a Sentinel has nothing to save.
        match arguments {
            [conf, "--sentinel"] => command.args([conf, "--sentinel"]),
            _ => command.args(arguments).args(["--save", ""]),
        };
        if port_key == "--tls-port" {
            command.args(["--port", "0"]);
        }
        let process = command
            .args([port_key, &port.to_string(), "--bind", "127.0.0.1 ::1", "--dir"])
            .arg(dir.path())
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let mut server = Self { process, port, dir };
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if server.process.try_wait().expect("a child").is_some() {
                return None;
            }
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(server);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("redis-server does not listen on {port}");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Says something to it, as the default user with `password` if it has one.
    pub(crate) fn say(&self, password: Option<&str>, words: &str) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.port.to_string()]).env_remove("REDISCLI_AUTH");
        if let Some(password) = password {
            command.env("REDISCLI_AUTH", password);
        }
        let mut cli =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("redis-cli is installed");
        // Through its input, so that it takes the line apart and not we.
        cli.stdin.take().expect("an input").write_all(words.as_bytes()).expect("sent");
        let answer = cli.wait_with_output().expect("an answer").stdout;
        String::from_utf8(answer).expect("text")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port on which nobody listens now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

/// Writes a file into a directory and tells its path.
pub(crate) fn file(dir: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).expect("written");
    path
}
