//! As whom: passwords, files that change, tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use abide_persistence::journal::{Pending, StoreError};
use abide_persistence::runtime::redis::connector::{ConnectError, Connector, Role};
use abide_persistence::runtime::redis::{Credentials, Dial, Login, PasswordFile, Setup};
use redis::aio::MultiplexedConnection;

use crate::places::{dial, fault, setup};
use crate::server::{Server, file};

async fn who(connection: &mut MultiplexedConnection) -> String {
    redis::cmd("ACL").arg("WHOAMI").query_async(connection).await.expect("an answer")
}

async fn connect(dial: &Dial) -> MultiplexedConnection {
    dial.connect(&dial.seeds()[0], Role::Write).await.unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test]
async fn the_url_or_the_keys_say_who_we_are() {
    let server = Server::with_users(&["ann on >p@ss ~* &* +@all"]);
    assert!(server.say(None, "CONFIG SET requirepass hunter2").contains("OK"));
    let at = format!("127.0.0.1:{}", server.port);
    let password = file(server.dir.path(), "ann", "p@ss\n");
    for (setup, user) in [
        (setup(&format!("redis://:hunter2@{at}")), "default"),
        (setup(&format!("redis://ann:p%40ss@{at}")), "ann"),
        (
            Setup {
                username: Some("ann".to_owned()),
                password_file: Some(password),
                ..setup(&format!("redis://{at}"))
            },
            "ann",
        ),
    ] {
        assert_eq!(who(&mut connect(&dial(&setup)).await).await, user);
    }
}

#[tokio::test]
async fn a_wrong_or_missing_password_is_said_without_showing_one() {
    let server = Server::with(&["--requirepass", "right"]);
    let wrong = fault(&dial(&setup(&format!("redis://ann:hunter2@127.0.0.1:{}", server.port)))).await;
    let text = wrong.to_string();
    assert!(matches!(wrong, ConnectError::Refused(_)), "{text}");
    assert!(text.contains("password of user \"ann\"") && text.contains(&server.port.to_string()), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    let missing = fault(&dial(&setup(&server.url()))).await;
    assert!(
        matches!(&missing, ConnectError::Refused(text) if text.contains("wants a password")),
        "{missing}"
    );
}

#[tokio::test]
async fn a_missing_password_file_is_named() {
    let server = Server::start();
    let gone = server.dir.path().join("gone");
    let error = fault(&dial(&Setup { password_file: Some(gone), ..setup(&server.url()) })).await;
    assert!(matches!(&error, ConnectError::Refused(text) if text.contains("gone")), "{error}");
}

#[tokio::test]
async fn a_changed_password_is_found_in_the_file_at_once() {
    let server = Server::with(&["--requirepass", "old"]);
    let path = file(server.dir.path(), "password", "old");
    let dial = dial(&Setup { password_file: Some(path), ..setup(&server.url()) });
    connect(&dial).await;
    assert!(server.say(Some("old"), "CONFIG SET requirepass new").contains("OK"));
    let error = fault(&dial).await;
    assert!(matches!(error, ConnectError::Refused(_)), "{error}");
    file(server.dir.path(), "password", "new");
    // No waiting for the next look: the refusal is the reason to look.
    connect(&dial).await;
}

#[tokio::test]
async fn live_connections_follow_a_changed_password() {
    let server = Server::with_users(&["ann on >old ~* &* +@all"]);
    let path = file(server.dir.path(), "password", "old");
    let look = PasswordFile::new(Some("ann".to_owned()), &path).look_every(Duration::from_millis(10));
    let dial = Dial::with_credentials(&setup(&server.url()), look).expect("a dial");
    let mut live = connect(&dial).await;
    assert_eq!(who(&mut live).await, "ann");
    assert!(server.say(None, "ACL LOG RESET").contains("OK"));
    assert!(server.say(None, "ACL SETUSER ann resetpass >new").contains("OK"));
    let before = commands(&server, "auth");
    file(server.dir.path(), "password", "new");
    while commands(&server, "auth") == before {
        assert_eq!(who(&mut live).await, "ann", "nothing is disturbed meanwhile");
    }
    assert!(!server.say(None, "ACL LOG").contains("auth"), "it was accepted");
}

/// How often the server has run a command.
fn commands(server: &Server, name: &str) -> String {
    let stats = server.say(None, "INFO commandstats");
    let line = stats.lines().find(|line| line.starts_with(&format!("cmdstat_{name}:"))).unwrap_or_default();
    line.split(',').next().unwrap_or_default().to_owned()
}

/// Hands out tokens that end soon: the server accepts each of them, and its user tells which it was.
struct Tokens {
    handed_out: Arc<AtomicUsize>,
    life: Duration,
}

impl Credentials for Tokens {
    fn login(&self) -> Pending<Result<Login, StoreError>> {
        let nth = self.handed_out.fetch_add(1, Ordering::SeqCst);
        let end = SystemTime::now() + self.life;
        Box::pin(async move {
            Ok(Login::user(format!("user-{}", nth % 2), format!("token-{}", nth % 2)).until(end))
        })
    }
}

#[tokio::test]
async fn a_live_connection_gets_a_new_token_before_the_old_one_ends() {
    let server = Server::with_users(&["user-0 on >token-0 ~* &* +@all", "user-1 on >token-1 ~* &* +@all"]);
    let handed_out = Arc::new(AtomicUsize::new(0));
    let tokens = Tokens { handed_out: Arc::clone(&handed_out), life: Duration::from_millis(250) };
    let dial = Dial::with_credentials(&setup(&server.url()), tokens).expect("a dial");
    let mut live = connect(&dial).await;
    assert_eq!(who(&mut live).await, "user-0");
    for user in ["user-1", "user-0"] {
        while who(&mut live).await != user {
            tokio::task::yield_now().await;
        }
    }
    assert!(handed_out.load(Ordering::SeqCst) >= 3);
}

#[tokio::test]
async fn many_connections_ask_for_one_login() {
    let server = Server::with_users(&["user-0 on >token-0 ~* &* +@all"]);
    let handed_out = Arc::new(AtomicUsize::new(0));
    let tokens = Tokens { handed_out: Arc::clone(&handed_out), life: Duration::from_secs(3600) };
    let dial = Dial::with_credentials(&setup(&server.url()), tokens).expect("a dial");
    let both = tokio::join!(connect(&dial), connect(&dial));
    drop(both);
    connect(&dial).await;
    assert_eq!(handed_out.load(Ordering::SeqCst), 1);
}
