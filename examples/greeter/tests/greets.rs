//! The example as its reader would try it: started, asked over HTTP, stopped.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
#[expect(clippy::disallowed_methods, reason = "a test's own thread may sleep")]
fn it_greets_and_remembers() {
    let dir = tempfile::tempdir().expect("a directory");
    let ports = dir.path().join("ports.json");
    let mut service = Command::new(env!("CARGO_BIN_EXE_greeter"))
        .args(["--listen", "127.0.0.1:0", "--ports-file"])
        .arg(&ports)
        .current_dir(dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the service starts");
    let mut text = String::new();
    for _ in 0..6000 {
        text = std::fs::read_to_string(&ports).unwrap_or_default();
        if !text.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let address = text.split('"').nth(3).expect("{\"http\":\"address\"}");
    let greet = |word: &str| {
        let body = format!("{{\"greet\":\"{word}\"}}");
        let mut stream = TcpStream::connect(address).expect("it listens");
        let head = "POST /v1/entities/greeter/ada HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json";
        write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    };
    assert!(greet("hello").ends_with("\"hello, ada, for the 1. time\""));
    assert!(greet("hi").ends_with("\"hi, ada, for the 2. time\""));
    assert!(greet("").starts_with("HTTP/1.1 409 "));
    service.kill().expect("it can be stopped");
    service.wait().expect("it ends");
}
