//! Which faults are wanted, which calls are held, and how a call is run under its fault.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::mem::{Discriminant, discriminant};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::oneshot;

use super::fault::{Asked, Call, Fault, On};
use crate::ids::ShardId;
use crate::journal::{Batch, Claim, ClaimError, Pending, ReadError, SnapshotError, StoreError, WriteError};

/// Tells a [`Faulty`](super::Faulty) store what is to go wrong, and counts what did. A clone controls the same store.
///
/// A call is looked at once, when it is made. The faults of [`next`](Self::next) come first, in the order in
/// which they were asked for, then those that last.
#[derive(Clone)]
pub struct FaultControl {
    state: Arc<Mutex<State>>,
    /// Whether a breaker is open for any shard: asked before every command.
    any_rests: Arc<AtomicBool>,
}

struct State {
    down: Option<String>,
    /// For how long shards are refused, as they say.
    rests: HashMap<ShardId, Duration>,
    next: VecDeque<(u64, On, Fault)>,
    /// With the probability, if it is less than 1.
    lasting: Vec<(Option<f64>, On, Fault)>,
    holds: Vec<On>,
    dice: StdRng,
    held: BTreeMap<u64, Release>,
    last_held: u64,
    watchers: Vec<(usize, oneshot::Sender<()>)>,
    injected: HashMap<(Call, Discriminant<Fault>), u64>,
    /// The newest batch of each shard that the store was handed.
    handed_on: HashMap<ShardId, (Claim, u64)>,
}

/// What a breaker says while the one call that it has let through is under way.
const PROBE_NEWS: Duration = Duration::from_millis(10);

/// Lets a held call go, with or without another fault.
type Release = Box<dyn FnOnce(Option<Fault>) + Send>;

/// A call's fault.
struct Picked {
    fault: Fault,
    /// The writes that are meant, should it be a rejection.
    writes: Vec<usize>,
    reason: String,
}

impl Picked {
    fn new(fault: Fault, on: &On, asked: &Asked<'_>) -> Self {
        Self { fault, writes: on.positions(asked), reason: reason(fault) }
    }
}

fn reason(fault: Fault) -> String {
    format!("{fault:?} on purpose")
}

