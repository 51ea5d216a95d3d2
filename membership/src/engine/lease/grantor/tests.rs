use std::time::Duration;

use super::*;
use crate::ids::{Incarnation, NodeId};

const A: MemberId = MemberId { node: NodeId::from_u128(1), incarnation: Incarnation::from_u128(0xa) };
/// The same node, started again. Its number is smaller: that has to mean nothing.
const A_AGAIN: MemberId = MemberId { incarnation: Incarnation::from_u128(0x1), ..A };
const B: MemberId = MemberId { node: NodeId::from_u128(2), incarnation: Incarnation::from_u128(0xb) };

/// The grantor of a node, ticked whenever it wants to be.
struct Node {
    grantor: Grantor,
}

impl Node {
    fn following() -> Self {
        Self { grantor: Grantor::new(LeaseConfig::default()) }
    }

    /// Elected at 0; its own entry is 10, and applied.
    fn leading(members: &[MemberId]) -> Self {
        let mut node = Self::following();
        assert_eq!(node.told(0, elected(10, 10, members)), []);
        node
    }

    /// An event, with nothing in between: if that is long, the node was not awake.
    fn told(&mut self, at_ms: u64, event: Event) -> Vec<Effect> {
        self.grantor.on_event(at(at_ms), event)
    }

    /// Ticks until a moment, inclusive, each in time; answers what was wanted, and when.
    fn awake_until(&mut self, until_ms: u64) -> Vec<(u64, Effect)> {
        let mut seen = Vec::new();
        while let Some(wake) = self.grantor.next_wake().filter(|wake| *wake <= at(until_ms)) {
            let wake_ms = wake.0.as_millis() as u64;
            seen.extend(self.told(wake_ms, Event::Tick).into_iter().map(|effect| (wake_ms, effect)));
            let next = self.grantor.next_wake();
            assert!(next.is_some_and(|next| next > wake), "it wants to be woken in the past: a busy loop");
        }
        seen
    }
}

fn at(ms: u64) -> BootTime {
    BootTime(Duration::from_millis(ms))
}

fn elected(own_entry: u64, applied: u64, members: &[MemberId]) -> Event {
    let (own_entry, applied) = (LogIndex(own_entry), LogIndex(applied));
    Event::Elected { own_entry, applied, members: members.to_vec() }
}

fn received(member: MemberId, number: u64) -> Event {
    received_at(member, number, 10)
}

fn received_at(member: MemberId, number: u64, applied: u64) -> Event {
    Event::Received(Renewal { member, number: RenewalNumber(number), applied: LogIndex(applied) })
}

fn completed(round: u64, read_index: u64) -> Event {
    Event::RoundCompleted { round: RoundNumber(round), read_index: LogIndex(read_index) }
}

fn failed(round: u64) -> Event {
    Event::RoundFailed { round: RoundNumber(round) }
}

fn applied(index: u64, change: Option<Change>) -> Event {
    Event::Applied { index: LogIndex(index), change }
}

fn begin_round(number: u64) -> Effect {
    Effect::BeginRound(RoundNumber(number))
}

fn grant(member: MemberId, number: u64, table_index: u64) -> Effect {
    Effect::Grant(Grant { member, number: RenewalNumber(number), table_index: LogIndex(table_index) })
}

fn refused(member: MemberId, number: u64, reason: RefusalReason) -> Effect {
    refuse(member, RenewalNumber(number), reason)
}

// --- who is granted ---

#[test]
fn a_renewal_is_granted_after_a_round_that_began_after_it_arrived() {
    let mut node = Node::leading(&[A]);
    assert_eq!(node.told(10, received(A, 1)), [begin_round(1)]);
    assert_eq!(node.told(20, completed(1, 10)), [grant(A, 1, 10)]);
}

#[test]
fn a_renewal_that_arrives_during_a_round_waits_for_the_next() {
    let mut node = Node::leading(&[A, B]);
    assert_eq!(node.told(10, received(A, 1)), [begin_round(1)]);
    assert_eq!(node.told(15, received(B, 1)), []);
    assert_eq!(node.told(20, completed(1, 10)), [grant(A, 1, 10), begin_round(2)]);
    assert_eq!(node.told(30, completed(2, 10)), [grant(B, 1, 10)]);
}

