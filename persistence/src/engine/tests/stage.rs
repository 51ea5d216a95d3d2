//! One entity on a stage: the test plays the shard, the journal and the callers.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};

use crate::codec::Event;
use crate::engine::{
    Backoff, BatchBuilder, Body, Call, Called, Calling, Cells, EntitySettings, EntityStore, Kind, Load,
    Message, Now, Slot, Ticket, Turn, Wants, WriteFailure,
};
use crate::envelope::StoredEvent;
use crate::journal::{
    Claim, Epoch, EventPage, EventToken, JournalLimits, ReadError, Snapshot, SnapshotError, Write,
};
use crate::model::{
    Answer, Caller, Context, Effect, EventSourced, Format, Outcome, Payload, PersistentActor, Recover,
    Recovery, RecoveryContext, Reply, ReplySink, Signal, StashOverflow, TypeOptions,
};
use crate::{EntityId, EntityType, PersistenceId, SequenceNr};

pub(super) const LIMITS: JournalLimits =
    JournalLimits { max_event_bytes: 100, max_atomic_bytes: 150, batch_events: 100, batch_bytes: 10_000 };

const CLAIM: Claim = Claim { epoch: Epoch(1 << 40 | 1), session: 1 };

pub(super) type Play = dyn FnOnce(&mut Scribe, &mut Context<'_, Scribe>) + Send;

/// What a test lets the entity do.
pub(super) struct Script(pub(super) Box<Play>);

/// A command that does this.
pub(super) fn script(play: impl FnOnce(&mut Scribe, &mut Context<'_, Scribe>) + Send + 'static) -> Script {
    Script(Box::new(play))
}

impl<'de> Deserialize<'de> for Script {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("scripts come from tests only"))
    }
}

/// An event that can refuse to be encoded, decoded and applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said(pub(super) String);

impl<'de> Deserialize<'de> for Said {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        assert!(text != "explosive", "it went off");
        Ok(Self(text))
    }
}

impl Serialize for Said {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == "unencodable" {
            return Err(serde::ser::Error::custom("this cannot be said"));
        }
        serializer.serialize_newtype_struct("Said", &self.0)
    }
}

impl Event for Said {
    fn name(&self) -> &'static str {
        "said"
    }
}

/// Writes down what it is told; its state changes in handlers only.
pub(super) struct Scribe {
    pub(super) said: Vec<String>,
    pub(super) kept: Option<crate::model::ReplyTo<Self>>,
    pub(super) signals: Vec<String>,
}

thread_local! {
    /// Whether its hooks for failures panic.
    pub(super) static FAILING_HOOKS: Cell<bool> = const { Cell::new(false) };
    /// What it answers when it has no room; `Err` panics.
    pub(super) static OVERFLOW_REPLY: Cell<Result<Option<&'static str>, ()>> = const { Cell::new(Ok(Some("come back later"))) };
    /// What incarnations that did not recover were told; they are gone when a test could ask them.
    pub(super) static FAILED_RECOVERIES: RefCell<Vec<(String, Option<SequenceNr>)>> = const { RefCell::new(Vec::new()) };
}

impl Scribe {
    /// A behaviour that lets nobody say anything.
    pub(super) fn closed(&mut self, _: Script, ctx: &mut Context<'_, Self>) {
        ctx.reply("closed".to_owned());
    }
}

impl PersistentActor for Scribe {
    const TYPE: EntityType = EntityType::new("scribe");
    type Command = Script;
    type Event = Said;
    type Reply = String;
    type Rejection = String;
    type State = Vec<String>;
    type Message = String;

    fn new(id: &EntityId) -> Self {
        assert!(id.as_str() != "unborn", "it will not be");
        Self { said: Vec::new(), kept: None, signals: Vec::new() }
    }

    fn state(&self) -> &Vec<String> {
        &self.said
    }

    fn receive_command(&mut self, Script(play): Script, ctx: &mut Context<'_, Self>) {
        play(self, ctx);
    }

    fn receive_recover(&mut self, item: Recover<Self>, ctx: &mut RecoveryContext<'_, Self>) {
        match item {
            Recover::Event(Said(text)) => {
                assert!(text != "poison", "it does not go down");
                match text.as_str() {
                    "closed" => ctx.switch_to(Self::closed),
                    "opened" => ctx.switch_back(),
                    _ => {}
                }
                self.said.push(text);
            }
            Recover::Snapshot(said) => self.said = said,
        }
    }

