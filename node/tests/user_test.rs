//! What `abide::test` promises to people who write entities: it passes what is right, and what is wrong it
//! fails with words that say where.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use abide::demo::{
    Account, AccountCommand, AccountEvent, AccountRejection, Appended, Balance, Counted, Counter,
    CounterCommand, CounterRejection, Ledger, LedgerCommand, LedgerReply, Value,
};
use abide::persistence::model::{Failure, Outcome};
use abide::prelude::*;
use abide::sharding::AskError;
use abide::test::{Node, actor, check_replay, given, given_nothing};
use serde_json::json;

/// The words with which a check fails.
#[track_caller]
fn fails<T>(check: impl FnOnce() -> T) -> String {
    let Err(panic) = catch_unwind(AssertUnwindSafe(check)) else { panic!("the check has passed") };
    panic.downcast_ref::<String>().expect("a message").clone()
}

#[track_caller]
fn tells(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "{word:?} is not in:\n{message}");
    }
}

fn deposited(amount: u64) -> AccountEvent {
    AccountEvent::Deposited { amount }
}

fn withdraw(amount: u64) -> AccountCommand {
    AccountCommand::Withdraw { amount }
}

mod places {
    use std::sync::Once;

    use super::*;

    thread_local! {
        static PLACE: Cell<Option<(String, u32)>> = const { Cell::new(None) };
    }

    /// Where a check fails, as the test's output says it.
    fn place<T>(check: impl FnOnce() -> T) -> (String, u32) {
        static NOTED: Once = Once::new();
        NOTED.call_once(|| {
            let earlier = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                PLACE.set(panic.location().map(|place| (place.file().to_owned(), place.line())));
                earlier(panic);
            }));
        });
        fails(check);
        PLACE.take().expect("a place")
    }

    #[tokio::test]
    async fn a_check_fails_at_the_line_of_the_test() {
        let here = |line: u32| (file!().to_owned(), line);
        assert_eq!(place(|| given_nothing::<Counter>().with_id("")), here(line!()));
        assert_eq!(place(|| given::<Picky>([Number(13)]).when(0)), here(line!()));
        let then = || given::<Account>([deposited(9)]).when(withdraw(3));
        assert_eq!(place(|| then().then_events([deposited(3)])), here(line!()));
        assert_eq!(place(|| then().then_no_events()), here(line!()));
        assert_eq!(place(|| then().then_events_json([()])), here(line!()));
        assert_eq!(place(|| then().then_reply(Balance { balance: 5 })), here(line!()));
        assert_eq!(place(|| then().then_reply_json(5)), here(line!()));
        assert_eq!(place(|| then().then_rejection(AccountRejection::NoAmount)), here(line!()));
        assert_eq!(place(|| then().then_rejection_json(5)), here(line!()));
        assert_eq!(place(|| then().then_failure(|_| {})), here(line!()));
        assert_eq!(place(|| then().then_no_reply()), here(line!()));
        assert_eq!(place(|| check_replay::<Counter>([])), here(line!()));
        assert_eq!(place(|| actor::check_replay::<Ledger>([])), here(line!()));
        let node = Node::new(|app| app.entity::<Counter>()).await;
        assert_eq!(place(|| node.entity::<Account>("a")), here(line!()));
        assert_eq!(place(|| node.actor::<Ledger>("a")), here(line!()));
    }
}

mod given_when_then {
    use super::*;

    #[test]
    fn events_reply_and_state_of_a_command() {
        given::<Account>([deposited(100)])
            .when(withdraw(30))
            .then_events([AccountEvent::Withdrawn { amount: 30 }])
            .then_reply(Balance { balance: 70 })
            .then_reply_json(json!({ "balance": 70 }))
            .then_reply_with(|reply| assert_eq!(reply.balance, 70))
            .then_state(|account| assert!(format!("{account:?}").contains("70")));
    }

    #[test]
    fn a_rejection_stores_nothing() {
        given::<Account>([deposited(100)])
            .when(withdraw(500))
            .then_no_events()
            .then_rejection(AccountRejection::InsufficientFunds { balance: 100 });
    }

