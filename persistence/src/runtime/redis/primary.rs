//! One primary: its queues, and the tasks that send what is in them.
//!
//! A task takes what has gathered, sends it as one pipeline, waits for the answers, and takes what has
//! gathered meanwhile: nobody waits for a timer, and the busier the server, the larger the flights. Writes end
//! with a `WAIT` for their replicas and a `ROLE`, which says which replicas those were.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use redis::{Pipeline, Value};
use tokio::time::{Instant, timeout};

use super::connector::{Address, Role};
use super::engine::redundancy::Redundancy;
use super::engine::replies::{Reply, Then, connected_replicas, reply};
use super::hub::Hub;
use super::job::{READS, Replicated, Verdict};
use super::link::Link;
use super::options::WaitReplicas;
use super::queue::{Queue, Queued};
use super::survey;
use crate::engine::breaker::{Breaker, Called};

/// What a server may take to answer beyond what it was told to wait. One that takes longer is hung or cut off,
/// and what was sent to it is in doubt.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Bytes a second that the way to a server carries at least; a snapshot may have many megabytes.
const SLOWEST_WAY: f64 = 1e6;

/// Which queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Claims, batches, the meta record.
    Write,
    /// Events and ids.
    Read,
    /// Snapshots are saved and deleted.
    SaveSnapshots,
    /// Snapshots are loaded.
    LoadSnapshots,
}

impl Lane {
    pub(super) const ALL: [Self; 4] = [Self::Write, Self::Read, Self::SaveSnapshots, Self::LoadSnapshots];

    fn role(self) -> Role {
        match self {
            Self::Write => Role::Write,
            Self::Read => Role::Read,
            Self::SaveSnapshots | Self::LoadSnapshots => Role::Snapshots,
        }
    }

    /// Whether replicas are waited for.
    fn writes(self) -> bool {
        matches!(self, Self::Write | Self::SaveSnapshots)
    }
}

/// One primary.
pub(super) struct Primary {
    pub(super) address: Address,
    hub: Weak<Hub>,
    queues: [Queue; 4],
    /// One for each lane: snapshots that are too large for the way must not stop events.
    breakers: [Mutex<Breaker>; 4],
    /// Whether a breaker may be open, so that nobody takes its lock to learn that it is not.
    may_rest: [AtomicBool; 4],
    /// How many calls are in hand, for each lane; see [`InHand`].
    in_hand: [Arc<AtomicUsize>; 4],
    redundancy: Mutex<Redundancy>,
    is_retired: AtomicBool,
}

impl Primary {
    /// Begins to work for a server.
    pub(super) fn start(address: Address, hub: &Arc<Hub>) -> Arc<Self> {
        let options = &hub.options;
        let breaker = || Mutex::new(Breaker::new(options.max_failures, options.reset_timeout));
        let floor = u32::from(!options.allow_unsafe.contains(&super::options::Unsafe::NoReplica));
        let primary = Arc::new(Self {
            address,
            hub: Arc::downgrade(hub),
            queues: Default::default(),
            breakers: Lane::ALL.map(|_| breaker()),
            may_rest: Default::default(),
            in_hand: Default::default(),
            redundancy: Mutex::new(Redundancy::new(options.wait_replicas, floor, Some(Duration::ZERO))),
            is_retired: AtomicBool::new(false),
        });
        for lane in Lane::ALL {
            let flights = if lane == Lane::Write { options.flushes_in_flight.max(1) } else { 1 };
            for _ in 0..flights {
                hub.spawn(Arc::clone(&primary).work(lane));
            }
        }
        primary
    }

    fn queue(&self, lane: Lane) -> &Queue {
        &self.queues[lane as usize]
    }

