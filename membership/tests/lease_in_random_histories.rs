//! What a lease promises to those who take over, against random histories:
//!
//! - once a member's Down is committed, no process of that incarnation holds a lease, ever again;
//! - once an entry has been committed for `ttl + margin`, nobody holds a lease who has not applied it. So
//!   what an entry takes away can be given to others then, even if its former owner was never reached.
//!
//! Three nodes, each with a grantor and a table that follows the log late. Messages are delayed, lost and
//! overtake each other, nodes freeze and thaw, clocks run at unequal rates, leaders change and learn
//! late that they were deposed, nodes are started again while their former process still runs. Then all
//! of that ends, and every node has to hold a lease again.
//!
//! A seed decides everything; a failure prints it and how to replay it.

use std::collections::BTreeMap;
use std::time::Duration;

use abide_membership::engine::clock::{BootTime, Clocks, WallTime};
use abide_membership::engine::lease::grantor::{self, Change, Grantor};
use abide_membership::engine::lease::holder::{self, Holder};
use abide_membership::engine::lease::{Grant, LeaseConfig, RoundNumber, Standing};
use abide_membership::ids::{Incarnation, LogIndex, MemberId, NodeId};

const SEEDS: u64 = 50;
const CHAOS_ENDS: u64 = 60_000;
const WORLD_ENDS: u64 = 75_000;
/// Timers run out up to so many milliseconds late.
const TIMERS_ARE_LATE_BY: u64 = 10;
/// Processes that were replaced or declared down and still run, at most: the oldest is killed.
const MAX_PROCESSES: usize = 8;

#[test]
fn a_lease_is_over_before_anybody_takes_over_and_all_recover() {
    let seeds = match std::env::var("LEASE_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("LEASE_SEED is a number");
            seed..=seed
        }
        Err(_) => 1..=SEEDS,
    };
    let (mut grants_counted, mut downs) = (0, 0);
    for seed in seeds {
        let mut world = World::new(seed);
        world.run();
        grants_counted += world.grants_counted;
        downs += world.downs.len();
    }
    println!("{grants_counted} grants counted, {downs} members declared down");
    assert!(grants_counted > 0 && downs > 0, "nothing happened, so nothing was tested");
}

/// What arrives at a node.
#[derive(Debug, Clone)]
enum Arrival {
    Tick,
    /// A new leader is known; renewals go to it from now on.
    Leader {
        leader: usize,
        term: u64,
    },
    Deposed {
        term: u64,
    },
    ToGrantor(grantor::Event),
    Granted(Grant),
    /// The table is applied up to here.
    Applied(LogIndex),
}

/// What happens to the cluster as a whole.
#[derive(Debug, Clone)]
enum Happening {
    Arrives { node: usize, arrival: Arrival },
    MajorityAsked { node: usize, term: u64, round: RoundNumber, read_index: LogIndex },
    Proposed { term: u64, change: Change },
    Election,
    Freeze,
    StartedAgain,
}

struct Node {
    grantor: Grantor,
    /// The term in which it believes to lead, or led last.
    term: u64,
    /// Who it believes to lead now, and since which term.
    leader: usize,
    leader_term: u64,
    applied: LogIndex,
    frozen_until: u64,
    /// How much faster than true time its clock runs, in millionths.
    rate_ppm: i64,
    last_tick: u64,
}

