//! Our connector: TCP, TLS where it is wanted, and a login that is kept up to date.
//!
//! ```text
//!   address ─▶ DNS ─▶ TCP ─▶ TLS ─▶ AUTH ─▶ SELECT ─▶ PING ─▶ connection
//!              each address in turn    newest login, once more if it was refused
//! ```
//!
//! The protocol is RESP2: nothing of RESP3 is used, and a server, a Sentinel or a proxy that has no `HELLO`, or an access
//! list that does not allow it, is then no reason to fail.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::socket2::{SockRef, TcpKeepalive};
use redis::{AsyncConnectionConfig, ErrorKind, RedisConnectionInfo, RedisError};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::connector::{Address, ConnectError, Connector, Role};
use super::credentials::{Credentials, Login, PasswordFile};
use super::keeper::Keeper;
use super::options::Deployment;
use super::setup::{ExpectedName, LoginFrom, Plan, Setup, SetupErrors, SetupFault};
use super::tls::{Tls, shake_hands};
use crate::journal::Pending;

/// Longest time from the first packet to a connection that works, unless set otherwise.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A silent connection is asked this often whether somebody is still there.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Bytes that nobody takes for this long end a connection. A hung server holds nothing of ours for longer.
const STALLED: Duration = Duration::from_secs(20);

/// Connects by URL. Cheap to clone; all clones share one login.
#[derive(Clone)]
pub struct Dial(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    seeds: Vec<Address>,
    deployment: Deployment,
    servers: Option<Arc<Keeper>>,
    sentinels: Option<Arc<Keeper>>,
    database: u32,
    tls: Option<Arc<Tls>>,
    server_name: Option<ExpectedName>,
    connect_timeout: Duration,
}

impl Dial {
    /// From URLs and keys. Reads the files of TLS; calls nobody.
    ///
    /// # Errors
    /// Every fault.
    pub fn new(setup: &Setup) -> Result<Self, SetupErrors> {
        Self::build(setup, None)
    }

    /// With logins of one's own, such as tokens.
    ///
    /// # Errors
    /// Every fault.
    pub fn with_credentials(setup: &Setup, credentials: impl Credentials) -> Result<Self, SetupErrors> {
        Self::build(setup, Some(Arc::new(credentials)))
    }

    fn build(setup: &Setup, credentials: Option<Arc<dyn Credentials>>) -> Result<Self, SetupErrors> {
        let plan = setup.plan(credentials.is_some())?;
        if let Some(host) = &plan.upgraded {
            tracing::info!(
                host,
                "TLS is used, because this managed service speaks nothing else; rediss:// says so too"
            );
        }
        let Plan { seeds, deployment, servers, sentinels, database, tls, server_name, .. } = plan;
        let tls = tls.map(Tls::new).transpose();
        let tls = tls.map_err(|rule| SetupErrors(vec![SetupFault { key: "tls", rule }]))?;
        Ok(Self(Arc::new(Inner {
            seeds,
            deployment,
            servers: credentials.map(Keeper::new).or_else(|| keeper(servers)),
            sentinels: keeper(sentinels),
            database,
            tls: tls.map(Arc::new),
            server_name,
            connect_timeout: CONNECT_TIMEOUT,
        })))
    }

    /// Sets how long a connection may take to be made.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        // Nobody has used it yet, so there is one handle, and this copies nothing.
        Arc::make_mut(&mut self.0).connect_timeout = limit;
        self
    }

    /// The servers, or Sentinels, to ask first.
    pub fn seeds(&self) -> &[Address] {
        &self.0.seeds
    }

    /// How they belong together.
    pub fn deployment(&self) -> &Deployment {
        &self.0.deployment
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dial")
            .field("seeds", &self.0.seeds)
            .field("deployment", &self.0.deployment)
            .field("tls", &self.0.tls.is_some())
            .finish_non_exhaustive()
    }
}

impl Connector for Dial {
    fn connect(&self, to: &Address, role: Role) -> Pending<Result<MultiplexedConnection, ConnectError>> {
        let (inner, to) = (Arc::clone(&self.0), to.clone());
        Box::pin(async move {
            let limit = inner.connect_timeout;
            let late =
                |_| ConnectError::Unreachable(format!("Redis at {to}: no connection within {limit:?}"));
            tokio::time::timeout(limit, inner.connect(&to, role)).await.map_err(late)?
        })
    }

    fn database(&self) -> u32 {
        self.0.database
    }
}

fn keeper(login: LoginFrom) -> Option<Arc<Keeper>> {
    match login {
        LoginFrom::Nowhere => None,
        LoginFrom::Url(login) => Some(Keeper::new(Arc::new(login))),
        LoginFrom::File { username, path } => Some(Keeper::new(Arc::new(PasswordFile::new(username, path)))),
    }
}

