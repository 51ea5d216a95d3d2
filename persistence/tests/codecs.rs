//! Codecs: what each writes it reads, and what was written before a change is read after it.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::collections::BTreeMap;
use std::net::IpAddr;

use abide_persistence::codec::{
    Codec, Codecs, Event, JSON, Json, MESSAGE_PACK, MessagePack, PROTOBUF, Protobuf,
};
use abide_persistence::model::{Effect, EventSourced, EventSourcedActor, PersistentActor};
use abide_persistence::{EntityId, EntityType, codec};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Moved {
    Deposited { amount: u64, from: Option<IpAddr> },
    Withdrawn { amount: i64, note: String },
    Closed,
}

impl Event for Moved {
    fn name(&self) -> &'static str {
        match self {
            Self::Deposited { .. } => "deposited",
            Self::Withdrawn { .. } => "withdrawn",
            Self::Closed => "closed",
        }
    }

    fn version(&self) -> u32 {
        4
    }
}

/// As a generated message would look.
#[derive(Clone, PartialEq, prost::Message)]
struct MovedMessage {
    #[prost(oneof = "Kind", tags = "1, 2, 3")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(message, tag = "1")]
    Deposited(Deposited),
    #[prost(message, tag = "2")]
    Withdrawn(Withdrawn),
    #[prost(message, tag = "3")]
    Closed(Closed),
}

