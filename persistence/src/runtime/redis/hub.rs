//! Where jobs go: the primaries, the table from slots to them, and what waits for neither.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rand::RngExt;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::connector::Address;
use super::engine::keys::{Keys, SLOTS};
use super::engine::routes::Routes;
use super::job::Job;
use super::meter::Meter;
use super::options::{FullQueue, OnFullQueue, RedisOptions};
use super::primary::{Admission, Lane, Primary};
use super::queue::{InHand, Queued};
use crate::ids::ShardId;

/// Pauses before a job is sent again. A new primary is known within tens of milliseconds; until then there is
/// no use in asking faster.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// Who owns which slot, as the store sends by it.
struct Table {
    /// For each slot the place of its primary, from 1; 0 is nobody.
    slots: Vec<u16>,
    primaries: Vec<Arc<Primary>>,
}

impl Table {
    fn owner(&self, slot: u16) -> Option<&Arc<Primary>> {
        let place = usize::from(*self.slots.get(usize::from(slot))?).checked_sub(1)?;
        self.primaries.get(place)
    }
}

/// What all parts of a store share.
pub(super) struct Hub {
    pub(super) options: RedisOptions,
    pub(super) keys: Keys,
    pub(super) metrics: Meter,
    started: Instant,
    runtime: Handle,
    table: ArcSwap<Table>,
    /// Somebody wants the topology to be looked at.
    look: Notify,
    /// Counts changes of the table.
    changes: watch::Sender<u64>,
    /// Replicas as a Sentinel lists them, and how long it would elect one that is lost.
    watched: Mutex<(Vec<Address>, Option<Duration>)>,
    /// Why the topology is not known, in words.
    blindness: Mutex<String>,
    is_closed: AtomicBool,
    /// Calls in hand, all together.
    in_hand: Arc<AtomicUsize>,
    /// Those of slots that nobody was known to own when they came.
    homeless: Arc<AtomicUsize>,
}