#[test]
fn all_who_wait_share_one_round() {
    let mut node = Node::leading(&[A, B]);
    assert_eq!(node.told(10, received(A, 1)), [begin_round(1)]);
    assert_eq!(node.told(11, received(A, 2)), []);
    assert_eq!(node.told(12, received(B, 1)), []);
    assert_eq!(node.told(20, completed(1, 10)), [grant(A, 1, 10), begin_round(2)]);
    assert_eq!(node.told(30, completed(2, 10)), [grant(A, 2, 10), grant(B, 1, 10)]);
}

#[test]
fn a_deposed_leader_grants_nothing() {
    let mut node = Node::leading(&[A]);
    assert_eq!(node.told(10, received(A, 1)), [begin_round(1)]);
    assert_eq!(node.told(20, failed(1)), [], "it is cut off and does not know that it was deposed");
    assert_eq!(node.awake_until(250), [(250, begin_round(2))], "not at once: nobody may answer for long");
    assert_eq!(node.told(260, failed(2)), []);
    assert_eq!(node.told(270, Event::Deposed), [refused(A, 1, RefusalReason::NotLeader)]);
    assert_eq!(node.told(280, received(A, 2)), [refused(A, 2, RefusalReason::NotLeader)]);
    assert_eq!(node.told(290, completed(2, 10)), []);
    assert_eq!(node.grantor.next_wake(), None);
}

#[test]
fn a_round_of_an_earlier_term_proves_nothing_in_this_one() {
    let mut node = Node::leading(&[A]);
    assert_eq!(node.told(10, received(A, 1)), [begin_round(1)]);
    let seen = node.told(20, elected(20, 20, &[A]));
    assert_eq!(seen, [refused(A, 1, RefusalReason::NotLeader)]);
    assert_eq!(node.told(30, received(A, 2)), [begin_round(2)]);
    assert_eq!(node.told(40, completed(1, 20)), []);
    assert_eq!(node.told(50, completed(2, 20)), [grant(A, 2, 20)]);
}

#[test]
fn a_new_leader_grants_nothing_before_it_has_applied_what_its_predecessor_committed() {
    let mut node = Node::following();
    // 11 is the predecessor's Down of A, 12 the new leader's own entry. Neither is applied.
    assert_eq!(node.told(0, elected(12, 10, &[A, B])), []);
    assert_eq!(node.told(10, received(A, 1)), [begin_round(1)]);
    assert_eq!(node.told(15, received(B, 1)), []);
    assert_eq!(node.told(20, completed(1, 12)), []);
    let seen = node.told(30, applied(11, Some(Change::Down(A))));
    assert_eq!(seen, []);
    let seen = node.told(40, applied(12, None));
    assert_eq!(seen, [refused(A, 1, RefusalReason::Unknown), begin_round(2)]);
    assert_eq!(node.told(50, completed(2, 12)), [grant(B, 1, 12)]);
}

#[test]
fn the_entry_that_completes_the_table_has_its_own_say() {
    let mut node = Node::leading(&[A]);
    assert_eq!(node.told(10, received(A, 1)), [begin_round(1)]);
    assert_eq!(node.told(20, completed(1, 11)), []);
    let seen = node.told(30, applied(11, Some(Change::Down(A))));
    assert_eq!(seen, [refused(A, 1, RefusalReason::Unknown)]);
}

#[test]
fn a_read_index_below_the_leaders_own_entry_is_not_enough() {
    let mut node = Node::following();
    assert_eq!(node.told(0, elected(12, 10, &[A])), []);
    assert_eq!(node.told(10, received(A, 1)), [begin_round(1)]);
    assert_eq!(node.told(20, completed(1, 10)), []);
    assert_eq!(node.told(30, applied(12, None)), [grant(A, 1, 12)]);
}

#[test]
fn a_member_is_refused_from_the_moment_that_its_down_is_proposed() {
    let mut node = Node::leading(&[A, B]);
    assert_eq!(node.told(10, received(A, 1)), [begin_round(1)]);
    assert_eq!(node.told(20, Event::Gone(A)), [Effect::ProposeDown(A)]);
    assert_eq!(node.told(30, received(A, 2)), [refused(A, 2, RefusalReason::DownProposed)]);
    let seen = node.told(40, completed(1, 10));
    assert_eq!(seen, [refused(A, 1, RefusalReason::DownProposed)], "it was on its way already");
    assert_eq!(node.told(50, applied(11, Some(Change::Down(A)))), []);
    assert_eq!(node.told(60, received(A, 3)), [refused(A, 3, RefusalReason::Unknown)]);
}

