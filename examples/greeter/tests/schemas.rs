//! Types describe themselves through `abide` alone: this crate depends on no `schemars`.

use abide::prelude::*;

#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(crate = "abide::schemars")]
struct Door {
    open: bool,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "abide::schemars")]
#[serde(tag = "type", rename_all = "snake_case")]
enum Command {
    /// Opens it.
    Open,
    Close,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(crate = "abide::schemars")]
struct Moved {
    open: bool,
}

impl Event for Moved {
    fn name(&self) -> &'static str {
        "moved"
    }
}

impl EventSourced for Door {
    const TYPE: EntityType = EntityType::new("door");
    type Command = Command;
    type Event = Moved;
    type Reply = bool;
    type Rejection = &'static str;

    fn new(_: &EntityId) -> Self {
        Self { open: false }
    }

    fn handle(&self, command: Command) -> Effect<Self> {
        let open = matches!(command, Command::Open);
        if open == self.open {
            return Effect::reject("it is so already");
        }
        Effect::persist(Moved { open }).then_reply(|door: &Self| door.open)
    }

    fn apply(&mut self, event: &Moved) {
        self.open = event.open;
    }
}

#[test]
fn a_type_is_served_with_its_schemas() {
    let app = abide::App::default().entity_with::<Door>(|options| options.schemas());
    assert!(format!("{app:?}").contains("door"));
    let schema = abide::schemars::schema_for!(Command);
    assert!(schema.as_value().to_string().contains("Opens it."), "{schema:?}");
}