impl Hub {
    pub(super) fn new(options: RedisOptions) -> Arc<Self> {
        Arc::new(Self {
            keys: Keys::new(&options.key_prefix),
            options,
            metrics: Meter::new(),
            started: Instant::now(),
            runtime: Handle::current(),
            table: ArcSwap::from_pointee(Table { slots: vec![0; usize::from(SLOTS)], primaries: Vec::new() }),
            look: Notify::new(),
            changes: watch::Sender::new(0),
            watched: Mutex::new((Vec::new(), Some(Duration::ZERO))),
            blindness: Mutex::new("the servers were not asked yet".to_owned()),
            is_closed: AtomicBool::new(false),
            in_hand: Arc::default(),
            homeless: Arc::default(),
        })
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    /// Since the store was opened.
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Who owns a slot.
    pub(super) fn owner(&self, slot: u16) -> Option<Arc<Primary>> {
        self.table.load().owner(slot).cloned()
    }

    /// How long writes of a slot are refused; see [`Primary::rests`].
    pub(super) fn rests(&self, slot: u16) -> Option<Duration> {
        self.table.load().owner(slot)?.rests(Lane::Write, self.now())
    }

    /// A new job. One that finds no room is given up at once.
    pub(super) fn submit(self: &Arc<Self>, lane: Lane, shard: ShardId, job: Box<dyn Job>) {
        let owner = self.owner(job.slot());
        let of = owner.as_ref().map_or(&self.homeless, |primary| primary.in_hand(lane));
        let before = of.load(Ordering::Acquire);
        let has_room = before < self.options.max_queue || self.admits(owner.as_deref(), shard, before);
        let in_hand = InHand::new([of, &self.in_hand]);
        let mut queued = Queued::new(job, Instant::now() + self.options.call_timeout, in_hand);
        if has_room {
            return self.hand_over(owner, lane, queued);
        }
        self.metrics.refused_by_queue.increment(1);
        let server =
            owner.map_or("a server that is not known yet".to_owned(), |owner| owner.address.to_string());
        queued.trouble = format!("{before} calls to {server} are in hand already");
        queued.give_up();
    }

    fn admits(&self, primary: Option<&Primary>, shard: ShardId, queued: usize) -> bool {
        let (Some(hook), Some(primary)) = (&self.options.on_full_queue, primary) else { return false };
        hook(&FullQueue { primary: primary.address.clone(), shard, queued }) == OnFullQueue::Admit
    }

    /// Gives a job to whoever owns its slot.
    pub(super) fn dispatch(self: &Arc<Self>, lane: Lane, queued: Queued) {
        self.hand_over(self.owner(queued.job.slot()), lane, queued);
    }

    fn hand_over(self: &Arc<Self>, owner: Option<Arc<Primary>>, lane: Lane, mut queued: Queued) {
        if self.is_closed() {
            queued.trouble = "the journal is closed".to_owned();
            return queued.give_up();
        }
        match owner {
            Some(primary) => match primary.admit(lane, queued, self.now()) {
                Admission::Queued => {}
                Admission::Refused(refused) => refused.give_up(),
                Admission::Retired(queued) => self.wait_for_an_owner(lane, queued),
            },
            None => self.wait_for_an_owner(lane, queued),
        }
    }

    /// Nobody is known to own the slot: waits, bounded by whoever waits for the answer.
    fn wait_for_an_owner(self: &Arc<Self>, lane: Lane, mut queued: Queued) {
        let blindness = self.blindness().unwrap_or_default();
        queued.trouble = format!("nobody is known to own slot {}: {blindness}", queued.job.slot());
        self.look_around();
        let hub = Arc::clone(self);
        self.spawn(async move {
            hub.pause(queued.attempts).await;
            queued.attempts += 1;
            if queued.deadline <= Instant::now() { queued.give_up() } else { hub.dispatch(lane, queued) }
        });
    }

    /// A pause before the next try, shorter if the table changes meanwhile.
    pub(super) async fn pause(&self, attempts: u32) {
        let pause = FIRST_PAUSE.saturating_mul(1 << attempts.min(10)).min(LONGEST_PAUSE);
        let pause = pause.mul_f64(rand::rng().random_range(0.5..1.0));
        let mut changes = self.changes.subscribe();
        // Which of the two it was does not matter.
        let _ = timeout(pause, changes.changed()).await;
    }

    /// Asks for a look at the topology, soon.
    pub(super) fn look_around(&self) {
        self.look.notify_one();
    }

    /// Somebody has asked for a look.
    pub(super) async fn look_wanted(&self) {
        self.look.notified().await;
    }

    /// The topology is not known, or not all of it.
    pub(super) fn is_blind(&self, why: String) {
        *self.blindness.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// What a Sentinel says of the replicas; see [`super::engine::redundancy`].
    pub(super) fn watched_replicas(&self) -> (Vec<Address>, Option<Duration>) {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_watched_replicas(&self, listed: Vec<Address>, stands_for: Duration) {
        *self.watched.lock().unwrap_or_else(PoisonError::into_inner) = (listed, Some(stands_for));
    }

    /// Sends by these routes from now on. Primaries that still own something keep their connections.
    pub(super) fn follow(self: &Arc<Self>, routes: &Routes) {
        let before = self.table.load_full();
        let known = |address: &Address| before.primaries.iter().find(|primary| primary.address == *address);
        let addresses = routes.primaries();
        let primaries: Vec<Arc<Primary>> = addresses
            .iter()
            .map(|address| {
                known(address).cloned().unwrap_or_else(|| Primary::start((*address).clone(), self))
            })
            .collect();
        let place = |slot| {
            let owner = routes.primary(slot)?;
            let at = addresses.iter().position(|address| *address == owner)?;
            u16::try_from(at + 1).ok()
        };
        let slots = (0..SLOTS).map(|slot| place(slot).unwrap_or(0)).collect();
        self.table.store(Arc::new(Table { slots, primaries }));
        for primary in &before.primaries {
            if !addresses.contains(&primary.address) {
                self.metrics.forget(&primary.address);
                primary.retire();
            }
        }
        if self.is_closed() {
            // It was closed meanwhile, and knew nothing of these.
            self.retire_all();
        }
        self.metrics.topology_changed();
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Shows what waits.
    pub(super) fn show(&self) {
        for primary in &self.table.load().primaries {
            for lane in Lane::ALL {
                let is_open = primary.rests(lane, self.now()).is_some();
                self.metrics.primary(&primary.address, lane, primary.waiting(lane), is_open);
            }
        }
    }

    /// Why some slots have no owner, if so.
    pub(super) fn blindness(&self) -> Option<String> {
        let blindness = self.blindness.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (!blindness.is_empty()).then_some(blindness)
    }

    /// All that own something.
    pub(super) fn primaries(&self) -> Vec<Arc<Primary>> {
        self.table.load().primaries.clone()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Takes nothing in any more, and waits for what is in hand, for no longer than a call may take.
    pub(super) async fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.retire_all();
        self.look_around();
        let give_up_at = Instant::now() + self.options.call_timeout + LONGEST_PAUSE;
        while self.in_hand.load(Ordering::Acquire) > 0 && Instant::now() < give_up_at {
            sleep(FIRST_PAUSE).await;
        }
    }

    fn retire_all(&self) {
        for primary in self.primaries() {
            self.metrics.forget(&primary.address);
            primary.retire();
        }
    }
}