#[test]
fn a_member_that_is_not_registered_is_refused() {
    let mut node = Node::leading(&[A]);
    assert_eq!(node.told(10, received(B, 1)), [refused(B, 1, RefusalReason::Unknown)]);
    assert_eq!(node.told(20, applied(11, Some(Change::Registered(B)))), []);
    assert_eq!(node.told(30, received(B, 2)), [begin_round(1)]);
}

#[test]
fn an_older_incarnation_is_refused_and_cannot_put_off_its_own_end() {
    let mut node = Node::leading(&[A]);
    assert_eq!(node.told(100, received(A, 1)), [begin_round(1)]);
    assert_eq!(node.told(110, applied(11, Some(Change::Registered(A_AGAIN)))), []);
    let seen = node.told(120, completed(1, 11));
    assert_eq!(seen, [refused(A, 1, RefusalReason::Superseded)], "it was on its way already");

    for (number, at_ms) in (2..).zip((200..2_400).step_by(100)) {
        assert_eq!(node.awake_until(at_ms - 1), []);
        let seen = node.told(at_ms, received(A, number));
        assert_eq!(seen, [refused(A, number, RefusalReason::Superseded)]);
    }
    assert_eq!(node.awake_until(2_400), [(2_400, Effect::ProposeDown(A))], "2 s + 300 ms after 100 ms");
}

#[test]
fn a_new_leader_knows_the_newest_incarnation_by_the_order_of_registration() {
    let mut node = Node::leading(&[A, A_AGAIN]);
    assert_eq!(node.told(10, received(A, 9)), [refused(A, 9, RefusalReason::Superseded)]);
    assert_eq!(node.told(20, received(A_AGAIN, 1)), [begin_round(1)]);
}

#[test]
fn every_renewal_is_answered_even_if_it_is_overtaken() {
    let mut node = Node::leading(&[A]);
    assert_eq!(node.told(10, received(A, 1)), [begin_round(1)]);
    assert_eq!(node.told(11, received(A, 3)), []);
    assert_eq!(node.told(12, received(A, 2)), [refused(A, 2, RefusalReason::Overtaken)]);
    assert_eq!(node.told(13, received(A, 4)), [refused(A, 3, RefusalReason::Overtaken)]);
    assert_eq!(node.told(20, failed(1)), [refused(A, 1, RefusalReason::Overtaken)]);
    assert_eq!(node.awake_until(250), [(250, begin_round(2))]);
    assert_eq!(node.told(260, completed(2, 10)), [grant(A, 4, 10)]);
}

// --- who is down ---

#[test]
fn a_member_is_down_a_ttl_and_a_margin_after_its_last_renewal_arrived() {
    let mut node = Node::leading(&[A]);
    assert_eq!(node.awake_until(1_000), []);
    assert_eq!(node.told(1_000, received(A, 1)), [begin_round(1)]);
    // That the grant leaves later changes nothing: its lease runs from before 1000.
    assert_eq!(node.told(1_200, completed(1, 10)), [grant(A, 1, 10)]);
    assert_eq!(node.awake_until(9_000), [(3_300, Effect::ProposeDown(A))], "once");
}

#[test]
fn a_member_that_renews_is_not_down() {
    let mut node = Node::leading(&[A]);
    for number in 1..100 {
        assert_eq!(node.awake_until(1_000 * number - 1), []);
        assert_eq!(node.told(1_000 * number, received(A, number)), [begin_round(number)]);
        assert_eq!(node.told(1_000 * number, completed(number, 10)), [grant(A, number, 10)]);
    }
}

#[test]
fn a_new_leader_waits_from_its_election() {
    let mut node = Node::following();
    assert_eq!(node.told(60_000, elected(10, 10, &[A])), []);
    assert_eq!(node.awake_until(70_000), [(62_300, Effect::ProposeDown(A))]);
}

#[test]
fn a_leader_that_is_elected_again_begins_its_waits_again() {
    let mut node = Node::leading(&[A]);
    assert_eq!(node.awake_until(2_000), []);
    assert_eq!(node.told(2_000, Event::Deposed), []);
    // meanwhile another led, and may have granted until now
    assert_eq!(node.told(2_290, elected(20, 20, &[A])), []);
    assert_eq!(node.awake_until(9_000), [(4_590, Effect::ProposeDown(A))]);
}

