//! What holder and grantor say to each other. Values only; how they look on the wire is decided there.

use crate::ids::{LogIndex, MemberId};

/// Counts the renewals of one incarnation, from 1. It ties a grant to the moment of *its* renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RenewalNumber(pub u64);

/// A member asks for its lease to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal {
    /// Who asks.
    pub member: MemberId,
    /// Which of its renewals this is.
    pub number: RenewalNumber,
    /// How far its own table is applied.
    pub applied: LogIndex,
}

/// The leader says yes. It names no time: the lease runs from when the member sent the renewal, which only
/// the member knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// Who asked.
    pub member: MemberId,
    /// The renewal that is answered.
    pub number: RenewalNumber,
    /// The grant counts once the member's own table is applied this far: before that, it may not know
    /// what was taken from it.
    pub table_index: LogIndex,
}

/// The leader says no, or not now. An earlier grant is not touched by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Who asked.
    pub member: MemberId,
    /// The renewal that is answered.
    pub number: RenewalNumber,
    /// Why.
    pub reason: RefusalReason,
}

/// Why a renewal was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalReason {
    /// This node does not lead, or no longer. Ask the one that does.
    NotLeader,
    /// The member is not in the leader's table as far as that is applied. Proves nothing: register, or
    /// try again.
    Unknown,
    /// A newer incarnation of the same node is registered. Final: this process has to exit.
    Superseded,
    /// Down was proposed for this member. It has no way back except as a new incarnation.
    DownProposed,
    /// The member's table was behind what it was granted for longer than `ttl`. It counts as silent until
    /// it has caught up.
    Lagging,
    /// A newer renewal of the same member waits here; that one is answered.
    Overtaken,
}