impl FaultControl {
    /// No faults yet. Whatever happens with a probability follows from the seed and the order of the calls.
    pub fn new(seed: u64) -> Self {
        let state = State {
            down: None,
            rests: HashMap::new(),
            next: VecDeque::new(),
            lasting: Vec::new(),
            holds: Vec::new(),
            dice: StdRng::seed_from_u64(seed),
            held: BTreeMap::new(),
            last_held: 0,
            watchers: Vec::new(),
            injected: HashMap::new(),
            handed_on: HashMap::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), any_rests: Arc::default() }
    }

    /// Gives the next `calls` of these that have none yet a fault.
    pub fn next(&self, calls: u64, on: impl Into<On>, fault: Fault) {
        if calls > 0 {
            self.lock().next.push_back((calls, on.into(), fault));
        }
    }

    /// Fails the next `calls` of these: surely not done, and the caller is told so.
    pub fn fail_next(&self, calls: u64, on: impl Into<On>) {
        self.next(calls, on, Fault::Refused);
    }

    /// Rejects the next `batches` of these, or those of their writes that are meant.
    pub fn reject_next(&self, batches: u64, on: impl Into<On>) {
        self.next(batches, on.into().batches(), Fault::Rejected);
    }

    /// From now on gives each of these calls a fault.
    pub fn always(&self, on: impl Into<On>, fault: Fault) {
        self.lock().lasting.push((None, on.into(), fault));
    }

    /// From now on gives these calls a fault with a probability between 0 and 1.
    pub fn sometimes(&self, probability: f64, on: impl Into<On>, fault: Fault) {
        self.lock().lasting.push((Some(probability.clamp(0.0, 1.0)), on.into(), fault));
    }

    /// From now on every call is refused with this reason; `None` ends the outage.
    pub fn set_down(&self, reason: Option<&str>) {
        self.lock().down = reason.map(str::to_owned);
    }

    /// From now on claims and batches of this shard are refused, as behind an open breaker, and the store says that
    /// they will be for so long. Zero lets one through, to see, and the rest is refused as before. `None`
    /// ends it.
    pub fn rest(&self, shard: ShardId, rests: Option<Duration>) {
        let mut state = self.lock();
        match rests {
            Some(rests) => drop(state.rests.insert(shard, rests)),
            None => drop(state.rests.remove(&shard)),
        }
        self.any_rests.store(!state.rests.is_empty(), Ordering::Relaxed);
    }

    pub(super) fn rests(&self, shard: ShardId) -> Option<Duration> {
        if !self.any_rests.load(Ordering::Relaxed) {
            return None;
        }
        self.lock().rests.get(&shard).copied()
    }

    /// From now on these calls wait in the order in which they are made, each with the fault that it has
    /// besides. What is not meant goes on and overtakes them.
    pub fn hold(&self, on: impl Into<On>) {
        self.lock().holds.push(on.into());
    }

    /// How many calls wait.
    pub fn held(&self) -> usize {
        self.lock().held.len()
    }

    /// Resolves once at least so many calls wait.
    pub fn until_held(&self, calls: usize) -> Pending<()> {
        let (told, receiver) = oneshot::channel();
        let mut state = self.lock();
        state.watchers.push((calls, told));
        state.tell_watchers();
        Box::pin(async move { drop(receiver.await) })
    }

    /// Lets the oldest waiting call go, with this fault if one is given; `false` if none waits.
    pub fn release(&self, fault: Option<Fault>) -> bool {
        // Two statements: the call goes on with the faults unlocked.
        let oldest = self.lock().held.pop_first();
        match oldest {
            Some((_, release)) => {
                release(fault);
                true
            }
            None => false,
        }
    }

    /// Holds no more, and lets every waiting call go.
    pub fn release_all(&self) {
        let held = {
            let mut state = self.lock();
            state.holds.clear();
            std::mem::take(&mut state.held)
        };
        held.into_values().for_each(|release| release(None));
    }

    /// Ends every fault, an outage too, and lets every waiting call go. Counters and dice go on.
    pub fn clear(&self) {
        {
            let mut state = self.lock();
            state.down = None;
            state.rests.clear();
            self.any_rests.store(false, Ordering::Relaxed);
            state.next.clear();
            state.lasting.clear();
        }
        self.release_all();
    }

    /// How many calls of this kind were given a fault of this kind; how long a delay was does not matter.
    /// An outage counts as [`Fault::Refused`], a held call as [`Fault::Hang`].
    pub fn injected(&self, call: Call, fault: Fault) -> u64 {
        self.lock().injected.get(&(call, discriminant(&fault))).copied().unwrap_or_default()
    }

    /// How many faults there were altogether.
    pub fn injected_in_all(&self) -> u64 {
        self.lock().injected.values().sum()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that fails with the lock held must not fail the others' clean-up too.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a call as its fault lets it come to that. `damage` turns the store's answer into a damaged one, of
    /// calls that read.
    pub(super) fn run<T, E>(
        &self,
        asked: Asked<'_>,
        damage: Option<Damage<T, E>>,
        go: impl FnOnce() -> Pending<Result<T, E>> + Send + 'static,
    ) -> Pending<Result<T, E>>
    where
        T: Send + 'static,
        E: Failure,
    {
        let mut state = self.lock();
        if state.is_quiet() {
            if let Asked::Write(batch) = asked {
                state.handed_on.insert(batch.shard, (batch.claim, batch.number));
            }
            drop(state);
            return go();
        }
        let picked = state.pick(&asked);
        let hangs = picked.as_ref().is_some_and(|picked| picked.fault == Fault::Hang);
        let held = hangs || (state.down.is_none() && state.holds.iter().any(|on| on.means(&asked)));
        if held && !hangs {
            state.count(asked.call(), Fault::Hang);
        }
        let call = PickedCall::new(self.clone(), &asked, picked);
        if !held {
            drop(state);
            return call.make(None, damage, go);
        }

        let (to, from) = oneshot::channel();
        state.last_held += 1;
        let number = state.last_held;
        // A waiter that is gone has taken its entry away, so there nearly always is one to tell.
        let release = move |fault| drop(to.send(call.make(fault, damage, go)));
        state.held.insert(number, Box::new(release));
        state.tell_watchers();
        drop(state);
        let waiting = Waiting { control: self.clone(), number };
        Box::pin(async move {
            let released = from.await;
            drop(waiting);
            match released {
                Ok(answer) => answer.await,
                Err(_) => Err(E::unknown(lost())),
            }
        })
    }
}

