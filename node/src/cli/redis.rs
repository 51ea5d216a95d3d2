//! `abide redis`: what Abide finds about the servers, and what it must be allowed there.

use std::process::ExitCode;

use abide_persistence::runtime::redis::checks::{self, Report, Weight};
use abide_persistence::runtime::redis::options::{RedisOptions, Unsafe};
use abide_persistence::runtime::redis::{DEFAULT_USER, acl};
use anyhow::Context;

use crate::config::{Config, RedisConfig};

/// The sections that are set up, each once.
fn sections(config: &Config) -> Vec<(&'static str, &RedisConfig)> {
    let mut all = vec![("journal.redis", &config.journal_redis)];
    if !config.snapshot_redis.is_one_store_with(&config.journal_redis) {
        all.push(("snapshot.redis", &config.snapshot_redis));
    }
    all
}

/// Looks at all servers and tells what a start would. Fails if a start would.
pub(super) fn check(config: &Config) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("the runtime did not start")?;
    let mut refused = false;
    for (section, redis) in sections(config) {
        let options = redis.options(&config.breaker).context(section)?;
        let report = runtime.block_on(checks::look(&options)).context(section)?;
        refused |= !report.refused(&options.allow_unsafe).is_empty();
        print!("{}", told(section, &report, &options));
    }
    Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn told(section: &str, report: &Report, options: &RedisOptions) -> String {
    let asked: Vec<_> = report.asked.iter().map(ToString::to_string).collect();
    let mut text = format!("[{section}] {}\n", asked.join(", "));
    for finding in &report.findings {
        let weight = match finding.weight {
            Weight::Unusable => "unusable",
            Weight::Unsafe(name) if options.allow_unsafe.contains(&name) => "accepted",
            Weight::Unsafe(_) => "unsafe",
            Weight::Note => "note",
        };
        text.push_str(&format!("  {weight}: {finding}\n"));
    }
    if report.findings.is_empty() {
        text.push_str("  nothing is amiss\n");
    }
    let unused =
        |name: &&Unsafe| !report.findings.iter().any(|finding| finding.accepted_as() == Some(**name));
    for name in options.allow_unsafe.iter().filter(unused) {
        text.push_str(&format!("  note: allow_unsafe has \"{name}\", and there is no need for it\n"));
    }
    text
}

/// Prints the access rules that Abide needs and nothing beyond.
pub(super) fn print_acl(config: &Config) -> ExitCode {
    for (section, redis) in sections(config) {
        let user = redis.username.as_deref().unwrap_or(DEFAULT_USER);
        println!("# [{section}], at every server, with a password of yours instead of PASSWORD");
        println!("ACL SETUSER {user} >PASSWORD {}", acl::rule(&redis.key_prefix, redis.wait_aof));
        if redis.sentinel_master.is_some() {
            println!("# at every Sentinel");
            println!("ACL SETUSER {user} >PASSWORD {}", acl::sentinel_rule());
        }
    }
    ExitCode::SUCCESS
}