impl Inner {
    async fn connect(&self, to: &Address, role: Role) -> Result<MultiplexedConnection, ConnectError> {
        let at = |fault: String| format!("Redis at {to}: {fault}");
        let keeper = match role {
            Role::Sentinel => &self.sentinels,
            Role::Write | Role::Read | Role::Snapshots | Role::Watch => &self.servers,
        };
        let Some(keeper) = keeper else {
            return self.log_in(to, role, None).await.map_err(|refusal| refusal.error);
        };
        let login = keeper.current().await.map_err(|error| ConnectError::Refused(at(error.to_string())))?;
        match self.log_in(to, role, Some((keeper, &login))).await {
            Ok(connection) => Ok(connection),
            // The password may have been changed a moment ago.
            Err(Refusal { login: true, error }) => match keeper.newer_than(&login).await {
                Some(newer) => {
                    self.log_in(to, role, Some((keeper, &newer))).await.map_err(|refusal| refusal.error)
                }
                None => Err(error),
            },
            Err(Refusal { error, .. }) => Err(error),
        }
    }

    /// A connection as this user, who may be refused.
    async fn log_in(
        &self,
        to: &Address,
        role: Role,
        login: Option<(&Arc<Keeper>, &Login)>,
    ) -> Result<MultiplexedConnection, Refusal> {
        let stream = tcp(to).await.map_err(|cause| unreachable_at(to, &cause.to_string()))?;
        match &self.tls {
            None => self.greet(to, role, login, stream).await,
            Some(tls) => {
                let tls = Arc::clone(tls);
                let config = tokio::task::spawn_blocking(move || tls.config()).await;
                let config = config.map_err(|error| refused_at(to, &error.to_string()))?;
                let config = config.map_err(|fault| refused_at(to, &fault))?;
                let name = self.expected_name(to).map_err(|fault| refused_at(to, &fault))?;
                let shown = name.to_str().into_owned();
                // A plain server waits for more, and says nothing.
                let limit = self.connect_timeout / 2;
                let shaken = tokio::time::timeout(limit, shake_hands(config, name, stream)).await;
                let silent = |_| unreachable_at(to, &format!("no answer to TLS within {limit:?}; {NO_TLS}"));
                let stream = shaken.map_err(silent)?.map_err(|cause| tls_fault(to, &shown, &cause))?;
                self.greet(to, role, login, stream).await
            }
        }
    }

    /// The name that the server's certificate must have.
    fn expected_name(&self, to: &Address) -> Result<ServerName<'static>, String> {
        let bare = to.host.parse::<IpAddr>().is_ok();
        let name = match &self.server_name {
            Some(ExpectedName::Always(name)) => name,
            Some(ExpectedName::ForBareAddresses(name)) if bare => name,
            Some(ExpectedName::ForBareAddresses(_)) | None => &to.host,
        };
        ServerName::try_from(name.clone())
            .map_err(|_| format!("\"{name}\" cannot be the name in a certificate"))
    }

    async fn greet<S>(
        &self,
        to: &Address,
        role: Role,
        login: Option<(&Arc<Keeper>, &Login)>,
        stream: S,
    ) -> Result<MultiplexedConnection, Refusal>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // Each caller has a limit of its own, and a `WAIT` takes as long as it takes.
        let mut config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        if let Some((keeper, login)) = login {
            config = config.set_credentials_provider(keeper.feed(login.clone()));
        }
        let info = RedisConnectionInfo::default().set_skip_set_lib_name();
        let made = MultiplexedConnection::new_with_config(&info, stream, config).await;
        let (mut connection, driver) = made
            .map_err(|error| greeting_fault(to, &error, login.map(|(_, login)| login), self.tls.is_some()))?;
        // It ends with the last handle of the connection, or with the socket.
        tokio::spawn(driver);
        let (ping, name) =
            (redis::cmd("PING"), redis::cmd("CLIENT").arg("SETNAME").arg(name_of(role)).to_owned());
        let mut named = connection.clone();
        // A name is for whoever looks at the server; it does without.
        let (answered, _) =
            tokio::join!(ping.query_async::<()>(&mut connection), name.query_async::<()>(&mut named));
        if let Err(error) = answered
            && !answers_later(&error)
        {
            return Err(greeting_fault(to, &error, login.map(|(_, login)| login), self.tls.is_some()));
        }
        if self.database != 0 && !matches!(role, Role::Watch | Role::Sentinel) {
            select(to, &mut connection, self.database).await?;
        }
        Ok(connection)
    }
}