    fn receive_message(&mut self, message: String, ctx: &mut Context<'_, Self>) {
        match message.as_str() {
            "say" => say(ctx, "to myself"),
            "faint" => panic!("fainted on a message"),
            _ => self.signals.push(message),
        }
    }

    fn receive_signal(&mut self, signal: Signal, ctx: &mut Context<'_, Self>) {
        match signal {
            Signal::RecoveryCompleted => {
                if ctx.id().as_str() == "greeter" {
                    ctx.persist(Said("hello".to_owned()), |this, said, _| this.said.push(said.0.clone()));
                }
                if ctx.id().as_str() == "punctual" {
                    ctx.start_timer("set", Duration::from_secs(1), "set on waking".to_owned());
                }
                if ctx.id().as_str() == "faint" {
                    panic!("fainted on waking");
                }
            }
            signal if ctx.id().as_str() == "deaf" => ctx.unhandled(signal),
            signal => self.signals.push(format!("{signal:?}")),
        }
    }

    fn recovery(id: &EntityId) -> Recovery {
        match id.as_str() {
            "amnesic" => Recovery::NONE,
            "young" => Recovery::up_to(SequenceNr(2)),
            "brief" => Recovery { max_events: 3, ..Recovery::ALL },
            "plain" => Recovery::WITHOUT_SNAPSHOTS,
            "lost" => panic!("no idea where to begin"),
            _ => Recovery::ALL,
        }
    }

    fn overflow_reply() -> Option<String> {
        let reply = OVERFLOW_REPLY.get().expect("no reply comes to mind");
        reply.map(str::to_owned)
    }

    fn on_recovery_failure(&mut self, cause: &str, event: Option<SequenceNr>) {
        assert!(!FAILING_HOOKS.get(), "the hook failed too");
        FAILED_RECOVERIES.with_borrow_mut(|failed| failed.push((cause.to_owned(), event)));
    }

    fn on_persist_failure(&mut self, _: &str, _: SequenceNr) {
        assert!(!FAILING_HOOKS.get(), "the hook failed too");
    }

    fn on_persist_rejected(&mut self, cause: &str, event: &Said) {
        self.said.push(format!("rejected {}: {cause}", event.0));
    }
}

/// Adds up; 0 stores nothing. It decides ahead of the journal.
#[derive(Serialize, Deserialize)]
pub(super) struct Sum(i64);

#[derive(Serialize, Deserialize)]
pub(super) struct Added(i64);

impl Event for Added {
    fn name(&self) -> &'static str {
        "added"
    }
}

impl EventSourced for Sum {
    const TYPE: EntityType = EntityType::new("sum");
    type Command = i64;
    type Event = Added;
    type Reply = String;
    type Rejection = String;

    fn new(_: &EntityId) -> Self {
        Self(0)
    }
    fn handle(&self, by: i64) -> Effect<Self> {
        Effect::persist_all((by != 0).then_some(Added(by))).then_reply(|sum: &Self| sum.0.to_string())
    }
    fn apply(&mut self, Added(by): &Added) {
        self.0 += by;
    }
}

/// What the callers got, in order.
#[derive(Default)]
pub(super) struct Log(Mutex<Vec<String>>);

impl ReplySink for Log {
    fn deliver(&self, tag: u64, answer: Answer) {
        let words = match answer.result {
            Ok(Reply::Value(Payload::Local(value))) => *value.downcast::<String>().expect("a string"),
            Ok(Reply::Value(Payload::Json(json))) => String::from_utf8(json).expect("JSON is UTF-8"),
            Ok(Reply::Rejection { rejection: Payload::Local(value), .. }) => {
                format!("no: {}", value.downcast::<String>().expect("a string"))
            }
            Ok(Reply::Rejection { rejection: Payload::Json(_), .. }) => {
                unreachable!("asked for the value itself")
            }
            Ok(Reply::Nothing) => "done".to_owned(),
            Err(failure) => format!("failed ({:?}): {failure}", failure.outcome()),
        };
        let number = if answer.sequence_nr == SequenceNr::ZERO {
            String::new()
        } else {
            format!(" @{}", answer.sequence_nr)
        };
        let from = if tag == PROBE { String::new() } else { format!("{tag}: ") };
        self.0.lock().expect("no panic under it").push(format!("{from}{words}{number}"));
    }
}

const PROBE: u64 = u64::MAX;

