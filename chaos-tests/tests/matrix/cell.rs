//! One cell of the matrix: a fault, a number of replicas, and how many of them are waited for. Pure.

use std::fmt;

use abide_persistence::runtime::redis::options::WaitReplicas;

/// What is done to the servers under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `kill -9` of a primary.
    Kill,
    /// SIGSTOP of a primary, and SIGCONT after it was replaced.
    Hang,
    /// A primary is cut off from everybody, and reconnected after it was replaced.
    CutOff,
    /// The same, but its client is cut off with it; on the other side a new owner takes over.
    CutOffWithClient,
    /// The same, with one of two replicas on the primary's side.
    CutOffWithReplica,
    /// `CLUSTER FAILOVER`.
    Failover,
    /// `CLUSTER FAILOVER FORCE`.
    Force,
    /// `CLUSTER FAILOVER TAKEOVER`.
    Takeover,
    /// All nodes end orderly and come back.
    Restart,
    /// `kill -9` of a replica.
    ReplicaLost,
    /// Slots are moved to another primary.
    SlotsMoved,
}

impl Fault {
    pub(crate) const ALL: [Self; 11] = [
        Self::Kill,
        Self::Hang,
        Self::CutOff,
        Self::CutOffWithClient,
        Self::CutOffWithReplica,
        Self::Failover,
        Self::Force,
        Self::Takeover,
        Self::Restart,
        Self::ReplicaLost,
        Self::SlotsMoved,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Hang => "hang",
            Self::CutOff => "cut-off",
            Self::CutOffWithClient => "cut-off-with-client",
            Self::CutOffWithReplica => "cut-off-with-replica",
            Self::Failover => "failover",
            Self::Force => "force",
            Self::Takeover => "takeover",
            Self::Restart => "restart",
            Self::ReplicaLost => "replica-lost",
            Self::SlotsMoved => "slots-moved",
        }
    }

    /// Whether it takes a network that can be cut.
    pub(crate) fn cuts(self) -> bool {
        matches!(self, Self::CutOff | Self::CutOffWithClient | Self::CutOffWithReplica)
    }

    /// Whether the client is cut off too.
    pub(crate) fn cuts_client(self) -> bool {
        matches!(self, Self::CutOffWithClient | Self::CutOffWithReplica)
    }

    /// Replicas that each primary must have.
    fn least_replicas(self) -> usize {
        if self == Self::CutOffWithReplica { 2 } else { 1 }
    }
}

/// A cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) fault: Fault,
    /// Of each of three primaries.
    pub(crate) replicas: usize,
    pub(crate) wait: WaitReplicas,
}

const WAITS: [WaitReplicas; 3] = [WaitReplicas::All, WaitReplicas::Exactly(1), WaitReplicas::Exactly(0)];

impl Cell {
    /// All cells. Those that can share their servers follow each other.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for cuts in [false, true] {
            for replicas in [1, 2] {
                let fits = |fault: &Fault| fault.cuts() == cuts && fault.least_replicas() <= replicas;
                for fault in Fault::ALL.into_iter().filter(fits) {
                    all.extend(WAITS.map(|wait| Self { fault, replicas, wait }));
                }
            }
        }
        all
    }

    /// Those that each show something that the others do not.
    pub(crate) fn telling() -> Vec<Self> {
        let (all, one, none) = (WAITS[0], WAITS[1], WAITS[2]);
        let telling = [
            (Fault::Hang, 1, all),
            (Fault::Kill, 1, one),
            (Fault::Force, 1, none),
            (Fault::SlotsMoved, 1, all),
            (Fault::Restart, 1, all),
            (Fault::Kill, 2, all),
            (Fault::ReplicaLost, 2, all),
            (Fault::Takeover, 2, all),
            (Fault::Failover, 2, all),
            (Fault::CutOffWithReplica, 2, all),
        ];
        telling.map(|(fault, replicas, wait)| Self { fault, replicas, wait }).to_vec()
    }

    /// Those that a line of words picks: all words of one of its alternatives, between which stand commas.
    pub(crate) fn picked(line: &str) -> Vec<Self> {
        let picks = |cell: &Self| {
            let name = cell.to_string();
            let has = |word: &str| name.split(' ').any(|own| own == word);
            line.split(',').any(|alternative| alternative.split_whitespace().all(has))
        };
        Self::all().into_iter().filter(picks).collect()
    }

    /// Whether nothing that was acknowledged may be lost. FORCE and TAKEOVER are outside of every promise;
    /// where each replica is waited for they lose nothing all the same.
    pub(crate) fn keeps_all(self) -> bool {
        match self.wait {
            WaitReplicas::All => true,
            WaitReplicas::Exactly(number) => number as usize >= self.replicas,
        }
    }

    /// Whether writes go on while one server of each primary's is away.
    pub(crate) fn does_without_one(self) -> bool {
        match self.wait {
            WaitReplicas::All => self.replicas > 1,
            WaitReplicas::Exactly(number) => (number as usize) < self.replicas,
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} 3+{} ", self.fault.name(), 3 * self.replicas)?;
        match self.wait {
            WaitReplicas::All => f.write_str("all"),
            WaitReplicas::Exactly(number) => write!(f, "{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_pick_cells() {
        assert_eq!(Cell::all().len(), 63);
        assert_eq!(Cell::picked("").len(), 63);
        let names = |line| Cell::picked(line).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names("kill 3+6 all"), ["kill 3+6 all"]);
        assert_eq!(names("kill 3+6,cut-off 3+3 0").len(), 4);
        assert!(Cell::telling().iter().all(|cell| Cell::all().contains(cell)));
    }

    #[test]
    fn a_number_keeps_all_where_it_is_that_of_the_replicas() {
        let keeps = |line| Cell::picked(line).iter().all(|cell| cell.keeps_all());
        assert!(keeps("all") && keeps("3+3 1"));
        assert!(!Cell::picked("0").iter().any(|cell| cell.keeps_all()));
        assert!(!Cell::picked("3+6 1").iter().any(|cell| cell.keeps_all()));
    }
}