/// Turns an answer into a damaged one.
type Damage<T, E> = fn(Result<T, E>) -> Result<T, E>;

/// A call, its fault, and what is needed to make it once the question itself is gone.
struct PickedCall {
    control: FaultControl,
    call: Call,
    picked: Option<Picked>,
    /// Which batch it is, and where its writes are.
    batch: Option<(ShardId, (Claim, u64))>,
    writes: Vec<usize>,
}

impl PickedCall {
    fn new(control: FaultControl, asked: &Asked<'_>, picked: Option<Picked>) -> Self {
        let batch = match asked {
            Asked::Write(batch) => Some((batch.shard, (batch.claim, batch.number))),
            _ => None,
        };
        Self { control, call: asked.call(), picked, batch, writes: On::any().positions(asked) }
    }

    /// Makes it, under another fault if it was released with one.
    fn make<T, E>(
        self,
        released: Option<Fault>,
        damage: Option<Damage<T, E>>,
        go: impl FnOnce() -> Pending<Result<T, E>> + Send + 'static,
    ) -> Pending<Result<T, E>>
    where
        T: Send + 'static,
        E: Failure,
    {
        let Self { control, call, picked, batch, writes } = self;
        let picked = match released {
            Some(fault) => {
                control.lock().count(call, fault);
                Some(Picked { fault, writes, reason: reason(fault) })
            }
            None => picked,
        };
        let sent_again = batch.is_some_and(|(shard, number)| {
            control.lock().handed_on.get(&shard).is_some_and(|n| *n == number)
        });
        let hand_on = move || {
            if let Some((shard, number)) = batch {
                control.lock().handed_on.insert(shard, number);
            }
            go()
        };
        let Some(Picked { fault, writes, reason }) = picked else { return hand_on() };
        let failure = match fault {
            // It has been released.
            Fault::Hang => return hand_on(),
            Fault::Delay(time) => {
                return Box::pin(async move {
                    tokio::time::sleep(time).await;
                    hand_on().await
                });
            }
            Fault::AnswerLost => {
                let done = hand_on();
                return Box::pin(async move {
                    drop(done.await);
                    Err(E::unknown(lost()))
                });
            }
            Fault::Damaged if let Some(damage) = damage => {
                let done = hand_on();
                return Box::pin(async move { damage(done.await) });
            }
            Fault::RequestLost => E::unknown(lost()),
            // An earlier copy reached the store: "not written" might be a lie.
            Fault::Refused | Fault::Rejected | Fault::Damaged if sent_again => E::unknown(StoreError(reason)),
            Fault::Rejected if !writes.is_empty() => E::rejected(writes, reason),
            Fault::Refused | Fault::Rejected | Fault::Damaged => E::refused(StoreError(reason)),
        };
        Box::pin(std::future::ready(Err(failure)))
    }
}

impl State {
    /// Whether no call has a fault: nothing needs to be looked at.
    fn is_quiet(&self) -> bool {
        self.down.is_none()
            && self.rests.is_empty()
            && self.next.is_empty()
            && self.lasting.is_empty()
            && self.holds.is_empty()
    }