pub(super) struct Stage<A: PersistentActor> {
    pub(super) cells: Cells<A>,
    pub(super) turn: Turn,
    id: EntityId,
    pub(super) log: Arc<Log>,
    slot: Option<Slot>,
    pub(super) wants: Wants,
    batch: u64,
    pub(super) in_flight: bool,
    /// What the journal holds.
    pub(super) journal: Vec<StoredEvent>,
    offered: Vec<StoredEvent>,
    /// Deletions in the batch in flight.
    deleting: Vec<(SequenceNr, Bytes)>,
    /// What the journal keeps in place of deleted events.
    pub(super) base: (SequenceNr, Bytes),
    /// Calls that were made and not answered.
    pub(super) calls: Vec<Calling>,
    /// What the snapshot store holds.
    pub(super) snapshots: Vec<Snapshot>,
    /// Every moment at which it ever asked to be woken.
    pub(super) asked: Vec<Duration>,
}

pub(super) fn settings() -> EntitySettings {
    EntitySettings {
        stash_capacity: 40,
        stash_overflow: StashOverflow::Fail,
        backoff: Backoff {
            min: Duration::from_millis(200),
            max: Duration::from_secs(30),
            factor: 2.0,
            jitter: 0.0,
        },
        journal: LIMITS,
        page_events: 2,
        page_bytes: 10_000,
    }
}

impl<A: PersistentActor> Stage<A> {
    /// An entity that nobody has asked for yet.
    pub(super) fn unborn(id: &str) -> Self {
        Self::of(id, &TypeOptions::default(), settings())
    }

    /// One of a type with options of its own.
    pub(super) fn of(id: &str, options: &TypeOptions<A>, settings: EntitySettings) -> Self {
        Self::on(id, options, settings, true)
    }

    /// One of a type that may have no snapshot store.
    pub(super) fn on(
        id: &str,
        options: &TypeOptions<A>,
        settings: EntitySettings,
        has_snapshots: bool,
    ) -> Self {
        let now = Now { since_start: Duration::from_secs(100), wall_ms: 1_000 };
        Self {
            cells: Cells::new(Arc::new(Kind::new(options, settings, has_snapshots))),
            turn: Turn::new(now),
            id: EntityId::new(id).expect("a good id"),
            log: Arc::new(Log::default()),
            slot: None,
            wants: Wants::default(),
            batch: 0,
            in_flight: false,
            journal: Vec::new(),
            offered: Vec::new(),
            deleting: Vec::new(),
            base: (SequenceNr::ZERO, Bytes::new()),
            calls: Vec::new(),
            snapshots: Vec::new(),
            asked: Vec::new(),
        }
    }

    pub(super) fn send(&mut self, message: Message<Body>, caller: Caller, deadline: Option<Duration>) {
        let hash = PersistenceId::new(A::TYPE, self.id.clone()).hash();
        let delivered = self.cells.deliver(&mut self.turn, hash, &self.id, message, Some(caller), deadline);
        if let Some((slot, wants)) = delivered {
            self.slot = Some(slot);
            self.want(wants);
        }
        self.answer();
    }

    pub(super) fn command(&mut self, tag: u64, command: A::Command) {
        let caller = Caller::new(self.log.clone(), tag, Format::Local);
        self.send(Message::Command(Body::Local(Box::new(command))), caller, None);
    }

    pub(super) fn command_until(&mut self, tag: u64, command: A::Command, deadline: Duration) {
        let caller = Caller::new(self.log.clone(), tag, Format::Local);
        self.send(Message::Command(Body::Local(Box::new(command))), caller, Some(deadline));
    }

    pub(super) fn command_if(&mut self, tag: u64, command: A::Command, expected: u64) {
        let caller = Caller::new(self.log.clone(), tag, Format::Local);
        let body = Body::Local(Box::new(command));
        self.send(Message::CommandIf(body, SequenceNr(expected)), caller, None);
    }

    pub(super) fn release(&mut self, tag: u64) {
        let caller = Caller::new(self.log.clone(), tag, Format::Local);
        self.send(Message::Release, caller, None);
    }

    /// Another one on the same stores, as after a crash; what was not acknowledged is lost.
    pub(super) fn reborn(&self, id: &str, options: &TypeOptions<A>) -> Self {
        let mut stage = Self::of(id, options, settings());
        stage.journal.clone_from(&self.journal);
        stage.base.clone_from(&self.base);
        stage.snapshots.clone_from(&self.snapshots);
        // Every batch of every life has a token of its own.
        stage.batch = self.batch + 100;
        stage
    }

