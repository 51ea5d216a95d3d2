//! One entity on a stage: the test plays the shard, the journal and the callers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use crate::codec::Event;
use crate::engine::{
    Backoff, BatchBuilder, Body, Cells, EntitySettings, EntityStore, Message, Now, Slot, Turn, Wants,
    WriteFailure,
};
use crate::envelope::StoredEvent;
use crate::journal::{Claim, Epoch, EventPage, JournalLimits, ReadError, Write};
use crate::model::{
    Answer, Caller, Context, Format, Outcome, Payload, PersistentActor, Recover, RecoveryContext, Reply,
    ReplySink, Signal,
};
use crate::{EntityId, EntityType, PersistenceId, SequenceNr};

pub(super) const LIMITS: JournalLimits =
    JournalLimits { max_event_bytes: 100, max_atomic_bytes: 150, batch_events: 100, batch_bytes: 10_000 };

type Play = dyn FnOnce(&mut Scribe, &mut Context<'_, Scribe>) + Send;

/// What a test lets the entity do.
pub(super) struct Script(Box<Play>);

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
}

impl PersistentActor for Scribe {
    const TYPE: EntityType = EntityType::new("scribe");
    type Command = Script;
    type Event = Said;
    type Reply = String;
    type Rejection = String;
    type State = Vec<String>;

    fn new(id: &EntityId) -> Self {
        assert!(id.as_str() != "unborn", "it will not be");
        Self { said: Vec::new(), kept: None }
    }

    fn state(&self) -> &Vec<String> {
        &self.said
    }

    fn receive_command(&mut self, Script(play): Script, ctx: &mut Context<'_, Self>) {
        play(self, ctx);
    }

    fn receive_recover(&mut self, item: Recover<Self>, _: &mut RecoveryContext<'_>) {
        match item {
            Recover::Event(Said(text)) => {
                assert!(text != "poison", "it does not go down");
                self.said.push(text);
            }
            Recover::Snapshot(said) => self.said = said,
        }
    }

    fn receive_signal(&mut self, Signal::RecoveryCompleted: Signal, ctx: &mut Context<'_, Self>) {
        if ctx.id().as_str() == "greeter" {
            ctx.persist(Said("hello".to_owned()), |this, said, _| this.said.push(said.0.clone()));
        }
        if ctx.id().as_str() == "faint" {
            panic!("fainted on waking");
        }
    }

    fn on_persist_rejected(&mut self, cause: &str, event: &Said) {
        self.said.push(format!("rejected {}: {cause}", event.0));
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
    log: Arc<Log>,
    slot: Option<Slot>,
    pub(super) wants: Wants,
    batch: u64,
    in_flight: bool,
    /// What the journal holds.
    pub(super) journal: Vec<StoredEvent>,
    offered: Vec<StoredEvent>,
}

pub(super) fn settings() -> EntitySettings {
    EntitySettings {
        stash_capacity: 40,
        backoff: Backoff { min: Duration::from_millis(200), max: Duration::from_secs(30), jitter: 0.0 },
        journal: LIMITS,
        page_events: 2,
        page_bytes: 10_000,
    }
}

impl<A: PersistentActor> Stage<A> {
    /// An entity that nobody has asked for yet.
    pub(super) fn unborn(id: &str) -> Self {
        let now = Now { since_start: Duration::from_secs(100), wall_ms: 1_000 };
        Self {
            cells: Cells::default(),
            turn: Turn::new(now, settings()),
            id: EntityId::new(id).expect("a good id"),
            log: Arc::new(Log::default()),
            slot: None,
            wants: Wants::default(),
            batch: 0,
            in_flight: false,
            journal: Vec::new(),
            offered: Vec::new(),
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
    }

    fn slot(&self) -> Slot {
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
        let claim = Claim { epoch: Epoch::new(1, 1), session: 1 };
        let mut batch = BatchBuilder::new(claim, self.batch, self.turn.now, LIMITS);
        self.wants.write = self.cells.collect(self.slot(), &mut batch);
        for write in batch.finish() {
            let Write::Append { first, events, .. } = write else { unreachable!("nothing is deleted here") };
            for (at, bytes) in events.into_iter().enumerate() {
                let event = StoredEvent::from_bytes(bytes).expect("an envelope");
                assert_eq!(event.sequence_nr(), first.plus(at as u64));
                assert_eq!((event.claim(), event.batch), (claim, self.batch));
                self.offered.push(event);
            }
        }
        self.in_flight = !self.offered.is_empty();
        self.offered.iter().map(|event| format!("{}@{}", text(event), event.sequence_nr)).collect()
    }

    /// The journal acknowledges.
    pub(super) fn stored(&mut self) {
        assert!(std::mem::take(&mut self.in_flight), "nothing is in flight");
        self.journal.append(&mut self.offered);
        let slot = self.slot();
        let wants = self.cells.written(&mut self.turn, slot);
        self.want(wants);
        self.answer();
    }

    /// The journal does not acknowledge.
    pub(super) fn failed(&mut self, outcome: Outcome) {
        self.in_flight = false;
        self.offered.clear();
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

    /// Feeds one page of what the journal holds.
    pub(super) fn page(&mut self) {
        self.wants.load = false;
        let request = self.cells.begin_load(self.slot()).expect("it wants to read");
        let events = self.journal.iter().skip(request.from.0 as usize - 1).take(settings().page_events);
        let page = EventPage {
            events: events.map(StoredEvent::to_bytes).collect(),
            deleted_to: SequenceNr::ZERO,
            last: SequenceNr(self.journal.len() as u64),
        };
        self.feed(Ok(page));
    }

    pub(super) fn feed(&mut self, page: Result<EventPage, ReadError>) {
        let slot = self.slot();
        let wants = self.cells.loaded(&mut self.turn, slot, page);
        self.want(wants);
        self.answer();
    }

    /// Begins to read without answering yet.
    pub(super) fn begin_load(&mut self) {
        self.wants.load = false;
        self.cells.begin_load(self.slot()).expect("it wants to read");
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
        let wants = self.cells.wake(&mut self.turn, slot);
        self.want(wants);
        pause
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
        let mut stage = Self::unborn("x");
        stage.tell(|_, _| {});
        stage.recover();
        assert_eq!(stage.heard(), ["done"]);
        stage
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
