//! A connection to one server, with the scripts loaded.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, Value};
use tokio::time::{Instant, timeout};

use super::connector::{Address, Connector, Role};
use super::engine::append;
use super::engine::replies::{Reply, reply, text};
use crate::journal::StoreError;

/// Connecting, with authentication and all: a server that is there answers in milliseconds.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// What runs on the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    Append,
    Claim,
    Meta,
    SaveSnapshot,
    LoadSnapshot,
    DeleteSnapshots,
}

impl Script {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Append, append::SCRIPT),
        (Self::Claim, include_str!("scripts/claim.lua")),
        (Self::Meta, include_str!("scripts/meta.lua")),
        (Self::SaveSnapshot, include_str!("scripts/save_snapshot.lua")),
        (Self::LoadSnapshot, include_str!("scripts/load_snapshot.lua")),
        (Self::DeleteSnapshots, include_str!("scripts/delete_snapshots.lua")),
    ];
}

/// The answers of two pipelines.
pub(super) struct Both {
    /// In the order in which they were asked for.
    pub(super) values: Vec<Value>,
    /// When those of the first were here.
    pub(super) at: Instant,
}

/// A connection.
pub(super) struct Link {
    connection: MultiplexedConnection,
    /// Names that the server gave to the scripts, in their order.
    names: Vec<String>,
}

impl Link {
    /// Connects, and loads the scripts if the connection is for data.
    pub(super) async fn open(
        connector: &Arc<dyn Connector>,
        to: &Address,
        role: Role,
    ) -> Result<Self, StoreError> {
        let opening = async {
            let connection = connector.connect(to, role).await?;
            let mut link = Self { connection, names: Vec::new() };
            if matches!(role, Role::Write | Role::Read | Role::Snapshots) {
                link.load_scripts().await?;
            }
            Ok(link)
        };
        match timeout(CONNECT_WITHIN, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(StoreError(format!("{to} did not let us in within {CONNECT_WITHIN:?}"))),
        }
    }

    /// Loads what a server forgets when it restarts.
    pub(super) async fn load_scripts(&mut self) -> Result<(), StoreError> {
        let mut load = Pipeline::new();
        for (_, source) in Script::ALL {
            load.cmd("SCRIPT").arg("LOAD").arg(source);
        }
        let replies = self.send(&load).await?;
        let name = |value: Value| match reply(value) {
            Reply::Done(value) => text(&value).map(str::to_owned).ok_or_else(|| "no name".to_owned()),
            Reply::Refused { reason, .. } | Reply::Foreign(reason) | Reply::Doubt(reason) => Err(reason),
        };
        let names: Result<_, String> = replies.into_iter().map(name).collect();
        self.names = names.map_err(|reason| StoreError(format!("SCRIPT LOAD: {reason}")))?;
        Ok(())
    }

    /// Begins a call of a script.
    pub(super) fn call(&self, script: Script) -> Cmd {
        let at = Script::ALL.iter().position(|(known, _)| *known == script);
        let mut call = Cmd::new();
        call.arg("EVALSHA").arg(at.and_then(|at| self.names.get(at)).map_or("", String::as_str));
        call
    }

    /// Sends one pipeline and another right behind it, so that they travel together and it is known when the
    /// first of them was answered. An error says nothing about what ran.
    pub(super) async fn send_both(
        &mut self,
        first: &Pipeline,
        behind: &Pipeline,
    ) -> Result<Both, StoreError> {
        if behind.is_empty() {
            let values = self.send(first).await?;
            return Ok(Both { values, at: Instant::now() });
        }
        let mut connection = self.connection.clone();
        let first = async {
            let values = self.send(first).await?;
            Ok::<_, StoreError>((values, Instant::now()))
        };
        let behind = async {
            let sent = connection.send_packed_commands(behind, 0, behind.len()).await;
            sent.map_err(|error| StoreError(error.to_string()))
        };
        // Polled in this order, the first one is in the connection's queue before the other.
        let ((mut values, at), last) = try_join(first, behind).await?;
        values.extend(last);
        Ok(Both { values, at })
    }

    /// Sends, and waits for as many answers. An error says nothing about what ran.
    pub(super) async fn send(&mut self, pipeline: &Pipeline) -> Result<Vec<Value>, StoreError> {
        let sent = self.connection.send_packed_commands(pipeline, 0, pipeline.len()).await;
        sent.map_err(|error| StoreError(error.to_string()))
    }
}
