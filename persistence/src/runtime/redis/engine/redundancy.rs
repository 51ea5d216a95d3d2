//! How many replicas must have a write before it is acknowledged.
//!
//! With `all`, every replica that Redis could make the next primary: those that are connected and in sync,
//! and those lost for less time than Redis lets them stand for election. When this process sees a primary for
//! the first time, it does not know since when a replica is away: then that counts from this look.
//!
//! A replica that is not in sync yet, new or coming back, cannot be elected and does not count.

use std::collections::HashMap;
use std::time::Duration;

use crate::runtime::redis::connector::Address;
use crate::runtime::redis::options::WaitReplicas;

/// The replicas of one primary.
#[derive(Debug)]
pub(crate) struct Redundancy {
    wait: WaitReplicas,
    /// At least so many with [`WaitReplicas::All`].
    floor: u32,
    /// How long after its loss a replica can still be elected; `None` is for ever.
    stands_for: Option<Duration>,
    is_known: bool,
    replicas: HashMap<Address, Standing>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Connected,
    Lost { since: Duration },
}

impl Redundancy {
    /// Of a primary that was not looked at yet.
    pub(crate) fn new(wait: WaitReplicas, floor: u32, stands_for: Option<Duration>) -> Self {
        Self { wait, floor, stands_for, is_known: false, replicas: HashMap::new() }
    }

    /// The servers' settings were read again.
    pub(crate) fn set_stands_for(&mut self, stands_for: Option<Duration>) {
        self.stands_for = stands_for;
    }

    /// The first look: which replicas belong to the primary, connected or not.
    pub(crate) fn first_look(&mut self, now: Duration, listed: &[Address], connected: &[Address]) {
        if !self.is_known {
            self.is_known = true;
            let lost = listed.iter().map(|replica| (replica.clone(), Standing::Lost { since: now }));
            self.replicas = lost.collect();
        }
        self.see(now, connected);
    }

    /// Which replicas are connected and in sync, by the primary's own words.
    pub(crate) fn see(&mut self, now: Duration, connected: &[Address]) {
        for (replica, standing) in &mut self.replicas {
            if *standing == Standing::Connected && !connected.contains(replica) {
                *standing = Standing::Lost { since: now };
            }
        }
        for replica in connected {
            if self.replicas.get(replica) != Some(&Standing::Connected) {
                self.replicas.insert(replica.clone(), Standing::Connected);
            }
        }
        let stands_for = self.stands_for;
        self.replicas.retain(|_, standing| match standing {
            Standing::Connected => true,
            Standing::Lost { since } => stands_for.is_none_or(|window| now < *since + window),
        });
    }

    /// How many must have a write that was sent before now.
    pub(crate) fn required(&self) -> u32 {
        match self.wait {
            WaitReplicas::Exactly(number) => number,
            WaitReplicas::All => self.floor.max(u32::try_from(self.replicas.len()).unwrap_or(u32::MAX)),
        }
    }

    /// How many must have a write of a flight that has asked for so many. Meanwhile a replica may have come, or
    /// passed the time in which it could be elected; when the write was stored it had not.
    pub(crate) fn required_of(&self, asked: u32) -> u32 {
        self.required().max(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(5);

    fn replicas(ports: &[u16]) -> Vec<Address> {
        ports.iter().map(|port| Address::new("r", *port)).collect()
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn all(listed: &[u16], connected: &[u16]) -> Redundancy {
        let mut all = Redundancy::new(WaitReplicas::All, 1, Some(WINDOW));
        all.first_look(at(0), &replicas(listed), &replicas(connected));
        all
    }

    #[test]
    fn all_connected_replicas_count() {
        assert_eq!(all(&[1, 2], &[1, 2]).required(), 2);
    }

    #[test]
    fn a_lost_replica_counts_until_it_cannot_be_elected() {
        let mut all = all(&[1, 2], &[1, 2]);
        all.see(at(10), &replicas(&[1]));
        assert_eq!(all.required(), 2);
        all.see(at(14), &replicas(&[1]));
        assert_eq!(all.required(), 2, "four seconds after it was lost");
        all.see(at(15), &replicas(&[1]));
        assert_eq!(all.required(), 1);
        all.see(at(16), &replicas(&[1, 2]));
        assert_eq!(all.required(), 2, "it is back");
    }

    #[test]
    fn the_time_counts_from_the_loss_and_not_from_the_last_look() {
        let mut all = all(&[1, 2], &[1, 2]);
        for second in 10..15 {
            all.see(at(second), &replicas(&[1]));
            assert_eq!(all.required(), 2);
        }
        all.see(at(15), &replicas(&[1]));
        assert_eq!(all.required(), 1);
    }

    #[test]
    fn a_replica_that_is_away_at_the_first_look_counts_from_then_on() {
        let mut all = all(&[1, 2], &[1]);
        assert_eq!(all.required(), 2);
        all.first_look(at(4), &replicas(&[1, 2]), &replicas(&[1]));
        assert_eq!(all.required(), 2, "a later look is no first one");
        all.see(at(5), &replicas(&[1]));
        assert_eq!(all.required(), 1);
    }

    #[test]
    fn a_flight_that_lands_late_needs_those_that_counted_when_it_left() {
        let mut all = all(&[1, 2], &[1, 2]);
        all.see(at(10), &replicas(&[1]));
        let asked = all.required();
        all.see(at(60), &replicas(&[1]));
        assert_eq!((all.required(), all.required_of(asked)), (1, 2));
        all.see(at(61), &replicas(&[1, 3, 4]));
        assert_eq!(all.required_of(asked), 3);
    }

    #[test]
    fn a_newcomer_counts_once_it_is_in_sync() {
        let mut all = all(&[1], &[1]);
        all.first_look(at(1), &replicas(&[1, 2]), &replicas(&[1]));
        assert_eq!(all.required(), 1);
        all.see(at(2), &replicas(&[1, 2]));
        assert_eq!(all.required(), 2);
    }

    #[test]
    fn at_least_one_and_for_ever_where_redis_says_so() {
        let mut alone = all(&[1], &[1]);
        alone.see(at(1), &[]);
        alone.see(at(100), &[]);
        assert_eq!(alone.required(), 1, "nobody is left, and one is needed");
        let mut for_ever = Redundancy::new(WaitReplicas::All, 1, None);
        for_ever.first_look(at(0), &replicas(&[1, 2]), &replicas(&[1, 2]));
        for_ever.see(at(1), &replicas(&[1]));
        for_ever.see(at(1_000_000), &replicas(&[1]));
        assert_eq!(for_ever.required(), 2);
        let mut allowed = Redundancy::new(WaitReplicas::All, 0, Some(WINDOW));
        allowed.first_look(at(0), &[], &[]);
        assert_eq!(allowed.required(), 0);
    }

    #[test]
    fn a_number_is_a_number() {
        let mut two = Redundancy::new(WaitReplicas::Exactly(2), 1, Some(WINDOW));
        two.first_look(at(0), &replicas(&[1, 2, 3]), &replicas(&[1, 2, 3]));
        assert_eq!(two.required(), 2);
    }
}
