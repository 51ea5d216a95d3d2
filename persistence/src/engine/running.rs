//! Whose code runs now, to be looked at from another thread.
//!
//! Written on the way of every command, so it is a few relaxed stores to lines that only the writer uses:
//! no lock, no allocation, no counted reference. Looking is seldom, and notices when it was too late.

use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Mutex, PoisonError};

use crate::ids::{EntityId, EntityType};

/// Words of an id that are shown: 64 bytes.
const WORDS: usize = 8;

/// Whose code runs among entities that one thread at a time runs.
///
/// On lines of its own: two that share one would slow each other down.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Running {
    /// Odd while code runs; each run has a number of its own, and the names stand still meanwhile.
    mark: AtomicU64,
    type_tag: AtomicU64,
    length: AtomicU64,
    /// The beginning of the id, in words that are written and read whole.
    id: [AtomicU64; WORDS],
}

/// A moment: equal ones mean that the same code still runs, or still none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunMark(u64);

impl RunMark {
    /// Whether code runs.
    pub fn is_running(self) -> bool {
        self.0 % 2 == 1
    }
}

impl Running {
    /// This entity's code begins to run. To be called by one thread at a time.
    pub(crate) fn enter(&self, type_tag: TypeTag, id: &EntityId) {
        let mark = self.mark.load(Ordering::Relaxed);
        // Who reads a word of the new name must not read the old mark after it.
        fence(Ordering::Release);
        self.type_tag.store(type_tag.0, Ordering::Relaxed);
        let bytes = id.as_str().as_bytes();
        self.length.store(bytes.len() as u64, Ordering::Relaxed);
        let (whole, rest) = bytes.as_chunks::<8>();
        for (word, chunk) in self.id.iter().zip(whole) {
            word.store(u64::from_le_bytes(*chunk), Ordering::Relaxed);
        }
        if !rest.is_empty()
            && let Some(word) = self.id.get(whole.len())
        {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            word.store(u64::from_le_bytes(last), Ordering::Relaxed);
        }
        self.mark.store(mark.wrapping_add(1), Ordering::Release);
    }

    /// It has ended.
    pub(crate) fn leave(&self) {
        let mark = self.mark.load(Ordering::Relaxed);
        self.mark.store(mark.wrapping_add(1), Ordering::Release);
    }

    /// What is going on.
    pub fn mark(&self) -> RunMark {
        RunMark(self.mark.load(Ordering::Acquire))
    }

    /// The entity whose code runs, as `type|id`, cut short if it is long; `None` if it is over.
    pub fn name(&self, mark: RunMark) -> Option<String> {
        let type_tag = TypeTag(self.type_tag.load(Ordering::Relaxed));
        let length = self.length.load(Ordering::Relaxed) as usize;
        let words = self.id.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes());
        let bytes: Vec<u8> = words.take(length).collect();
        let more = if length > bytes.len() { "…" } else { "" };
        let name = format!("{}|{}{more}", type_tag.name(), String::from_utf8_lossy(&bytes));
        fence(Ordering::Acquire);
        (mark.is_running() && self.mark.load(Ordering::Relaxed) == mark.0).then_some(name)
    }
}

/// A type's name as a number: a name that is written on every command's way must be short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TypeTag(u64);

/// The names behind the tags. A process has as many types as its code has.
static TYPES: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());

impl TypeTag {
    pub(crate) fn of(entity_type: EntityType) -> Self {
        let mut types = TYPES.lock().unwrap_or_else(PoisonError::into_inner);
        let name = entity_type.as_str();
        let at = types.iter().position(|known| *known == name).unwrap_or_else(|| {
            types.push(name);
            types.len() - 1
        });
        Self(at as u64)
    }

    fn name(self) -> &'static str {
        let types = TYPES.lock().unwrap_or_else(PoisonError::into_inner);
        types.get(self.0 as usize).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_runs_is_named_while_it_runs() {
        let running = Running::default();
        assert!(!running.mark().is_running());
        let long = "x".repeat(100);
        for (id, shown) in [("a", "scribe|a"), (long.as_str(), &*format!("scribe|{}…", &long[..64]))] {
            running.enter(TypeTag::of(EntityType::new("scribe")), &EntityId::new(id).expect("an id"));
            let mark = running.mark();
            assert_eq!((mark.is_running(), running.name(mark).as_deref()), (true, Some(shown)));
            running.leave();
            assert_eq!(running.name(mark), None);
            assert_ne!(running.mark(), mark);
        }
    }
}