    fn breaker(&self, lane: Lane) -> MutexGuard<'_, Breaker> {
        self.breakers[lane as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn redundancy(&self) -> MutexGuard<'_, Redundancy> {
        self.redundancy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts calls that are in hand.
    pub(super) fn in_hand(&self, lane: Lane) -> &Arc<AtomicUsize> {
        &self.in_hand[lane as usize]
    }

    /// How many jobs wait.
    pub(super) fn waiting(&self, lane: Lane) -> usize {
        self.queue(lane).len()
    }

    /// How long calls are refused; see [`Breaker::rests`].
    pub(super) fn rests(&self, lane: Lane, now: Duration) -> Option<Duration> {
        if !self.may_rest[lane as usize].load(Ordering::Relaxed) {
            return None;
        }
        self.breaker(lane).rests(now)
    }

    /// Takes a job in, unless the breaker is open or the primary has retired.
    pub(super) fn admit(&self, lane: Lane, mut queued: Queued, now: Duration) -> Admission {
        let leave = self.breaker(lane).may_call(now);
        match leave {
            Ok(leave) => {
                queued.leave = Some(leave);
                self.queue(lane).push(queued).map_or_else(Admission::Retired, |()| Admission::Queued)
            }
            Err(left) => {
                queued.trouble = format!(
                    "{} has stopped answering and is left alone for {:.1} s more; before: {}",
                    self.address,
                    left.as_secs_f64(),
                    queued.trouble
                );
                Admission::Refused(queued)
            }
        }
    }

    /// A call is over, as far as this primary is concerned.
    fn called(&self, lane: Lane, queued: &mut Queued, called: Called, now: Duration) {
        let Some(leave) = queued.leave.take() else { return };
        let mut breaker = self.breaker(lane);
        breaker.called(now, leave, called);
        self.may_rest[lane as usize].store(breaker.rests(now).is_some(), Ordering::Relaxed);
    }

    /// Its time is up. A server that has answered, whatever it was, is there.
    fn give_up(&self, lane: Lane, mut queued: Queued, now: Duration) {
        let called = if queued.was_answered { Called::Answered } else { Called::TimedOut };
        self.called(lane, &mut queued, called, now);
        queued.give_up();
    }

    /// It owns nothing any more: what waits is for others.
    pub(super) fn retire(&self) {
        self.is_retired.store(true, Ordering::Release);
        for queue in &self.queues {
            queue.wake_all();
        }
    }

    fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Acquire)
    }

    /// Sends what gathers in a queue, one flight after the other.
    async fn work(self: Arc<Self>, lane: Lane) {
        let mut link = None;
        let most = match self.hub.upgrade() {
            Some(hub) if lane.writes() => hub.options.max_batch.max(1),
            _ => READS,
        };
        while let Some(taken) = self.queue(lane).take(most, || !self.is_retired()).await {
            let Some(hub) = self.hub.upgrade() else { return };
            let mine = self.sort_out(&hub, lane, taken);
            if !mine.is_empty() {
                self.fly(&hub, lane, &mut link, mine).await;
            }
        }
    }

    /// Sends away who belongs elsewhere by now, or has waited long enough.
    fn sort_out(self: &Arc<Self>, hub: &Arc<Hub>, lane: Lane, taken: Vec<Queued>) -> Vec<Queued> {
        let now = Instant::now();
        let mut mine = Vec::with_capacity(taken.len());
        for mut queued in taken {
            if queued.deadline <= now {
                self.give_up(lane, queued, hub.now());
            } else if hub.owner(queued.job.slot()).is_some_and(|owner| !Arc::ptr_eq(&owner, self)) {
                queued.leave = None;
                hub.dispatch(lane, queued);
            } else {
                mine.push(queued);
            }
        }
        mine
    }

    /// One flight: out, and back.
    async fn fly(
        self: &Arc<Self>,
        hub: &Arc<Hub>,
        lane: Lane,
        link: &mut Option<Link>,
        mut flying: Vec<Queued>,
    ) {
        if link.is_none() {
            match self.connect(hub, lane).await {
                Ok(opened) => *link = Some(opened),
                Err(reason) => {
                    for queued in &mut flying {
                        queued.was_answered = false;
                        queued.trouble = reason.clone();
                    }
                    hub.look_around();
                    return self.later(hub, lane, flying);
                }
            }
        }
        let Some(open) = link else { return };
        let mut pipeline = Pipeline::with_capacity(flying.len());
        let mut ends = Vec::with_capacity(flying.len());
        for queued in &mut flying {
            queued.job.send(open, &mut pipeline);
            queued.attempts += 1;
            ends.push(pipeline.len());
        }
        let mut behind = Pipeline::new();
        let wait = if lane.writes() { self.ask_for_replicas(hub, &mut behind) } else { Waits::ForNobody };
        let mut limit =
            ANSWER_WITHIN + if wait == Waits::ForNobody { Duration::ZERO } else { hub.options.wait_timeout };
        if lane == Lane::SaveSnapshots {
            let bytes: usize = flying.iter().map(|queued| queued.job.weight() * 1024).sum();
            limit += Duration::from_secs_f64(bytes as f64 / SLOWEST_WAY);
        }
        let sent = pipeline.len() + behind.len();
        let began = Instant::now();
        let answer = match timeout(limit, open.send_both(&pipeline, &behind)).await {
            Ok(Ok(both)) if both.values.len() == sent => {
                hub.metrics.flight(lane, flying.len(), both.at - began);
                if wait != Waits::ForNobody {
                    hub.metrics.waited(lane, both.at.elapsed());
                }
                Ok(both.values)
            }
            Ok(Ok(both)) => Err(format!("{} answered {} of {sent}", self.address, both.values.len())),
            Ok(Err(error)) => Err(format!("{}: {error}", self.address)),
            Err(_) => Err(format!("{} did not answer within {limit:?}", self.address)),
        };
        match answer {
            Ok(values) => {
                let then = self.land(hub, lane, flying, &ends, values, wait);
                let is_usable = match then {
                    Some(Then::LoadScripts) => {
                        matches!(timeout(ANSWER_WITHIN, open.load_scripts()).await, Ok(Ok(())))
                    }
                    then => then != Some(Then::Reconnect),
                };
                if !is_usable {
                    *link = None;
                }
            }
            Err(reason) => {
                *link = None;
                hub.metrics.flight(lane, flying.len(), began.elapsed());
                hub.metrics.doubt(lane, flying.len());
                for queued in &mut flying {
                    queued.job.unanswered();
                    queued.was_answered = false;
                    queued.trouble = reason.clone();
                }
                hub.look_around();
                self.later(hub, lane, flying);
            }
        }
    }

    async fn connect(&self, hub: &Arc<Hub>, lane: Lane) -> Result<Link, String> {
        let opened = Link::open(&hub.options.connector, &self.address, lane.role()).await;
        let mut link = opened.map_err(|error| error.to_string())?;
        if lane.writes() && hub.options.wait_replicas == WaitReplicas::All {
            let seen = match timeout(ANSWER_WITHIN, survey::of_primary(&mut link, hub)).await {
                Ok(seen) => seen.map_err(|why| format!("{}: {why}", self.address))?,
                Err(_) => {
                    return Err(format!(
                        "{} did not say who its replicas are, within {ANSWER_WITHIN:?}",
                        self.address
                    ));
                }
            };
            let mut redundancy = self.redundancy();
            redundancy.set_stands_for(seen.stands_for);
            redundancy.first_look(hub.now(), &seen.listed, &seen.connected);
        }
        Ok(link)
    }

    /// Adds what makes a write count.
    fn ask_for_replicas(&self, hub: &Hub, pipeline: &mut Pipeline) -> Waits {
        let replicas = self.redundancy().required();
        let with_role = hub.options.wait_replicas == WaitReplicas::All;
        if replicas > 0 || hub.options.wait_aof {
            let wait =
                if hub.options.wait_aof { pipeline.cmd("WAITAOF").arg(1) } else { pipeline.cmd("WAIT") };
            wait.arg(replicas).arg(hub.options.wait_timeout.as_millis().max(1) as u64);
        }
        if with_role {
            pipeline.cmd("ROLE");
        }
        if replicas == 0 && !with_role && !hub.options.wait_aof {
            return Waits::ForNobody;
        }
        Waits::For { replicas, with_role }
    }

    /// Whether enough replicas have what the flight wrote, by its last answers.
    fn replicated(&self, hub: &Hub, waits: Waits, values: &mut Vec<Value>) -> Replicated {
        let Waits::For { replicas, with_role } = waits else { return Replicated::Enough };
        if with_role {
            match values.pop().as_ref().and_then(connected_replicas) {
                Some(connected) => self.redundancy().see(hub.now(), &connected),
                None => return Replicated::Short(format!("{} is no primary", self.address)),
            }
        }
        let have = match (replicas, hub.options.wait_aof) {
            (0, false) => 0,
            (_, false) => match values.pop().map(reply) {
                Some(Reply::Done(Value::Int(have))) => u32::try_from(have).unwrap_or(0),
                other => return Replicated::Short(format!("WAIT at {}: {other:?}", self.address)),
            },
            (_, true) => match values.pop().map(reply) {
                Some(Reply::Done(Value::Array(both))) => match both.as_slice() {
                    [Value::Int(1..), Value::Int(have)] => u32::try_from(*have).unwrap_or(0),
                    _ => {
                        return Replicated::Short(format!(
                            "the disk of {} does not have it yet",
                            self.address
                        ));
                    }
                },
                other => return Replicated::Short(format!("WAITAOF at {}: {other:?}", self.address)),
            },
        };
        let required = self.redundancy().required_of(replicas);
        if have >= required {
            Replicated::Enough
        } else {
            Replicated::Short(format!("{have} of the {required} replicas of {} have it", self.address))
        }
    }

    /// Hands out the answers. Says what the link needs, if anything.
    fn land(
        self: &Arc<Self>,
        hub: &Arc<Hub>,
        lane: Lane,
        flying: Vec<Queued>,
        ends: &[usize],
        mut values: Vec<Value>,
        waits: Waits,
    ) -> Option<Then> {
        let replicated = self.replicated(hub, waits, &mut values);
        let mut values = values.into_iter().map(reply);
        let (mut again, mut needs, mut taken) = (Vec::new(), None, 0);
        for (mut queued, end) in flying.into_iter().zip(ends) {
            let replies = values.by_ref().take(end - taken).collect();
            taken = *end;
            match queued.job.read(replies, &replicated) {
                Verdict::Settled => self.called(lane, &mut queued, Called::Answered, hub.now()),
                // Whoever runs here takes from the queue once more before it is shut.
                Verdict::Next => self.put_back(hub, lane, queued),
                Verdict::Again { reason, in_doubt, then } => {
                    queued.was_answered = true;
                    queued.trouble = reason;
                    if in_doubt {
                        hub.metrics.doubt(lane, 1);
                    }
                    match then {
                        Then::Wait => {}
                        Then::LookAround => hub.look_around(),
                        Then::LoadScripts => needs = needs.or(Some(then)),
                        Then::Reconnect => {
                            hub.look_around();
                            needs = Some(then);
                        }
                    }
                    again.push(queued);
                }
            }
        }
        if !again.is_empty() {
            self.later(hub, lane, again);
        }
        needs
    }

    /// Sends them again after a pause, wherever their slots live then.
    fn later(self: &Arc<Self>, hub: &Arc<Hub>, lane: Lane, waiting: Vec<Queued>) {
        let (primary, hub) = (Arc::clone(self), Arc::clone(hub));
        hub.clone().spawn(async move {
            let attempts = waiting.iter().map(|queued| queued.attempts).min().unwrap_or(0);
            hub.pause(attempts).await;
            let now = Instant::now();
            for queued in waiting {
                if queued.deadline <= now {
                    primary.give_up(lane, queued, hub.now());
                } else {
                    primary.put_back(&hub, lane, queued);
                }
            }
        });
    }

    /// Queues a job again: here, under its leave, because it is the same call; or wherever its slot lives now.
    fn put_back(self: &Arc<Self>, hub: &Arc<Hub>, lane: Lane, queued: Queued) {
        let is_mine = hub.owner(queued.job.slot()).is_some_and(|owner| Arc::ptr_eq(&owner, self));
        let elsewhere = if is_mine && !hub.is_closed() { self.queue(lane).push(queued) } else { Err(queued) };
        if let Err(mut queued) = elsewhere {
            queued.leave = None;
            hub.dispatch(lane, queued);
        }
    }
}

/// What becomes of a job that asks to be queued.
pub(super) enum Admission {
    /// It is.
    Queued,
    /// The server is left alone for a while.
    Refused(Queued),
    /// The primary owns nothing any more.
    Retired(Queued),
}

/// What a flight of writes ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// Nothing.
    ForNobody,
    /// A wait for so many, none if 0; and a look at who they were.
    For { replicas: u32, with_role: bool },
}
