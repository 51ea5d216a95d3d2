//! Who owns which slot.
//!
//! A node is believed about itself only: whoever says "I own this slot" at the highest configuration epoch
//! owns it. What others say of a node can be old; what a deposed primary says has a lower epoch.

use std::collections::BTreeSet;

use super::keys::SLOTS;
use super::nodes::Node;
use crate::runtime::redis::connector::Address;

/// What is known of a deployment.
#[derive(Clone, Debug)]
pub(crate) struct Routes {
    slots: Vec<Slot>,
    /// All nodes that were heard of, to be asked.
    nodes: BTreeSet<Address>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Slot {
    epoch: u64,
    primary: Option<Address>,
}

impl Routes {
    /// Nothing but whom to ask.
    pub(crate) fn unknown(seeds: impl IntoIterator<Item = Address>) -> Self {
        Self { slots: vec![Slot::default(); usize::from(SLOTS)], nodes: seeds.into_iter().collect() }
    }

    /// One server has everything, from now on. `epoch` counts such decisions; one that is lower is not heard.
    /// Says whether anything changed.
    pub(crate) fn single(&mut self, epoch: u64, primary: &Address) -> bool {
        self.nodes.insert(primary.clone());
        let slot = Slot { epoch, primary: Some(primary.clone()) };
        let is_news = |held: &&mut Slot| held.epoch <= epoch && held.primary != slot.primary;
        self.slots.iter_mut().filter(is_news).map(|held| *held = slot.clone()).count() > 0
    }

    /// What one node of a cluster answered. Says whether an owner changed.
    pub(crate) fn observe(&mut self, nodes: &[Node]) -> bool {
        self.nodes.extend(nodes.iter().map(|node| node.address.clone()));
        let Some(myself) = nodes.iter().find(|node| node.is_myself && node.is_primary) else { return false };
        let mut is_changed = false;
        for slot in myself.slots.iter().cloned().flatten() {
            let Some(held) = self.slots.get_mut(usize::from(slot)) else { continue };
            if held.primary.is_none() || held.epoch <= myself.config_epoch {
                is_changed |= held.primary.as_ref() != Some(&myself.address);
                *held = Slot { epoch: myself.config_epoch, primary: Some(myself.address.clone()) };
            }
        }
        is_changed
    }

    /// Who owns a slot.
    pub(crate) fn primary(&self, slot: u16) -> Option<&Address> {
        self.slots.get(usize::from(slot))?.primary.as_ref()
    }

    /// All that own something.
    pub(crate) fn primaries(&self) -> BTreeSet<&Address> {
        self.slots.iter().filter_map(|slot| slot.primary.as_ref()).collect()
    }

    /// Slots that nobody owns.
    pub(crate) fn homeless(&self) -> usize {
        self.slots.iter().filter(|slot| slot.primary.is_none()).count()
    }

    /// All that were heard of.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Address> {
        self.nodes.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Address {
        Address::new("10.0.0.1", port)
    }

    fn myself(
        port: u16,
        config_epoch: u64,
        is_primary: bool,
        slots: std::ops::RangeInclusive<u16>,
    ) -> Vec<Node> {
        let node = |port: u16, is_myself| Node {
            id: port.to_string(),
            address: address(port),
            is_myself,
            is_primary,
            replica_of: None,
            is_failed: false,
            config_epoch,
            slots: vec![slots.clone()],
        };
        // Another node, of which it says the same.
        vec![node(port, true), node(99, false)]
    }

    #[test]
    fn a_node_is_believed_about_itself_and_the_highest_epoch_wins_in_any_order() {
        let old = myself(1, 5, true, 0..=100);
        let new = myself(2, 7, true, 0..=100);
        for answers in [[&old, &new], [&new, &old]] {
            let mut routes = Routes::unknown([address(1)]);
            for answer in answers {
                routes.observe(answer);
            }
            assert_eq!(routes.primary(50), Some(&address(2)));
            assert_eq!(routes.primary(101), None);
            assert_eq!(routes.primaries(), [&address(2)].into());
            assert_eq!(routes.nodes().count(), 3, "everybody is known, also who was only mentioned");
        }
    }

    #[test]
    fn one_slot_that_moved_leaves_the_others() {
        let mut routes = Routes::unknown([]);
        assert!(routes.observe(&myself(1, 5, true, 0..=100)));
        assert!(!routes.observe(&myself(1, 5, true, 0..=100)), "nothing new");
        assert!(routes.observe(&myself(2, 6, true, 7..=7)));
        assert_eq!((routes.primary(6), routes.primary(7)), (Some(&address(1)), Some(&address(2))));
        assert_eq!(routes.homeless(), usize::from(SLOTS) - 101);
    }

    #[test]
    #[ignore = "the slot stays with whoever has given it up, until somebody claims it at a higher epoch"]
    fn a_slot_that_its_owner_gives_up_is_free_for_a_lower_epoch() {
        let mut routes = Routes::unknown([]);
        routes.observe(&myself(1, 9, true, 0..=100));
        for _ in 0..2 {
            routes.observe(&myself(1, 9, true, 0..=99));
            routes.observe(&myself(2, 7, true, 100..=100));
        }
        assert_eq!(routes.primary(100), Some(&address(2)));
    }

    #[test]
    #[ignore = "whoever answers at a known address is believed: one of another cluster, too"]
    fn a_node_of_another_cluster_owns_nothing() {
        let mut routes = Routes::unknown([]);
        routes.observe(&myself(1, 5, true, 0..=100));
        let mut stranger = myself(2, 70, true, 0..=100);
        for node in &mut stranger {
            node.id = format!("of-another-cluster-{}", node.id);
        }
        routes.observe(&stranger);
        assert_eq!(routes.primary(50), Some(&address(1)));
    }

    #[test]
    #[ignore = "addresses are never forgotten, and each look asks all of them"]
    fn an_address_that_nobody_names_any_more_is_not_asked_for_ever() {
        let mut routes = Routes::unknown([address(1)]);
        for port in 100..1100 {
            routes.observe(&myself(port, u64::from(port), true, 0..=100));
        }
        assert!(routes.nodes().count() < 100, "{} addresses", routes.nodes().count());
    }

    #[test]
    fn a_replica_owns_nothing() {
        let mut routes = Routes::unknown([]);
        assert!(!routes.observe(&myself(1, 5, false, 0..=100)));
        assert_eq!(routes.primary(0), None);
    }

    #[test]
    fn a_single_server_has_all_until_a_later_decision() {
        let mut routes = Routes::unknown([]);
        assert!(routes.single(3, &address(1)));
        assert!(!routes.single(3, &address(1)));
        assert!(!routes.single(2, &address(2)), "an older decision");
        assert!(routes.single(4, &address(2)));
        assert_eq!((routes.homeless(), routes.primary(9)), (0, Some(&address(2))));
    }
}
