//! The greeter without a process and without HTTP.

use abide::test::{check_replay, given, given_nothing};

use super::{Command, Greeted, Greeter};

fn greet(word: &str) -> Command {
    Command::Greet(word.to_owned())
}

#[test]
fn it_greets_by_name_and_counts() {
    given_nothing::<Greeter>()
        .with_id("ada")
        .when(greet("hello"))
        .then_events([Greeted])
        .then_reply("hello, ada, for the 1. time".to_owned());
}

#[test]
fn it_remembers_earlier_greetings() {
    given::<Greeter>([Greeted, Greeted])
        .with_id("ada")
        .when(greet("hi"))
        .then_reply("hi, ada, for the 3. time".to_owned())
        .then_state(|greeter| assert_eq!(greeter.greetings, 3));
}

#[test]
fn it_wants_to_hear_something() {
    given_nothing::<Greeter>().when(greet("")).then_no_events().then_rejection("say something".to_owned());
}

#[test]
fn its_events_lead_to_where_it_stands() {
    check_replay::<Greeter>([greet("hello"), greet(""), greet("hi")]);
}
