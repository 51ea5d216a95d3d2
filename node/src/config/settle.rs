//! What holds for a few keys that nobody set: the host program's own default, or what follows from another
//! key.
//!
//! A key counts as set if a source names it, or if its value is not the one in the tree, as in a
//! [`Config`] that was changed by hand.

use super::load::StoreNames;
use super::source::Source;
use super::tree::{Config, keys};

/// What the host program wants where nobody says otherwise.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProgramDefaults {
    /// Of `journal.store`.
    pub(crate) journal: Option<String>,
    /// Of `snapshot.store`.
    pub(crate) snapshots: Option<String>,
}

impl Config {
    /// Fills in what nobody set. A second time changes nothing.
    pub(crate) fn settle(&mut self, program: &ProgramDefaults, stores: &StoreNames) {
        if let Some(name) = &program.journal
            && self.is_unset("journal.store")
        {
            self.journal.store.clone_from(name);
            self.sources.set("journal.store", Source::Program);
        }
        if self.is_unset("snapshot.store") {
            if let Some(name) = &program.snapshots {
                self.snapshot.store.clone_from(name);
                self.sources.set("snapshot.store", Source::Program);
            } else if self.snapshot.store != self.journal.store
                && stores.snapshots.contains(&self.journal.store)
            {
                self.snapshot.store.clone_from(&self.journal.store);
                self.sources.set("snapshot.store", Source::Follows("journal.store"));
            }
        }
        self.follow_redis();
        if self.http.listen.port() == 0
            && self.is_unset("admin.listen")
            && let Some(listen) = &mut self.admin.listen
        {
            listen.set_port(0);
            self.sources.set("admin.listen", Source::Follows("http.listen"));
        }
    }

    /// What nobody set of [snapshot.redis] follows [journal.redis]; what belongs to the servers only if these
    /// do.
    pub(super) fn follow_redis(&mut self) {
        let same_servers = self.is_unset("snapshot.redis.urls");
        let journal = self.journal_redis.clone();
        /// Takes over each key that nobody set.
        macro_rules! follow {
            ($($key:ident),+ $(,)?) => {$(
                let (own, theirs) =
                    (concat!("snapshot.redis.", stringify!($key)), concat!("journal.redis.", stringify!($key)));
                if self.is_unset(own) && self.snapshot_redis.$key != journal.$key {
                    self.snapshot_redis.$key = journal.$key;
                    self.sources.set(own, Source::Follows(theirs));
                }
            )+};
        }
        if same_servers {
            follow!(
                urls,
                username,
                password_file,
                database,
                tls,
                tls_ca,
                tls_cert,
                tls_key,
                tls_server_name,
                sentinel_master,
            );
        }
        follow!(
            connect_timeout,
            key_prefix,
            wait_replicas,
            wait_timeout,
            wait_aof,
            flushes_in_flight,
            max_batch,
            max_queue,
            topology_check,
            max_value,
            allow_unsafe,
            health_name,
            health_tags,
            health_failure,
        );
    }

    fn is_unset(&self, path: &str) -> bool {
        let builtin = Self::default();
        self.source(path) == &Source::Default
            && keys().any(|key| key.path == path && (key.write)(self) == (key.write)(&builtin))
    }
}
