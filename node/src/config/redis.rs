//! What [journal.redis] and [snapshot.redis] say, and what it means to the store.

use std::fmt;
use std::sync::Arc;

use abide_persistence::runtime::redis::options::{RedisOptions, Unsafe, WaitReplicas};
use abide_persistence::runtime::redis::{Dial, Setup, SetupErrors, url};

use super::tree::{BreakerConfig, RedisConfig};
use super::value::{Raw, Value, quoted};

/// Servers, by URL. Neither `Debug` nor what `abide config` prints shows a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Urls(pub Vec<String>);

impl fmt::Debug for Urls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.write())
    }
}

impl Value for Urls {
    const EXPECTED: &'static str = "a list of URLs, such as [\"redis://127.0.0.1:6379\"]";

    fn read(raw: &Raw) -> Option<Self> {
        raw.texts().map(Self)
    }

    fn write(&self) -> String {
        list(self.0.iter().map(|url| url::masked(url)))
    }
}

/// Several names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

impl Value for Names {
    const EXPECTED: &'static str = "a list of strings";

    fn read(raw: &Raw) -> Option<Self> {
        raw.texts().map(Self)
    }

    fn write(&self) -> String {
        list(self.0.iter().cloned())
    }
}

/// Unsafe settings of servers that are accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowUnsafe(pub Vec<Unsafe>);

impl Value for AllowUnsafe {
    const EXPECTED: &'static str = "a list of \"eviction\", \"database\", \"no-replica\", \"no-persistence\", \
                                    \"full-coverage\", \"replica-validity\" or \"unchecked\"";

    fn read(raw: &Raw) -> Option<Self> {
        let names = raw.texts()?;
        names.iter().map(|name| Unsafe::named(name)).collect::<Option<_>>().map(Self)
    }

    fn write(&self) -> String {
        list(self.0.iter().map(|name| name.name().to_owned()))
    }
}

impl Value for WaitReplicas {
    const EXPECTED: &'static str = "\"all\" or a whole number of at least 0";

    fn read(raw: &Raw) -> Option<Self> {
        match raw.text() {
            Some("all") => Some(Self::All),
            _ => raw.number().map(Self::Exactly),
        }
    }

    fn write(&self) -> String {
        match self {
            Self::All => quoted("all"),
            Self::Exactly(count) => count.to_string(),
        }
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.map(|item| quoted(&item)).collect::<Vec<_>>().join(", "))
}

/// What a prefix may be.
pub(super) fn key_prefix(prefix: &str) -> Result<(), String> {
    let odd = |c: char| c.is_control() || c.is_whitespace() || "{}:".contains(c);
    if (1..=64).contains(&prefix.len()) && !prefix.contains(odd) {
        return Ok(());
    }
    Err("must be 1 to 64 bytes without braces, colons, blanks or control characters".to_owned())
}

impl RedisConfig {
    /// The servers and the way to them.
    pub fn setup(&self) -> Setup {
        Setup {
            urls: self.urls.0.clone(),
            username: self.username.clone(),
            password_file: self.password_file.clone(),
            database: self.database,
            tls: self.tls,
            tls_ca: self.tls_ca.clone(),
            tls_cert: self.tls_cert.clone(),
            tls_key: self.tls_key.clone(),
            tls_server_name: self.tls_server_name.clone(),
            sentinel_master: self.sentinel_master.clone(),
        }
    }

    /// Whether both are one store: how it shows in `/healthz` makes no difference.
    pub fn is_one_store_with(&self, other: &Self) -> bool {
        let Self { health_name, health_tags, health_failure, .. } = self.clone();
        *self == Self { health_name, health_tags, health_failure, ..other.clone() }
    }

    /// What a store is opened with.
    ///
    /// # Errors
    /// If the servers cannot be reached as it is said, such as for a certificate that cannot be read.
    pub fn options(&self, breaker: &BreakerConfig) -> Result<RedisOptions, SetupErrors> {
        let dial = Dial::new(&self.setup())?.connect_timeout(self.connect_timeout);
        let (seeds, deployment) = (dial.seeds().to_vec(), dial.deployment().clone());
        let options = RedisOptions::new(Arc::new(dial), seeds);
        Ok(RedisOptions {
            deployment,
            key_prefix: self.key_prefix.clone(),
            wait_replicas: self.wait_replicas,
            wait_timeout: self.wait_timeout,
            wait_aof: self.wait_aof,
            flushes_in_flight: self.flushes_in_flight.get(),
            max_batch: self.max_batch.get(),
            max_queue: self.max_queue.get(),
            topology_check: self.topology_check,
            call_timeout: breaker.call_timeout,
            max_failures: u32::try_from(breaker.max_failures.get()).unwrap_or(u32::MAX),
            reset_timeout: breaker.reset_timeout,
            allow_unsafe: self.allow_unsafe.0.clone(),
            max_value_bytes: self.max_value.0,
            ..options
        })
    }
}