/// What the server shows in `CLIENT LIST`.
fn name_of(role: Role) -> &'static str {
    match role {
        Role::Write => "abide-write",
        Role::Read => "abide-read",
        Role::Snapshots => "abide-snapshots",
        Role::Watch => "abide-watch",
        Role::Sentinel => "abide-sentinel",
    }
}

/// Why a connection was not made, and whether for its login.
struct Refusal {
    login: bool,
    error: ConnectError,
}

fn unreachable_at(to: &Address, fault: &str) -> Refusal {
    Refusal { login: false, error: ConnectError::Unreachable(format!("Redis at {to}: {fault}")) }
}

fn refused_at(to: &Address, fault: &str) -> Refusal {
    Refusal { login: false, error: ConnectError::Refused(format!("Redis at {to}: {fault}")) }
}

/// A server that is loading its data or has lost its primary is still one to ask how it is.
fn answers_later(error: &RedisError) -> bool {
    matches!(error.code(), Some("LOADING" | "MASTERDOWN" | "BUSY"))
}

async fn tcp(to: &Address) -> std::io::Result<TcpStream> {
    let found: Vec<SocketAddr> = tokio::net::lookup_host((to.host.as_str(), to.port)).await?.collect();
    let mut last = std::io::Error::other("the name has no address");
    for address in found {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                let socket = SockRef::from(&stream);
                socket.set_tcp_keepalive(
                    &TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 2),
                )?;
                socket.set_tcp_user_timeout(Some(STALLED))?;
                return Ok(stream);
            }
            Err(cause) => last = cause,
        }
    }
    Err(last)
}

async fn select(to: &Address, connection: &mut MultiplexedConnection, database: u32) -> Result<(), Refusal> {
    match redis::cmd("SELECT").arg(database).query_async::<()>(connection).await {
        Ok(()) => Ok(()),
        // A cluster has one database. That the number means nothing there is for the start checks to say.
        Err(error) if error.to_string().contains("cluster mode") => Ok(()),
        Err(error) if error.is_io_error() => Err(unreachable_at(to, &error.to_string())),
        Err(error) => Err(refused_at(to, &format!("database {database} cannot be used: {error}"))),
    }
}

const NO_TLS: &str = "is it another port, or is redis:// meant instead of rediss://?";

fn tls_fault(to: &Address, name: &str, cause: &std::io::Error) -> Refusal {
    use rustls::Error as Tls;
    match cause.get_ref().and_then(|inner| inner.downcast_ref::<Tls>()) {
        Some(Tls::InvalidCertificate(why)) => {
            let words = format!(
                "its certificate is not accepted for \"{name}\": {why}; tls_ca names the authority to trust, \
                 tls_server_name the name to expect"
            );
            refused_at(to, &words)
        }
        Some(Tls::AlertReceived(alert)) => refused_at(to, &alert_words(&format!("{alert:?}"))),
        Some(Tls::InvalidMessage(_)) => refused_at(
            to,
            "it does not speak TLS; is it another port, or is redis:// meant instead of rediss://?",
        ),
        Some(other) => refused_at(to, &format!("TLS failed: {other}")),
        None => unreachable_at(to, &format!("the connection ended while TLS began: {cause}")),
    }
}

fn alert_words(alert: &str) -> String {
    format!("it ended TLS with {alert}; if it asks for a certificate of ours, tls_cert and tls_key name it")
}

fn greeting_fault(to: &Address, error: &RedisError, login: Option<&Login>, tls: bool) -> Refusal {
    let refused_login = |words: String| Refusal { login: true, ..refused_at(to, &words) };
    let text = error.to_string();
    match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("WRONGPASS")) => {
            let user = login.map_or("", |login| login.username.as_str());
            refused_login(format!("it refuses the password of user \"{user}\"; check username and password"))
        }
        (_, Some("NOAUTH")) => refused_login(
            "it wants a password; set username and password_file, or write them in urls".to_owned(),
        ),
        (_, Some("NOPERM")) => {
            refused_at(to, &format!("the user may not do what Abide needs ({text}); see `abide redis acl`"))
        }
        (_, Some("DENIED")) => refused_at(to, &format!("it serves only its own machine: {text}")),
        _ if text.contains("received fatal alert") => refused_at(to, &alert_words(&text)),
        (ErrorKind::Parse, _) => {
            refused_at(to, &format!("it does not speak Redis' protocol ({text}); is it another port?"))
        }
        _ if error.is_io_error() || error.is_connection_dropped() => {
            let hint = if tls { "" } else { "; if it speaks TLS, write rediss://" };
            unreachable_at(to, &format!("the connection ended before it was of use: {text}{hint}"))
        }
        _ => refused_at(to, &text),
    }
}
