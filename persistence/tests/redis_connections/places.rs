//! Where a server is, and what is said when it is not.

use std::net::TcpListener;
use std::time::Duration;

use abide_persistence::runtime::redis::connector::{Address, ConnectError, Connector, Role};
use abide_persistence::runtime::redis::{Dial, Setup};

use crate::server::{Server, free_port};

pub(crate) fn setup(url: &str) -> Setup {
    Setup { urls: vec![url.to_owned()], ..Setup::default() }
}

pub(crate) fn dial(setup: &Setup) -> Dial {
    Dial::new(setup).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Why the first seed is not to be had.
pub(crate) async fn fault(dial: &Dial) -> ConnectError {
    dial.connect(&dial.seeds()[0], Role::Write).await.expect_err("no connection")
}

#[tokio::test]
async fn a_connection_is_ready_for_commands() {
    let server = Server::start();
    for host in ["127.0.0.1", "localhost", "[::1]"] {
        let dial = dial(&setup(&format!("redis://{host}:{}", server.port)));
        let mut connection = dial.connect(&dial.seeds()[0], Role::Write).await.expect("a connection");
        let name: String =
            redis::cmd("CLIENT").arg("INFO").query_async(&mut connection).await.expect("an answer");
        assert!(name.contains("resp=2"), "{name}");
    }
}

#[tokio::test]
async fn the_database_is_chosen_but_not_for_watching() {
    let server = Server::start();
    let dial = dial(&setup(&format!("{}/3", server.url())));
    for (role, database) in [(Role::Write, "db=3"), (Role::Read, "db=3"), (Role::Watch, "db=0")] {
        let mut connection = dial.connect(&dial.seeds()[0], role).await.expect("a connection");
        let info: String =
            redis::cmd("CLIENT").arg("INFO").query_async(&mut connection).await.expect("an answer");
        assert!(info.contains(database), "{role:?}: {info}");
    }
}

#[tokio::test]
async fn a_database_that_is_not_there_is_refused_and_named() {
    let server = Server::start();
    let error = fault(&dial(&setup(&format!("{}/99", server.url())))).await;
    assert!(matches!(&error, ConnectError::Refused(text) if text.contains("database 99")), "{error}");
}

#[tokio::test]
async fn in_a_cluster_the_database_is_not_asked_for() {
    let server = Server::with(&["--cluster-enabled", "yes"]);
    let dial = dial(&setup(&format!("{}/3", server.url())));
    dial.connect(&dial.seeds()[0], Role::Write).await.expect("a connection");
}

#[tokio::test]
async fn nobody_there_names_the_address() {
    let port = free_port();
    let error = fault(&dial(&setup(&format!("redis://127.0.0.1:{port}")))).await;
    assert!(matches!(&error, ConnectError::Unreachable(_)), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&format!("127.0.0.1:{port}")) && text.contains("refused"), "{text}");
    let error = fault(&dial(&setup("redis://no-such-host.invalid:1"))).await;
    assert!(
        matches!(&error, ConnectError::Unreachable(text) if text.contains("no-such-host.invalid:1")),
        "{error}"
    );
}

#[tokio::test]
async fn somebody_who_never_answers_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    let dial = dial(&setup(&format!("redis://{address}"))).connect_timeout(Duration::from_millis(50));
    let error = fault(&dial).await;
    assert!(matches!(&error, ConnectError::Unreachable(text) if text.contains("within 50ms")), "{error}");
}

#[tokio::test]
async fn somebody_who_speaks_something_else_is_refused() {
    use tokio::io::AsyncWriteExt;
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = other.local_addr().expect("an address");
    let speaking = tokio::spawn(async move {
        let (mut stream, _) = other.accept().await.expect("a client");
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("sent");
        stream
    });
    let error = fault(&dial(&setup(&format!("redis://{address}")))).await;
    assert!(matches!(&error, ConnectError::Refused(text) if text.contains("another port")), "{error:?}");
    drop(speaking.await);
}

#[tokio::test]
async fn a_dropped_connection_is_gone_at_the_server() {
    let server = Server::start();
    let dial = dial(&setup(&server.url()));
    let connection = dial.connect(&dial.seeds()[0], Role::Write).await.expect("a connection");
    let mut watcher = dial.connect(&dial.seeds()[0], Role::Watch).await.expect("a connection");
    drop(connection);
    loop {
        let clients: String =
            redis::cmd("CLIENT").arg("LIST").query_async(&mut watcher).await.expect("a list");
        if clients.lines().count() == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_address_that_is_no_seed_is_reached_alike() {
    let (server, other) = (Server::start(), Server::start());
    let dial = dial(&setup(&server.url()));
    dial.connect(&Address::new("127.0.0.1", other.port), Role::Read).await.expect("a connection");
}