#[derive(Clone, PartialEq, prost::Message)]
struct Deposited {
    #[prost(uint64, tag = "1")]
    amount: u64,
    #[prost(string, tag = "2")]
    from: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Withdrawn {
    #[prost(sint64, tag = "1")]
    amount: i64,
    #[prost(string, tag = "2")]
    note: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Closed {}

impl From<&Moved> for MovedMessage {
    fn from(event: &Moved) -> Self {
        let kind = match event {
            Moved::Deposited { amount, from } => Kind::Deposited(Deposited {
                amount: *amount,
                from: from.map(|from| from.to_string()).unwrap_or_default(),
            }),
            Moved::Withdrawn { amount, note } => {
                Kind::Withdrawn(Withdrawn { amount: *amount, note: note.clone() })
            }
            Moved::Closed => Kind::Closed(Closed {}),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<MovedMessage> for Moved {
    type Error = String;

    fn try_from(message: MovedMessage) -> Result<Self, String> {
        match message.kind {
            Some(Kind::Deposited(Deposited { amount, from })) => {
                let from = (!from.is_empty()).then(|| from.parse()).transpose();
                Ok(Self::Deposited { amount, from: from.map_err(|cause| format!("{cause}"))? })
            }
            Some(Kind::Withdrawn(Withdrawn { amount, note })) => Ok(Self::Withdrawn { amount, note }),
            Some(Kind::Closed(Closed {})) => Ok(Self::Closed),
            None => Err("no kind of event that this version knows".to_owned()),
        }
    }
}

/// A user's own: knows what was stored under which name and version.
struct Own(u32);

impl Codec<Moved> for Own {
    fn id(&self) -> u32 {
        self.0
    }

    fn encode(&self, value: &Moved) -> Result<Bytes, String> {
        match value {
            Moved::Withdrawn { amount, .. } if *amount < 0 => Err("less than nothing".to_owned()),
            Moved::Withdrawn { amount, .. } => Ok(amount.to_string().into()),
            other => Err(format!("not for {}", other.name())),
        }
    }

    fn decode(&self, name: &str, version: u32, bytes: &[u8]) -> Result<Moved, String> {
        let text = std::str::from_utf8(bytes).map_err(|cause| cause.to_string())?;
        let amount = text.parse().map_err(|cause| format!("{cause}"))?;
        Ok(Moved::Withdrawn { amount, note: format!("{name} {version}") })
    }
}

fn events() -> Vec<Moved> {
    vec![
        Moved::Deposited { amount: u64::MAX, from: Some("10.1.2.3".parse().unwrap()) },
        Moved::Deposited { amount: 0, from: Some("fe80::1".parse().unwrap()) },
        Moved::Deposited { amount: 1, from: None },
        Moved::Withdrawn { amount: i64::MIN, note: "ä \" \0 \u{10ffff}".to_owned() },
        Moved::Withdrawn { amount: 7, note: String::new() },
        Moved::Closed,
    ]
}

/// Everything that the first writes the second reads.
fn check(writing: &Codecs<Moved>, reading: &Codecs<Moved>, codec: u32) {
    for event in events() {
        let stored = writing.encode(&event).unwrap();
        assert_eq!((stored.name, stored.version, stored.codec), (event.name(), 4, codec));
        assert_eq!(reading.decode(codec, stored.name, stored.version, &stored.payload), Ok(event));
    }
}

fn protobuf() -> Protobuf<MovedMessage> {
    Protobuf::new()
}

#[test]
fn every_codec_reads_what_it_wrote() {
    for (codecs, id) in [
        (Codecs::json(), JSON),
        (Codecs::new(Json), JSON),
        (Codecs::new(MessagePack), MESSAGE_PACK),
        (Codecs::new(protobuf()), PROTOBUF),
    ] {
        codecs.check().unwrap();
        check(&codecs, &codecs, id);
    }
}

#[test]
fn the_numbers_and_the_bytes_of_the_codecs_are_frozen() {
    assert_eq!((JSON, MESSAGE_PACK, PROTOBUF), (1, 2, 3));
    let event = Moved::Withdrawn { amount: 7, note: "x".to_owned() };
    let bytes = |codecs: Codecs<Moved>| codecs.encode(&event).unwrap().payload;
    assert_eq!(bytes(Codecs::json()), r#"{"kind":"withdrawn","amount":7,"note":"x"}"#);
    assert_eq!(
        bytes(Codecs::new(MessagePack)),
        &b"\x83\xa4kind\xa9withdrawn\xa6amount\x07\xa4note\xa1x"[..],
        "a map with its fields by name"
    );
    assert_eq!(bytes(Codecs::new(protobuf())), &b"\x12\x05\x08\x0e\x12\x01x"[..]);
    assert_eq!(codec::encode(&event), Codecs::json().encode(&event), "the free function writes JSON");
}

#[test]
fn what_was_written_before_a_change_of_codec_is_read_after_it() {
    let always_read = [(Codecs::json(), JSON), (Codecs::new(MessagePack), MESSAGE_PACK)];
    for (before, id) in &always_read {
        for after in
            [Codecs::json(), Codecs::new(MessagePack), Codecs::new(protobuf()), Codecs::new(Own(1000))]
        {
            check(before, &after, *id);
        }
    }
    check(&Codecs::new(protobuf()), &Codecs::json().also_reads(protobuf()), PROTOBUF);
    check(&Codecs::new(protobuf()), &Codecs::json().for_name("closed", protobuf()), PROTOBUF);
}

#[test]
fn a_name_may_have_a_codec_of_its_own() {
    let codecs: Codecs<Moved> = Codecs::new(MessagePack)
        .for_name("withdrawn", Own(1000))
        .for_name("closed", protobuf())
        .also_reads(Own(1000));
    codecs.check().unwrap();
    let deposited = codecs.encode(&events()[0]).unwrap();
    assert_eq!(deposited.codec, MESSAGE_PACK);
    let closed = codecs.encode(&Moved::Closed).unwrap();
    assert_eq!(closed.codec, PROTOBUF);
    let withdrawn = codecs.encode(&Moved::Withdrawn { amount: 3, note: "lost".to_owned() }).unwrap();
    assert_eq!((withdrawn.codec, &withdrawn.payload[..]), (1000, &b"3"[..]));
    let read = codecs.decode(1000, withdrawn.name, withdrawn.version, &withdrawn.payload);
    assert_eq!(read, Ok(Moved::Withdrawn { amount: 3, note: "withdrawn 4".to_owned() }), "name and version");
}

#[test]
fn an_unknown_codec_is_named_with_what_would_help() {
    for codecs in [Codecs::<Moved>::json(), Codecs::new(Own(1001))] {
        for id in [0, PROTOBUF, 1000, u32::MAX] {
            let cause = codecs.decode(id, "withdrawn", 7, b"3").unwrap_err();
            for part in [&format!("codec {id}"), "\"withdrawn\"", "version 7", "also_reads"] {
                assert!(cause.contains(part), "{part} is not in: {cause}");
            }
        }
    }
    assert!(codec::decode::<Moved>(1000, b"3").unwrap_err().contains("1000"));
}

#[test]
fn one_number_for_two_codecs_is_found_before_anything_is_written() {
    struct Other;
    impl Codec<Moved> for Other {
        fn id(&self) -> u32 {
            1000
        }
        fn encode(&self, _: &Moved) -> Result<Bytes, String> {
            Err("never asked".to_owned())
        }
        fn decode(&self, _: &str, _: u32, _: &[u8]) -> Result<Moved, String> {
            Err("never asked".to_owned())
        }
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct OtherMessage {}
    impl From<&Moved> for OtherMessage {
        fn from(_: &Moved) -> Self {
            Self {}
        }
    }
    impl TryFrom<OtherMessage> for Moved {
        type Error = String;
        fn try_from(_: OtherMessage) -> Result<Self, String> {
            Ok(Self::Closed)
        }
    }
    let refused: [(Codecs<Moved>, &str); 9] = [
        (Codecs::new(Own(1000)).also_reads(Other), "both have number 1000"),
        (Codecs::new(Own(1000)).for_name("closed", Other), "both have number 1000"),
        (Codecs::json().for_name("closed", Own(1000)).also_reads(Other), "both have number 1000"),
        (Codecs::new(protobuf()).for_name("closed", Protobuf::<OtherMessage>::new()), "both have number 3"),
        (Codecs::new(Own(999)), "below 1000 are reserved"),
        (Codecs::json().for_name("closed", Own(JSON)), "below 1000 are reserved"),
        (Codecs::json().also_reads(Own(MESSAGE_PACK)), "below 1000 are reserved"),
        (Codecs::json().also_reads(Own(0)), "below 1000 are reserved"),
        (Codecs::json().for_name("closed", Json).for_name("closed", MessagePack), "\"closed\""),
    ];
    for (codecs, reason) in refused {
        let cause = codecs.check().unwrap_err();
        assert!(cause.contains(reason), "{cause}");
    }
    let twice = Codecs::new(Own(1000)).for_name("closed", Own(1000)).also_reads(Own(1000)).also_reads(Json);
    twice.check().expect("the same codec twice is no other codec");
}

#[test]
fn bytes_that_are_no_value_are_refused() {
    let codecs: Codecs<Moved> = Codecs::new(MessagePack).also_reads(protobuf());
    for event in events() {
        for codec in [JSON, MESSAGE_PACK] {
            let payload = match codec {
                JSON => Codecs::json().encode(&event),
                _ => codecs.encode(&event),
            };
            let payload = payload.unwrap().payload;
            for end in 0..payload.len() {
                codecs.decode(codec, "x", 1, &payload[..end]).expect_err("cut short");
            }
            let longer = [&payload[..], b"\x01"].concat();
            codecs.decode(codec, "x", 1, &longer).expect_err("too long");
        }
    }
    codecs.decode(PROTOBUF, "x", 1, b"").expect_err("no event that is known");
    codecs.decode(PROTOBUF, "x", 1, b"\x12\xff").expect_err("cut short");
    // A length that is not there must not be allocated.
    codecs
        .decode(MESSAGE_PACK, "x", 1, b"\xdd\xff\xff\xff\xff")
        .expect_err("an array of four thousand million");
    codecs.decode(MESSAGE_PACK, "x", 1, b"\xc6\xff\xff\xff\xff").expect_err("four thousand million bytes");
    let deep = vec![0x91; 1 << 20];
    codecs.decode(MESSAGE_PACK, "x", 1, &deep).expect_err("a million arrays in each other");
}

#[test]
fn message_pack_keeps_what_json_cannot() {
    let codecs: Codecs<BTreeMap<(u8, bool), f64>> = Codecs::new(MessagePack);
    let state = BTreeMap::from([((1, true), f64::INFINITY), ((2, false), -0.0)]);
    let (codec, payload) = codecs.encode_named("state", &state).unwrap();
    assert_eq!(codecs.decode(codec, "state", 1, &payload), Ok(state.clone()));
    Codecs::json().encode_named("state", &state).expect_err("its keys are no texts");
}

/// Inside a tagged enum serde reads only the readable form, elsewhere it reads what the codec says: both must be
/// the same.
#[test]
fn addresses_are_read_wherever_they_stand() {
    let address: IpAddr = "fe80::1".parse().unwrap();
    let plain: Codecs<(IpAddr, Vec<Moved>)> = Codecs::new(MessagePack);
    let value = (address, vec![Moved::Deposited { amount: 1, from: Some(address) }]);
    let (codec, payload) = plain.encode_named("state", &value).unwrap();
    assert_eq!(plain.decode(codec, "state", 1, &payload), Ok(value));
}

#[test]
fn fields_may_be_added_and_reordered_under_message_pack() {
    #[derive(Serialize, Deserialize)]
    struct Before {
        a: u8,
        b: String,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct After {
        b: String,
        #[serde(default)]
        c: Option<u8>,
        a: u8,
    }
    let before = Before { a: 1, b: "x".to_owned() };
    let (codec, payload) = Codecs::new(MessagePack).encode_named("state", &before).unwrap();
    let after: Codecs<After> = Codecs::json();
    assert_eq!(after.decode(codec, "state", 1, &payload), Ok(After { b: "x".to_owned(), c: None, a: 1 }));
}

#[derive(Serialize, Deserialize)]
struct Account(u64);

impl EventSourced for Account {
    const TYPE: EntityType = EntityType::new("account");
    type Command = ();
    type Event = Moved;
    type Reply = ();
    type Rejection = ();

    fn new(_: &EntityId) -> Self {
        Self(0)
    }

    fn handle(&self, (): ()) -> Effect<Self> {
        Effect::reply(())
    }

    fn apply(&mut self, _: &Moved) {
        self.0 += 1;
    }

    fn codecs() -> Codecs<Moved> {
        Codecs::new(MessagePack).for_name("closed", Protobuf::<MovedMessage>::new())
    }

    fn snapshot_codecs() -> Codecs<Self> {
        Codecs::new(MessagePack)
    }

    const STATE_NAME: &'static str = "balance";
    const STATE_VERSION: u32 = 3;
}

#[test]
fn an_entity_type_chooses_its_codecs() {
    type Actor = EventSourcedActor<Account>;
    assert_eq!((Actor::STATE_NAME, Actor::STATE_VERSION), ("balance", 3));
    assert_eq!(Actor::codecs().encode(&events()[0]).unwrap().codec, MESSAGE_PACK);
    assert_eq!(Actor::codecs().encode(&Moved::Closed).unwrap().codec, PROTOBUF);
    let (codec, payload) = Actor::snapshot_codecs().encode_named("balance", &Account(5)).unwrap();
    assert_eq!((codec, &payload[..]), (MESSAGE_PACK, &[5][..]));
}

/// One for all entities of a type, on all threads.
#[test]
fn codecs_may_be_shared_and_need_no_start() {
    static SHARED: Codecs<Moved> = Codecs::json();
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&SHARED);
    assert_eq!(SHARED.encode(&Moved::Closed).unwrap().codec, JSON);
}
