//! A service of one's own: greets, and remembers how often it did.
//!
//! ```sh
//! cargo run -p greeter
//! curl -s http://127.0.0.1:8080/v1/entities/greeter/ada -H 'content-type: application/json' -d '{"greet":"hello"}'
//! ```

use abide::prelude::*;

#[derive(Serialize, Deserialize)]
struct Greeter {
    name: String,
    greetings: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Command {
    Greet(String),
}

#[derive(Serialize, Deserialize)]
struct Greeted;

impl Event for Greeted {
    fn name(&self) -> &'static str {
        "greeted"
    }
}

impl EventSourced for Greeter {
    const TYPE: EntityType = EntityType::new("greeter");
    type Command = Command;
    type Event = Greeted;
    type Reply = String;
    type Rejection = String;

    fn new(id: &EntityId) -> Self {
        Self { name: id.to_string(), greetings: 0 }
    }

    fn handle(&self, Command::Greet(word): Command) -> Effect<Self> {
        if word.is_empty() {
            return Effect::reject("say something".to_owned());
        }
        Effect::persist(Greeted).then_reply(move |greeter: &Self| {
            format!("{word}, {}, for the {}. time", greeter.name, greeter.greetings)
        })
    }

    fn apply(&mut self, _: &Greeted) {
        self.greetings += 1;
    }
}

fn main() -> std::process::ExitCode {
    abide::main(|app| app.entity::<Greeter>())
}

#[cfg(test)]
mod tests;
