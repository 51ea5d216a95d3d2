use std::time::Duration;

use super::*;
use crate::engine::clock::WallTime;
use crate::ids::{Incarnation, NodeId};

const MEMBER: MemberId = MemberId { node: NodeId::from_u128(1), incarnation: Incarnation::from_u128(0xa) };
const NOT_YET: Standing = Standing::Suspended(SuspensionCause::Starting);
const EXPIRED: Standing = Standing::Suspended(SuspensionCause::Expired);
const JUMPED: Standing = Standing::Suspended(SuspensionCause::ClockJumped);

/// A member whose table is applied up to 10. Its clocks agree: the wall clock is a day ahead, always.
struct Member {
    holder: Holder,
    /// How far the wall clock was set forward.
    jumped_ms: u64,
}

impl Member {
    /// Started at 0, so that renewal 1 was sent at 0, 2 at 250, and so on.
    fn started() -> Self {
        let clocks = Clocks { boot: boot(0), wall: WallTime(Duration::from_secs(86_400)) };
        let holder = Holder::new(MEMBER, LeaseConfig::default(), LogIndex(10), clocks);
        let mut member = Self { holder, jumped_ms: 0 };
        assert_eq!(member.told(0, Event::Tick), [renew(1)]);
        member
    }

    /// Started, and renewal 1 granted. Held until 2000.
    fn holding() -> Self {
        let mut member = Self::started();
        assert_eq!(member.told(20, granted(1, 10)), [Seen::Resume { until: 2_000 }]);
        member
    }

    fn told(&mut self, at_ms: u64, event: Event) -> Vec<Seen> {
        let now = self.clocks(at_ms);
        self.holder.on_event(now, event).into_iter().map(|effect| see(effect, now)).collect()
    }

    fn standing(&self, at_ms: u64) -> Standing {
        self.holder.standing(self.clocks(at_ms))
    }

    fn clocks(&self, at_ms: u64) -> Clocks {
        let wall = Duration::from_secs(86_400) + Duration::from_millis(at_ms + self.jumped_ms);
        Clocks { boot: boot(at_ms), wall: WallTime(wall) }
    }
}

/// An effect, with its lease put down to what that allows.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Renew { number: u64, applied: u64 },
    Extend { until: u64 },
    Resume { until: u64 },
    Suspend(SuspensionCause),
}

fn see(effect: Effect, now: Clocks) -> Seen {
    let until = |lease: Lease| match lease.standing(now) {
        Standing::Held { until } => until.0.as_millis() as u64,
        Standing::Suspended(cause) => panic!("announced as held, and suspended: {cause:?}"),
    };
    match effect {
        Effect::Renew(Renewal { member, number, applied }) => {
            assert_eq!(member, MEMBER);
            Seen::Renew { number: number.0, applied: applied.0 }
        }
        Effect::Extend(lease) => Seen::Extend { until: until(lease) },
        Effect::Resume(lease) => Seen::Resume { until: until(lease) },
        Effect::Suspend(lease) => match lease.standing(now) {
            Standing::Suspended(cause) => Seen::Suspend(cause),
            Standing::Held { .. } => panic!("announced as suspended, and held"),
        },
    }
}

fn boot(ms: u64) -> BootTime {
    BootTime(Duration::from_millis(ms))
}

fn held(until_ms: u64) -> Standing {
    Standing::Held { until: boot(until_ms) }
}

fn renew(number: u64) -> Seen {
    Seen::Renew { number, applied: 10 }
}

fn granted(number: u64, table_index: u64) -> Event {
    let (number, table_index) = (RenewalNumber(number), LogIndex(table_index));
    Event::Granted(Grant { member: MEMBER, number, table_index })
}

#[test]
fn a_member_that_has_just_started_may_not_act() {
    assert_eq!(Member::started().standing(0), NOT_YET);
}

#[test]
fn a_lease_runs_from_the_sending_of_its_renewal_not_from_the_arrival_of_its_grant() {
    let mut member = Member::started();
    assert_eq!(member.told(200, granted(1, 10)), [Seen::Resume { until: 2_000 }]);
    assert_eq!(member.standing(1_999), held(2_000));
    assert_eq!(member.standing(2_000), EXPIRED);
}