    pub(super) fn json(&mut self, tag: u64, body: &'static str) {
        let caller = Caller::new(self.log.clone(), tag, Format::Json);
        self.send(Message::Command(Body::Json(body.as_bytes().into())), caller, None);
    }

    pub(super) fn read_state(&mut self, tag: u64) {
        let caller = Caller::new(self.log.clone(), tag, Format::Json);
        self.send(Message::ReadState, caller, None);
    }

    fn want(&mut self, wants: Wants) {
        self.wants.write |= wants.write;
        self.wants.load |= wants.load;
        self.wants.wake_at = wants.wake_at.or(self.wants.wake_at);
        self.asked.extend(wants.wake_at);
        self.wants.gone |= wants.gone;
        if wants.calls {
            self.calls.extend(self.cells.take_calls(self.slot()));
        }
    }

    pub(super) fn slot(&self) -> Slot {
        self.slot.expect("somebody has asked for the entity")
    }

    fn answer(&mut self) {
        for (caller, answer) in self.turn.answers.drain(..) {
            caller.answer(answer);
        }
    }

    /// Begins a batch and says what is in it: `text@number`.
    pub(super) fn flush(&mut self) -> Vec<String> {
        assert!(!self.in_flight, "a shard has one batch in flight");
        self.batch += 1;
        let claim = CLAIM;
        let mut batch = BatchBuilder::new(claim, self.batch, self.turn.now, LIMITS);
        self.wants.write = self.cells.collect(self.slot(), &mut batch);
        for write in batch.finish() {
            let (first, events) = match write {
                Write::Append { first, events, .. } => (first, events),
                Write::DeleteTo { to, record, .. } => {
                    self.deleting.push((to, record));
                    continue;
                }
            };
            for (at, bytes) in events.into_iter().enumerate() {
                let event = StoredEvent::from_bytes(bytes).expect("an envelope");
                assert_eq!(event.sequence_nr(), first.plus(at as u64));
                assert_eq!((event.claim(), event.batch), (claim, self.batch));
                self.offered.push(event);
            }
        }
        self.in_flight = !(self.offered.is_empty() && self.deleting.is_empty());
        let said = self.offered.iter().map(|event| format!("{}@{}", text(event), event.sequence_nr));
        let deleted = self.deleting.iter().map(|(to, _)| format!("-{to}"));
        said.chain(deleted).collect()
    }

    /// The journal acknowledges.
    pub(super) fn stored(&mut self) {
        assert!(std::mem::take(&mut self.in_flight), "nothing is in flight");
        self.journal.append(&mut self.offered);
        let slot = self.slot();
        for (to, record) in self.deleting.drain(..) {
            self.journal.retain(|event| event.sequence_nr() > to);
            if to > self.base.0 {
                self.base = (to, record);
            }
        }
        let token = EventToken { claim: CLAIM, batch: self.batch };
        let wants = self.cells.written(&mut self.turn, slot, token);
        self.want(wants);
        self.answer();
    }

    /// The journal does not acknowledge.
    pub(super) fn failed(&mut self, outcome: Outcome) {
        self.in_flight = false;
        self.offered.clear();
        self.deleting.clear();
        let failure = WriteFailure { outcome, reason: "disk on fire".to_owned() };
        let slot = self.slot();
        let wants = self.cells.failed(&mut self.turn, slot, &failure);
        self.want(wants);
        self.answer();
    }

    /// Writes and acknowledges until nothing is left; says the batches.
    pub(super) fn settle(&mut self) -> Vec<Vec<String>> {
        let mut batches = Vec::new();
        if self.in_flight {
            self.stored();
        }
        while self.wants.write {
            batches.push(self.flush());
            self.stored();
        }
        batches
    }

    /// Feeds one page of what the journal holds, and before it what the snapshot store holds.
    pub(super) fn page(&mut self) {
        while self.wants.load && !self.step() {}
    }