struct World {
    seed: u64,
    dice: u64,
    now: u64,
    calm: bool,
    queue: BTreeMap<(u64, u64), Happening>,
    queued: u64,
    nodes: Vec<Node>,
    /// Every process that runs, oldest first, and on which node.
    processes: Vec<(usize, MemberId, Holder)>,
    /// The true leader's term.
    term: u64,
    log: Vec<Option<Change>>,
    /// When each entry was committed.
    committed_at: Vec<u64>,
    downs: Vec<MemberId>,
    incarnations: u128,
    grants_counted: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            seed,
            dice: seed,
            now: 0,
            calm: false,
            queue: BTreeMap::new(),
            queued: 0,
            nodes: Vec::new(),
            processes: Vec::new(),
            term: 0,
            log: Vec::new(),
            committed_at: Vec::new(),
            downs: Vec::new(),
            incarnations: 0,
            grants_counted: 0,
        };
        for _ in 0..3 {
            let rate_ppm = world.roll(4_000) as i64 - 2_000;
            world.nodes.push(Node {
                grantor: Grantor::new(LeaseConfig::default()),
                term: 0,
                leader: 0,
                leader_term: 0,
                applied: LogIndex::ZERO,
                frozen_until: 0,
                rate_ppm,
                last_tick: 0,
            });
        }
        for node in 0..3 {
            world.start(node);
        }
        for (wait, happening) in
            [(100, Happening::Election), (3_000, Happening::Freeze), (9_000, Happening::StartedAgain)]
        {
            world.after(wait, happening);
        }
        world
    }

    fn run(&mut self) {
        while self.now < WORLD_ENDS {
            if !self.calm && self.now >= CHAOS_ENDS {
                self.calm = true;
                self.elect();
            }
            while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let happening = entry.remove();
                self.happen(happening);
                self.check_safety();
            }
            self.wake_those_who_asked();
            self.check_safety();
            let next = self.queue.first_key_value().map_or(u64::MAX, |((time, _), _)| *time);
            self.now = next.min(self.now + TIMERS_ARE_LATE_BY);
        }
        for node in 0..self.nodes.len() {
            let holds =
                self.processes.iter().any(|(on, _, holder)| *on == node && holds(holder, self.clocks(node)));
            assert!(holds, "node {node} did not recover; {}", self.replay());
        }
    }

    fn check_safety(&self) {
        let wait = LeaseConfig::default().down_after().as_millis() as u64;
        let holding = self.processes.iter().filter(|(node, _, holder)| holds(holder, self.clocks(*node)));
        for (node, member, _) in holding {
            let (now, replay) = (self.now, self.replay());
            assert!(!self.downs.contains(member), "{member} is down and holds a lease at {now} ms; {replay}");

            let applied = self.nodes[*node].applied.0 as usize;
            let missed = self.committed_at.get(applied).is_some_and(|committed| committed + wait <= now);
            assert!(!missed, "{member} holds a lease on an old table at {now} ms; {replay}");
        }
    }

    fn replay(&self) -> String {
        format!("replay with LEASE_SEED={} cargo test -p abide-membership", self.seed)
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrives { node, arrival } => {
                let frozen_until = self.nodes[node].frozen_until;
                if frozen_until > self.now {
                    // It lies in a buffer, in the order of its arrival, until the node thaws.
                    self.at(frozen_until, Happening::Arrives { node, arrival });
                } else {
                    self.arrive(node, arrival);
                }
            }
            Happening::MajorityAsked { node, term, round, read_index } => {
                // Whoever voted for a newer leader says no, and that is a majority.
                let event = if term == self.term {
                    grantor::Event::RoundCompleted { round, read_index }
                } else {
                    grantor::Event::RoundFailed { round }
                };
                self.send_surely(node, Arrival::ToGrantor(event));
            }
            Happening::Proposed { term, change } => {
                if term == self.term {
                    self.commit(Some(change));
                }
            }
            Happening::Election => {
                if !self.calm {
                    self.elect();
                    let wait = 500 + self.roll(9_000);
                    self.after(wait, Happening::Election);
                }
            }
            Happening::Freeze => {
                if !self.calm {
                    let node = self.roll(3) as usize;
                    self.nodes[node].frozen_until = self.now + self.roll(5_000);
                    let wait = self.roll(6_000);
                    self.after(wait, Happening::Freeze);
                }
            }
            Happening::StartedAgain => {
                if !self.calm {
                    let node = self.roll(3) as usize;
                    self.start(node);
                    let wait = self.roll(20_000);
                    self.after(wait, Happening::StartedAgain);
                }
            }
        }
    }

    fn arrive(&mut self, node: usize, arrival: Arrival) {
        match arrival {
            Arrival::Tick => {
                self.nodes[node].last_tick = self.now;
                self.tell_holders(node, holder::Event::Tick);
                self.tell_grantor(node, grantor::Event::Tick);
            }
            Arrival::Leader { leader, term } => {
                if term > self.nodes[node].leader_term {
                    (self.nodes[node].leader, self.nodes[node].leader_term) = (leader, term);
                    self.tell_holders(node, holder::Event::LeaderChanged);
                }
            }
            Arrival::Deposed { term } => {
                // It may lead again, in a newer term, before it learns that it lost an older one.
                if term == self.nodes[node].term {
                    self.tell_grantor(node, grantor::Event::Deposed);
                }
            }
            Arrival::ToGrantor(event) => self.tell_grantor(node, event),
            Arrival::Granted(grant) => self.tell_holders(node, holder::Event::Granted(grant)),
            Arrival::Applied(up_to) => {
                // A thawed node may learn of a later entry first. It still applies them one by one.
                for index in self.nodes[node].applied.0 + 1..=up_to.0 {
                    let (index, change) = (LogIndex(index), self.log[index as usize - 1]);
                    self.nodes[node].applied = index;
                    self.tell_holders(node, holder::Event::Applied(index));
                    self.tell_grantor(node, grantor::Event::Applied { index, change });
                }
            }
        }
    }

    fn tell_holders(&mut self, node: usize, event: holder::Event) {
        let now = self.clocks(node);
        let mut renewals = Vec::new();
        for (_, _, holder) in self.processes.iter_mut().filter(|(on, ..)| *on == node) {
            for effect in holder.on_event(now, event) {
                match effect {
                    holder::Effect::Renew(renewal) => renewals.push(renewal),
                    holder::Effect::Extend(_) | holder::Effect::Resume(_) => self.grants_counted += 1,
                    holder::Effect::Suspend(_) => {}
                }
            }
        }
        let leader = self.nodes[node].leader;
        for renewal in renewals {
            self.send(leader, Arrival::ToGrantor(grantor::Event::Received(renewal)));
        }
    }

    fn tell_grantor(&mut self, node: usize, event: grantor::Event) {
        let now = self.clocks(node).boot;
        for effect in self.nodes[node].grantor.on_event(now, event) {
            let term = self.nodes[node].term;
            let wait = self.delay();
            match effect {
                grantor::Effect::BeginRound(round) => {
                    let read_index = LogIndex(self.log.len() as u64);
                    self.after(wait, Happening::MajorityAsked { node, term, round, read_index });
                }
                grantor::Effect::Grant(grant) => {
                    let to = self.processes.iter().find(|(_, member, _)| *member == grant.member);
                    if let Some((to, ..)) = to {
                        self.send(*to, Arrival::Granted(grant));
                    }
                }
                grantor::Effect::Refuse(_) => {}
                grantor::Effect::ProposeDown(member) => {
                    self.after(wait, Happening::Proposed { term, change: Change::Down(member) });
                }
            }
        }
    }

    /// A new leader, by the votes of a majority. Who led before learns of it late.
    fn elect(&mut self) {
        let former = self.nodes.iter().position(|node| node.term == self.term);
        let leader = self.roll(3) as usize;
        self.term += 1;
        let term = self.term;
        self.nodes[leader].term = term;
        self.nodes[leader].frozen_until = self.now;
        self.commit(None);
        let applied = self.nodes[leader].applied;
        let own_entry = LogIndex(self.log.len() as u64);
        let members = members(&self.log[..applied.0 as usize]);
        self.tell_grantor(leader, grantor::Event::Elected { own_entry, applied, members });
        if let Some(former) = former.filter(|former| *former != leader) {
            self.send_surely(former, Arrival::Deposed { term: term - 1 });
        }
        for node in 0..self.nodes.len() {
            self.send_surely(node, Arrival::Leader { leader, term });
        }
    }

    fn commit(&mut self, change: Option<Change>) {
        self.log.push(change);
        self.committed_at.push(self.now);
        let index = LogIndex(self.log.len() as u64);
        for node in 0..self.nodes.len() {
            self.send_surely(node, Arrival::Applied(index));
        }
        if let Some(Change::Down(member)) = change {
            self.downs.push(member);
            let newest = self.processes.iter().rev().find(|(_, other, _)| other.node == member.node);
            if let Some((node, newest, _)) = newest
                && *newest == member
            {
                self.start(*node);
            }
        }
    }

    /// A process starts. The node's former one goes on: nobody has told it.
    fn start(&mut self, node: usize) {
        // Random numbers have no order; these run downwards, so that nobody takes larger for newer.
        self.incarnations += 1;
        let incarnation = Incarnation::from_u128(u128::MAX - self.incarnations);
        let member = MemberId { node: NodeId::from_u128(node as u128), incarnation };
        let applied = self.nodes[node].applied;
        let holder = Holder::new(member, LeaseConfig::default(), applied, self.clocks(node));
        self.processes.push((node, member, holder));
        if self.processes.len() > MAX_PROCESSES {
            let replaced = |&(on, member, _): &(usize, MemberId, Holder)| {
                self.processes
                    .iter()
                    .any(|(other, newer, _)| *other == on && newer.incarnation < member.incarnation)
            };
            let oldest = self.processes.iter().position(replaced);
            self.processes.remove(oldest.expect("three nodes have three newest processes"));
        }
        self.commit(Some(Change::Registered(member)));
    }

    fn wake_those_who_asked(&mut self) {
        for node in 0..self.nodes.len() {
            let now = self.clocks(node).boot;
            let holders = self.processes.iter().filter(|(on, ..)| *on == node);
            let wakes = holders.map(|(.., holder)| holder.next_wake());
            let due = wakes.chain(self.nodes[node].grantor.next_wake()).any(|wake| wake <= now);
            let awake = self.nodes[node].frozen_until <= self.now;
            if due && awake && self.nodes[node].last_tick < self.now {
                self.arrive(node, Arrival::Tick);
            }
        }
    }

    fn clocks(&self, node: usize) -> Clocks {
        let true_micros = self.now as i64 * 1_000;
        let micros = true_micros + true_micros / 1_000_000 * self.nodes[node].rate_ppm;
        // each node's clock began at another time
        let boot = Duration::from_micros(micros as u64) + Duration::from_secs(1_000 * node as u64);
        Clocks { boot: BootTime(boot), wall: WallTime(boot + Duration::from_secs(1 << 30)) }
    }

    fn send(&mut self, node: usize, arrival: Arrival) {
        if self.calm || self.roll(10) > 0 {
            self.send_surely(node, arrival);
        }
    }

    fn send_surely(&mut self, node: usize, arrival: Arrival) {
        let wait = self.delay();
        self.after(wait, Happening::Arrives { node, arrival });
    }

    /// Mostly short, at times long enough to outlast a lease.
    fn delay(&mut self) -> u64 {
        match self.roll(20) {
            _ if self.calm => 1 + self.roll(5),
            0 => self.roll(3_000),
            1..=4 => self.roll(400),
            _ => self.roll(20),
        }
    }

    fn after(&mut self, wait: u64, happening: Happening) {
        self.at(self.now + wait, happening);
    }

    fn at(&mut self, time: u64, happening: Happening) {
        self.queued += 1;
        self.queue.insert((time, self.queued), happening);
    }

    /// A number below `bound` (splitmix64).
    fn roll(&mut self, bound: u64) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.dice;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

fn holds(holder: &Holder, now: Clocks) -> bool {
    matches!(holder.standing(now), Standing::Held { .. })
}

/// Who is not Down as of a prefix of the log, in the order of registration.
fn members(log: &[Option<Change>]) -> Vec<MemberId> {
    let mut members = Vec::new();
    for change in log.iter().flatten() {
        match change {
            Change::Registered(member) => members.push(*member),
            Change::Down(member) => members.retain(|other| other != member),
        }
    }
    members
}