#[test]
fn each_grant_counts_from_its_own_renewal() {
    let mut member = Member::holding();
    assert_eq!(member.told(250, Event::Tick), [renew(2)]);
    assert_eq!(member.told(500, Event::Tick), [renew(3)]);
    assert_eq!(member.told(600, granted(2, 10)), [Seen::Extend { until: 2_250 }]);
    assert_eq!(member.told(610, granted(3, 10)), [Seen::Extend { until: 2_500 }]);
}

#[test]
fn a_grant_counts_only_once_the_own_table_is_applied_that_far() {
    let mut member = Member::started();
    assert_eq!(member.told(20, granted(1, 12)), []);
    assert_eq!(member.told(30, Event::Applied(LogIndex(11))), []);
    assert_eq!(member.standing(30), NOT_YET);
    // and still from the sending, not from now
    assert_eq!(member.told(200, Event::Applied(LogIndex(12))), [Seen::Resume { until: 2_000 }]);
}

#[test]
fn a_lease_is_not_extended_by_a_grant_that_waits_for_the_table() {
    let mut member = Member::holding();
    assert_eq!(member.told(250, Event::Tick), [renew(2)]);
    assert_eq!(member.told(260, granted(2, 11)), []);
    assert_eq!(member.standing(260), held(2_000));
}

#[test]
fn a_table_that_is_always_a_little_behind_does_not_keep_grants_from_counting() {
    let mut member = Member::holding();
    assert_eq!(member.told(250, Event::Tick), [renew(2)]);
    assert_eq!(member.told(260, granted(2, 100)), []);
    assert_eq!(member.told(500, Event::Tick), [renew(3)]);
    assert_eq!(member.told(510, granted(3, 200)), []);
    assert_eq!(member.told(520, Event::Applied(LogIndex(100))), [Seen::Extend { until: 2_250 }]);
    assert_eq!(member.told(530, Event::Applied(LogIndex(200))), [Seen::Extend { until: 2_500 }]);
}

#[test]
fn of_several_grants_that_count_at_once_the_newest_rules() {
    let mut member = Member::holding();
    assert_eq!(member.told(250, Event::Tick), [renew(2)]);
    assert_eq!(member.told(260, granted(2, 11)), []);
    assert_eq!(member.told(500, Event::Tick), [renew(3)]);
    assert_eq!(member.told(510, granted(3, 12)), []);
    assert_eq!(member.told(520, Event::Applied(LogIndex(12))), [Seen::Extend { until: 2_500 }]);
}

#[test]
fn a_grant_whose_table_comes_after_its_time_does_not_count() {
    let mut member = Member::started();
    assert_eq!(member.told(20, granted(1, 12)), []);
    let seen = member.told(2_000, Event::Applied(LogIndex(12)));
    assert_eq!(seen, [Seen::Renew { number: 2, applied: 12 }]);
    assert_eq!(member.standing(2_000), NOT_YET);
}

#[test]
fn the_table_never_goes_back() {
    let mut member = Member::started();
    assert_eq!(member.told(10, Event::Applied(LogIndex(12))), []);
    assert_eq!(member.told(15, Event::Applied(LogIndex(11))), []);
    assert_eq!(member.told(20, granted(1, 12)), [Seen::Resume { until: 2_000 }]);
}

#[test]
fn a_late_grant_never_shortens_a_lease() {
    let mut member = Member::started();
    assert_eq!(member.told(250, Event::Tick), [renew(2)]);
    assert_eq!(member.told(260, granted(2, 10)), [Seen::Resume { until: 2_250 }]);
    assert_eq!(member.told(270, granted(1, 10)), []);
    assert_eq!(member.standing(270), held(2_250));
}

#[test]
fn a_repeated_grant_extends_nothing() {
    let mut member = Member::holding();
    assert_eq!(member.told(200, granted(1, 10)), []);
    assert_eq!(member.standing(200), held(2_000));
}

#[test]
fn a_grant_that_nobody_asked_for_counts_for_nothing() {
    let mut member = Member::started();
    assert_eq!(member.told(20, granted(2, 10)), []);
    let former = MemberId { incarnation: Incarnation::from_u128(0xb), ..MEMBER };
    let grant = Grant { member: former, number: RenewalNumber(1), table_index: LogIndex(10) };
    assert_eq!(member.told(20, Event::Granted(grant)), [], "meant for a former process of this node");
    assert_eq!(member.standing(20), NOT_YET);
}

#[test]
fn a_lease_that_runs_out_suspends_and_a_new_grant_resumes_it() {
    let mut member = Member::holding();
    assert_eq!(member.told(2_000, Event::Tick), [Seen::Suspend(SuspensionCause::Expired), renew(2)]);
    assert_eq!(member.standing(2_000), EXPIRED);
    assert_eq!(member.told(2_050, granted(2, 10)), [Seen::Resume { until: 4_000 }]);
}

