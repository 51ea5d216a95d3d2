//! Events on their way into the journal and back: the only place here that knows their stored form.

use std::fmt;

use abide_persistence::PersistenceId;
use abide_persistence::codec::{self, EncodedEvent, Event};
use abide_persistence::envelope::StoredEvent;
use abide_persistence::journal::{Batch, Claim, Journal, Write, Writer};
use abide_persistence::{SequenceNr, ShardCount};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// An event as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Record {
    name: String,
    version: u32,
    codec: u32,
    payload: Bytes,
}

impl Record {
    pub(super) fn of<E: Event>(event: &E) -> Result<Self, String> {
        let EncodedEvent { name, version, codec, payload, .. } = codec::encode(event)?;
        Ok(Self { name: name.to_owned(), version, codec, payload })
    }

    pub(super) fn from_bytes(bytes: Bytes) -> Result<Self, String> {
        let StoredEvent { name, version, codec, payload, .. } =
            StoredEvent::from_bytes(bytes).map_err(|cause| cause.to_string())?;
        Ok(Self { name, version, codec, payload })
    }

    pub(super) fn event<E: Event>(&self) -> Result<E, String> {
        codec::decode(self.codec, &self.payload)
            .map_err(|cause| format!("event \"{}\" is stored but cannot be read back: {cause}", self.name))
    }

    fn to_bytes(&self, sequence_nr: u64, claim: Claim) -> Bytes {
        let stored = StoredEvent {
            sequence_nr,
            payload: self.payload.clone(),
            codec: self.codec,
            name: self.name.clone(),
            version: self.version,
            epoch: claim.epoch.0,
            session: claim.session,
            batch: 1,
            ..StoredEvent::default()
        };
        stored.to_bytes()
    }
}

/// Stores events as one batch of an earlier owner of the shard.
pub(super) async fn store(
    journal: &impl Journal,
    shards: ShardCount,
    (claim, writer): (Claim, Writer),
    persistence_id: &PersistenceId,
    records: &[Record],
) -> Result<(), String> {
    let shard = persistence_id.hash().shard(shards);
    let events: Vec<_> = (1..).zip(records).map(|(number, record)| record.to_bytes(number, claim)).collect();
    if events.is_empty() {
        return Ok(());
    }
    let append = Write::Append { persistence_id: persistence_id.clone(), first: SequenceNr(1), events };
    let batch = Batch { shard, claim, number: 1, writer, writes: vec![append].into() };
    journal.claim(shard, claim, writer, None).await.map_err(|cause| cause.to_string())?;
    journal.write(batch).await.map_err(|cause| cause.to_string())
}

/// An event as a reader of a failed test sees it, and as it is compared: its name and its JSON.
#[derive(Clone, PartialEq)]
pub(super) struct Shown {
    name: String,
    json: Value,
}

impl Shown {
    /// Both sides of a comparison take this way, so what the codec drops is dropped from both.
    pub(super) fn of<E: Event>(record: &Record) -> Result<Self, String> {
        let json = json(&record.event::<E>()?)?;
        Ok(Self { name: record.name.clone(), json })
    }

    pub(super) fn json(&self) -> &Value {
        &self.json
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.json)
    }
}

/// A state as `GET` shows it. Two are equal if their JSON is, in whatever order a map comes.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// As it came: what is read back from it has not been through [`Value`], which rounds large numbers.
    text: String,
    json: Value,
}

impl Seen {
    pub(super) fn from_bytes(json: Vec<u8>) -> Result<Self, String> {
        let text = String::from_utf8(json).map_err(|cause| cause.to_string())?;
        let json = serde_json::from_str(&text).map_err(|cause| cause.to_string())?;
        Ok(Self { text, json })
    }

    /// The state itself, as a snapshot would give it back.
    pub(super) fn read_back<S: DeserializeOwned>(&self) -> Result<S, String> {
        serde_json::from_str(&self.text)
            .map_err(|cause| format!("cannot be read back: {cause}\n\n  it is {}", self.text))
    }

    pub(super) fn into_json(self) -> Value {
        self.json
    }
}

impl PartialEq for Seen {
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A value as JSON; as a text of JSON, if it has numbers that are too large for [`Value`].
pub(super) fn json(value: &impl Serialize) -> Result<Value, String> {
    let text = |_| serde_json::to_string(value).map(Value::String);
    serde_json::to_value(value).or_else(text).map_err(|cause| {
        format!("a {} cannot be written as JSON: {cause}", std::any::type_name_of_val(value))
    })
}