#[test]
fn a_member_has_its_whole_time_from_its_registration() {
    let mut node = Node::leading(&[]);
    assert_eq!(node.awake_until(5_000), []);
    assert_eq!(node.told(5_100, applied(11, Some(Change::Registered(A)))), []);
    assert_eq!(node.awake_until(9_000), [(7_400, Effect::ProposeDown(A))]);
}

#[test]
fn a_registration_that_is_applied_twice_changes_nothing() {
    let mut node = Node::leading(&[A, A_AGAIN]);
    assert_eq!(node.awake_until(1_000), []);
    assert_eq!(node.told(1_000, applied(11, Some(Change::Registered(A)))), []);
    assert_eq!(node.told(1_010, received(A, 1)), [refused(A, 1, RefusalReason::Superseded)]);
    assert_eq!(node.told(1_020, applied(12, Some(Change::Registered(A_AGAIN)))), []);
    let seen = node.awake_until(9_000);
    assert_eq!(seen, [(2_300, Effect::ProposeDown(A_AGAIN)), (2_300, Effect::ProposeDown(A))]);
}

#[test]
fn a_leader_whose_own_tick_came_late_restarts_all_waits() {
    let mut node = Node::leading(&[A, B]);
    assert_eq!(node.awake_until(250), []);
    // stopped; what A and B sent meanwhile lies unread
    assert_eq!(node.told(6_000, Event::Tick), []);
    let seen = node.awake_until(9_000);
    assert_eq!(seen, [(8_300, Effect::ProposeDown(A)), (8_300, Effect::ProposeDown(B))]);
}

#[test]
fn a_late_leader_does_not_blame_a_table_for_the_time_that_it_was_away() {
    let mut node = Node::leading(&[A]);
    assert_eq!(node.told(100, received_at(A, 1, 9)), [begin_round(1)]);
    assert_eq!(node.told(100, completed(1, 10)), [grant(A, 1, 10)]);
    assert_eq!(node.told(6_000, received_at(A, 2, 9)), [begin_round(2)], "sent long ago, for all it knows");
}

#[test]
fn a_late_leader_is_found_out_by_whatever_it_does_first() {
    let mut node = Node::leading(&[A, B]);
    assert_eq!(node.told(6_000, received(B, 1)), [begin_round(1)]);
    assert_eq!(node.told(6_001, Event::Tick), [], "A's renewals may be next in the queue");
}

#[test]
fn what_has_arrived_is_heard_before_a_tick_gives_a_verdict() {
    let mut node = Node::leading(&[A]);
    assert_eq!(node.awake_until(2_299), []);
    assert_eq!(node.told(2_301, received(A, 1)), [begin_round(1)]);
    assert_eq!(node.told(2_301, Event::Tick), []);
}

#[test]
fn a_member_that_is_surely_gone_is_down_without_a_wait_and_only_once() {
    let mut node = Node::leading(&[A]);
    assert_eq!(node.told(10, Event::Gone(A)), [Effect::ProposeDown(A)]);
    assert_eq!(node.told(20, Event::Gone(A)), []);
    assert_eq!(node.told(30, Event::Gone(B)), []);
    assert_eq!(node.awake_until(9_000), []);
}

#[test]
fn a_member_whose_table_stands_still_counts_as_silent() {
    let mut node = Node::leading(&[A]);
    assert_eq!(node.told(100, received_at(A, 1, 9)), [begin_round(1)]);
    assert_eq!(node.told(100, completed(1, 10)), [grant(A, 1, 10)]);
    assert_eq!(node.awake_until(2_100), []);
    assert_eq!(node.told(2_100, received_at(A, 2, 9)), [begin_round(2)], "slow, but not for too long yet");
    assert_eq!(node.told(2_100, completed(2, 10)), [grant(A, 2, 10)]);
    assert_eq!(node.told(2_101, received_at(A, 3, 9)), [refused(A, 3, RefusalReason::Lagging)]);
    assert_eq!(node.awake_until(4_399), []);
    assert_eq!(node.awake_until(9_000), [(4_400, Effect::ProposeDown(A))]);
}
