//! The members that the leader watches, and how long each has been silent.
//!
//! Both verdicts, *may be granted* and *is down*, are taken from the same entry of this roll. So no grant
//! follows a Down that is on its way through the log.

use std::collections::BTreeMap;

use super::catch_up::CatchUp;
use super::{LeaseConfig, RefusalReason, Renewal};
use crate::engine::clock::BootTime;
use crate::ids::{LogIndex, MemberId};

#[derive(Debug)]
pub(super) struct Roll {
    config: LeaseConfig,
    members: BTreeMap<MemberId, Watched>,
}

#[derive(Debug)]
struct Watched {
    /// Arrival of the last renewal that may yet be granted, or the last moment at which one may have been
    /// missed: the election, the registration, the leader's own absence.
    heard: BootTime,
    table: CatchUp,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Up,
    /// A newer incarnation is registered. Granted nothing any more; its last lease is waited out.
    Superseded,
    /// Down is on its way through the log. Never taken back: it may commit at any time.
    DownProposed,
}

impl Roll {
    pub(super) fn new(config: LeaseConfig) -> Self {
        Self { config, members: BTreeMap::new() }
    }

    /// A member was registered. An older incarnation of its node gets nothing any more.
    pub(super) fn register(&mut self, now: BootTime, member: MemberId) {
        if self.members.contains_key(&member) {
            return;
        }
        for (other, watched) in &mut self.members {
            if other.node == member.node && watched.phase == Phase::Up {
                watched.phase = Phase::Superseded;
            }
        }
        self.members.insert(member, Watched { heard: now, table: CatchUp::Level, phase: Phase::Up });
    }

    /// Down was committed and applied.
    pub(super) fn remove(&mut self, member: MemberId) {
        self.members.remove(&member);
    }

    /// Takes in a renewal. One that can only be refused does not count as a sign of life, or a process
    /// that was replaced could hold up its own successor for ever.
    pub(super) fn hear(&mut self, now: BootTime, renewal: Renewal) -> Result<(), RefusalReason> {
        self.may_be_granted(renewal.member)?;
        let Some(watched) = self.members.get_mut(&renewal.member) else {
            return Err(RefusalReason::Unknown);
        };
        if !watched.table.keeps_up(now, renewal.applied, self.config.ttl) {
            return Err(RefusalReason::Lagging);
        }
        watched.heard = now;
        Ok(())
    }

    pub(super) fn may_be_granted(&self, member: MemberId) -> Result<(), RefusalReason> {
        match self.members.get(&member).map(|watched| watched.phase) {
            Some(Phase::Up) => Ok(()),
            Some(Phase::Superseded) => Err(RefusalReason::Superseded),
            Some(Phase::DownProposed) => Err(RefusalReason::DownProposed),
            None => Err(RefusalReason::Unknown),
        }
    }

    pub(super) fn granted(&mut self, now: BootTime, member: MemberId, table_index: LogIndex) {
        if let Some(watched) = self.members.get_mut(&member) {
            watched.table.granted(now, table_index);
        }
    }

    /// Marks a member as on its way down; `false` if it already is, or is not known.
    pub(super) fn condemn(&mut self, member: MemberId) -> bool {
        match self.members.get_mut(&member) {
            Some(watched) => {
                std::mem::replace(&mut watched.phase, Phase::DownProposed) != Phase::DownProposed
            }
            None => false,
        }
    }

    /// Marks all whose lease has surely run out, and names them.
    pub(super) fn condemn_silent(&mut self, now: BootTime) -> Vec<MemberId> {
        let silence = self.config.down_after();
        let silent = self.waits().filter(|(_, heard)| now >= *heard + silence);
        let silent: Vec<MemberId> = silent.map(|(member, _)| member).collect();
        silent.into_iter().filter(|member| self.condemn(*member)).collect()
    }

    /// When the next member will have been silent for too long.
    pub(super) fn next_verdict(&self) -> Option<BootTime> {
        let silence = self.config.down_after();
        self.waits().map(|(_, heard)| heard + silence).min()
    }

    /// Begins every wait anew: renewals may lie unread since the leader was last awake.
    pub(super) fn restart_waits(&mut self, now: BootTime) {
        for watched in self.members.values_mut() {
            watched.heard = now;
            watched.table.restart(now);
        }
    }

    fn waits(&self) -> impl Iterator<Item = (MemberId, BootTime)> {
        let waiting = |watched: &Watched| match watched.phase {
            Phase::Up | Phase::Superseded => true,
            Phase::DownProposed => false,
        };
        self.members
            .iter()
            .filter(move |(_, watched)| waiting(watched))
            .map(|(member, watched)| (*member, watched.heard))
    }
}