    fn pick(&mut self, asked: &Asked<'_>) -> Option<Picked> {
        let picked = if let Some(reason) = self.down.clone() {
            Some(Picked { fault: Fault::Refused, writes: Vec::new(), reason })
        } else if self.is_behind_breaker(asked) {
            let reason = "the breaker is open".to_owned();
            Some(Picked { fault: Fault::Refused, writes: Vec::new(), reason })
        } else if let Some(at) = self.next.iter().position(|(_, on, _)| on.means(asked)) {
            self.take_next(at, asked)
        } else {
            let dice = &mut self.dice;
            let mut falls = |probability: Option<f64>| probability.is_none_or(|p| dice.random_bool(p));
            let lasting = self.lasting.iter().find(|(p, on, _)| on.means(asked) && falls(*p));
            lasting.map(|(_, on, fault)| Picked::new(*fault, on, asked))
        };
        if let Some(picked) = &picked {
            self.count(asked.call(), picked.fault);
        }
        picked
    }

    /// Whether a call is refused by an open breaker. The one that it lets through is not.
    fn is_behind_breaker(&mut self, asked: &Asked<'_>) -> bool {
        let (Asked::Claim(shard, _) | Asked::Write(Batch { shard, .. })) = asked else { return false };
        match self.rests.get_mut(shard) {
            None => false,
            Some(rests) if rests.is_zero() => {
                *rests = PROBE_NEWS;
                false
            }
            Some(_) => true,
        }
    }

    fn take_next(&mut self, at: usize, asked: &Asked<'_>) -> Option<Picked> {
        let (left, on, fault) = self.next.get_mut(at)?;
        let picked = Picked::new(*fault, on, asked);
        *left -= 1;
        if *left == 0 {
            self.next.remove(at);
        }
        Some(picked)
    }

    fn count(&mut self, call: Call, fault: Fault) {
        *self.injected.entry((call, discriminant(&fault))).or_default() += 1;
    }

    fn tell_watchers(&mut self) {
        let held = self.held.len();
        for (calls, told) in std::mem::take(&mut self.watchers) {
            if calls <= held {
                let _ = told.send(());
            } else if !told.is_closed() {
                self.watchers.push((calls, told));
            }
        }
    }
}

/// A caller of a held call. When it gives up, nothing of the call stays behind.
struct Waiting {
    control: FaultControl,
    number: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // What the call holds is dropped with the faults unlocked.
        let held = self.control.lock().held.remove(&self.number);
        drop(held);
    }
}

fn lost() -> StoreError {
    StoreError("no answer from the journal".to_owned())
}

/// How a kind of call fails.
pub(super) trait Failure: Send + Sized + 'static {
    /// It was not done.
    fn refused(cause: StoreError) -> Self;

    /// It may have been done.
    fn unknown(cause: StoreError) -> Self {
        Self::refused(cause)
    }

    /// Some of its writes can never be stored.
    fn rejected(_writes: Vec<usize>, reason: String) -> Self {
        Self::refused(StoreError(reason))
    }
}

impl Failure for StoreError {
    fn refused(cause: StoreError) -> Self {
        cause
    }
}

impl Failure for SnapshotError {
    fn refused(cause: StoreError) -> Self {
        Self::Failed(cause)
    }
}

impl Failure for ClaimError {
    fn refused(cause: StoreError) -> Self {
        Self::Failed(cause)
    }
}

impl Failure for ReadError {
    fn refused(cause: StoreError) -> Self {
        Self::Failed(cause)
    }
}

impl Failure for WriteError {
    fn refused(cause: StoreError) -> Self {
        Self::NotWritten(cause)
    }

    fn unknown(cause: StoreError) -> Self {
        Self::Unknown(cause)
    }

    fn rejected(writes: Vec<usize>, reason: String) -> Self {
        Self::Rejected { writes, reason }
    }
}