    /// Feeds what the entity wants to read next. `true` if that was a page of events.
    pub(super) fn step(&mut self) -> bool {
        self.wants.load = false;
        let slot = self.slot();
        match self.cells.begin_load(&mut self.turn, slot).expect("it wants to read") {
            Load::Snapshot { criteria, .. } => {
                let found = self.snapshots.iter().filter(|s| criteria.matches(s.sequence_nr, s.time_ms));
                let found = found.max_by_key(|snapshot| snapshot.sequence_nr).cloned();
                self.feed_snapshot(Ok(found));
                false
            }
            Load::Events { from, to, max_events, .. } => {
                let last = self.journal.last().map_or(self.base.0, StoredEvent::sequence_nr);
                let wanted = self.journal.iter().filter(|event| (from..=to).contains(&event.sequence_nr()));
                let page = EventPage {
                    events: wanted.take(max_events).map(StoredEvent::to_bytes).collect(),
                    deleted_to: self.base.0,
                    record: self.base.1.clone(),
                    last,
                };
                self.feed(Ok(page));
                true
            }
        }
    }

    pub(super) fn feed_snapshot(&mut self, loaded: Result<Option<Snapshot>, SnapshotError>) {
        let slot = self.slot();
        let wants = self.cells.snapshot_loaded(&mut self.turn, slot, loaded);
        self.want(wants);
        self.answer();
    }

    /// Answers the calls that were made, as a store does that works.
    pub(super) fn serve(&mut self) {
        for Calling { ticket, call, .. } in std::mem::take(&mut self.calls) {
            let called = match call {
                Call::Save { snapshot, .. } => {
                    self.snapshots.retain(|known| known.sequence_nr != snapshot.sequence_nr);
                    self.snapshots.push(snapshot);
                    Called::Saved(Ok(()))
                }
                Call::Load(criteria) => {
                    let found = self.snapshots.iter().filter(|s| criteria.matches(s.sequence_nr, s.time_ms));
                    Called::Loaded(Ok(found.max_by_key(|snapshot| snapshot.sequence_nr).cloned()))
                }
                Call::Delete(criteria) => {
                    self.snapshots.retain(|s| !criteria.matches(s.sequence_nr, s.time_ms));
                    Called::Deleted(Ok(()))
                }
                Call::Run(future) => {
                    Called::Ran(Ok(futures_util::FutureExt::now_or_never(future)
                        .expect("futures of these tests are ready")))
                }
            };
            self.called(ticket, called);
        }
    }

    pub(super) fn called(&mut self, ticket: Ticket, called: Called) {
        let slot = self.slot();
        let wants = self.cells.called(&mut self.turn, slot, ticket, called);
        self.want(wants);
        self.answer();
    }

    pub(super) fn feed(&mut self, page: Result<EventPage, ReadError>) {
        let slot = self.slot();
        let wants = self.cells.loaded(&mut self.turn, slot, page);
        self.want(wants);
        self.answer();
    }

    /// Begins to read events without answering yet; there is no snapshot.
    pub(super) fn begin_load(&mut self) {
        while std::mem::take(&mut self.wants.load) {
            let slot = self.slot();
            if let Load::Snapshot { .. } =
                self.cells.begin_load(&mut self.turn, slot).expect("it wants to read")
            {
                self.feed_snapshot(Ok(None));
            }
        }
    }

    /// Feeds all pages.
    pub(super) fn recover(&mut self) {
        while self.wants.load {
            self.page();
        }
    }

    /// Time passes until the entity wants to be woken.
    pub(super) fn wait(&mut self) -> Duration {
        let at = self.wants.wake_at.take().expect("it wants to be woken");
        let pause = at - self.turn.now.since_start;
        self.turn.now.since_start = at;
        let slot = self.slot();
        self.wake(slot);
        pause
    }

    /// The shard wakes it, whether it asked for that or not.
    pub(super) fn wake(&mut self, slot: Slot) {
        let wants = self.cells.wake(&mut self.turn, slot);
        self.want(wants);
        self.answer();
    }

    /// The store answers the one call that was made.
    pub(super) fn answer_call(&mut self, called: Called) {
        assert_eq!(self.calls.len(), 1, "{:?}", self.calls);
        let Calling { ticket, .. } = self.calls.remove(0);
        self.called(ticket, called);
    }

    /// What the calls are that were made and not answered.
    pub(super) fn calling(&self) -> Vec<String> {
        self.calls.iter().map(|calling| format!("{:?}", calling.call)).collect()
    }

    /// Numbers of the snapshots that are stored.
    pub(super) fn saved(&self) -> Vec<u64> {
        self.snapshots.iter().map(|snapshot| snapshot.sequence_nr.0).collect()
    }

