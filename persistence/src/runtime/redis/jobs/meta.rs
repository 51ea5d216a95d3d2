//! What the journal was first used with.

use redis::{Pipeline, Value};

use super::Asker;
use crate::ids::ShardCount;
use crate::journal::{JournalMeta, StoreError};
use crate::runtime::redis::engine::replies::{Reply, text};
use crate::runtime::redis::job::{Failed, Job, Replicated, Verdict, all_done};
use crate::runtime::redis::link::{Link, Script};

type Found = Result<Option<JournalMeta>, StoreError>;

/// Reads the record.
pub(in crate::runtime::redis) struct ReadMeta {
    key: String,
    slot: u16,
    asker: Asker<Found>,
}

/// Replaces the record.
pub(in crate::runtime::redis) struct ReplaceMeta {
    key: String,
    slot: u16,
    expected: Option<JournalMeta>,
    new: JournalMeta,
    /// Tells its own repeat from somebody else who writes the same.
    by: String,
    asker: Asker<Result<bool, StoreError>>,
}

impl ReadMeta {
    pub(in crate::runtime::redis) fn new((key, slot): (String, u16), asker: Asker<Found>) -> Self {
        Self { key, slot, asker }
    }
}

impl ReplaceMeta {
    pub(in crate::runtime::redis) fn new(
        (key, slot): (String, u16),
        expected: Option<JournalMeta>,
        new: JournalMeta,
        asker: Asker<Result<bool, StoreError>>,
    ) -> Self {
        Self { key, slot, expected, new, by: format!("{:032x}", rand::random::<u128>()), asker }
    }
}

impl Job for ReadMeta {
    fn slot(&self) -> u16 {
        self.slot
    }

    fn send(&self, _: &Link, pipeline: &mut Pipeline) {
        pipeline.cmd("HGETALL").arg(&self.key);
    }

    fn read(&mut self, replies: Vec<Reply>, _: &Replicated) -> Verdict {
        let found = match all_done(replies) {
            Ok(values) => decode(values.first().unwrap_or(&Value::Nil)),
            Err(Failed::Again(again)) => return again,
            Err(Failed::Foreign(what)) => Err(what),
        };
        let key = &self.key;
        self.asker.tell(
            found.map_err(|what| StoreError(format!("the key {key} is no meta record of Abide's: {what}"))),
        );
        Verdict::Settled
    }

    fn give_up(mut self: Box<Self>, reason: &str) {
        self.asker.tell(Err(StoreError(reason.to_owned())));
    }
}

impl Job for ReplaceMeta {
    fn slot(&self) -> u16 {
        self.slot
    }

    fn send(&self, link: &Link, pipeline: &mut Pipeline) {
        let expected = self.expected.as_ref().map(encode).unwrap_or_default();
        let mut call = link.call(Script::Meta);
        call.arg(1).arg(&self.key).arg(&self.by).arg(expected.len()).arg(expected).arg(encode(&self.new));
        pipeline.add_command(call);
    }

    fn read(&mut self, replies: Vec<Reply>, replicated: &Replicated) -> Verdict {
        let values = match all_done(replies) {
            Ok(values) => values,
            Err(Failed::Again(again)) => return again,
            Err(Failed::Foreign(what)) => {
                self.asker.tell(Err(StoreError(what)));
                return Verdict::Settled;
            }
        };
        match values.as_slice() {
            [Value::Int(1)] => replicated.settle(|| self.asker.tell(Ok(true))),
            [Value::Int(0)] => {
                self.asker.tell(Ok(false));
                Verdict::Settled
            }
            _ => Verdict::nonsense(values.first().unwrap_or(&Value::Nil)),
        }
    }

    fn give_up(mut self: Box<Self>, reason: &str) {
        self.asker.tell(Err(StoreError(reason.to_owned())));
    }
}

fn encode(meta: &JournalMeta) -> Vec<String> {
    let fields = [
        ("format", meta.format.to_string()),
        ("shards", meta.shards.get().to_string()),
        ("hash", meta.hash.clone()),
        ("cluster", format!("{:032x}", meta.cluster)),
        ("generation", meta.generation.to_string()),
    ];
    fields.into_iter().flat_map(|(field, value)| [field.to_owned(), value]).collect()
}

fn decode(value: &Value) -> Result<Option<JournalMeta>, String> {
    let words: Vec<&str> = match value {
        Value::Nil => return Ok(None),
        Value::Array(values) if values.is_empty() => return Ok(None),
        Value::Map(pairs) if pairs.is_empty() => return Ok(None),
        Value::Array(values) => values.iter().filter_map(text).collect(),
        Value::Map(pairs) => {
            pairs.iter().flat_map(|(field, value)| [field, value]).filter_map(text).collect()
        }
        other => return Err(format!("{other:?}")),
    };
    let field = |name: &str| {
        let pair = words.chunks_exact(2).find(|pair| pair[0] == name);
        pair.map(|pair| pair[1]).ok_or_else(|| format!("it has no field {name}"))
    };
    let bad = |name: &str| format!("its field {name} is {:?}", field(name).unwrap_or_default());
    let number = |name: &str| field(name)?.parse::<u32>().map_err(|_| bad(name));
    Ok(Some(JournalMeta {
        format: number("format")?,
        shards: ShardCount::new(number("shards")?).ok_or_else(|| bad("shards"))?,
        hash: field("hash")?.to_owned(),
        cluster: u128::from_str_radix(field("cluster")?, 16).map_err(|_| bad("cluster"))?,
        generation: number("generation")?,
    }))
}
