//! What must hold: for one value alone, and between values.

use super::fault::{ConfigErrors, ConfigFault};
use super::load::StoreNames;
use super::schema::{Key, builtin};
use super::suggest::nearest;
use super::tree::{Config, RedisConfig, keys};
use super::value::{Value, quoted};

/// Whatever the type allows.
pub(super) fn any<T>(_: &T) -> Result<(), String> {
    Ok(())
}

/// From the first to the second, both allowed.
pub(super) fn range<T: Value + PartialOrd>(
    min: &'static str,
    max: &'static str,
) -> impl Fn(&T) -> Result<(), String> {
    move |value| {
        let inside = (builtin::<T>(min)..=builtin(max)).contains(value);
        if inside { Ok(()) } else { Err(format!("must be from {min} to {max}")) }
    }
}

/// A name that fits into a host name, a path and a label.
pub(crate) fn name(value: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let fits = (1..=63).contains(&value.len())
        && value.chars().all(allowed)
        && value.starts_with(|c: char| c.is_ascii_alphanumeric());
    let rule = "must be 1 to 63 letters, digits, '.', '_' or '-', the first a letter or a digit";
    if fits { Ok(()) } else { Err(rule.to_owned()) }
}

impl Config {
    /// Checks every rule, for a tree that was changed by hand. `stores` are those that exist.
    ///
    /// # Errors
    /// Every fault.
    pub fn validate(&self, stores: &StoreNames) -> Result<(), ConfigErrors> {
        let mut faults: Vec<_> =
            keys().filter_map(|key| (key.check)(self).err().map(|rule| self.fault(key, rule))).collect();
        faults.extend(self.relations(stores, &faults));
        ConfigErrors::check(faults)
    }

    /// Checks what must hold between values, but for those that have a fault already: what they should have
    /// been is not known, so whatever is said about them would be a guess.
    pub(super) fn relations(&self, stores: &StoreNames, known: &[ConfigFault]) -> Vec<ConfigFault> {
        let mut check = Relations { config: self, known, faults: Vec::new() };
        let Self { http, admin, sharding, entity, journal, snapshot, .. } = self;
        check.at_most(
            ("http.default_timeout", http.default_timeout),
            ("http.max_timeout", http.max_timeout),
            "or no request could keep the default",
        );
        check.at_most_of(
            "four fifths of ",
            ("http.default_timeout", http.default_timeout),
            ("node.shutdown_timeout", self.request_grace()),
            "or requests that run at SIGTERM could not finish",
        );
        check.at_most(
            ("entity.backoff_min", entity.backoff_min),
            ("entity.backoff_max", entity.backoff_max),
            "or the pause could not grow",
        );
        check.at_most(
            ("sharding.lanes", sharding.lanes),
            ("sharding.shards", sharding.shards.get() as usize),
            "or some would have no shard",
        );
        if admin.listen == Some(http.listen) && http.listen.port() != 0 {
            check.fault("admin.listen", "must not be http.listen, or clients could give orders".to_owned());
        }
        check.redis("journal.redis", &self.journal_redis);
        let mut settled = self.clone();
        settled.follow_redis();
        if settled.snapshot_redis != self.journal_redis {
            check.redis("snapshot.redis", &settled.snapshot_redis);
        }
        if [&journal.store, &snapshot.store].contains(&&"redis".to_owned()) {
            check.at_most(
                ("breaker.call_timeout", self.breaker.call_timeout),
                ("http.default_timeout", http.default_timeout),
                "or requests would end before the journal has said what became of their events",
            );
        }
        check.one_of("journal.store", &journal.store, &stores.journals);
        check.one_of("snapshot.store", &snapshot.store, &stores.snapshots);
        check.faults
    }

    fn fault(&self, key: &Key, rule: String) -> ConfigFault {
        ConfigFault {
            key: key.path.to_owned(),
            value: Some((key.write)(self)),
            rule,
            source: self.source(key.path).clone(),
        }
    }
}

struct Relations<'a> {
    config: &'a Config,
    known: &'a [ConfigFault],
    faults: Vec<ConfigFault>,
}

impl Relations<'_> {
    fn at_most<T: PartialOrd>(&mut self, low: (&str, T), high: (&str, T), why: &str) {
        self.at_most_of("", low, high, why);
    }

    /// The same for a part of the upper value, which `high` has already.
    fn at_most_of<T: PartialOrd>(&mut self, part: &str, low: (&str, T), high: (&str, T), why: &str) {
        let ((low, a), (high, b)) = (low, high);
        if a > b && !self.known.iter().any(|fault| fault.key == high) {
            let other = keys().find(|key| key.path == high).map(|key| (key.write)(self.config));
            let (other, source) = (other.unwrap_or_default(), self.config.source(high));
            self.fault(low, format!("must be at most {part}{high} = {other} ({source}), {why}"));
        }
    }

    /// What URLs and keys of one section must not contradict, and its time-outs.
    fn redis(&mut self, section: &str, redis: &RedisConfig) {
        for fault in redis.setup().check().err().map(|errors| errors.0).unwrap_or_default() {
            self.fault(&format!("{section}.{}", fault.key), fault.rule);
        }
        let call = ("breaker.call_timeout", self.config.breaker.call_timeout);
        for (key, value) in [("wait_timeout", redis.wait_timeout), ("connect_timeout", redis.connect_timeout)]
        {
            self.at_most((&format!("{section}.{key}"), value), call, "or no call could get through");
        }
    }

    fn one_of(&mut self, path: &str, name: &str, known: &[String]) {
        if known.iter().any(|own| own == name) {
            return;
        }
        let all: Vec<_> = known.iter().map(|store| quoted(store)).collect();
        let mut rule = format!("must be one of {}", all.join(", "));
        if let Some(meant) = nearest(name, known.iter().map(String::as_str)) {
            rule.push_str(&format!("; did you mean {}?", quoted(meant)));
        }
        self.fault(path, rule);
    }

    fn fault(&mut self, path: &str, rule: String) {
        if !self.known.iter().any(|fault| fault.key == path)
            && let Some(key) = keys().find(|key| key.path == path)
        {
            self.faults.push(self.config.fault(key, rule));
        }
    }
}