    /// Numbers of the events that are stored.
    pub(super) fn events(&self) -> Vec<u64> {
        self.journal.iter().map(|event| event.sequence_nr).collect()
    }

    /// What callers got since the last look.
    pub(super) fn heard(&mut self) -> Vec<String> {
        std::mem::take(&mut *self.log.0.lock().expect("no panic under it"))
    }

    pub(super) fn is_idle(&mut self) -> bool {
        self.cells.evict()
    }
}

impl Stage<Scribe> {
    /// A recovered entity without a past.
    pub(super) fn ready() -> Self {
        Self::ready_with(TypeOptions::default())
    }

    pub(super) fn ready_with(options: TypeOptions<Scribe>) -> Self {
        let mut stage = Self::of("x", &options, settings());
        stage.tell(|_, _| {});
        stage.recover();
        assert_eq!(stage.heard(), ["done"]);
        stage
    }

    /// What it was told by signals and messages since the last look.
    pub(super) fn told(&mut self) -> Vec<String> {
        assert_eq!(self.heard(), [""; 0], "look at the answers first");
        self.tell(|this, ctx| {
            let told = std::mem::take(&mut this.signals);
            ctx.reply(told.join("\n"));
        });
        let heard = self.heard();
        assert_eq!(heard.len(), 1, "it was to answer at once");
        let words = heard[0].rsplit_once(" @").map_or(heard[0].as_str(), |(words, _)| words);
        words.lines().map(str::to_owned).collect()
    }

    /// Asks for what it has said so far.
    pub(super) fn show(&mut self, tag: u64) {
        self.ask(tag, |this, ctx| ctx.reply(this.said.join(",")));
    }

    /// Says texts one after the other, all stored.
    pub(super) fn dictate(&mut self, texts: &[&str]) {
        for text in texts {
            let text = (*text).to_owned();
            self.tell(move |_, ctx| say(ctx, text));
            self.settle();
        }
        self.heard();
    }

    /// Sends a command whose sender sees every reply, as a probe does.
    pub(super) fn tell(&mut self, play: impl FnOnce(&mut Scribe, &mut Context<'_, Scribe>) + Send + 'static) {
        let caller = Caller::probe(self.log.clone(), PROBE);
        self.send(Message::Command(Body::Local(Box::new(Script(Box::new(play))))), caller, None);
    }

    /// Sends a command as a caller that waits for one answer.
    pub(super) fn ask(
        &mut self,
        tag: u64,
        play: impl FnOnce(&mut Scribe, &mut Context<'_, Scribe>) + Send + 'static,
    ) {
        self.command(tag, Script(Box::new(play)));
    }

    pub(super) fn ask_until(
        &mut self,
        tag: u64,
        deadline: Duration,
        play: impl FnOnce(&mut Scribe, &mut Context<'_, Scribe>) + Send + 'static,
    ) {
        self.command_until(tag, Script(Box::new(play)), deadline);
    }
}

fn text(event: &StoredEvent) -> String {
    let said: Result<Said, _> = serde_json::from_slice(&event.payload);
    said.map_or_else(|_| String::from_utf8_lossy(&event.payload).into_owned(), |said| said.0)
}

pub(super) fn said(text: impl Into<String>) -> Said {
    Said(text.into())
}

/// Persists a text and tells the sender once it is stored.
pub(super) fn say(ctx: &mut Context<'_, Scribe>, text: impl Into<String>) {
    ctx.persist(said(text), |this, said, ctx| {
        this.said.push(said.0.clone());
        ctx.reply(said.0.clone());
    });
}

/// The same without holding back commands.
pub(super) fn say_async(ctx: &mut Context<'_, Scribe>, text: impl Into<String>) {
    ctx.persist_async(said(text), |this, said, ctx| {
        this.said.push(said.0.clone());
        ctx.reply(said.0.clone());
    });
}

/// An entity that nobody has asked for yet, with these texts in its journal.
pub(super) fn with_past(id: &str, texts: &[&str]) -> Stage<Scribe> {
    let mut stage = Stage::unborn(id);
    for (number, text) in (1..).zip(texts) {
        stage.journal.push(StoredEvent {
            sequence_nr: number,
            payload: Bytes::from(format!("\"{text}\"")),
            codec: crate::codec::JSON,
            name: "said".to_owned(),
            version: 1,
            epoch: CLAIM.epoch.0,
            session: CLAIM.session,
            batch: 1,
            ..StoredEvent::default()
        });
    }
    stage
}