#[test]
fn a_suspension_is_announced_even_if_the_grant_that_ends_it_comes_before_the_tick() {
    let mut member = Member::holding();
    assert_eq!(member.told(1_000, Event::Tick), [renew(2)]);
    let seen = member.told(2_010, granted(2, 10));
    assert_eq!(seen, [Seen::Suspend(SuspensionCause::Expired), Seen::Resume { until: 3_000 }, renew(3)]);
}

#[test]
fn a_new_leader_is_asked_at_once_so_that_the_death_of_the_old_one_suspends_nobody() {
    let mut member = Member::holding();
    for (number, at) in [(2, 250), (3, 500), (4, 750), (5, 1_000), (6, 1_250), (7, 1_500), (8, 1_750)] {
        assert_eq!(member.told(at, Event::Tick), [renew(number)], "lost: nobody leads");
    }
    assert_eq!(member.told(1_800, Event::LeaderChanged), [renew(9)]);
    assert_eq!(member.holder.next_wake(), boot(2_000), "its own end comes before the next renewal");
    assert_eq!(member.told(1_990, granted(9, 10)), [Seen::Extend { until: 3_800 }]);
}

#[test]
fn it_wakes_to_renew_and_to_see_its_end() {
    let mut member = Member::started();
    assert_eq!(member.holder.next_wake(), boot(250));
    assert_eq!(member.told(249, Event::Tick), []);
    assert_eq!(member.told(310, Event::Tick), [renew(2)]);
    assert_eq!(member.holder.next_wake(), boot(560));
}

#[test]
fn a_jump_of_the_wall_clock_is_a_lost_lease() {
    for event in [Event::Tick, Event::Applied(LogIndex(10)), granted(1, 10)] {
        let mut member = Member::holding();
        member.jumped_ms = 3_000;
        assert_eq!(member.standing(100), JUMPED, "seen at the next look, before any event");
        assert_eq!(member.told(100, event), [Seen::Suspend(SuspensionCause::ClockJumped), renew(2)]);
        assert_eq!(member.told(120, granted(2, 10)), [Seen::Resume { until: 2_100 }]);
    }
}

#[test]
fn a_wall_clock_that_jumps_back_does_not_give_the_lease_back() {
    let mut member = Member::holding();
    assert_eq!(member.told(90, Event::LeaderChanged), [renew(2)]);
    member.jumped_ms = 3_000;
    assert_eq!(member.told(100, Event::Tick), [Seen::Suspend(SuspensionCause::ClockJumped), renew(3)]);
    member.jumped_ms = 0;
    assert_eq!(member.standing(110), JUMPED);
    assert_eq!(member.told(120, granted(2, 10)), [], "sent before the jump");
    assert_eq!(member.told(130, granted(3, 10)), [], "the clocks jumped since");
}

#[test]
fn a_grant_whose_renewal_was_sent_before_a_jump_does_not_count() {
    let mut member = Member::started();
    member.jumped_ms = 3_000;
    assert_eq!(member.told(100, granted(1, 10)), []);
    assert_eq!(member.standing(100), NOT_YET);
}

#[test]
fn however_often_leaders_change_it_remembers_a_bounded_number_of_renewals() {
    let mut member = Member::started();
    for number in 2..=1_000 {
        assert_eq!(member.told(1, Event::LeaderChanged), [renew(number)]);
    }
    assert_eq!(member.holder.renewals.len(), MAX_REMEMBERED);
    assert_eq!(member.told(1, granted(1, 10)), [], "the oldest was forgotten");
    assert_eq!(member.told(2, granted(998, 10)), [Seen::Resume { until: 2_001 }]);
    assert_eq!(member.told(3, Event::LeaderChanged), [renew(1_001)]);
    assert_eq!(member.told(4, granted(1_001, 10)), [Seen::Extend { until: 2_003 }]);
    assert_eq!(member.holder.renewals.len(), 0);
}

#[test]
fn renewals_that_can_no_longer_matter_are_forgotten() {
    let mut member = Member::started();
    for number in 2..=1_000 {
        assert_eq!(member.told(250 * (number - 1), Event::Tick), [renew(number)]);
        assert!(member.holder.renewals.len() <= 8, "as many as fit into a ttl");
    }
}