    #[test]
    fn several_commands_go_to_one_entity_and_each_shows_its_own_events() {
        given_nothing::<Counter>()
            .when(CounterCommand::Increment { by: 2 })
            .then_events([Counted::Incremented { by: 2 }])
            .when(CounterCommand::Increment { by: 3 })
            .then_events([Counted::Incremented { by: 3 }])
            .then_reply(Value { value: 5 })
            .when(CounterCommand::Get {})
            .then_no_events()
            .then_reply(Value { value: 5 })
            .when(CounterCommand::Increment { by: i64::MAX })
            .then_rejection(CounterRejection::Overflow { value: 5 });
    }

    #[test]
    fn an_actor_is_tested_the_same_way() {
        let appended = |value: &str| Appended::Appended { value: value.to_owned() };
        actor::given::<Ledger>([appended("a")])
            .when(LedgerCommand::Append { value: "b".to_owned() })
            .then_events([appended("b")])
            .then_reply(LedgerReply::Index { index: 1 })
            .then_state(|values| assert_eq!(values, &["a", "b"]));
        actor::given_nothing::<Ledger>()
            .when(LedgerCommand::Read {})
            .then_no_events()
            .then_reply_json(json!({ "values": [] }));
    }

    #[tokio::test]
    async fn it_works_inside_a_runtime() {
        given_nothing::<Counter>().when(CounterCommand::Increment { by: 1 }).then_reply(Value { value: 1 });
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn it_works_inside_a_runtime_of_several_threads() {
        given_nothing::<Counter>().when(CounterCommand::Increment { by: 1 }).then_reply(Value { value: 1 });
    }

    #[test]
    fn other_events_are_shown_beside_the_expected_ones() {
        let told = fails(|| given::<Account>([deposited(9)]).when(withdraw(3)).then_events([deposited(3)]));
        tells(
            &told,
            &[
                "account|test",
                r#"expected  1. deposited {"amount":3"#,
                r#"found     1. withdrawn {"amount":3"#,
                r#"answer    reply {"balance":6}"#,
            ],
        );
    }

    #[test]
    fn events_that_differ_in_their_name_alone_differ() {
        let told = fails(|| given_nothing::<Twins>().when(()).then_events([Twin::Right]));
        tells(&told, &["expected  1. right null", "found     1. left null"]);
    }

    #[test]
    fn missing_events_are_missed_and_more_events_are_noticed() {
        let missing = fails(|| given_nothing::<Account>().when(withdraw(3)).then_events([deposited(3)]));
        tells(&missing, &["found     none", "answer    rejection", "insufficient_funds"]);
        let deposit = || AccountCommand::Deposit { amount: 1 };
        let more = fails(|| given_nothing::<Account>().when(deposit()).then_no_events());
        tells(&more, &["expected  none", "found     1. deposited"]);
        let order = fails(|| given_nothing::<Pair>().when(()).then_events([Twin::Right, Twin::Left]));
        tells(&order, &["1. right null", "2. left null"]);
        given_nothing::<Pair>().when(()).then_events([Twin::Left, Twin::Right]);
    }

    #[test]
    fn another_answer_is_shown_beside_the_expected_one() {
        let start = || given::<Account>([deposited(9)]);
        let other = fails(|| start().when(withdraw(3)).then_reply(Balance { balance: 5 }));
        tells(&other, &[r#"expected  reply {"balance":5}"#, r#"found     reply {"balance":6}"#]);
        let rejected = fails(|| start().when(withdraw(30)).then_reply(Balance { balance: 5 }));
        tells(&rejected, &["expected  reply", "found     rejection"]);
        let replied = fails(|| start().when(withdraw(3)).then_rejection(AccountRejection::NoAmount));
        tells(&replied, &["expected  rejection", r#"found     reply {"balance":6}"#]);
        let not_silent = fails(|| start().when(withdraw(3)).then_no_reply());
        tells(&not_silent, &["expected  no reply"]);
        let state = fails(|| start().when(withdraw(3)).then_state(|_| panic!("{}", "as the closure says")));
        tells(&state, &["as the closure says"]);
    }

    #[test]
    fn a_panic_of_the_entity_is_a_failure() {
        given_nothing::<Twins>()
            .with_id("explosive")
            .when(())
            .then_no_events()
            .then_failure(|failure| assert!(matches!(failure, Failure::Panicked { .. }), "{failure}"));
        let told = fails(|| given_nothing::<Twins>().with_id("explosive").when(()).then_no_reply());
        tells(&told, &["twins|explosive", "found     failure:", "it explodes"]);
    }

    #[test]
    fn events_that_cannot_be_recovered_are_named_before_any_command() {
        let told = fails(|| given::<Picky>([Number(1), Number(13)]).when(0));
        tells(&told, &["picky|test", "given events", "event 2", "thirteen"]);
    }

    #[test]
    fn an_event_that_is_stored_but_cannot_be_read_back_is_found() {
        let told = fails(|| given_nothing::<Lossy>().when(()));
        tells(&told, &["lossy|test", "\"one-way\"", "cannot be read back"]);
    }

    #[test]
    fn what_is_stored_behind_the_reply_is_seen_and_what_ends_without_one_too() {
        actor::given_nothing::<Talker>()
            .when(TalkerCommand::ReplyFirst)
            .then_reply(0)
            .then_events([Number(1), Number(2)])
            .when(TalkerCommand::SayNothing)
            .then_no_events()
            .then_no_reply();
    }
}

mod replay {
    use super::*;

    #[test]
    fn what_is_right_passes_through_both_doors() {
        let deposit = |amount| AccountCommand::Deposit { amount };
        check_replay::<Account>([deposit(10), withdraw(3), withdraw(50), deposit(4), withdraw(11)]);
        let append = |value: &str| LedgerCommand::Append { value: value.to_owned() };
        actor::check_replay::<Ledger>([append("a"), LedgerCommand::Read {}, append("b"), append("c")]);
    }

    #[test]
    fn an_actor_that_persists_when_it_has_recovered_passes() {
        actor::check_replay::<Talker>([TalkerCommand::ReplyFirst, TalkerCommand::SayNothing]);
        actor::check_replay::<Starter>([1, 2]);
    }

    #[tokio::test]
    async fn it_works_inside_a_runtime() {
        check_replay::<Counter>([CounterCommand::Increment { by: 1 }]);
    }

    #[test]
    fn a_check_of_nothing_is_no_check() {
        let told = fails(|| check_replay::<Counter>([CounterCommand::Get {}]));
        tells(&told, &["counter", "nothing was checked"]);
    }

    #[test]
    fn a_command_that_is_not_handled_is_named() {
        let told = fails(|| check_replay::<Picky>([1, 2, 13]));
        tells(&told, &["picky", "command 3 was not handled", "thirteen"]);
    }

    /// `handle` changes the state through a cell.
    #[derive(Serialize, Deserialize)]
    struct Sly {
        sum: u64,
        asked: Cell<u64>,
    }

    impl EventSourced for Sly {
        const TYPE: EntityType = EntityType::new("sly");
        type Command = u64;
        type Event = Number;
        type Reply = ();
        type Rejection = ();

        fn new(_: &EntityId) -> Self {
            Self { sum: 0, asked: Cell::new(0) }
        }

        fn handle(&self, number: u64) -> Effect<Self> {
            if number >= 100 {
                self.asked.set(self.asked.get() + 1);
            }
            if number == 100 { Effect::nothing() } else { Effect::persist(Number(number)).then_nothing() }
        }

        fn apply(&mut self, Number(number): &Number) {
            self.sum += number;
        }
    }

    #[test]
    fn a_change_outside_of_events_is_found_at_its_event() {
        let told = fails(|| check_replay::<Sly>([1, 2, 103, 4]));
        tells(&told, &["sly", "after command 3", "from event 3 (number 103) on", r#""asked":1"#]);
    }

    #[test]
    fn a_change_without_an_event_is_found_at_its_command() {
        let told = fails(|| check_replay::<Sly>([1, 100, 2]));
        tells(&told, &["after command 2", "although it has stored no event"]);
    }

    /// `apply` asks a global.
    #[derive(Serialize, Deserialize)]
    struct Moody(u64);

    static MOOD: AtomicU64 = AtomicU64::new(1);

    impl EventSourced for Moody {
        const TYPE: EntityType = EntityType::new("moody");
        type Command = u64;
        type Event = Number;
        type Reply = ();
        type Rejection = ();

        fn new(_: &EntityId) -> Self {
            Self(0)
        }

        fn handle(&self, number: u64) -> Effect<Self> {
            Effect::persist(Number(number)).then_nothing()
        }

        fn apply(&mut self, Number(number): &Number) {
            self.0 += if *number == 7 { MOOD.fetch_add(1, Ordering::Relaxed) } else { *number };
        }
    }

    #[test]
    fn an_event_that_does_not_always_do_the_same_is_found() {
        let told = fails(|| check_replay::<Moody>([1, 2, 7, 3]));
        tells(&told, &["moody", "two replays", "from event 3 (number 7) on"]);
        check_replay::<Moody>([1, 2, 3]);
    }

    /// A snapshot of it forgets how far it has come.
    #[derive(Serialize, Deserialize)]
    struct Forgetful {
        sum: u64,
        #[serde(skip)]
        step: u64,
    }

    impl EventSourced for Forgetful {
        const TYPE: EntityType = EntityType::new("forgetful");
        type Command = u64;
        type Event = Number;
        type Reply = ();
        type Rejection = ();

        fn new(_: &EntityId) -> Self {
            Self { sum: 0, step: 0 }
        }

        fn handle(&self, number: u64) -> Effect<Self> {
            Effect::persist(Number(number)).then_nothing()
        }

        fn apply(&mut self, Number(number): &Number) {
            // Only a large number looks at the step.
            self.step += 1;
            self.sum += if *number > 10 { self.step } else { *number };
        }
    }

    #[test]
    fn a_skipped_field_that_matters_is_found_at_the_event_that_needs_it() {
        let told = fails(|| check_replay::<Forgetful>([1, 2, 3, 11]));
        tells(
            &told,
            &[
                "forgetful",
                "a snapshot after event 1 (number 1)",
                "from event 4 (number 11) on",
                r#"all events  {"sum":10}"#,
                r#"snapshot    {"sum":9}"#,
            ],
        );
        check_replay::<Forgetful>([1, 2, 3]);
    }

    /// Its JSON cannot be read back.
    #[derive(Serialize, Deserialize)]
    struct OneWay {
        #[serde(rename(serialize = "all"))]
        sum: u64,
    }

    impl EventSourced for OneWay {
        const TYPE: EntityType = EntityType::new("one-way");
        type Command = u64;
        type Event = Number;
        type Reply = ();
        type Rejection = ();

        fn new(_: &EntityId) -> Self {
            Self { sum: 0 }
        }

        fn handle(&self, number: u64) -> Effect<Self> {
            Effect::persist(Number(number)).then_nothing()
        }

        fn apply(&mut self, Number(number): &Number) {
            self.sum += number;
        }
    }

    #[test]
    fn a_snapshot_that_cannot_be_read_back_is_found() {
        let told = fails(|| check_replay::<OneWay>([1]));
        tells(&told, &["one-way", "a snapshot after event 1", "missing field `sum`", r#"{"all":1}"#]);
        let state = fails(|| given_nothing::<OneWay>().when(1).then_state(|_| {}));
        tells(&state, &["one-way|test", "cannot be read back", "missing field `sum`"]);
    }

    /// Numbers that JSON can hold and `serde_json::Value` cannot.
    #[derive(Serialize, Deserialize)]
    struct Vast(u128);

    #[derive(Serialize, Deserialize)]
    struct Grown(u128);

    impl Event for Grown {
        fn name(&self) -> &'static str {
            "grown"
        }
    }

    impl EventSourced for Vast {
        const TYPE: EntityType = EntityType::new("vast");
        type Command = u128;
        type Event = Grown;
        type Reply = u128;
        type Rejection = ();

        fn new(_: &EntityId) -> Self {
            Self(0)
        }

        fn handle(&self, by: u128) -> Effect<Self> {
            Effect::persist(Grown(by)).then_reply(|vast: &Self| vast.0)
        }

        fn apply(&mut self, Grown(by): &Grown) {
            self.0 += by;
        }
    }

    #[test]
    fn large_numbers_are_kept_to_the_last_digit() {
        let large = u128::MAX / 4;
        check_replay::<Vast>([large, 1, large]);
        let then = given::<Vast>([Grown(large)]).when(1).then_events([Grown(1)]).then_reply(large + 1);
        then.then_state(|vast| assert_eq!(vast.0, large + 1)).when(large).then_events([Grown(large)]);
        fails(|| given::<Vast>([Grown(large)]).when(1).then_reply(large + 2));
        fails(|| given_nothing::<Vast>().when(large).then_events([Grown(large - 1)]));
    }

    /// Its map comes in another order each time.
    #[derive(Serialize, Deserialize)]
    struct Shuffled(std::collections::HashMap<u64, u64>);

    impl EventSourced for Shuffled {
        const TYPE: EntityType = EntityType::new("shuffled");
        type Command = u64;
        type Event = Number;
        type Reply = ();
        type Rejection = ();

        fn new(_: &EntityId) -> Self {
            Self(Default::default())
        }

        fn handle(&self, number: u64) -> Effect<Self> {
            Effect::persist(Number(number)).then_nothing()
        }

        fn apply(&mut self, Number(number): &Number) {
            self.0.insert(*number, *number);
        }
    }

    #[test]
    fn the_order_of_a_map_is_no_difference() {
        check_replay::<Shuffled>(0..12);
    }

    /// An actor with one of three bugs, or with none.
    struct Careless<const BUG: u8> {
        numbers: Vec<u64>,
    }

    impl<const BUG: u8> PersistentActor for Careless<BUG> {
        const TYPE: EntityType = EntityType::new("careless");
        type Command = u64;
        type Event = Number;
        type Reply = ();
        type Rejection = ();
        type State = Vec<u64>;
        type Message = std::convert::Infallible;

        fn new(_: &EntityId) -> Self {
            Self { numbers: Vec::new() }
        }

        fn state(&self) -> &Vec<u64> {
            &self.numbers
        }

        fn receive_command(&mut self, number: u64, ctx: &mut Context<'_, Self>) {
            if BUG == 1 && number == 5 {
                self.numbers.push(0);
            }
            ctx.persist(Number(number), |this, Number(number), _| this.numbers.push(*number));
        }

        fn receive_recover(&mut self, item: Recover<Self>, _: &mut RecoveryContext<'_, Self>) {
            match item {
                Recover::Event(Number(6)) if BUG == 2 => {}
                Recover::Event(Number(number)) => self.numbers.push(number),
                Recover::Snapshot(_) if BUG == 3 => {}
                Recover::Snapshot(numbers) => self.numbers = numbers,
            }
        }
    }

    #[test]
    fn bugs_of_an_actor_are_found() {
        actor::check_replay::<Careless<0>>([4, 5, 6, 7]);
        let changed_early = fails(|| actor::check_replay::<Careless<1>>([4, 5, 6, 7]));
        tells(&changed_early, &["careless", "after command 2", "from event 2 (number 5) on"]);
        let recovers_otherwise = fails(|| actor::check_replay::<Careless<2>>([4, 5, 6, 7]));
        tells(&recovers_otherwise, &["after command 3", "from event 3 (number 6) on"]);
        let forgets_snapshot = fails(|| actor::check_replay::<Careless<3>>([4, 5, 6, 7]));
        tells(&forgets_snapshot, &["a snapshot after event 1 (number 4)", "from event 1 (number 4) on"]);
    }

    /// Persists an event of its own whenever it has recovered.
    struct Starter(Vec<u64>);

    impl PersistentActor for Starter {
        const TYPE: EntityType = EntityType::new("starter");
        type Command = u64;
        type Event = Number;
        type Reply = ();
        type Rejection = ();
        type State = Vec<u64>;
        type Message = std::convert::Infallible;

        fn new(_: &EntityId) -> Self {
            Self(Vec::new())
        }

        fn state(&self) -> &Vec<u64> {
            &self.0
        }

        fn receive_command(&mut self, number: u64, ctx: &mut Context<'_, Self>) {
            ctx.persist(Number(number), |this, Number(number), _| this.0.push(*number));
        }

        fn receive_recover(&mut self, item: Recover<Self>, _: &mut RecoveryContext<'_, Self>) {
            match item {
                Recover::Event(Number(number)) => self.0.push(number),
                Recover::Snapshot(numbers) => self.0 = numbers,
            }
        }

        fn receive_signal(&mut self, signal: Signal, ctx: &mut Context<'_, Self>) {
            if signal == Signal::RecoveryCompleted {
                ctx.persist(Number(1000), |this, Number(number), _| this.0.push(*number));
            }
        }
    }

    #[test]
    fn what_recovery_stores_is_no_event_of_the_command() {
        actor::given::<Starter>([Number(1)])
            .when(2)
            .then_events([Number(2)])
            .then_state(|numbers| assert_eq!(numbers, &[1, 1000, 2]));
    }
}

mod node {
    use super::*;

    async fn start() -> Node {
        Node::new(|app| app.entity::<Counter>().entity::<Account>().actor::<Ledger>()).await
    }

    fn increment(by: i64) -> CounterCommand {
        CounterCommand::Increment { by }
    }

    #[track_caller]
    fn outcome<T: std::fmt::Debug, R: std::fmt::Debug>(asked: Result<T, AskError<R>>) -> Outcome {
        match asked {
            Err(AskError::Failed(failure)) => failure.outcome(),
            other => panic!("expected a failure, not {other:?}"),
        }
    }

    /// What of a counter's answer can be compared.
    fn value<R>(asked: Result<Value, AskError<R>>) -> Option<i64> {
        asked.ok().map(|value| value.value)
    }

    #[tokio::test]
    async fn entities_of_both_doors_are_asked_and_their_events_read() {
        let node = start().await;
        let (counter, ledger) = (node.entity::<Counter>("c"), node.actor::<Ledger>("l"));
        assert_eq!(value(counter.ask(increment(2)).await), Some(2));
        assert_eq!(value(counter.ask(increment(3)).await), Some(5));
        ledger.ask(LedgerCommand::Append { value: "a".to_owned() }).await.expect("it appends");
        assert_eq!(node.state(&counter).await, json!({ "value": 5 }));
        assert_eq!(node.state(&ledger).await, json!(["a"]));
        let amounts: Vec<_> = node.events(&counter).iter().map(|Counted::Incremented { by }| *by).collect();
        assert_eq!(amounts, [2, 3]);
        assert_eq!(node.events(&ledger).len(), 1);
        assert_eq!(node.events(&node.entity::<Counter>("other")).len(), 0);
        node.shutdown().await;
    }

    #[tokio::test]
    async fn a_failed_write_stores_nothing_and_the_entity_comes_back() {
        let node = start().await;
        let counter = node.entity::<Counter>("c");
        assert_eq!(value(counter.ask(increment(2)).await), Some(2));
        node.fail_next(1);
        assert_eq!(outcome(counter.ask(increment(30)).await), Outcome::None);
        assert_eq!(value(counter.ask(increment(400)).await), Some(402));
        assert_eq!(node.events(&counter).len(), 2);
    }

    #[tokio::test]
    async fn so_many_writes_fail_and_no_more() {
        let node = start().await;
        let counter = node.entity::<Counter>("c");
        node.fail_next(0);
        assert_eq!(value(counter.ask(increment(1)).await), Some(1));
        node.fail_next(2);
        assert_eq!(outcome(counter.ask(increment(1)).await), Outcome::None);
        assert_eq!(outcome(counter.ask(increment(1)).await), Outcome::None);
        assert_eq!(value(counter.ask(increment(1)).await), Some(2));
    }

    #[tokio::test]
    async fn faults_of_one_entity_leave_others_alone() {
        let node = start().await;
        let (one, other) = (node.entity::<Counter>("one"), node.entity::<Counter>("other"));
        node.fail_next_of(&one, 1);
        assert_eq!(value(other.ask(increment(1)).await), Some(1));
        assert_eq!(outcome(one.ask(increment(1)).await), Outcome::None);
        assert_eq!(value(one.ask(increment(1)).await), Some(1));
        node.reject_next_of(&one, 1);
        assert_eq!(value(other.ask(increment(1)).await), Some(2));
        assert_eq!(outcome(one.ask(increment(1)).await), Outcome::None);
        assert_eq!(value(one.ask(increment(1)).await), Some(2));
        node.lose_next_answers_of(&one, 1);
        assert_eq!(value(other.ask(increment(1)).await), Some(3));
        assert_eq!(outcome(one.ask(increment(1)).await), Outcome::Unknown);
        assert_eq!(value(one.ask(increment(1)).await), Some(4));
    }

    #[tokio::test]
    async fn a_rejected_write_stores_nothing_and_the_entity_goes_on() {
        let node = start().await;
        let (counter, ledger) = (node.entity::<Counter>("c"), node.actor::<Ledger>("l"));
        node.reject_next(1);
        assert_eq!(outcome(counter.ask(increment(1)).await), Outcome::None);
        assert_eq!(node.events(&counter).len(), 0);
        assert_eq!(value(counter.ask(increment(1)).await), Some(1));
        node.reject_next(1);
        let append = || LedgerCommand::Append { value: "a".to_owned() };
        assert!(ledger.ask(append()).await.is_err());
        assert_eq!(node.state(&ledger).await, json!([]));
        ledger.ask(append()).await.expect("it goes on");
        assert_eq!(node.events(&ledger).len(), 1);
    }

    #[tokio::test]
    async fn a_lost_answer_leaves_the_event_stored() {
        let node = start().await;
        let counter = node.entity::<Counter>("c");
        node.lose_next_answers(1);
        assert_eq!(outcome(counter.ask(increment(2)).await), Outcome::Unknown);
        assert_eq!(node.events(&counter).len(), 1);
        assert_eq!(node.state(&counter).await, json!({ "value": 2 }));
    }

    #[tokio::test]
    async fn a_restart_keeps_what_is_stored_and_reads_that_fail_are_tried_again() {
        let mut node = start().await;
        let counter = node.entity::<Counter>("c");
        assert_eq!(value(counter.ask(increment(2)).await), Some(2));
        node.restart().await;
        assert!(matches!(counter.ask(increment(1)).await, Err(AskError::Failed(Failure::ShuttingDown))));
        node.fail_next_reads(1);
        assert_eq!(value(node.entity::<Counter>("c").ask(increment(1)).await), Some(3));
        for _ in 0..3 {
            node.restart().await;
        }
        // References of before still name the entity.
        node.fail_next_reads_of(&counter, 2);
        assert_eq!(node.state(&counter).await, json!({ "value": 3 }));
        assert_eq!(node.events(&counter).len(), 2);
    }

    #[tokio::test]
    async fn what_was_only_in_memory_is_gone_after_a_restart() {
        let mut node = Node::new(|app| app.actor::<Talker>()).await;
        let talker = node.actor::<Talker>("t");
        assert!(matches!(talker.ask(TalkerCommand::SayNothing).await, Err(AskError::NoReply)));
        assert!(matches!(talker.ask(TalkerCommand::TimesSilent).await, Ok(1)));
        node.restart().await;
        assert!(matches!(node.actor::<Talker>("t").ask(TalkerCommand::TimesSilent).await, Ok(0)));
    }

    #[tokio::test]
    async fn http_is_served_at_one_address_over_restarts() {
        let mut node = start().await;
        let url = node.http().await;
        assert_eq!(node.http().await, url);
        let deposit = post(&url, "/v1/entities/account/alice", r#"{"type":"deposit","amount":5}"#).await;
        assert!(deposit.starts_with("HTTP/1.1 200 ") && deposit.ends_with(r#"{"balance":5}"#), "{deposit}");
        node.restart().await;
        assert_eq!(node.http().await, url);
        let withdraw = post(&url, "/v1/entities/account/alice", r#"{"type":"withdraw","amount":7}"#).await;
        assert!(withdraw.starts_with("HTTP/1.1 409 "), "{withdraw}");
        assert!(withdraw.contains("insufficient_funds"), "{withdraw}");
        assert_eq!(node.events(&node.entity::<Account>("alice")).len(), 1);
        node.shutdown().await;
        let address = url.strip_prefix("http://").expect("a URL");
        assert!(tokio::net::TcpStream::connect(address).await.is_err(), "it still listens");
    }

    async fn post(url: &str, path: &str, body: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let address = url.strip_prefix("http://").expect("a URL");
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers");
        answer
    }

    #[tokio::test]
    async fn mistakes_of_a_test_are_told_with_their_remedy() {
        let node = Node::new(|app| app.entity::<Counter>()).await;
        tells(&fails(|| node.entity::<Account>("a")), &["no type \"account\"", "app.entity"]);
        tells(&fails(|| node.entity::<Counter>("")), &["\"\" is no entity id"]);
        let twice = tokio::spawn(async {
            Node::new(|app| app.entity::<Counter>().entity::<Counter>()).await;
        });
        let panic = twice.await.expect_err("two types of one name").into_panic();
        tells(panic.downcast_ref::<String>().expect("a message"), &["registered twice"]);
    }

    #[tokio::test]
    async fn two_nodes_share_nothing() {
        let (one, other) = (start().await, start().await);
        assert_eq!(value(one.entity::<Counter>("c").ask(increment(2)).await), Some(2));
        assert_eq!(value(other.entity::<Counter>("c").ask(increment(1)).await), Some(1));
        one.fail_next(1);
        assert_eq!(value(other.entity::<Counter>("c").ask(increment(1)).await), Some(2));
    }
}

// The entities of this file.

#[derive(Serialize, Deserialize)]
struct Number(u64);

impl Event for Number {
    fn name(&self) -> &'static str {
        "number"
    }
}

/// Events that are the same JSON.
#[derive(Serialize)]
#[serde(untagged)]
enum Twin {
    Left,
    Right,
}

impl<'de> Deserialize<'de> for Twin {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <()>::deserialize(deserializer).map(|()| Self::Left)
    }
}

impl Event for Twin {
    fn name(&self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Right => "right",
        }
    }
}

macro_rules! of_twins {
    ($Type:ident, $name:literal, $events:expr) => {
        #[derive(Serialize, Deserialize)]
        struct $Type {
            explosive: bool,
        }

        impl EventSourced for $Type {
            const TYPE: EntityType = EntityType::new($name);
            type Command = ();
            type Event = Twin;
            type Reply = ();
            type Rejection = ();

            fn new(id: &EntityId) -> Self {
                Self { explosive: id.as_str() == "explosive" }
            }

            fn handle(&self, (): ()) -> Effect<Self> {
                assert!(!self.explosive, "it explodes");
                Effect::persist_all($events).then_nothing()
            }

            fn apply(&mut self, _: &Twin) {}
        }
    };
}

of_twins!(Twins, "twins", [Twin::Left]);
of_twins!(Pair, "pair", [Twin::Left, Twin::Right]);

/// Panics at 13.
#[derive(Serialize, Deserialize)]
struct Picky;

impl EventSourced for Picky {
    const TYPE: EntityType = EntityType::new("picky");
    type Command = u64;
    type Event = Number;
    type Reply = ();
    type Rejection = ();

    fn new(_: &EntityId) -> Self {
        Self
    }

    fn handle(&self, number: u64) -> Effect<Self> {
        Effect::persist(Number(number)).then_nothing()
    }

    fn apply(&mut self, Number(number): &Number) {
        assert!(*number != 13, "not thirteen");
    }
}

/// Stores what it cannot read.
#[derive(Serialize, Deserialize)]
struct Lossy;

#[derive(Serialize, Deserialize)]
struct OneWayEvent {
    #[serde(rename(serialize = "b"))]
    a: u64,
}

impl Event for OneWayEvent {
    fn name(&self) -> &'static str {
        "one-way"
    }
}

impl EventSourced for Lossy {
    const TYPE: EntityType = EntityType::new("lossy");
    type Command = ();
    type Event = OneWayEvent;
    type Reply = ();
    type Rejection = ();

    fn new(_: &EntityId) -> Self {
        Self
    }

    fn handle(&self, (): ()) -> Effect<Self> {
        Effect::persist(OneWayEvent { a: 1 }).then_nothing()
    }

    fn apply(&mut self, OneWayEvent { a }: &OneWayEvent) {
        assert_eq!(*a, 1);
    }
}

/// Answers before it stores, and counts in memory alone how often it said nothing.
struct Talker {
    sum: u64,
    silent: u64,
}

#[derive(Deserialize)]
enum TalkerCommand {
    ReplyFirst,
    SayNothing,
    TimesSilent,
}

impl PersistentActor for Talker {
    const TYPE: EntityType = EntityType::new("talker");
    type Command = TalkerCommand;
    type Event = Number;
    type Reply = u64;
    type Rejection = ();
    type State = u64;
    type Message = std::convert::Infallible;

    fn new(_: &EntityId) -> Self {
        Self { sum: 0, silent: 0 }
    }

    fn state(&self) -> &u64 {
        &self.sum
    }

    fn receive_command(&mut self, command: TalkerCommand, ctx: &mut Context<'_, Self>) {
        match command {
            TalkerCommand::ReplyFirst => {
                ctx.reply(self.sum);
                ctx.persist_async(Number(1), |this, Number(number), ctx| {
                    this.sum += number;
                    ctx.persist_async(Number(2), |this, Number(number), _| this.sum += number);
                });
            }
            TalkerCommand::SayNothing => self.silent += 1,
            TalkerCommand::TimesSilent => ctx.reply(self.silent),
        }
    }

    fn receive_recover(&mut self, item: Recover<Self>, _: &mut RecoveryContext<'_, Self>) {
        match item {
            Recover::Event(Number(number)) => self.sum += number,
            Recover::Snapshot(sum) => self.sum = sum,
        }
    }
}
