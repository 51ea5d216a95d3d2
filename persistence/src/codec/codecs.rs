//! Which codec writes, and which ones read.

use std::any::{TypeId, type_name};
use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::seal::Seal;
use super::{Codec, EncodedEvent, Event, FIRST_OWN, JSON, Json, MESSAGE_PACK, MessagePack};

/// The codecs of one type of values: one that writes, others for some names, and further ones that only
/// read. [`Json`] and [`MessagePack`] always read.
///
/// Made once for each entity type and shared by all its entities.
pub struct Codecs<T> {
    /// `None` is by far the most frequent: JSON writes everything. It costs one branch.
    table: Option<Box<Table<T>>>,
}

struct Table<T> {
    default: Entry<T>,
    /// Few, so that looking through them is quicker than hashing.
    by_name: Vec<(&'static str, Entry<T>)>,
    also_read: Vec<Entry<T>>,
}

struct Entry<T> {
    id: u32,
    codec: Box<dyn Codec<T>>,
    kind: TypeId,
    kind_name: &'static str,
}

impl<T> Entry<T> {
    fn new<C: Codec<T>>(codec: C) -> Self {
        let (kind, kind_name) = (TypeId::of::<C>(), type_name::<C>());
        Self { id: codec.id(), codec: Box::new(codec), kind, kind_name }
    }
}

impl<T> Table<T> {
    fn entries(&self) -> impl Iterator<Item = &Entry<T>> {
        let by_name = self.by_name.iter().map(|(_, entry)| entry);
        std::iter::once(&self.default).chain(by_name).chain(&self.also_read)
    }
}

impl<T: Serialize + DeserializeOwned + 'static> Codecs<T> {
    /// JSON writes everything.
    pub const fn json() -> Self {
        Self { table: None }
    }

    /// This one writes everything.
    pub fn new(codec: impl Codec<T>) -> Self {
        Self {
            table: Some(Box::new(Table {
                default: Entry::new(codec),
                by_name: Vec::new(),
                also_read: Vec::new(),
            })),
        }
    }

    /// This one writes what has this name; it reads all that was stored with its number.
    #[must_use]
    pub fn for_name(mut self, name: &'static str, codec: impl Codec<T>) -> Self {
        self.table().by_name.push((name, Entry::new(codec)));
        self
    }

    /// This one only reads: what it wrote before, or what another version writes.
    #[must_use]
    pub fn also_reads(mut self, codec: impl Codec<T>) -> Self {
        self.table().also_read.push(Entry::new(codec));
        self
    }

    fn table(&mut self) -> &mut Table<T> {
        self.table.get_or_insert_with(|| {
            Box::new(Table { default: Entry::new(Json), by_name: Vec::new(), also_read: Vec::new() })
        })
    }

    /// Checks that each number stands for one codec. To be called when the type is registered, before
    /// anything is written.
    ///
    /// Codecs are told apart by their Rust types: the same type may be given several times.
    ///
    /// # Errors
    /// What is wrong, and what to do about it.
    pub fn check(&self) -> Result<(), String> {
        let Some(table) = &self.table else { return Ok(()) };
        let entries: Vec<&Entry<T>> = table.entries().collect();
        for (at, entry) in entries.iter().enumerate() {
            if entry.id < FIRST_OWN && !entry.codec.is_built_in(Seal) {
                return Err(format!(
                    "the codec {} has number {}, but numbers below {FIRST_OWN} are reserved; give it one from \
                     {FIRST_OWN} on",
                    entry.kind_name, entry.id
                ));
            }
            if let Some(other) = entries[..at].iter().find(|o| o.id == entry.id && o.kind != entry.kind) {
                return Err(format!(
                    "the codecs {} and {} both have number {}, so what is stored could not be told apart; give \
                     one of them another number, or map all names to one codec",
                    other.kind_name, entry.kind_name, entry.id
                ));
            }
        }
        for (at, (name, _)) in table.by_name.iter().enumerate() {
            if table.by_name[..at].iter().any(|(other, _)| other == name) {
                return Err(format!("two codecs are given for the name {name:?}; keep one of them"));
            }
        }
        Ok(())
    }

    /// Writes a value under its name; hands back the number of the codec with the bytes.
    ///
    /// # Errors
    /// What the codec says.
    pub fn encode_named(&self, name: &str, value: &T) -> Result<(u32, Bytes), String> {
        let Some(table) = &self.table else { return Ok((JSON, Json.encode(value)?)) };
        let by_name = table.by_name.iter().find(|(of, _)| *of == name).map(|(_, entry)| entry);
        let entry = by_name.unwrap_or(&table.default);
        Ok((entry.id, entry.codec.encode(value)?))
    }

    /// Reads a value with the codec that wrote it. Name and version are the stored ones.
    ///
    /// # Errors
    /// If no codec with this number is here, or what the codec says.
    pub fn decode(&self, codec: u32, name: &str, version: u32, payload: &[u8]) -> Result<T, String> {
        match codec {
            JSON => Json.decode(name, version, payload),
            MESSAGE_PACK => MessagePack.decode(name, version, payload),
            other => match self.entry(other) {
                Some(entry) => entry.codec.decode(name, version, payload),
                None => Err(format!(
                    "{name:?} version {version} was written by codec {other}, which is not registered for this \
                     type; add it with `also_reads`, or start a version of the program that has it"
                )),
            },
        }
    }

    fn entry(&self, id: u32) -> Option<&Entry<T>> {
        self.table.as_ref()?.entries().find(|entry| entry.id == id)
    }
}

impl<E: Event> Codecs<E> {
    /// Writes an event.
    ///
    /// # Errors
    /// What the codec says; the event is rejected then, and nothing is stored.
    pub fn encode(&self, event: &E) -> Result<EncodedEvent, String> {
        let name = event.name();
        let (codec, payload) = self.encode_named(name, event)?;
        Ok(EncodedEvent { name, version: event.version(), codec, payload })
    }
}

impl<T> fmt::Debug for Codecs<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(table) = &self.table else { return f.write_str("Codecs(JSON)") };
        let by_name = table.by_name.iter().map(|(name, entry)| (name, entry.id));
        f.debug_struct("Codecs")
            .field("default", &table.default.id)
            .field("by_name", &by_name.collect::<Vec<_>>())
            .field("also_read", &table.also_read.iter().map(|entry| entry.id).collect::<Vec<_>>())
            .finish()
    }
}
