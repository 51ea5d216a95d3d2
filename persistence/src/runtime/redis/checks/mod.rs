//! Looks at the servers before anything is trusted to them: what would lose or stop events is found, said in
//! plain words, and refused unless it is accepted by name.
//!
//! ```text
//!   seeds ─▶ all servers ─▶ INFO, CONFIG GET of each ─▶ findings ─▶ allowed?  ─▶ start
//!                                                       (pure)      else refused
//! ```
//!
//! What is found holds for the moment of the start. Nobody looks again while the node runs.

mod ask;
mod findings;
mod texts;

pub use findings::{Finding, Weight};

use super::connector::{Address, ConnectError};
use super::options::{RedisOptions, Unsafe};

/// What a look at the servers has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The servers that answered.
    pub asked: Vec<Address>,
    /// What is to be said, the worst first.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Findings with which nobody should start: those that nobody accepts, or could.
    pub fn refused(&self, allowed: &[Unsafe]) -> Vec<Finding> {
        let refused = |finding: &&Finding| match finding.weight {
            Weight::Unusable => true,
            Weight::Unsafe(name) => !allowed.contains(&name),
            Weight::Note => false,
        };
        self.findings.iter().filter(refused).cloned().collect()
    }
}

/// Why the servers cannot be used now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotUsable {
    /// None of them answers, or says no.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// They are set up so that events may be lost.
    #[error("{}", words(.0))]
    Unsafe(Vec<Finding>),
}

impl NotUsable {
    /// Whether it may be another time, without anybody's doing.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Connect(ConnectError::Unreachable(_)))
    }
}

fn words(findings: &[Finding]) -> String {
    let all: Vec<_> = findings.iter().map(Finding::to_string).collect();
    format!("Redis is not safe for events:\n  {}", all.join("\n  "))
}

/// Looks, and tells everything.
///
/// # Errors
/// If no server can be asked.
pub async fn look(options: &RedisOptions) -> Result<Report, ConnectError> {
    let answers = ask::everybody(options).await?;
    let wanted = findings::Wanted {
        wait_replicas: options.wait_replicas,
        wait_aof: options.wait_aof,
        database: options.connector.database(),
        max_value_bytes: options.max_value_bytes,
        down_after: answers.down_after,
    };
    let mut findings = findings::findings(&answers.servers, wanted);
    findings.extend(answers.silent.into_iter().map(|(server, fault)| Finding {
        servers: vec![server],
        weight: Weight::Note,
        set: format!("it did not answer ({fault})"),
        cost: "it was not checked".to_owned(),
        remedy: "`abide redis check` looks again once it is back".to_owned(),
    }));
    Ok(Report { asked: answers.servers.into_iter().map(|server| server.address).collect(), findings })
}

/// Looks, and refuses what is unsafe and not accepted. The rest goes to the log.
///
/// # Errors
/// If no server can be asked, or if they are unsafe.
pub async fn run(options: &RedisOptions) -> Result<Report, NotUsable> {
    let report = look(options).await?;
    let refused = report.refused(&options.allow_unsafe);
    if !refused.is_empty() {
        return Err(NotUsable::Unsafe(refused));
    }
    for finding in &report.findings {
        match finding.accepted_as() {
            Some(name) => tracing::warn!(%name, "accepted: {finding}"),
            None => tracing::warn!("{finding}"),
        }
    }
    Ok(report)
}
