//! Runs one cell: load, fault, healing, more load; then the lists against the books.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use abide_chaos_tests::proxy::Proxies;
use abide_chaos_tests::redis::Ground;
use anyhow::{Context, Result};
use tokio::time::Instant;

use crate::cell::Cell;
use crate::connecting::options;
use crate::load::{End, Findings, Load, Shard, slot_of, verify};
use crate::stage::Stage;

/// Shards that are written.
const SHARDS: u32 = 48;
/// Writes of each shard before the fault, and after it.
const BEFORE: u64 = 200;
const AFTER: u64 = 100;
/// A slot that the victim serves.
const HIT: u16 = 0;

/// What a cell came to.
pub(crate) struct Report {
    cell: Cell,
    took: Duration,
    findings: Findings,
    /// How the owners ended who were neither stopped nor deposed.
    ends: BTreeMap<u32, End>,
    /// Longest pause of a shard, by what its primary was.
    hit: Duration,
    spared: Duration,
}

/// Runs it on servers that are whole, and leaves them whole.
pub(crate) async fn run(cell: Cell, ground: &Ground) -> Result<Report> {
    let began = Instant::now();
    let mut setup = options(ground);
    // Each run has keys of its own, so that servers can be used again.
    setup.0.key_prefix = fresh_prefix();
    setup.0.wait_replicas = cell.wait;
    let prefix = setup.0.key_prefix.clone();
    let direct = setup.clone();
    let proxies = match cell.fault.cuts_client() {
        true => Some(Arc::new(Proxies::before(ground).await?)),
        false => None,
    };
    let (journal, other_side) = match &proxies {
        Some(proxies) => (setup.through(proxies).journal().await, Some(direct.journal().await)),
        None => (setup.journal().await, None),
    };

    let load = Load::start(&journal, &prefix, SHARDS);
    let victim = ground.primary_of(HIT).await?;
    let slots = victim.view().await?.myself().slots.clone();
    let is_hit = |shard: &Shard| slots.iter().any(|range| range.contains(&slot_of(shard)));
    load.until_each_wrote(BEFORE).await.context("before the fault")?;
    let (proxies, other_side) = (proxies.as_deref(), other_side.as_ref());
    let stage = Stage { cell, ground, load: &load, proxies, other_side, victim, is_hit: &is_hit };
    let mut ends = stage.play().await?;
    ground.wait_healthy().await?;
    load.until_each_wrote(AFTER).await.context("after the fault")?;
    let shards = load.shards.clone();
    ends.extend(load.stop().await);
    let findings = verify(ground, &shards).await?;
    journal.close().await;
    let pause = |hit: bool| {
        let of = shards.iter().filter(|shard| is_hit(shard) == hit);
        of.map(|shard| shard.longest_pause()).max().unwrap_or_default()
    };
    let ends = ends.into_iter().filter(|(_, end)| !matches!(end, End::Stopped | End::Deposed));
    Ok(Report {
        cell,
        took: began.elapsed(),
        findings,
        ends: ends.collect(),
        hit: pause(true),
        spared: pause(false),
    })
}

fn fresh_prefix() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    format!("load{}", COUNTER.fetch_add(1, Ordering::Relaxed))
}

impl Report {
    /// What breaks a promise.
    pub(crate) fn faults(&self) -> Vec<String> {
        let Findings { lost, broken, .. } = &self.findings;
        let mut faults: Vec<String> = broken.iter().take(10).cloned().collect();
        if self.cell.keeps_all() && *lost > 0 {
            faults.push(format!("{lost} acknowledged events are lost"));
        }
        for (shard, end) in &self.ends {
            let is_promised = match end {
                End::Lost(_) => self.cell.keeps_all(),
                End::Stopped | End::Deposed => false,
                End::Unanswered(_) | End::Broken(_) => true,
            };
            if is_promised {
                faults.push(format!("shard {shard}: {end:?}"));
            }
        }
        faults.iter().map(|fault| format!("{}: {fault}", self.cell)).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Findings { acknowledged, lost, unacknowledged, .. } = &self.findings;
        let seen = self.ends.values().filter(|end| matches!(end, End::Lost(_))).count();
        write!(
            f,
            "{:28} | {acknowledged:8} acknowledged | {lost:6} lost, {seen:2} shards saw it | {unacknowledged:5} \
             stored in doubt | longest pause: hit {:6.2} s, spared {:6.2} s | {:5.1} s in all",
            self.cell.to_string(),
            self.hit.as_secs_f64(),
            self.spared.as_secs_f64(),
            self.took.as_secs_f64(),
        )
    }
}
