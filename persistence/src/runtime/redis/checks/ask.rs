//! Asks every server how it is set up.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisError};

use super::super::connector::{Address, ConnectError, Role};
use super::super::options::{Deployment, RedisOptions};
use super::findings::Server;
use super::texts::{Info, SETTINGS, Settings, cluster_nodes};

/// Servers that are asked at the same time.
const AT_ONCE: usize = 16;
/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What all servers said.
pub(super) struct Answers {
    pub(super) servers: Vec<Server>,
    /// Servers that the others know and that did not answer, with the fault.
    pub(super) silent: Vec<(Address, String)>,
    /// How long Sentinels wait before they call a server down.
    pub(super) down_after: Option<Duration>,
}

/// Finds all servers from the seeds and asks each.
pub(super) async fn everybody(options: &RedisOptions) -> Result<Answers, ConnectError> {
    let (known, down_after) = match &options.deployment {
        Deployment::Direct => (found_by_seeds(options).await?, None),
        Deployment::Sentinel { master } => found_by_sentinels(options, master).await?,
    };
    let asked = stream::iter(known).map(|address| async move {
        let answer = one(options, &address).await;
        (address, answer)
    });
    let mut answers = Answers { servers: Vec::new(), silent: Vec::new(), down_after };
    let mut last = None;
    for (address, answer) in asked.buffered(AT_ONCE).collect::<Vec<_>>().await {
        match answer {
            Ok(server) => answers.servers.push(server),
            Err(error) => {
                answers.silent.push((address, error.to_string()));
                last = Some(error);
            }
        }
    }
    match last {
        Some(error) if answers.servers.is_empty() => Err(error),
        _ => Ok(answers),
    }
}

/// All servers that the first seed that answers knows.
async fn found_by_seeds(options: &RedisOptions) -> Result<Vec<Address>, ConnectError> {
    let first = |address: Address| async move {
        let mut connection = connect(options, &address, Role::Watch).await?;
        let info = Info::parse(&asked::<String>(&address, &mut connection, &["INFO"]).await?);
        if info.is_cluster() {
            let nodes: String = asked(&address, &mut connection, &["CLUSTER", "NODES"]).await?;
            return Ok(cluster_nodes(&address, &nodes));
        }
        // A primary with its replicas, from whichever of them we begin.
        let mut all = vec![address.clone()];
        all.extend(info.primary().filter(|_| !info.is_primary()));
        all.extend(info.replicas());
        Ok(all)
    };
    first_of(&options.seeds, first).await
}

/// The primary that Sentinels watch and its replicas, and how patient the Sentinels are.
async fn found_by_sentinels(
    options: &RedisOptions,
    master: &str,
) -> Result<(Vec<Address>, Option<Duration>), ConnectError> {
    let first = |address: Address| async move {
        type Fields = BTreeMap<String, String>;
        let place =
            |fields: &Fields| Some(Address::new(fields.get("ip")?, fields.get("port")?.parse().ok()?));
        let mut connection = connect(options, &address, Role::Sentinel).await?;
        let primary: Fields = asked(&address, &mut connection, &["SENTINEL", "MASTER", master]).await?;
        let replicas: Vec<Fields> =
            asked(&address, &mut connection, &["SENTINEL", "REPLICAS", master]).await?;
        let down_after = primary.get("down-after-milliseconds").and_then(|millis| millis.parse().ok());
        let all = std::iter::once(&primary).chain(&replicas).filter_map(place).collect();
        Ok((all, down_after.map(Duration::from_millis)))
    };
    first_of(&options.seeds, first).await
}

/// The answer of the first who gives one, or the faults of all.
async fn first_of<T, F>(seeds: &[Address], ask: impl Fn(Address) -> F) -> Result<T, ConnectError>
where
    F: Future<Output = Result<T, ConnectError>>,
{
    let mut faults = Vec::new();
    let mut refused = false;
    for seed in seeds {
        match ask(seed.clone()).await {
            Ok(answer) => return Ok(answer),
            Err(error) => {
                refused |= matches!(error, ConnectError::Refused(_));
                faults.push(error.to_string());
            }
        }
    }
    let faults = faults.join("; ");
    Err(if refused { ConnectError::Refused(faults) } else { ConnectError::Unreachable(faults) })
}

async fn one(options: &RedisOptions, address: &Address) -> Result<Server, ConnectError> {
    let mut connection = connect(options, address, Role::Watch).await?;
    let info = Info::parse(&asked::<String>(address, &mut connection, &["INFO"]).await?);
    let mut settings = Settings::default();
    for name in SETTINGS {
        let command = redis::cmd("CONFIG").arg("GET").arg(name).to_owned();
        match tokio::time::timeout(PATIENCE, command.query_async::<Vec<String>>(&mut connection)).await {
            // An older server does not know each of them.
            Ok(Ok(pair)) => pair.into_iter().nth(1).into_iter().for_each(|value| settings.add(name, value)),
            Ok(Err(error)) if error.is_io_error() => return Err(lost(address, &error)),
            Ok(Err(error)) => {
                settings.unreadable = Some(error.code().unwrap_or("ERR").to_owned());
                break;
            }
            Err(_) => return Err(late(address)),
        }
    }
    Ok(Server { address: address.clone(), info, settings })
}

async fn connect(
    options: &RedisOptions,
    to: &Address,
    role: Role,
) -> Result<MultiplexedConnection, ConnectError> {
    // A connector of somebody else's may wait for ever.
    tokio::time::timeout(PATIENCE, options.connector.connect(to, role)).await.map_err(|_| late(to))?
}

async fn asked<T: FromRedisValue>(
    address: &Address,
    connection: &mut MultiplexedConnection,
    words: &[&str],
) -> Result<T, ConnectError> {
    let mut command = redis::Cmd::new();
    command.arg(words);
    match tokio::time::timeout(PATIENCE, command.query_async(connection)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) if error.is_io_error() => Err(lost(address, &error)),
        Ok(Err(error)) => Err(refused(address, words, &error)),
        Err(_) => Err(late(address)),
    }
}

fn refused(address: &Address, words: &[&str], error: &RedisError) -> ConnectError {
    let remedy = match error.code() {
        Some("NOPERM") => "; `abide redis acl` prints the rule for the user",
        _ if words.first() == Some(&"SENTINEL") => {
            "; is it a Sentinel, and sentinel_master the name it knows?"
        }
        _ => "",
    };
    ConnectError::Refused(format!("Redis at {address}: {} was refused: {error}{remedy}", words.join(" ")))
}

fn lost(address: &Address, error: &RedisError) -> ConnectError {
    ConnectError::Unreachable(format!("Redis at {address}: the connection was lost: {error}"))
}

fn late(address: &Address) -> ConnectError {
    ConnectError::Unreachable(format!("Redis at {address}: no answer within {PATIENCE:?}"))
}
